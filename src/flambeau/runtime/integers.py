"""Random integers and permutations with PyTorch's numbers (conventions: see `flambeau.runtime.distributions`)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from flambeau.runtime.draws import (
    BFLOAT16,
    F16,
    F64,
    FLOATS,
    INTEGERS,
    PIECE,
    UNSIGNED_ADDED_LATER,
    Array,
    Shape,
    largest,
    narrow,
    not_implemented,
    pieces,
    type_name,
)
from flambeau.runtime.mt19937 import Generator
from flambeau.runtime.native_draws import kernels
from flambeau.runtime.pool import empty

__all__ = ["random_integers", "random_integers_from", "randperm"]

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def _representable_range(dtype: np.dtype[Any], low: int, high: int) -> tuple[int, int]:
    """The nearest bounds for which values rounded to a floating ``dtype`` stay in [low, high)."""
    digits = FLOATS[dtype][0]

    def rounded(value: int) -> float:
        with np.errstate(over="ignore"):
            return float(narrow(np.array(min(value, _INT64_MAX), np.int64), dtype))

    def spacing(value: int) -> int:
        return 1 << max((abs(value).bit_length() - 1) - digits + 1, 0)

    above_low, below_high = rounded(low + 1), rounded(high - 1)
    if -(2.0**64) < above_low < low:
        low = int(above_low) + spacing(low + 1)
    # From 2**63 on, PyTorch's conversion back to an integer wraps, and it leaves the bound as it is.
    if high <= below_high < 2.0**63:
        high = int(below_high) - spacing(high - 1)
    return low, high


def _check_integer_range(dtype: np.dtype[Any], low: int, last: int) -> None:
    """Bounds of an integer draw must be values of the dtype; imprecise ones earn PyTorch's warning."""
    if dtype in FLOATS:
        digits, _, cpp_name = FLOATS[dtype]
        most: float = largest(dtype)
        least: float = -most
    elif dtype in INTEGERS:
        limit, _, cpp_name = INTEGERS[dtype]
        most = min(limit, _INT64_MAX)
        least = -most - 1 if dtype.kind == "i" else 0
        digits = 64
    else:
        raise RuntimeError("check_random_bounds handles only integral, floating-point and boolean types")
    for name, value in (("from", low), ("to - 1", last)):
        if not least <= value <= most:
            raise RuntimeError(
                f"{name} is out of bounds for {cpp_name}: {value} is not in [{least:g}, {most:g}]"
            )
        if abs(value) > 1 << digits:
            warnings.warn(
                f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations {cpp_name} can "
                "support discrete uniform distribution only within this range.",
                UserWarning,
                stacklevel=3,
            )


def _remainder(raw: Array, modulus: int) -> None:
    """raw %= modulus, for unsigned ``raw`` with values below 2**64."""
    if modulus & (modulus - 1) == 0:
        raw &= modulus - 1
    else:
        # NumPy divides by a constant with multiplications, but takes remainders with the divide instruction.
        quotient = raw // modulus
        quotient *= modulus
        raw -= quotient


def _integers(
    generator: Generator, shape: Shape, dtype: np.dtype[Any], modulus: int, base: int, wide: bool
) -> Array:
    """base + draw % modulus, each draw of 64 bits (``wide``) or 32."""

    def draw(n: int) -> Array:
        raw = generator.raw64(n) if wide else generator.raw32(n)
        _remainder(raw, modulus)
        values = raw.astype(np.int64) if raw.dtype == np.uint32 else raw.view(np.int64)
        if base:
            values += base
        return narrow(values, dtype)

    return pieces(generator, shape, dtype, draw)


def random_integers_from(generator: Generator, shape: Shape, dtype: Any, low: int, high: int | None) -> Array:
    """Integers in [low, high), as ``randint`` and ``random_(from, to)``; any dtype but complex.

    ``high=None`` stands for "up to the largest": of the dtype, or 2**digits for floating ones; with
    ``low=-2**63`` for all 64-bit integers.  Draws take 64 bits from a range of 2**28 on, as in PyTorch.

    Raises: RuntimeError for an empty range, or bounds outside the dtype; ValueError for bounds outside int64.
    """
    dtype = np.dtype(dtype)
    for value in (low, high):
        if value is not None and not _INT64_MIN <= value <= _INT64_MAX:
            raise ValueError(f"Overflow when unpacking long long: bound {value} is outside [-2**63, 2**63)")
    if high is None and low == _INT64_MIN:
        return _all_64_bits(generator, shape, dtype)
    if high is None:
        if dtype in FLOATS:
            last = 1 << FLOATS[dtype][0]
            low, _ = _representable_range(dtype, low, last)
            if not low < last:
                raise RuntimeError(
                    "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to dtype, "
                    f"but got from={low} > to_inc={last}"
                )
        elif dtype in INTEGERS:
            last = INTEGERS[dtype][0]
        else:
            raise RuntimeError("random_from_to_impl handles only integral, floating-point and boolean types")
    else:
        if not low < high:
            raise RuntimeError(
                f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
            )
        if dtype in FLOATS:
            low, high = _representable_range(dtype, low, high)
            if not low < high:
                raise RuntimeError(
                    "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, "
                    f"but got from={low} >= to={high}"
                )
        last = high - 1
    _check_integer_range(dtype, low, last)
    if 0 in shape:
        return np.empty(shape, dtype)
    span = last - low + 1
    return _integers(generator, shape, dtype, span, low, span >= 1 << 28)


def _all_64_bits(generator: Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    if 0 in shape:
        return np.empty(shape, dtype)
    if dtype in (F16, np.dtype(np.bool_)) or type_name(dtype) in UNSIGNED_ADDED_LATER or dtype.kind == "c":
        raise not_implemented("random_full_64_bits_range_kernel_cpu", dtype)
    if dtype not in FLOATS and dtype != np.int64:
        raise RuntimeError(
            "random_full_64_bits_range_kernel_cpu handles only int64, double, float and bfloat16"
        )
    return pieces(generator, shape, dtype, lambda n: narrow(generator.raw64(n).view(np.int64), dtype))


def random_integers(generator: Generator, shape: Shape, dtype: Any) -> Array:
    """Integers over all of a dtype's range as ``random_()``: [0, largest], or [0, 2**digits] for floating dtypes.

    Raises: NotImplementedError for complex and for uint16, uint32, uint64.
    """
    dtype = np.dtype(dtype)
    if 0 in shape:
        return np.empty(shape, dtype)
    if dtype in FLOATS:
        modulus = (1 << FLOATS[dtype][0]) + 1
    elif dtype in INTEGERS and type_name(dtype) not in UNSIGNED_ADDED_LATER:
        modulus = INTEGERS[dtype][0] + 1
    else:
        raise not_implemented("random_kernel_cpu", dtype)
    return _integers(generator, shape, dtype, modulus, 0, dtype == F64 or dtype == np.int64)


def randperm(generator: Generator, n: int, dtype: Any = np.int64) -> Array:
    """A random permutation of 0 .. n-1 in an integer or floating dtype.

    Raises: RuntimeError for negative ``n`` and when n - 1 does not fit into the dtype; NotImplementedError for
    bool, complex, uint16, uint32, uint64.
    """
    dtype = np.dtype(dtype)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    name = type_name(dtype)
    if dtype in FLOATS:
        # PyTorch has no such limit for bfloat16, whose numbers above 256 are rounded and repeat.
        if dtype != BFLOAT16 and n > (1 << FLOATS[dtype][0]) + 1:
            raise RuntimeError(f"n cannot be greater than {(1 << FLOATS[dtype][0]) + 1} for {name} type.")
    elif dtype not in INTEGERS or dtype == np.bool_:
        raise not_implemented("randperm", dtype)
    elif n - 1 > INTEGERS[dtype][0]:
        raise RuntimeError(
            f"randperm: value {n - 1} cannot be converted to type {dtype.name} without overflow"
        )
    elif name in UNSIGNED_ADDED_LATER:
        raise not_implemented("randperm", dtype)
    with generator.lock:
        order = _shuffled(generator, n) if n < 0xFFFFFFFF // 20 else _shuffled_inside_out(generator, n)
    return narrow(np.array(order, np.int64), dtype)


def _shuffled(generator: Generator, n: int) -> Array | list[int]:
    """Fisher and Yates's shuffle: position i is exchanged with one of the positions from i on."""
    raw = generator.raw32(max(n - 1, 0))
    native = kernels(n * 6e-8) if n >= 32 else None
    if native is not None:
        result = np.arange(n, dtype=np.int64)
        native.shuffle(result, raw.astype(np.uint32, copy=False))
        return result
    steps = np.arange(raw.size, dtype=np.int64)
    targets = raw.astype(np.int64)
    targets %= n - steps
    targets += steps
    order = list(range(n))
    for i, j in enumerate(targets.tolist()):
        chosen = order[j]
        order[j] = order[i]
        order[i] = chosen
    return order


def _shuffled_inside_out(generator: Generator, n: int) -> Array:
    """The inside-out form, with 64-bit draws, that PyTorch uses where 32 bits would be visibly skewed."""
    order = empty((n,), np.dtype(np.int64))
    for start in range(0, n, PIECE):
        steps = np.arange(start + 1, min(start + PIECE, n) + 1, dtype=np.uint64)
        for i, j in enumerate((generator.raw64(steps.size) % steps).tolist(), start):
            order[i] = order[j]
            order[j] = i
    return order
