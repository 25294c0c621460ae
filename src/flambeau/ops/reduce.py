"""Reductions: sums, means, extremes, norms, truth."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..core.grad_names import by_dim
from ..core.promotion import convert
from ..core.public import public
from ..core.tensor import Tensor
from ..prims import base
from ..prims import reductions as red
from ..prims.indexing import gather_op
from ..prims.norm import deviation_op, variance_op
from ..prims.pointwise import exp, isnan, log, sqrt, where_op
from ..prims.reductions import sum_op
from ..runtime import dtypes
from .args import as_dtype, dtype_of, numel, wrap_dim, wrap_dims
from .layouts import in_own_order


class Extreme(NamedTuple):
    """Values and their positions along a dim."""

    values: Tensor
    indices: Tensor


NAMED: dict[str, Any] = {}  # by name, which for most is also the name of a function


def named(name: str, *fields: str) -> Any:
    """A namedtuple type that prints as PyTorch's return types do."""
    import collections

    base_type = collections.namedtuple(name, fields)  # type: ignore[misc]

    def show(self: Any) -> str:
        inner = ",\n".join(f"{f}={v!r}" for f, v in zip(fields, self))
        return f"torch.return_types.{name}(\n{inner})"

    base_type.__repr__ = show  # type: ignore[method-assign]
    base_type.__module__ = "flambeau.return_types"  # where pickle finds it
    NAMED[name] = base_type
    return base_type


def keep(y: Tensor, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """Give a reduced result its dims of size 1 back, if asked."""
    if not keepdim or not dims:
        return y
    return base.reshape_new(y, tuple([1 if d in dims else n for d, n in enumerate(x._a.shape)]))


def _accumulator(x: Tensor, dtype: Any) -> Tensor:
    if dtype is not None:
        return convert(x, as_dtype(dtype))
    return convert(x, dtypes.int64) if x._a.dtype.kind in "bui" else x


@public(out=True, grad_name=by_dim("SumBackward0", "SumBackward1"))
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over all or the given dims; integers sum as int64.

    >>> import flambeau as torch
    >>> torch.ones(2, 3).sum(1)
    tensor([3., 3.])
    """
    x = _accumulator(input, dtype)
    dims = wrap_dims(dim, len(x._a.shape))
    return keep(sum_op(x, dims=dims), x, dims, keepdim)


def count(x: Tensor, dims: tuple[int, ...]) -> int:
    return math.prod([x._a.shape[d] for d in dims])


@public(out=True, grad_name=by_dim("MeanBackward0", "MeanBackward1"))
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over all or the given dims.

    Raises: RuntimeError for integer tensors (give dtype=).
    """
    if dtype is None and input._a.dtype.kind in "bui":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {dtype_of(input).name.capitalize()}; give dtype=, or convert with .float()"
        )
    if dtype is not None and as_dtype(dtype).category <= dtypes.INTEGRAL:
        raise RuntimeError(
            "mean(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype. "
            f"Got: {as_dtype(dtype)}"
        )
    x = input if dtype is None else convert(input, as_dtype(dtype))
    dims = wrap_dims(dim, len(x._a.shape))
    n = count(x, dims)
    if x._a.dtype.itemsize == 2:
        return keep(red.half_mean_op(x, dims=dims), x, dims, keepdim)
    total = sum_op(x, dims=dims)
    return keep(total / n if n else total * math.nan, x, dims, keepdim)


@public(out=True, grad_name="NansumBackward0")
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum, with NaN counted as zero."""
    x = _accumulator(input, dtype)
    if x._a.dtype.kind == "c":
        raise RuntimeError("nansum does not support complex inputs")
    return sum(where_op(isnan(x), 0, x), dim, keepdim) if x._a.dtype.kind in "fV" else sum(x, dim, keepdim)


@public(out=True)
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of the elements that are not NaN."""
    if input._a.dtype.kind not in "fcV":
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {dtype_of(input)}"
        )
    x = input if dtype is None else convert(input, as_dtype(dtype))
    n = sum(convert(~isnan(x), dtypes.int64), dim, keepdim)
    return nansum(x, dim, keepdim) / n  # type: ignore[no-any-return]


@public(out=True, grad_name=by_dim("ProdBackward0", "ProdBackward1"))
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product over all dims, or one."""
    x = _accumulator(input, dtype)
    nd = len(x._a.shape)
    dims = tuple(range(nd)) if dim is None else (wrap_dim(dim, nd),) if nd else ()
    return keep(red.prod_op(x, dims=dims), x, dims, keepdim)


def _ordered(x: Tensor, name: str) -> None:
    if x._a.dtype.kind == "c":
        raise NotImplementedError(
            f'"{name}" not implemented for complex dtypes: they have no order (got {dtype_of(x)})'
        )


def _need_elements(x: Tensor, dims: tuple[int, ...], dim: Any, name: str) -> None:
    if numel(x) == 0 and dim in ((), []):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with "
            f"the 'dim' argument (input of shape {list(x._a.shape)})."
        )
    if count(x, dims) == 0 and dims:
        if len(dims) == len(x._a.shape) or numel(x) == 0 and builtin_any(x._a.shape[d] == 0 for d in dims):
            d = next((d for d in dims if x._a.shape[d] == 0), 0)
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


builtin_any = any
builtin_all = all


@public(out=True, grad_name="AmaxBackward0")
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element over the dims; equal elements share the gradient."""
    _ordered(input, "amax")
    dims = wrap_dims(dim, len(input._a.shape))
    _need_elements(input, dims, dim, "amax")
    return keep(red.amax_op(input, dims=dims), input, dims, keepdim)


@public(out=True, grad_name="AminBackward0")
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest element over the dims; equal elements share the gradient."""
    _ordered(input, "amin")
    dims = wrap_dims(dim, len(input._a.shape))
    _need_elements(input, dims, dim, "amin")
    return keep(red.amin_op(input, dims=dims), input, dims, keepdim)


def _arg(op: Any, name: str) -> Any:
    def fn(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        x = input
        if x._a.dtype.kind == "c":
            raise NotImplementedError(f'"{name}_cpu" not implemented for complex dtypes ({dtype_of(x)})')
        if dim is None:
            if numel(x) == 0:
                raise IndexError(
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
                )
            flat = base.reshape(x, (numel(x),))
            y = op(flat, dim=0)
            return base.reshape(y, (1,) * len(x._a.shape)) if keepdim else y
        nd = len(x._a.shape)
        d = wrap_dim(dim, nd)
        if not nd:
            return convert(x * 0 if x._a.dtype.kind != "b" else x ^ x, dtypes.int64)
        if x._a.shape[d] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
        return keep(op(x, dim=d), x, (d,), keepdim)

    fn.__doc__ = f"Position of the {'largest' if 'max' in name else 'smallest'} element (the first of equals) along a dim, or in the flattened tensor."
    return public(out=True, name=name)(fn)


argmax = _arg(red.argmax_op, "argmax")
argmin = _arg(red.argmin_op, "argmin")


def _extreme(largest: bool) -> Any:
    name = "max" if largest else "min"
    arg = argmax if largest else argmin
    result = named(name, "values", "indices")

    def fn(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        if isinstance(dim, Tensor):
            other = dim
        if other is not None:
            from ..core.public import FUNCTIONS

            return FUNCTIONS["maximum" if largest else "minimum"](input, other)
        x = input
        if x._a.dtype.kind == "c":
            raise NotImplementedError(f'"{name}" not implemented for complex dtypes ({dtype_of(x)})')
        nd = len(x._a.shape)
        if dim is None:
            if numel(x) == 0:
                raise RuntimeError(
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
                )
            return (red.amax_op if largest else red.amin_op)(x, dims=tuple(range(nd)))
        d = wrap_dim(dim, nd)
        if not nd:
            return result(x.clone(), arg(x, 0))
        index = arg(x, d, True)
        values = gather_op(x, index, dim=d, sure=True)
        if not keepdim:
            shape = tuple([n for k, n in enumerate(x._a.shape) if k != d])
            values, index = base.reshape_new(values, shape), base.reshape_new(index, shape)
        return result(values, index)

    def shown(args: Any, kwargs: Any) -> str:
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if isinstance(dim, Tensor) or kwargs.get("other") is not None:
            return f"{name.capitalize()}imumBackward0"
        return f"{name.capitalize()}Backward{1 if dim is None else 0}"

    fn.__doc__ = f"The {name}imum: of all elements, along a dim (values and indices), or elementwise with another tensor."
    return public(
        out=True,
        name=name,
        grad_name=shown,
    )(fn)


max = _extreme(True)
min = _extreme(False)


@public(out=True, grad_name="AminmaxBackward0")
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """Both extremes over all elements or one dim."""
    _ordered(input, "aminmax")
    if dim is None:
        if numel(input) == 0:
            raise RuntimeError(
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
            )
        dims = tuple(range(len(input._a.shape)))
    else:
        dims = (wrap_dim(dim, len(input._a.shape)),) if input._a.shape else ()
        if dims and input._a.shape[dims[0]] == 0:
            raise IndexError(f"aminmax(): Expected reduction dim {dims[0]} to have non-zero size.")
    low, high = red.amin_op(input, dims=dims), red.amax_op(input, dims=dims)
    return _AminMax(keep(low, input, dims, keepdim), keep(high, input, dims, keepdim))


_AminMax = named("aminmax", "min", "max")


def _truth(op: Any, name: str) -> Any:
    def fn(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        dims = wrap_dims(dim, len(input._a.shape), empty_means_all=dim is None)
        y = keep(op(input, dims=dims), input, dims, keepdim)
        return convert(y, dtypes.uint8) if input._a.dtype == np.uint8 else y

    fn.__doc__ = f"Whether {name} of the elements are true, over all or the given dims."
    return public(out=True, name=name)(fn)


all = _truth(red.all_op, "all")
any = _truth(red.any_op, "any")


@public()
def count_nonzero(input: Tensor, dim: Any = None, *dims: int) -> Tensor:
    """How many elements are not zero: over all dims, or those given."""
    if dims:
        dim = (dim, *dims)
    return in_own_order(red.count_op(input, dims=wrap_dims(dim, len(input._a.shape))))


def moments(x: Tensor, dims: tuple[int, ...], correction: float) -> tuple[Tensor, Tensor]:
    """Variance and mean, both with the dims kept (two passes: no cancellation)."""
    n = count(x, dims)
    m = (
        keep(sum_op(x, dims=dims), x, dims, True) / n
        if n
        else keep(sum_op(x, dims=dims), x, dims, True) * math.nan
    )
    c = x - m
    sq = c * c if x._a.dtype.kind != "c" else (c * c.conj()).real
    total = keep(sum_op(sq, dims=dims), sq, dims, True)
    left = builtin_max(n - correction, 0)
    return total / float(left), m


builtin_max = __builtins__["max"] if isinstance(__builtins__, dict) else __builtins__.max


def _correction(unbiased: Any, correction: Any) -> float:
    if correction is not None:
        return correction  # type: ignore[no-any-return]
    return 1 if unbiased is None or unbiased else 0


def _variance_args(dim: Any, unbiased: Any) -> tuple[Any, Any]:
    """``var(x, False)``: a bool in the place of dim is `unbiased`."""
    return (None, dim) if isinstance(dim, bool) else (dim, unbiased)


def _check_floating(x: Tensor, name: str) -> None:
    if x._a.dtype.kind in "bui":
        raise RuntimeError(
            f"{name} only support floating point and complex dtypes, got {dtype_of(x)}; convert with .float()"
        )


def _root_of_variance(v: Tensor) -> Tensor:
    """``sqrt(v)`` with the derivative 0 at 0, which is what equal observations have: there, both terms of the chain rule
    are of the form inf * 0."""
    none = v == 0
    return where_op(none, 0, sqrt(where_op(none, 1, v)))  # type: ignore[no-any-return]


def _variance(name: str, root: bool, both: bool) -> Any:
    def fn(
        input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
    ) -> Any:
        dim, unbiased = _variance_args(dim, unbiased)
        _check_floating(input, "std and var")
        dims = wrap_dims(dim, len(input._a.shape))
        left = _correction(unbiased, correction)
        if input._a.dtype.kind != "c":
            op = deviation_op if root else variance_op
            y = keep(op(input, dims=dims, correction=left), input, dims, keepdim)
            return (y, mean(input, dims, keepdim)) if both else y
        v, m = moments(input, dims, left)
        v = (
            v
            if keepdim
            else base.reshape(v, tuple([n for d, n in enumerate(input._a.shape) if d not in dims]))
        )
        y = _root_of_variance(v) if root else v
        if not both:
            return y
        m = m if keepdim else base.reshape(m, tuple(y._a.shape))
        return y, m

    fn.__doc__ = (
        f"The {'standard deviation' if root else 'variance'}{' and the mean' if both else ''} over all or the given dims, "
        "with `correction` (default 1) subtracted from the count."
    )
    return public(out=not both, name=name, grad_name=f"{name.title().replace('_', '')}Backward0")(fn)


var = _variance("var", False, False)
std = _variance("std", True, False)
var_mean = _variance("var_mean", False, True)
std_mean = _variance("std_mean", True, True)


@public(out=True, grad_name="LogsumexpBackward0")
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over the dims, computed around the maximum so that nothing overflows."""
    x = convert(input, as_dtype(None)) if input._a.dtype.kind in "bui" else input
    dims = wrap_dims(dim, len(x._a.shape))
    if count(x, dims) == 0:
        return log(sum(exp(x), dims, keepdim))  # type: ignore[no-any-return]
    if x._a.dtype.kind != "c":
        return keep(red.logsumexp_op(x, dims=dims), x, dims, keepdim)
    top = x.real.detach()
    top = keep(red.amax_op(top, dims=dims), x, dims, True)
    top = where_op(abs(top) == math.inf, 0, top)
    y = log(keep(sum_op(exp(x - top), dims=dims), x, dims, True)) + top
    return y if keepdim else base.reshape(y, tuple([n for d, n in enumerate(x._a.shape) if d not in dims]))
