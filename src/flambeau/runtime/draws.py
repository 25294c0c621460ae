"""What the random functions share: dtype tables, uniform numbers, filling long results piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import ml_dtypes
import numpy as np

from flambeau.runtime.mt19937 import Generator
from flambeau.runtime.pool import empty

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

__all__ = [
    "BFLOAT16",
    "F16",
    "F32",
    "F64",
    "FLOATS",
    "INTEGERS",
    "LOW53",
    "PIECE",
    "REAL",
    "UNSIGNED_ADDED_LATER",
    "Array",
    "Shape",
    "fill",
    "largest",
    "narrow",
    "not_implemented",
    "number",
    "pieces",
    "quiet_pieces",
    "type_name",
    "unit32",
    "unit64",
]

Array: TypeAlias = "npt.NDArray[Any]"
Shape = tuple[int, ...]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
F16, F32, F64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
# Floating dtypes: bits of the significand, and the names that PyTorch's messages use.
FLOATS = {F16: (11, "Half", "c10::Half"), BFLOAT16: (8, "BFloat16", "c10::BFloat16")}
FLOATS |= {F32: (24, "Float", "float"), F64: (53, "Double", "double")}
# Integer dtypes and bool: largest value, and the names that PyTorch's messages use.
INTEGERS = {
    np.dtype(np.bool_): (1, "Bool", "bool"),
    np.dtype(np.uint8): (0xFF, "Byte", "unsigned char"),
    np.dtype(np.int8): (0x7F, "Char", "signed char"),
    np.dtype(np.int16): (0x7FFF, "Short", "short int"),
    np.dtype(np.int32): (0x7FFFFFFF, "Int", "int"),
    np.dtype(np.int64): (0x7FFFFFFFFFFFFFFF, "Long", "long int"),
    np.dtype(np.uint16): (0xFFFF, "UInt16", "short unsigned int"),
    np.dtype(np.uint32): (0xFFFFFFFF, "UInt32", "unsigned int"),
    np.dtype(np.uint64): (0xFFFFFFFFFFFFFFFF, "UInt64", "long unsigned int"),
}
# Complex dtypes: the dtype of their parts.
REAL = {np.dtype(np.complex64): F32, np.dtype(np.complex128): F64}
# PyTorch's later integer dtypes, which several of its random functions leave out.
UNSIGNED_ADDED_LATER = frozenset({"UInt16", "UInt32", "UInt64"})
# Constants as 0-dim arrays: NumPy takes 0.2 us less over them than over scalars.
LOW53 = np.array((1 << 53) - 1, np.uint64)
_LARGEST = {dtype: float(ml_dtypes.finfo(dtype).max) for dtype in FLOATS}  # type: ignore[no-untyped-call]
_LOW24 = {4: np.array(0xFFFFFF, np.uint32), 8: np.array(0xFFFFFF, np.uint64)}
_ULP24, _ULP53 = np.array(2.0**-24, np.float32), np.array(2.0**-53)
# Long results are made in pieces that stay in the cache.
PIECE = 16384


def type_name(dtype: np.dtype[Any]) -> str:
    """The name that PyTorch's messages use: Float, Int, ComplexFloat."""
    if dtype in FLOATS:
        return FLOATS[dtype][1]
    if dtype in INTEGERS:
        return INTEGERS[dtype][1]
    return {"complex64": "ComplexFloat", "complex128": "ComplexDouble"}.get(dtype.name, dtype.name)


def not_implemented(kernel: str, dtype: np.dtype[Any]) -> NotImplementedError:
    return NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")


def number(value: float) -> str:
    """A parameter as C++ streams print it: 2, 0.5, -1e+30."""
    return format(float(value), "g")


def pieces(generator: Generator, shape: Shape, dtype: Any, draw: Callable[[int], Array]) -> Array:
    """An array of ``shape`` filled in C order with ``draw(n)``, ``n`` elements at a time."""
    size = math.prod(shape)
    with generator.lock:
        if size <= PIECE:
            values = draw(size)
            return (values if values.dtype == dtype else values.astype(dtype)).reshape(shape)
        result = empty(shape, dtype)
        flat = result.reshape(-1)
        for start in range(0, size, PIECE):
            flat[start : start + PIECE] = draw(min(PIECE, size - start))
        return result


def quiet_pieces(generator: Generator, shape: Shape, dtype: Any, draw: Callable[[int], Array]) -> Array:
    """`pieces` without NumPy's warnings, where infinite results are right (an overflow to float16, log(0))."""
    with np.errstate(all="ignore"):
        return pieces(generator, shape, dtype, draw)


def unit32(generator: Generator, n: int) -> npt.NDArray[np.float32]:
    """float32 uniforms in [0, 1): the low 24 bits of one output each."""
    raw = generator.raw32(n)
    raw &= _LOW24[raw.itemsize]
    result = raw.astype(np.float32)
    result *= _ULP24
    return result


def unit64(generator: Generator, n: int) -> npt.NDArray[np.float64]:
    """float64 uniforms in [0, 1): the low 53 bits of two outputs each."""
    raw = generator.raw64(n)
    raw &= LOW53
    result = raw.astype(np.float64)
    result *= _ULP53
    return result


def narrow(values: Array, dtype: np.dtype[Any]) -> Array:
    """float64 or int64 values as ``dtype``; 16-bit floats are reached by way of float32."""
    if dtype == F16 or dtype == BFLOAT16:
        values = values.astype(np.float32)
    return values if values.dtype == dtype else values.astype(dtype)


def fill(target: Array, draw: Callable[[Shape], Array]) -> None:
    """Write ``draw(shape)`` into ``target`` in the order of its memory, as PyTorch's in-place functions do.

    ``target``'s dimensions are taken from the largest stride to the smallest; ``draw`` gets their sizes in
    that order.
    """
    if target.flags.c_contiguous:
        target[...] = draw(target.shape)
        return
    order = sorted(range(target.ndim), key=lambda d: -target.strides[d])
    in_memory_order = target.transpose(order)
    in_memory_order[...] = draw(in_memory_order.shape)


def largest(dtype: np.dtype[Any]) -> float:
    """The largest finite number of a floating dtype."""
    return _LARGEST[dtype]
