"""Functions of the standard that make arrays, and conversion between dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.public import FUNCTIONS
from ..core.state import defaults
from ..core.tensor import Tensor
from ..runtime import dtypes
from ..runtime.dtypes import COMPLEX, dtype
from ..runtime.types import check_device
from .arrays import standard
from .promotion import tensor_of

__all__ = [
    *("arange", "asarray", "astype", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like"),
    *("linspace", "meshgrid", "ones", "ones_like", "tril", "triu", "zeros", "zeros_like"),
]


def on_device(device: Any) -> None:
    """Raises: RuntimeError (AssertionError for CUDA, as PyTorch does) for a device that is not there."""
    if device is not None:
        check_device(device)


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(int(n.__index__()) for n in shape) if isinstance(shape, Sequence) else (shape.__index__(),)


def _number_dtype(values: Sequence[Any]) -> dtype:
    """The default dtype for Python numbers."""
    if any(isinstance(v, complex) for v in values):
        return defaults.dtype.to_complex()
    if any(isinstance(v, float) for v in values):
        return defaults.dtype
    return dtypes.bool_ if all(isinstance(v, bool) for v in values) else dtypes.int64


@standard
def asarray(obj: Any, /, *, dtype: dtype | None = None, device: Any = None, copy: bool | None = None) -> Any:
    """`obj` as an array: another array, anything with DLPack or the buffer protocol, numbers, nested sequences.

    Memory is shared when `copy` is None and dtype and layout allow it; True always copies.

    Raises: ValueError when ``copy=False`` and a copy is needed; TypeError and ValueError for what is no array.

    >>> import flambeau.array_api as xp
    >>> xp.asarray([[1, 2], [3, 4]]).shape
    torch.Size([2, 2])
    """
    on_device(device)
    if isinstance(obj, (Tensor, np.ndarray, np.generic)) or hasattr(obj, "__dlpack__"):
        if isinstance(obj, np.ndarray) and not (obj.dtype.isnative and all(s >= 0 for s in obj.strides)):
            if copy is False:
                raise ValueError("asarray(): a copy is needed for reversed or byte-swapped arrays")
            obj = np.array(obj, obj.dtype.newbyteorder("="))
        return FUNCTIONS["asarray"](obj, dtype=dtype, copy=copy)
    if not isinstance(obj, (bool, int, float, complex, list, tuple, range)):
        try:
            memory = memoryview(obj)
        except TypeError:
            pass
        else:
            return asarray(np.asarray(memory), dtype=dtype, copy=copy)
    if copy is False:
        raise ValueError(f"asarray(): a {type(obj).__name__} cannot become an array without a copy")
    if dtype is None and _beyond_int64(obj):
        dtype = dtypes.uint64
    return FUNCTIONS["tensor"](_plain(obj), dtype=dtype)


def _plain(obj: Any) -> Any:
    """Nested sequences with arrays in them as nested lists of numbers."""
    if isinstance(obj, Tensor):
        return obj.tolist()
    return [_plain(x) for x in obj] if isinstance(obj, (list, tuple)) else obj


def _beyond_int64(obj: Any) -> bool:
    """Whether integers need uint64."""
    flat = [obj]
    largest = 0
    while flat:
        x = flat.pop()
        if isinstance(x, (list, tuple)):
            flat.extend(x)
        elif type(x) is not int or x < 0:
            return False
        else:
            largest = max(largest, x)
    return 2**63 <= largest < 2**64


@standard
def astype(x: Tensor, dtype: dtype, /, *, copy: bool = True, device: Any = None) -> Any:
    """`x` converted to `dtype`; `x` itself when nothing changes and `copy` is False.

    Raises: TypeError from complex to real (take ``real(x)``).
    """
    on_device(device)
    tensor_of(x, "astype")
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"astype(): a dtype was expected, not {dtype!r}")
    if x.dtype.category == COMPLEX and dtype.category != COMPLEX and dtype is not dtypes.bool_:
        raise TypeError(
            f"astype(): {x.dtype} does not convert to {dtype}; take real(), imag() or abs() first"
        )
    return x.to(dtype, copy=copy)


@standard
def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """An array over the memory of another library's array.

    Raises: BufferError when ``copy=False`` and the memory cannot be shared.
    """
    on_device(device)
    return FUNCTIONS["from_dlpack"](x, device=device, copy=copy)


@standard
def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: dtype | None = None, device: Any = None
) -> Any:
    """The numbers from `start` (0 when only one number is given) to below `stop`, in steps; none if `step` leads away.

    Raises: ValueError for a step of zero.

    >>> import flambeau.array_api as xp
    >>> xp.arange(2, 10, 3)
    Array([2, 5, 8])
    """
    on_device(device)
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError("arange(): step must not be zero")
    d = dtype or _number_dtype([v for v in (start, stop, step) if not isinstance(v, bool)] or [0])
    if (stop - start) * step <= 0:
        return FUNCTIONS["empty"](0, dtype=d)
    return FUNCTIONS["arange"](start, stop, step, dtype=d)


@standard
def linspace(
    start: Any,
    stop: Any,
    /,
    num: int,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Any:
    """`num` numbers at equal distances from `start` to `stop`, which is left out when `endpoint` is False.

    Raises: ValueError for a negative `num`.
    """
    on_device(device)
    if num < 0:
        raise ValueError(f"linspace(): num must not be negative, got {num}")
    d = dtype or _number_dtype([0.0, start, stop])
    found = FUNCTIONS["linspace"](start, stop, num + (not endpoint), dtype=d)
    return found if endpoint else found[:num]


@standard
def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: dtype | None = None, device: Any = None
) -> Any:
    """Zeros with ones on the `k`-th diagonal (above the main one when positive)."""
    on_device(device)
    found = FUNCTIONS["zeros"](n_rows, n_rows if n_cols is None else n_cols, dtype=dtype)
    if -found.shape[0] < k < found.shape[1]:
        found.diagonal(k).fill_(1)
    return found


@standard
def empty(shape: Any, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """An uninitialised array of this shape (an int or a tuple)."""
    on_device(device)
    return FUNCTIONS["empty"](_sizes(shape), dtype=dtype)


@standard
def zeros(shape: Any, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """Zeros in this shape (an int or a tuple)."""
    on_device(device)
    return FUNCTIONS["zeros"](_sizes(shape), dtype=dtype)


@standard
def ones(shape: Any, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """Ones in this shape (an int or a tuple)."""
    on_device(device)
    return FUNCTIONS["ones"](_sizes(shape), dtype=dtype)


@standard
def full(shape: Any, fill_value: Any, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """`fill_value` in this shape (an int or a tuple); its kind gives the dtype when none is given."""
    on_device(device)
    if isinstance(fill_value, Tensor):
        dtype = dtype or fill_value.dtype
        fill_value = fill_value.item()
    return FUNCTIONS["full"](_sizes(shape), fill_value, dtype=dtype or _number_dtype([fill_value]))


@standard
def empty_like(x: Tensor, /, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """An uninitialised array with the shape (and dtype) of `x`."""
    on_device(device)
    return FUNCTIONS["empty_like"](tensor_of(x, "empty_like"), dtype=dtype)


@standard
def zeros_like(x: Tensor, /, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """Zeros with the shape (and dtype) of `x`."""
    on_device(device)
    return FUNCTIONS["zeros_like"](tensor_of(x, "zeros_like"), dtype=dtype)


@standard
def ones_like(x: Tensor, /, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """Ones with the shape (and dtype) of `x`."""
    on_device(device)
    return FUNCTIONS["ones_like"](tensor_of(x, "ones_like"), dtype=dtype)


@standard
def full_like(x: Tensor, /, fill_value: Any, *, dtype: dtype | None = None, device: Any = None) -> Any:
    """`fill_value` in the shape (and dtype) of `x`."""
    on_device(device)
    return FUNCTIONS["full_like"](tensor_of(x, "full_like"), fill_value, dtype=dtype)


@standard
def tril(x: Tensor, /, *, k: int = 0) -> Any:
    """The matrices of `x` with zeros above the `k`-th diagonal."""
    return FUNCTIONS["tril"](tensor_of(x, "tril"), k)


@standard
def triu(x: Tensor, /, *, k: int = 0) -> Any:
    """The matrices of `x` with zeros below the `k`-th diagonal."""
    return FUNCTIONS["triu"](tensor_of(x, "triu"), k)


@standard
def meshgrid(*arrays: Tensor, indexing: str = "xy") -> Any:
    """Coordinate arrays of a grid from one-dimensional arrays; "xy" has the second array along the first axis.

    Raises: ValueError for another `indexing` or arrays of several dimensions or dtypes.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid(): indexing must be 'xy' or 'ij', not {indexing!r}")
    if any(tensor_of(x, "meshgrid").ndim > 1 for x in arrays) or len({x.dtype for x in arrays}) > 1:
        raise ValueError("meshgrid(): one-dimensional arrays of one dtype are needed")
    return [*FUNCTIONS["meshgrid"](*arrays, indexing=indexing)] if arrays else []
