"""Orderings and cumulative operations: sort, topk, median, cumsum and their kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.families import Axis, opaque_op
from ..core.grad_names import by_dim
from ..core.interpreters import Batched
from ..core.meta import is_meta
from ..core.pending import seen
from ..core.promotion import convert
from ..core.public import public
from ..core.refusal import without_derivative
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims import base, scans
from ..prims import reductions as red
from ..prims.indexing import gather_op
from ..prims.pointwise import where_op
from ..runtime import dtypes
from .args import as_dtype, dtype_of, numel, wrap_dim
from .layouts import in_order_of, in_own_order
from .reduce import named
from .shape import contiguous, slice_dim

_Sort = named("sort", "values", "indices")
_Topk = named("topk", "values", "indices")
_Kth = named("kthvalue", "values", "indices")
_Mode = named("mode", "values", "indices")
_Cummax = named("cummax", "values", "indices")
_Cummin = named("cummin", "values", "indices")


def _real(x: Tensor, name: str) -> None:
    if x._a.dtype.kind == "c":
        raise NotImplementedError(
            f'"{name}" not implemented for complex dtypes: they have no order (got {dtype_of(x)})'
        )


def _pick(x: Tensor, index: Tensor, d: int) -> Tensor:
    return gather_op(x, index, dim=d, sure=True)  # type: ignore[no-any-return]


@public(out=True)
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Positions that would sort a dim."""
    _real(input, "argsort")
    if not input._a.shape:
        return sort(input, dim)[1]  # type: ignore[no-any-return]
    index = scans.argsort_op(input, dim=wrap_dim(dim, len(input._a.shape)), descending=bool(descending))
    return in_order_of(index, input)


@public(out=True, grad_name=by_dim("SortBackward0", "SortBackward1", 3, "stable"))
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool | None = None) -> Any:
    """Values of a dim in order, and where they were (always stable; NaN counts as the largest)."""
    _real(input, "sort")
    if not input._a.shape:
        wrap_dim(dim, 0)
        return _Sort(input.clone(), convert(input, dtypes.float64).isnan().long() * 0)
    d = wrap_dim(dim, len(input._a.shape))
    index = scans.argsort_op(input, dim=d, descending=bool(descending))
    return _Sort(in_order_of(_pick(input, index, d), input), in_order_of(index, input))


@public(out=True)
def msort(input: Tensor) -> Tensor:
    """The tensor sorted along its first dim."""
    return sort(input, 0)[0]  # type: ignore[no-any-return]


@public(out=True, grad_name="TopkBackward0")
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (or smallest) elements of a dim, in order, and where they were.

    Raises: RuntimeError when k is larger than the dim.
    """
    _real(input, "topk")
    d = wrap_dim(dim, len(input._a.shape))
    n = input._a.shape[d] if input._a.shape else 1
    if not 0 <= int(k) <= n:
        raise RuntimeError("selected index k out of range")
    if not input._a.shape:
        return _Topk(input.clone(), sort(input)[1])
    index = scans.argtop_op(input, dim=d, k=int(k), largest=bool(largest))
    return _Topk(_pick(input, index, d), index)


def _squeeze(result: Any, values: Tensor, index: Tensor, d: int, keepdim: bool) -> Any:
    if keepdim:
        return result(values, index)
    shape = tuple([n for k, n in enumerate(values._a.shape) if k != d])
    return result(base.reshape_new(values, shape), base.reshape_new(index, shape))


@public(out=True, grad_name="KthvalueBackward0")
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element of a dim (k counts from 1) and where it was."""
    _real(input, "kthvalue")
    d = wrap_dim(dim, len(input._a.shape))
    n = input._a.shape[d] if input._a.shape else 1
    if input._a.shape and n == 0:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= n:
        raise RuntimeError("kthvalue(): selected number k out of range for dimension " + str(d))
    if not input._a.shape:
        return _Kth(*sort(input))
    index = contiguous(slice_dim(scans.argsort_op(input, dim=d, descending=False), d, k - 1, k))
    return _squeeze(_Kth, _pick(input, index, d), index, d, keepdim)


def _median(name: str, skip_nan: bool) -> Any:
    result = named(name, "values", "indices")

    def fn(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        x = input
        _real(x, name)
        if dim is None:
            if numel(x) == 0:
                kind = x._a.dtype.kind
                lowest = math.nan if kind in "fV" else True if kind == "b" else np.iinfo(x._a.dtype).min
                return base.full((), lowest, x._a.dtype)
            flat = base.reshape(x, (numel(x),))
            y = fn(flat, 0)[0]
            if x._a.dtype.kind not in "fV" or not (tls.stack or x.requires_grad):
                return y
            equals = where_op((flat == y) | ((flat != flat) & (y != y)), flat, -math.inf)
            return red.amax_op(equals, dims=(0,))  # equal elements share the gradient
        nd = len(x._a.shape)
        d = wrap_dim(dim, nd)
        if not nd:
            s = sort(x)
            return result(*s)
        n = x._a.shape[d]
        if n == 0:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
        at = scans.argmedian_op(x, dim=d, skip_nan=skip_nan)
        return _squeeze(result, _pick(x, at, d), at, d, keepdim)

    fn.__doc__ = f"The median (the lower of two) of all elements or a dim{', NaN left out' if skip_nan else '; NaN if there is any'}."
    return public(
        out=True,
        name=name,
        grad_name=by_dim(f"{name.capitalize()}Backward0", f"{name.capitalize()}Backward1"),
    )(fn)


median = _median("median", False)
nanmedian = _median("nanmedian", True)


def _cumulative(name: str, op: Any) -> Any:
    def fn(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
        x = input
        d = wrap_dim(dim, len(x._a.shape))
        if dtype is not None:
            x = convert(x, as_dtype(dtype))
        elif x._a.dtype.kind in "bui":
            x = convert(x, dtypes.int64)
        return op(x, dim=d) if x._a.shape else x.clone()  # type: ignore[no-any-return]

    fn.__doc__ = (
        f"The running {'sum' if name == 'cumsum' else 'product'} along a dim; integers accumulate as int64."
    )
    return public(out=True, inplace=True, name=name, grad_name=f"{name.capitalize()}Backward0")(fn)


cumsum = _cumulative("cumsum", scans.cumsum_op)
cumprod = _cumulative("cumprod", scans.cumprod_op)


@public(out=True, grad_name="LogcumsumexpBackward0", half=True)
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """``log(cumsum(exp(x)))`` without overflow."""
    if input._a.dtype.kind in "bui":
        raise NotImplementedError(f'"logcumsumexp_out_cpu" not implemented for {dtype_of(input)}')
    d = wrap_dim(dim, len(input._a.shape))
    return in_own_order(scans.logcumsumexp_op(input, dim=d)) if input._a.shape else input.clone()


def _cumextreme(name: str, largest: bool, result: Any) -> Any:
    def fn(input: Tensor, dim: int) -> Any:
        x = input
        _real(x, name)
        d = wrap_dim(dim, len(x._a.shape))
        if not x._a.shape:
            return result(*sort(x))
        index = scans.argcum_op(x, dim=d, largest=largest)
        return result(in_own_order(_pick(x, index, d)), in_own_order(index))

    fn.__doc__ = f"The running {'maximum' if largest else 'minimum'} along a dim, and where it was."
    return public(out=True, name=name, grad_name=f"{name.capitalize()}Backward0")(fn)


cummax = _cumextreme("cummax", True, _Cummax)
cummin = _cumextreme("cummin", False, _Cummin)


def _unique_along(a: Any, dim: int | None) -> Any:
    if dim is None:
        return a.reshape(-1)
    return np.moveaxis(a, dim, 0)


def _needs_a_fixed_shape(x: Tensor, name: str) -> None:
    if is_meta(x):
        raise NotImplementedError(
            f"{name}: attempted to run this operator with Meta tensors (shape {list(x._a.shape)}), but the shape of its "
            "result depends on values, which they do not have. Run it on tensors with data (device='cpu')"
        )
    if isinstance(x._a, Batched) and x._a.batched:
        raise RuntimeError(
            f"vmap: {name} has a result whose shape depends on the data, so there is no dense batched answer: sort the "
            "examples, or call it outside of vmap"
        )


@public()
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements (or slices of a dim), in order; optionally where each element went, and how often it occurs."""
    from ..prims.base import from_value

    _needs_a_fixed_shape(input, "unique")
    if dim is not None:
        dim = wrap_dim(dim, len(input._a.shape))
    values, inverse, counts = np.unique(
        seen(input), return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    shape = input._a.shape if dim is None else (input._a.shape[dim],)
    name = "Unique2Backward0" if dim is None else "UniqueDimBackward0"
    out = [without_derivative(from_value(values), "_unique2" if dim is None else "unique_dim", name, input)]
    if return_inverse:
        out.append(from_value(inverse.reshape(shape).astype(np.int64)))
    if return_counts:
        out.append(from_value(counts.astype(np.int64)))
    return out[0] if len(out) == 1 else tuple(out)


@public()
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The first element (or slice) of each run of equal ones."""
    from ..prims.base import from_value

    _needs_a_fixed_shape(input, "unique_consecutive")
    a = seen(input)
    rows = _unique_along(a, None if dim is None else wrap_dim(dim, a.ndim))
    n = rows.shape[0]
    if n:
        same = (rows[1:] == rows[:-1]).reshape(n - 1, int(np.prod(rows.shape[1:]))).all(1)
        first = np.concatenate(([True], ~same))
    else:
        first = np.zeros(0, bool)
    picked = rows[first]
    if dim is not None:
        picked = np.moveaxis(picked, 0, dim)
    starts = np.flatnonzero(first)
    shape = a.shape if dim is None else (n,)
    values = from_value(np.ascontiguousarray(picked))
    out = [without_derivative(values, "unique_consecutive", "UniqueConsecutiveBackward0", input)]
    if return_inverse:
        out.append(from_value((np.cumsum(first) - 1).reshape(shape).astype(np.int64)))
    if return_counts:
        out.append(from_value(np.diff(np.append(starts, n)).astype(np.int64)))
    return out[0] if len(out) == 1 else tuple(out)


@public(out=True, grad_name="ModeBackward0")
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element of a dim (the smallest of equals) and a place where it occurs."""
    _real(input, "mode")
    if not input._a.shape:
        return _Mode(*sort(input))
    d = wrap_dim(dim, len(input._a.shape))
    if input._a.shape[d] == 0:
        raise IndexError(f"mode(): Expected reduction dim {d} to have non-zero size.")
    index = _mode_op(input, dim=d)
    return _squeeze(_Mode, _pick(input, index, d), index, d, keepdim)


def _mode_index(x: Any, *, dim: Axis) -> Any:
    order = np.argsort(x, axis=dim, kind="stable")
    s = np.moveaxis(np.take_along_axis(x, order, dim), dim, -1)
    n = s.shape[-1]
    starts = np.concatenate([np.ones((*s.shape[:-1], 1), bool), s[..., 1:] != s[..., :-1]], -1)
    run = np.where(starts, np.arange(n), 0)
    length = np.arange(n) - np.maximum.accumulate(run, -1)
    at = np.argmax(length, -1)[..., None]
    return np.moveaxis(np.take_along_axis(np.moveaxis(order, dim, -1), at, -1), -1, dim)


_mode_op = opaque_op(_mode_index, None, name="mode", differentiable=False)
