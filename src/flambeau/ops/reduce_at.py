"""Reductions to places given by indices: scatter_reduce, index_reduce, segment_reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.promotion import convert
from ..core.public import public
from ..core.tensor import Tensor
from ..prims import base
from ..prims.base import from_value, reshape
from ..prims.indexing import scatter_op
from ..prims.pointwise import where_op
from ..prims.reduce_at import reduce_at_op
from ..runtime import dtypes
from .args import dtype_of, numel, wrap_dim
from .gather import check_index
from .shape import expand_to

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def _check_reduce(reduce: Any, allowed: tuple[str, ...], name: str) -> None:
    if reduce not in allowed:
        raise RuntimeError(f"reduce argument must be either {', '.join(allowed)}, got {reduce} ({name})")


def _check_shapes(x: Tensor, index: Tensor, src: Tensor, d: int, name: str) -> None:
    xs, i, s = (tuple(t._a.shape) or (1,) for t in (x, index, src))
    if len(i) != len(xs) or len(i) != len(s):
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as self and src tensors ({name}: index {list(i)}, self {list(xs)}, "
            f"src {list(s)})"
        )
    for k, n in enumerate(i):
        if n > s[k] or k != d and n > xs[k]:
            raise RuntimeError(
                f"Expected index {list(i)} to be no larger than self {list(xs)} apart from dimension {d} and to be no larger size than "
                f"src {list(s)} ({name})"
            )


def _reduce(x: Tensor, d: int, index: Tensor, src: Tensor, reduce: str, include_self: bool) -> Tensor:
    """The reduction over tensors of at least one dim, all checks done."""
    if reduce in ("prod", "amax", "amin"):
        return reduce_at_op(x, src, index, dim=d, reduce=reduce, include_self=include_self)  # type: ignore[no-any-return]
    covered = tuple(index._a.shape)
    if not include_self:
        x = scatter_op(x, base.full(covered, 0, x._a.dtype), index, dim=d, reduce="set")
    total = scatter_op(x, src, index, dim=d, reduce="add each")
    if reduce == "sum":
        return total  # type: ignore[no-any-return]
    count = base.full(tuple(x._a.shape), 1, np.dtype(np.int64))
    if not include_self:
        count = scatter_op(count, base.full(covered, 0, count._a.dtype), index, dim=d, reduce="set")
    count = scatter_op(count, base.full(covered, 1, count._a.dtype), index, dim=d, reduce="add").clamp(min=1)
    if x._a.dtype.kind in "bui":
        return convert(total // count, dtype_of(x))
    return total / convert(count, dtype_of(x))  # type: ignore[no-any-return]


@public(inplace=True, out=True, grad_name="ScatterReduceBackward0")
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`input` with ``src[i][j]`` reduced ("sum", "prod", "mean", "amax", "amin") into ``[index[i][j]][j]`` (for dim 0).

    Without `include_self`, elements that are reduced into do not count themselves.
    Raises: RuntimeError for other reductions, dtypes that differ, or sizes that do not fit.

    >>> import flambeau as torch
    >>> torch.zeros(2).scatter_reduce(0, torch.tensor([0, 1, 1]), torch.tensor([1., 2., 3.]), "sum")
    tensor([1., 5.])
    """
    _check_reduce(reduce, REDUCTIONS, "scatter_reduce")
    d = wrap_dim(dim, len(input._a.shape))
    if not numel(index):
        return input.clone()  # type: ignore[no-any-return]
    check_index(index, "scatter_reduce", ("int64", "int32"))
    if src._a.dtype != input._a.dtype:
        raise RuntimeError(
            f"scatter(): Expected self.dtype to be equal to src.dtype (scatter_reduce: {dtype_of(input)} and {dtype_of(src)})"
        )
    _check_shapes(input, index, src, d, "scatter_reduce")
    x, i, s = (t if t._a.shape else reshape(t, (1,)) for t in (input, index, src))
    return reshape(_reduce(x, d, convert(i, dtypes.int64), s, reduce, include_self), tuple(input._a.shape))


@public(inplace=True, out=True, grad_name="IndexReduceBackward0")
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`input` with the slices `source` reduced ("prod", "mean", "amax", "amin") into the positions `index` of a dim."""
    _check_reduce(reduce, REDUCTIONS[1:], "index_reduce")
    check_index(index, "index_reduce", ("int64", "int32"))
    if len(index._a.shape) > 1:
        raise IndexError(
            f"index_reduce(): Index is supposed to be a vector, but got dim: {len(index._a.shape)}"
        )
    d = wrap_dim(dim, len(input._a.shape))
    if source._a.dtype != input._a.dtype:
        raise RuntimeError(
            f"index_reduce(): self and source expected to have the same dtype, but got (self) {dtype_of(input)} and (source) "
            f"{dtype_of(source)}"
        )
    x, i, s = (t if t._a.shape else reshape(t, (1,)) for t in (input, index, source))
    want = tuple([numel(i) if k == d else n for k, n in enumerate(x._a.shape)])
    if tuple(s._a.shape) != want:
        raise RuntimeError(
            f"index_reduce(): Number of indices ({numel(i)}) should be equal to source.size(dim) and the other sizes should match: "
            f"self {list(input._a.shape)}, source {list(source._a.shape)}, dim {d}"
        )
    wide = reshape(convert(i, dtypes.int64), tuple([numel(i) if k == d else 1 for k in range(len(want))]))
    if not numel(s):
        return input.clone()  # type: ignore[no-any-return]
    return reshape(_reduce(x, d, expand_to(wide, want), s, reduce, include_self), tuple(input._a.shape))


_IDENTITY = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}


def _segments(data: Tensor, lengths: Any, offsets: Any, axis: int, unsafe: bool) -> tuple[Any, Any]:
    """(segment of each position along the axis, with one more for those in none; lengths), as arrays.

    Raises: RuntimeError unless the lengths are non-negative and add up to the size of the axis.
    """
    if offsets is not None:
        starts = raw(offsets)
        sizes = np.diff(starts, axis=-1)
    else:
        sizes = raw(lengths)
    if sizes.dtype.kind not in "ui":
        raise RuntimeError(
            f"segment_reduce(): lengths and offsets must be integer tensors, got {sizes.dtype}"
        )
    n = int(data._a.shape[axis])
    if sizes.shape[:-1] != tuple(data._a.shape[:axis]):
        raise RuntimeError(
            f"segment_reduce(): Expected the leading sizes of lengths {list(sizes.shape)} to be those of data {list(data._a.shape)} "
            f"before axis {axis}"
        )
    if not unsafe:
        if (sizes < 0).any():
            raise RuntimeError("lengths contains negative value!")
        if lengths is not None and (sizes.sum(-1) != n).any():
            raise RuntimeError(
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1)"
            )
    flat = sizes.reshape(-1, sizes.shape[-1])
    first = np.zeros(flat.shape[0], np.int64) if offsets is None else starts[..., 0].reshape(-1)
    bags = np.full((flat.shape[0], n), flat.shape[1])
    for row, size, at in zip(bags, flat, first):
        ids = np.repeat(np.arange(len(size)), size)[: max(n - at, 0)]
        row[at : at + len(ids)] = ids
    return bags.reshape(*sizes.shape[:-1], n), sizes


@public(method=False, aliases=("_segment_reduce",), grad_name="SegmentReduceBackward0")
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Any = None,
) -> Tensor:
    """Consecutive segments of an axis reduced ("sum", "mean", "max", "min", "prod"), starting from `initial`.

    Segments are given by their `lengths`, or by `offsets` (one more than segments).  Empty segments give `initial`,
    or the reduction's neutral element (NaN for "mean").  Raises: RuntimeError for data that is not floating,
    other reductions, or lengths that do not fit.
    """
    reduce = {"amax": "max", "amin": "min"}.get(reduce, reduce)
    if reduce not in _IDENTITY:
        raise RuntimeError(f"unsupported reduction: expected one of {', '.join(_IDENTITY)}, got {reduce}")
    if data._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"segment_reduce_cpu" not implemented for {dtype_of(data)}')
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined")
    if numel(data) == 0:
        raise RuntimeError("segment_reduce(): data must not be empty")
    d = wrap_dim(axis, len(data._a.shape))
    bags, sizes = _segments(data, None if offsets is not None else lengths, offsets, d, unsafe)
    count = int(sizes.shape[-1])
    shape = (
        *data._a.shape[:d],
        count + 1,
        *data._a.shape[d + 1 :],
    )  # the last one takes what is in no segment
    first = _IDENTITY[reduce] if initial is None else float(initial)
    how = {"max": "amax", "min": "amin", "mean": "sum"}.get(reduce, reduce)
    tail = (1,) * (len(shape) - d - 1)
    index = expand_to(reshape(from_value(bags), (*bags.shape, *tail)), tuple(data._a.shape))
    y = _reduce(base.full(shape, first, data._a.dtype), d, index, data, how, True)
    y = base.index_view_op(y, index=(*[slice(None)] * d, slice(0, count)))
    if reduce == "mean":
        n = convert(reshape(from_value(sizes.astype(np.int64)), (*sizes.shape, *tail)), dtype_of(data))
        empty = np.nan if initial is None else first
        y = where_op(n == 0, empty, y / where_op(n == 0, 1, n))
    return y  # type: ignore[no-any-return]
