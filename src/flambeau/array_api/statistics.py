"""Functions of the standard that reduce or accumulate along axes."""

from __future__ import annotations

import math
from typing import Any

from ..core.promotion import convert
from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..runtime import dtypes
from ..runtime.dtypes import FLOATING, INTEGRAL, dtype
from .arrays import standard
from .manipulation import axis_of
from .promotion import tensor_of, together

__all__ = [
    *("all", "any", "cumulative_prod", "cumulative_sum", "diff"),
    *("max", "mean", "min", "prod", "std", "sum", "var"),
]

Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, ndim: int, name: str) -> tuple[int, ...]:
    """The axes counted from the front; all for None.

    Raises: IndexError when one is out of range, ValueError when one comes twice.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis_of(a, ndim, name) for a in (axis if isinstance(axis, tuple) else (axis,)))
    if len({*axes}) < len(axes):
        raise ValueError(f"{name}(): an axis is named twice in {axis}")
    return axes


def reduced(name: str, x: Tensor, axis: Axis, keepdims: bool, **options: Any) -> Any:
    """A reduction over axes that are made one; over no axes, each element is reduced by itself.

    Goes through one axis because some of the functions take only one, and to give the empty tuple of axes its meaning.
    """
    if type(axis) is int:
        return FUNCTIONS[name](x, axis_of(axis, x.ndim, name), keepdim=keepdims, **options)
    axes = axes_of(axis, x.ndim, name)
    if len(axes) == x.ndim:
        flat = x.reshape(-1)
    else:
        kept = [a for a in range(x.ndim) if a not in axes]
        lead = [x.shape[a] for a in kept]
        flat = x.permute([*kept, *axes]).reshape([*lead, math.prod(x.shape[a] for a in axes)])
    found = FUNCTIONS[name](flat, -1, **options)
    return found.reshape([1 if a in axes else m for a, m in enumerate(x.shape)]) if keepdims else found


def _accumulator(x: Tensor, d: dtype | None) -> dtype:
    """Sums and products of integers are at least as wide as the default integer, and keep their sign."""
    if d is not None:
        return d
    if x.dtype.category > INTEGRAL:
        return x.dtype
    return dtypes.int64 if x.dtype.is_signed or x.dtype is dtypes.bool_ else dtypes.uint64


@standard
def sum(x: Tensor, /, *, axis: Axis = None, dtype: dtype | None = None, keepdims: bool = False) -> Any:
    """The sum over the axes (all when None).  Integers are added up in 64 bits unless `dtype` says otherwise.

    >>> import flambeau.array_api as xp
    >>> xp.sum(xp.asarray([200, 100], dtype=xp.uint8))
    Array(300, dtype=torch.uint64)
    """
    d = _accumulator(tensor_of(x, "sum"), dtype)
    return reduced("sum", convert(x, d), axis, keepdims, dtype=d)


@standard
def prod(x: Tensor, /, *, axis: Axis = None, dtype: dtype | None = None, keepdims: bool = False) -> Any:
    """The product over the axes (all when None).  Integers are multiplied in 64 bits unless `dtype` says otherwise."""
    d = _accumulator(tensor_of(x, "prod"), dtype)
    return reduced("prod", convert(x, d), axis, keepdims, dtype=d)


def _extreme(name: str, x: Tensor, axis: Axis, keepdims: bool) -> Any:
    if tensor_of(x, name).dtype.is_complex:
        raise TypeError(f"{name}(): complex numbers have no order")
    return reduced(f"a{name}", x, axis, keepdims)


@standard
def max(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The greatest element over the axes; NaN if there is one.

    Raises: TypeError for complex dtypes; an error when there are no elements.
    """
    return _extreme("max", x, axis, keepdims)


@standard
def min(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest element over the axes; NaN if there is one.

    Raises: TypeError for complex dtypes; an error when there are no elements.
    """
    return _extreme("min", x, axis, keepdims)


def _floating(x: Tensor, name: str) -> Tensor:
    if tensor_of(x, name).dtype.category < FLOATING:
        raise TypeError(f"{name}(): a floating dtype is needed, got {x.dtype}; convert with astype() first")
    return x


@standard
def mean(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over the axes.

    Raises: TypeError unless the dtype is floating.
    """
    return reduced("mean", _floating(x, "mean"), axis, keepdims)


@standard
def var(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance over the axes; `correction` is taken from the count (1 for the unbiased one).

    Raises: TypeError unless the dtype is floating.
    """
    return reduced("var", _floating(x, "var"), axis, keepdims, correction=correction)


@standard
def std(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The square root of `var`."""
    return reduced("std", _floating(x, "std"), axis, keepdims, correction=correction)


def _truth(x: Tensor, name: str) -> Any:
    return x if tensor_of(x, name).dtype is dtypes.bool_ else FUNCTIONS["ne"](x, 0)


@standard
def all(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether no element over the axes is zero."""
    return reduced("all", _truth(x, "all"), axis, keepdims)


@standard
def any(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether some element over the axes is not zero."""
    return reduced("any", _truth(x, "any"), axis, keepdims)


def _running(name: str, first: int, x: Tensor, axis: int | None, d: dtype | None, initial: bool) -> Any:
    fn = f"cum{name}"
    tensor_of(x, f"cumulative_{name}")
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"cumulative_{name}(): axis is needed for an array of {x.ndim} dimensions")
        axis = 0
    axis = axis_of(axis, x.ndim, f"cumulative_{name}")
    wanted = _accumulator(x, d)
    found = FUNCTIONS[fn](convert(x, wanted), axis, dtype=wanted)
    if not initial:
        return found
    edge = FUNCTIONS["full"]([1 if a == axis else n for a, n in enumerate(x.shape)], first, dtype=wanted)
    return FUNCTIONS["cat"]([edge, found], axis)


@standard
def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: dtype | None = None, include_initial: bool = False
) -> Any:
    """The sums up to each element along an axis, after a zero if `include_initial`.

    Raises: ValueError without an axis unless `x` has one dimension.

    >>> import flambeau.array_api as xp
    >>> xp.cumulative_sum(xp.asarray([1, 2, 3]), include_initial=True)
    Array([0, 1, 3, 6])
    """
    return _running("sum", 0, x, axis, dtype, include_initial)


@standard
def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: dtype | None = None, include_initial: bool = False
) -> Any:
    """The products up to each element along an axis, after a one if `include_initial`.

    Raises: ValueError without an axis unless `x` has one dimension.
    """
    return _running("prod", 1, x, axis, dtype, include_initial)


@standard
def diff(
    x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Any:
    """The differences between neighbours along an axis, `n` times over, with `prepend` and `append` joined on first."""
    axis = axis_of(axis, tensor_of(x, "diff").ndim, "diff")
    parts = together("diff", *[p for p in (prepend, x, append) if p is not None])
    found = FUNCTIONS["cat"](parts, axis) if len(parts) > 1 else parts[0].clone()
    for _ in range(n):
        size = found.shape[axis]
        if size < 2:
            return found.narrow(axis, 0, 0)
        a, b = found.narrow(axis, 1, size - 1), found.narrow(axis, 0, size - 1)
        found = a ^ b if found.dtype is dtypes.bool_ else a - b
    return found
