"""Functions of the standard that rearrange arrays or take parts of them."""

from __future__ import annotations

import math
from typing import Any

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..runtime import dtypes
from .arrays import standard
from .promotion import tensor_of, together

__all__ = [
    *("broadcast_arrays", "broadcast_to", "concat", "expand_dims", "flip", "moveaxis", "permute_dims"),
    *("repeat", "reshape", "roll", "squeeze", "stack", "take", "take_along_axis", "tile", "unstack"),
]


def axis_of(axis: int, ndim: int, name: str) -> int:
    """The axis counted from the front.

    Raises: IndexError when it is out of range.
    """
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name}(): axis {axis} is out of bounds for an array of {ndim} dimensions")
    return axis % ndim


@standard
def broadcast_arrays(*arrays: Tensor) -> Any:
    """The arrays as views of their common shape."""
    return [*FUNCTIONS["broadcast_tensors"](*arrays)] if arrays else []


@standard
def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Any:
    """`x` as a view of this shape.

    Raises: RuntimeError when it does not broadcast to it.
    """
    return FUNCTIONS["broadcast_to"](tensor_of(x, "broadcast_to"), tuple(shape))


@standard
def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """The arrays one after another along an existing axis (flattened when `axis` is None), in their common dtype."""
    values = together("concat", *arrays)
    if axis is None:
        return FUNCTIONS["cat"]([x.reshape(-1) for x in values], 0)
    axis = axis_of(axis, values[0].ndim, "concat")
    return FUNCTIONS["cat"](values, axis)


@standard
def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """The arrays, of one shape, along a new axis, in their common dtype."""
    values = together("stack", *arrays)
    return FUNCTIONS["stack"](values, axis_of(axis, values[0].ndim + 1, "stack"))


@standard
def unstack(x: Tensor, /, *, axis: int = 0) -> Any:
    """The slices of `x` along an axis, as a tuple."""
    return tuple(tensor_of(x, "unstack").unbind(axis_of(axis, x.ndim, "unstack")))


@standard
def expand_dims(x: Tensor, /, axis: int) -> Any:
    """`x` with an axis of size one at this place.

    Raises: IndexError when the place is out of range.
    """
    return tensor_of(x, "expand_dims").unsqueeze(axis_of(axis, x.ndim + 1, "expand_dims"))


@standard
def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Any:
    """`x` without these axes.

    Raises: ValueError unless each has size one.
    """
    axes = [axis_of(a, tensor_of(x, "squeeze").ndim, "squeeze") for a in _axes(axis)]
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze(): axes {axes} of shape {tuple(x.shape)} do not all have size one")
    return x.squeeze(tuple(axes)) if axes else x


def _axes(axis: Any) -> tuple[int, ...]:
    return tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)


@standard
def flip(x: Tensor, /, *, axis: int | tuple[int, ...] | None = None) -> Any:
    """`x` with the order reversed along the axes (all when None)."""
    axes = range(tensor_of(x, "flip").ndim) if axis is None else _axes(axis)
    return x.flip([axis_of(a, x.ndim, "flip") for a in axes])


@standard
def moveaxis(x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /) -> Any:
    """`x` with axes moved to other places, the rest in order."""
    return tensor_of(x, "moveaxis").movedim(source, destination)


@standard
def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Any:
    """`x` with its axes in this order."""
    return tensor_of(x, "permute_dims").permute(tuple(axes))


@standard
def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Any:
    """Each element (or each slice along `axis`) repeated: `repeats` times, or as often as an array says for each."""
    tensor_of(x, "repeat")
    if axis is None:
        x, axis = x.reshape(-1), 0
    if isinstance(repeats, Tensor):
        counts = repeats.to(dtypes.int64)
        one = counts.ndim == 0 or counts.shape[0] == 1
        return FUNCTIONS["repeat_interleave"](x, counts.expand(x.shape[axis]) if one else counts, axis)
    return FUNCTIONS["repeat_interleave"](x, repeats, axis)


@standard
def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Any:
    """`x` in another shape; one size may be -1.  A view where the layout allows it, unless `copy` is True.

    Raises: ValueError when `copy` is False and a copy is needed; RuntimeError when the sizes do not fit.
    """
    tensor_of(x, "reshape")
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if copy:
        return x.clone().reshape(sizes)
    if copy is None:
        return x.reshape(sizes)
    try:
        return x.view(sizes)
    except RuntimeError as e:
        raise ValueError(
            f"reshape(): shape {tuple(x.shape)} cannot become {sizes} without a copy: {e}"
        ) from None


@standard
def roll(x: Tensor, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None) -> Any:
    """The elements moved along the axes (or through the flattened array), those past the end coming in at the front."""
    if axis is None:
        return FUNCTIONS["roll"](tensor_of(x, "roll"), shift)
    axes = tuple(axis_of(a, tensor_of(x, "roll").ndim, "roll") for a in _axes(axis))
    shifts = tuple(shift) if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    return FUNCTIONS["roll"](x, shifts, axes)


@standard
def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Any:
    """`x` side by side, so many times along each axis."""
    return FUNCTIONS["tile"](tensor_of(x, "tile"), tuple(repetitions))


@standard
def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Any:
    """The slices of `x` at one-dimensional `indices` along an axis (needed above one dimension).

    Raises: IndexError for indices out of range, ValueError without an axis for several dimensions.
    """
    if axis is None:
        if tensor_of(x, "take").ndim != 1:
            raise ValueError(f"take(): axis is needed for an array of {x.ndim} dimensions")
        axis = 0
    axis = axis_of(axis, tensor_of(x, "take").ndim, "take")
    found = x[(slice(None),) * axis + (tensor_of(indices, "take"),)]
    return found


@standard
def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Any:
    """For each position of `indices`, the element of `x` there, but at the index along `axis`; other axes broadcast.

    Raises: IndexError for indices out of range.
    """
    axis = axis_of(axis, tensor_of(x, "take_along_axis").ndim, "take_along_axis")
    n = x.shape[axis]
    at = tensor_of(indices, "take_along_axis").to(dtypes.int64)
    if math.prod(at.shape) and not bool(((at >= -n) & (at < n)).all()):
        raise IndexError(f"take_along_axis(): indices must be in [{-n}, {n - 1}] for axis {axis}")
    return FUNCTIONS["take_along_dim"](x, FUNCTIONS["where"](at < 0, at + n, at), axis)
