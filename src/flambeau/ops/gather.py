"""Reading and writing at data-dependent places: gather, scatter, select, masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.grad_names import by_tensor
from ..core.pending import known, seen
from ..core.promotion import convert
from ..core.public import check_tensor, public
from ..core.tensor import Tensor
from ..prims import base
from ..prims import indexing as ix
from ..prims.base import from_value, full
from ..prims.indexing import gather_op, index_get_op, index_put_op, nonzero_op, scatter_op
from ..prims.pointwise import where_op
from ..prims.search import argwhere_op
from ..runtime import dtypes
from .args import dtype_of, numel, wrap_dim
from .from_python import checked_scalar
from .layouts import in_order_of
from .shape import broadcast_shapes, expand_to, select


def check_index(index: Any, name: str, ints: tuple[str, ...] = ("int64",)) -> None:
    """Raises: TypeError or RuntimeError for index tensors of another dtype."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if dtype_of(index).name not in ints:
        raise RuntimeError(
            f"{name}(): Expected dtype {' or '.join(ints)} for index, but got {dtype_of(index)}"
        )


def _long(index: Tensor) -> Tensor:
    return convert(index, dtypes.int64)


def _same_dims(x: Tensor, index: Tensor, name: str) -> None:
    if builtin_max(len(x._a.shape), 1) != builtin_max(len(index._a.shape), 1):
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as input tensor ({name}: {len(index._a.shape)} and {len(x._a.shape)})"
        )


def builtin_max(a: int, b: int) -> int:
    return a if a > b else b


def _fits(small: tuple[int, ...], big: tuple[int, ...], skip: int, what: str) -> None:
    for d, (a, b) in enumerate(zip(small, big)):
        if d != skip and a > b:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(small)} to be no larger than {what} {list(big)} apart from "
                f"dimension {skip}"
            )


def _at_least_1d(x: Tensor) -> Tensor:
    return x if x._a.shape else base.reshape(x, (1,))


@public(out=True, grad_name="GatherBackward0")
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """``out[i][j][k] = input[index[i][j][k]][j][k]`` (for dim 0, and so on).

    Raises: RuntimeError for index dtypes other than int64 or int32, sizes that do not fit, positions out of range.
    """
    d = wrap_dim(dim, len(input._a.shape))
    if not numel(index):
        none = base.index_view_op(base.reshape(input, (numel(input),)), index=(slice(0, 0),))
        return base.reshape(none, tuple(index._a.shape))
    check_index(index, "gather", ("int64", "int32"))
    _same_dims(input, index, "gather")
    _fits(tuple(_at_least_1d(index)._a.shape), tuple(_at_least_1d(input)._a.shape), d, "self")
    y = gather_op(_at_least_1d(input), _long(_at_least_1d(index)), dim=d)
    return y if index._a.shape else base.reshape(y, ())


def _scatter(x: Tensor, dim: int, index: Tensor, src: Any, how: str, name: str) -> Tensor:
    d = wrap_dim(dim, len(x._a.shape))
    shape = tuple(x._a.shape)
    if not numel(index):
        return x.clone()  # type: ignore[no-any-return]
    check_index(index, name, ("int64", "int32"))
    _same_dims(x, index, name)
    x1, i1 = _at_least_1d(x), _long(_at_least_1d(index))
    _fits(tuple(i1._a.shape), tuple(x1._a.shape), d, "self")
    if isinstance(src, Tensor):
        if src._a.dtype != x._a.dtype:
            raise RuntimeError(
                f"{name}(): Expected self.dtype to be equal to src.dtype, got {dtype_of(x)} and {dtype_of(src)}"
            )
        if builtin_max(len(src._a.shape), 1) != len(i1._a.shape):
            raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
        s1 = _at_least_1d(src)
        _fits(tuple(i1._a.shape), tuple(s1._a.shape), -1, "src")
    else:
        s1 = expand_to(full((), checked_scalar(src, dtype_of(x)), x._a.dtype), tuple(i1._a.shape))
    y = scatter_op(x1, s1, i1, dim=d, reduce=how)
    return y if shape else base.reshape(y, ())


def _scatter_name(args: Any, kwargs: Any) -> str:
    src = args[3] if len(args) > 3 else kwargs.get("src", kwargs.get("value"))
    reduce = args[4] if len(args) > 4 else kwargs.get("reduce")
    return f"ScatterBackward{(0 if isinstance(src, Tensor) else 1) + (2 if reduce is not None else 0)}"


@public(inplace=True, out=True, grad_name=_scatter_name)
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """`input` with ``out[index[i][j]][j] = src[i][j]`` (for dim 0); `reduce` "add" or "multiply" combines instead."""
    src = value if src is None else src
    if reduce is not None and reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    how = {None: "set", "add": "add", "multiply": "mul"}[reduce]
    return _scatter(input, dim, index, src, how, "scatter")


@public(inplace=True, out=True, grad_name="ScatterAddBackward0")
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`input` with ``out[index[i][j]][j] += src[i][j]`` (for dim 0)."""
    return _scatter(input, dim, index, src, "add", "scatter_add")


@public(out=True, grad_name="IndexSelectBackward0")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dim at the positions in the vector `index`.

    Raises: IndexError for positions out of range or an index with more than one dim.
    """
    check_index(index, "index_select", ("int64", "int32"))
    if len(index._a.shape) > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    nd = len(input._a.shape)
    d = wrap_dim(dim, nd)
    i = _long(_at_least_1d(index))
    if not nd:
        y = index_get_op(_at_least_1d(input), i, spec=(True,))
        return base.reshape(y, ())
    return index_get_op(input, _nonnegative(i, "index_select"), spec=(*[False] * d, True))  # type: ignore[no-any-return]


def _nonnegative(i: Tensor, name: str) -> Tensor:
    """Raises: IndexError for negative positions, which these functions do not take."""
    if known(i) is not None and i._a.size and ix.largest_unsigned(i._a) >= 1 << 63:
        raise IndexError(f"{name}(): index {int(i._a.min())} out of range: positions must not be negative")
    return i


def _index_op(x: Tensor, dim: int, index: Tensor, source: Tensor, accumulate: bool, name: str) -> Tensor:
    check_index(index, name, ("int64", "int32"))
    if len(index._a.shape) > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but got dim: {len(index._a.shape)}")
    nd = len(x._a.shape)
    d = wrap_dim(dim, nd)
    i = _nonnegative(_long(_at_least_1d(index)), name)
    if source._a.dtype != x._a.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) {dtype_of(x)} and (source) {dtype_of(source)}"
        )
    x1, s1 = _at_least_1d(x), _at_least_1d(source)
    want = [n for k, n in enumerate(x1._a.shape) if k != d]
    have = [n for k, n in enumerate(s1._a.shape) if k != d]
    if (
        source._a.shape
        and (want != have or s1._a.shape[d] != i._a.shape[0])
        or not source._a.shape
        and i._a.shape[0] != 1
    ):
        raise (RuntimeError if accumulate else IndexError)(
            f"{name}(): Number of indices ({i._a.shape[0]}) should be equal to source.size(dim) and the other sizes should match: "
            f"self {list(x._a.shape)}, source {list(source._a.shape)}, dim {d}"
        )
    y = index_put_op(x1, s1, i, spec=(*[False] * d, True), accumulate=accumulate)
    return y if x._a.shape else base.reshape(y, ())


@public(inplace=True, out=True, grad_name="IndexAddBackward0")
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """`input` with ``alpha * source`` added at the positions `index` of a dim."""
    if type(alpha) is not int or alpha != 1:
        from .elementwise import _check_alpha

        _check_alpha(input, source, alpha)
        source = source * alpha
    return _index_op(input, dim, index, source, True, "index_add")


@public(inplace=True, out=True, grad_name="IndexCopyBackward0")
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`input` with the slices `source` at the positions `index` of a dim."""
    return _index_op(input, dim, index, source, False, "index_copy")


@public(inplace=True, grad_name=by_tensor("IndexFillBackward1", "IndexFillBackward0", 3, "value"))
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """`input` with `value` at the positions `index` of a dim."""
    check_index(index, "index_fill", ("int64", "int32"))
    if len(index._a.shape) > 1:
        raise IndexError("Index has to be a vector/scalar")
    d = wrap_dim(dim, len(input._a.shape))
    if isinstance(value, Tensor):
        if value._a.shape:
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {len(value._a.shape)} dimension(s)."
            )
        v = convert(value, dtype_of(input))
    else:
        v = full((), checked_scalar(value, dtype_of(input)), input._a.dtype)
    x1, i = _at_least_1d(input), _long(_at_least_1d(index))
    n = x1._a.shape[d]
    mask = index_put_op(
        full((n,), False, np.dtype(bool)), full((), True, np.dtype(bool)), i, spec=(True,), accumulate=False
    )
    mask = base.reshape(mask, tuple([n if k == d else 1 for k in range(len(x1._a.shape))]))
    return base.reshape(where_op(mask, v, x1), tuple(input._a.shape))


@public(out=True, grad_name="TakeBackward0")
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor at these positions."""
    check_index(index, "take")
    flat = base.reshape(input, (numel(input),))
    return index_get_op(flat, index, spec=(True,))  # type: ignore[no-any-return]


@public(inplace=True, grad_name="PutBackward0")
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """`input` with `source` at these positions of the flattened tensor."""
    check_index(index, "put_")
    if source._a.dtype != input._a.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {dtype_of(input)} and source.dtype = {dtype_of(source)}"
        )
    if numel(index) != numel(source):
        raise RuntimeError(
            f"put_(): Expected source and index to have the same number of elements, but got source.numel() = {numel(source)}, index.numel() = {numel(index)}"
        )
    flat = base.reshape(input, (numel(input),))
    i = base.reshape(index, (numel(index),))
    y = index_put_op(flat, base.reshape(source, (numel(source),)), i, spec=(True,), accumulate=accumulate)
    return in_order_of(base.reshape(y, tuple(input._a.shape)), input)


@public(out=True)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with broadcasting of the other dims; over the flattened tensor when no dim is given."""
    if indices._a.dtype != np.int64:
        raise RuntimeError(
            f"torch.take_along_dim(): dtype of indices should be Long but got {dtype_of(indices)}"
        )
    if dim is None:
        flat, i = base.reshape(input, (numel(input),)), base.reshape(indices, (numel(indices),))
        return gather(flat, 0, i)
    if len(input._a.shape) != len(indices._a.shape):
        raise RuntimeError(
            f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got {len(input._a.shape)} dimensions for input, and {len(indices._a.shape)} dimensions for indices"
        )
    d = wrap_dim(dim, len(input._a.shape))
    a, b = list(input._a.shape), list(indices._a.shape)
    rest = broadcast_shapes([n for k, n in enumerate(a) if k != d], [n for k, n in enumerate(b) if k != d])
    xs, js = list(rest), list(rest)
    xs.insert(d, a[d])
    js.insert(d, b[d])
    indices = where_op(indices < 0, indices + a[d], indices)
    return gather(expand_to(input, tuple(xs)), d, expand_to(indices, tuple(js)))


# ----------------------------------------------------------------------------------------------------- masks


@public(out=True)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of the elements that are not zero: an (n, ndim) matrix, or a tuple of index vectors."""
    check_tensor(input, "nonzero")
    if as_tuple:
        x = _at_least_1d(input)
        found = nonzero_op(x)
        return tuple([select(found, 1, k) for k in range(len(x._a.shape))])
    return nonzero_op(input)


@public(out=True)
def argwhere(input: Tensor) -> Tensor:
    """``nonzero(input)``; under vmap every example must have the same number of elements that are not zero.

    Raises: RuntimeError under vmap where the numbers differ.
    """
    return argwhere_op(input, ndim=len(input._a.shape))  # type: ignore[no-any-return]


@public(out=True, grad_name="MaskedSelectBackward0")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, as a vector."""
    if mask._a.dtype.kind != "b":
        raise RuntimeError(f"masked_select: expected BoolTensor for mask (got {dtype_of(mask)})")
    shape = tuple(broadcast_shapes(tuple(input._a.shape), tuple(mask._a.shape)))
    x, m = _at_least_1d(expand_to(input, shape)), _at_least_1d(expand_to(mask, shape))
    found = nonzero_op(m)
    return index_get_op(  # type: ignore[no-any-return]
        x, *[select(found, 1, k) for k in range(len(m._a.shape))], spec=(True,) * len(m._a.shape)
    )


@public(inplace=True, grad_name="MaskedScatterBackward0")
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`input` with consecutive elements of `source` where the mask holds."""
    if mask._a.dtype.kind != "b":
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {dtype_of(mask)}"
        )
    if source._a.dtype != input._a.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {dtype_of(input)} and {dtype_of(source)}"
        )
    shape = tuple(broadcast_shapes(tuple(input._a.shape), tuple(mask._a.shape)))
    x, m = expand_to(input, shape), expand_to(mask, shape)
    n = math.prod(shape)
    if not n:
        return x.clone()  # type: ignore[no-any-return]
    flat = base.reshape(m, (n,))
    order = base.convert_to(flat, np.dtype(np.int64)).cumsum(0) - 1
    count = numel(source)
    if int(seen(flat).reshape(-1, n).sum(1).max(initial=0)) > count:
        raise RuntimeError(
            "masked_scatter: expected the number of elements of source to be at least the number of ones in the mask"
        )
    if not count:
        return x.clone()  # type: ignore[no-any-return]
    picked = index_get_op(base.reshape(source, (count,)), order.clamp(0, count - 1), spec=(True,))
    return base.reshape(where_op(flat, picked, base.reshape(x, (n,))), shape)


_ = (from_value, ix)
