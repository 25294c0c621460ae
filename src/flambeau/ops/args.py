"""Argument handling shared by the public operations: dims, sizes, scalars, dtypes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.state import defaults
from ..core.tensor import Tensor
from ..runtime import dtypes
from ..runtime.dtypes import dtype


def wrap_dim(dim: Any, ndim: int, name: str = "dim") -> int:
    """A dim in 0..ndim-1 (0-d tensors count as one-dimensional).

    Raises: IndexError when out of range, TypeError when not an integer.
    """
    if type(dim) is int and 0 <= dim < ndim:
        return dim
    try:
        d = dim.__index__()
    except AttributeError:
        raise TypeError(f"argument '{name}' must be int, not {type(dim).__name__}") from None
    n = ndim if ndim else 1
    if not -n <= d < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})")
    return d + n if d < 0 else d  # type: ignore[no-any-return]


def wrap_dims(dims: Any, ndim: int, empty_means_all: bool = True) -> tuple[int, ...]:
    """Several dims, normalised and in increasing order; None (and by default ()) means all.

    Raises: RuntimeError for repeated dims, IndexError out of range.
    """
    if dims is None:
        return tuple(range(ndim))
    if type(dims) is int and 0 <= dims < ndim:
        return (dims,)
    seq = (dims,) if hasattr(dims, "__index__") else tuple(dims)
    if not seq and empty_means_all:
        return tuple(range(ndim))
    found = [wrap_dim(d, ndim) for d in seq]
    if len(set(found)) != len(found):
        repeated = next(d for d in found if found.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    return tuple(sorted(found)) if ndim else ()


def int_tuple(values: Any, name: str) -> tuple[int, ...]:
    """A tuple of ints from an int, a sequence or a Size; 0-d integer tensors count as ints."""
    if hasattr(values, "__index__") and not (isinstance(values, Tensor) and values._a.shape):
        return (values.__index__(),)
    try:
        return tuple([v.__index__() for v in values])
    except AttributeError:
        bad = next(v for v in values if not hasattr(v, "__index__"))
        raise TypeError(
            f"{name}(): argument 'size' failed to unpack: expected int, but got {type(bad).__name__} ({bad!r})"
        ) from None


DIMS = ("permute", "flip", "tile")  # functions whose *size are dims


def sizes(args: Sequence[Any], name: str) -> tuple[int, ...]:
    """The ``*size`` arguments of a function: f(2, 3) or f((2, 3)).

    Raises: TypeError where there are none.
    """
    if not args:
        what = {"repeat": "repeats", "reshape": "shape"}.get(name, "dims" if name in DIMS else "size")
        raise TypeError(f'{name}() missing 1 required positional arguments: "{what}"')
    for v in args:
        if type(v) is not int:
            break
    else:
        return tuple(args)
    if len(args) == 1 and not hasattr(args[0], "__index__"):
        args = args[0]
    elif len(args) == 1 and isinstance(args[0], Tensor) and args[0]._a.shape:
        args = args[0].tolist()
    return int_tuple(args, name)


def check_sizes(shape: Sequence[int], name: str, itemsize: int = 4) -> None:
    """Raises: RuntimeError for negative or absurdly large sizes, before any memory is asked for."""
    for n in shape:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(shape)} ({name})")
    if math.prod(shape) * itemsize >= 2**63:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)} ({name})")


def numel(x: Tensor) -> int:
    return math.prod(x._a.shape)


def dtype_of(x: Tensor) -> dtype:
    return dtypes.OF_NUMPY[x._a.dtype]


def as_dtype(d: Any, default: dtype | None = None) -> dtype:
    """A dtype from what users pass: a dtype, None (default), or the Python types bool, int, float, complex."""
    if isinstance(d, dtype):
        return d
    if d is None:
        return defaults.dtype if default is None else default
    if d is float:
        return dtypes.float64
    if d is int:
        return dtypes.int64
    if d is bool:
        return dtypes.bool_
    if d is complex:
        return dtypes.complex128
    raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(d).__name__}")


def is_number(x: Any) -> bool:
    return isinstance(x, (int, float, complex, np.generic))
