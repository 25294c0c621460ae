"""Products and extremes scattered to places: out[index[i][j]][j] = reduce(out[index[i][j]][j], src[i][j])."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis
from ..core.tensor import Tensor
from .base import convert_to, full
from .indexing import along, check_bounds, gather_op, scatter_op
from .pointwise import where_op

UFUNCS = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def start(reduce: str, dtype: Any) -> Any:
    """The neutral element of a reduction in a NumPy dtype."""
    if reduce == "prod":
        return 1
    low = reduce == "amax"
    if dtype.kind == "b":
        return not low
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        return info.min if low else info.max
    return -np.inf if low else np.inf


def _reduce_at(x: Any, src: Any, index: Any, *, dim: Axis, reduce: str, include_self: bool) -> Any:
    check_bounds(index, x.shape[dim], dim)
    key = along(index, dim)
    out = x.copy()
    if src.shape != index.shape:
        src = src[tuple([slice(0, n) for n in index.shape])]
    if not include_self:
        out[key] = start(reduce, x.dtype)
    ufunc = UFUNCS[reduce]
    if x.dtype.kind == "V" or x.dtype == np.float16:  # half types: NumPy's scattered loops know float32
        wide = out.astype(np.float32)
        ufunc.at(wide, key, src.astype(np.float32))
        return wide.astype(x.dtype)
    ufunc.at(out, key, src)
    return out


def _forget(g: Tensor, index: Tensor, dim: int, include_self: bool) -> Tensor:
    """No gradient for elements of x that were not included."""
    if include_self:
        return g
    zero = full(tuple(index._a.shape), 0, g._a.dtype)
    return scatter_op(g, zero, index, dim=dim, reduce="set")  # type: ignore[no-any-return]


def _share(
    x: Tensor, src: Tensor, index: Tensor, y: Tensor, g: Tensor, dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Who attained the extreme (in x, in src), and the gradient divided evenly among them."""
    own = convert_to(x == y, g._a.dtype)
    theirs = convert_to(_like(src, index) == gather_op(y, index, dim=dim), g._a.dtype)
    count = scatter_op(own, theirs, index, dim=dim, reduce="add")
    return own, theirs, g / where_op(count == 0, 1, count)


def _like(src: Tensor, index: Tensor) -> Tensor:
    """The part of src that index covers."""
    if tuple(src._a.shape) == tuple(index._a.shape):
        return src
    from .base import index_view_op

    return index_view_op(src, index=tuple([slice(0, n) for n in index._a.shape]))  # type: ignore[no-any-return]


def _pad(g: Tensor, src_shape: tuple[int, ...]) -> Tensor:
    if tuple(g._a.shape) == src_shape:
        return g
    from .base import index_view_op

    zero = full(src_shape, 0, g._a.dtype)
    return index_view_op.put(zero, g, index=tuple([slice(0, n) for n in g._a.shape]))  # type: ignore[no-any-return]


def _vjp(
    g: Tensor, x: Tensor, src: Tensor, index: Tensor, y: Tensor, dim: int, reduce: str, include_self: bool
) -> Any:
    shape = tuple(src._a.shape)
    if reduce != "prod":
        own, theirs, part = _share(x, src, index, y, g, dim)
        gs = theirs * gather_op(part, index, dim=dim)
        return [_forget(own * part, index, dim, include_self), _pad(gs, shape), None]
    # Products of all the others: y / x where x is not zero; where exactly one factor is zero, the product without it.
    params: dict[str, Any] = {"dim": dim, "reduce": "prod", "include_self": include_self}
    filled = where_op(x == 0, 1, x)
    gx = g * reduce_at_op(filled, src, index, **params) / filled
    s = _like(src, index)
    zero = s == 0
    number = scatter_op(
        full(tuple(x._a.shape), 0, g._a.dtype), convert_to(zero, g._a.dtype), index, dim=dim, reduce="add"
    )
    single = zero & (gather_op(number, index, dim=dim) == 1)
    others = reduce_at_op(x, where_op(single, 1, s), index, **params)
    gs = where_op(
        single,
        gather_op(g * others, index, dim=dim),
        gather_op(g * y, index, dim=dim) / where_op(zero, 1, s),
    )
    return [_forget(gx, index, dim, include_self), _pad(gs, shape), None]


reduce_at_op: Any = fam.opaque_op(_reduce_at, _vjp, name="reduce_at", grad_name="ScatterReduceBackward0")
