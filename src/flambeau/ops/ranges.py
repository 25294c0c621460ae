"""The numbers of `arange`, `linspace` and `logspace`, to the last bit those of PyTorch's CPU kernels.

Those compute in the range's own dtype or a wider one, with fused multiply-adds (one rounding for ``a + b * i``), and fill
one vector register after the other: in `arange` only a register's first element is counted from the start, and rounded,
before the others are counted from that. What is left over at the end is computed number by number.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..prims.memory_kernels import SLOW, counted
from ..runtime import dtypes, threads
from ..runtime.dtypes import dtype

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_GRAIN = 32768  # numbers that are worth a thread of PyTorch's
_REGISTER = 32  # its bytes


def _fma(a: Any, i: Any, c: Any, work: Any) -> Any:
    """``a * i + c`` in float32 or float64, rounded once, for integers below 2^26 (but for what falls on a tie)."""
    if work == _F32:
        return (np.float64(a) * i + np.asarray(c, np.float64)).astype(work)
    a = np.float64(a)
    split = a * 134217729.0  # 2^27 + 1: two halves of the digits, whose products are exact (Dekker, 1971)
    high = split - (split - a) if np.isfinite(split) else a
    product, rest = high * i, (a - high) * i
    total = c + product
    taken = total - c
    return total + ((c - (total - taken)) + (product - taken) + rest)


def integers(start: int, step: int, n: int) -> Any:
    """n int64 at a distance; numbers that are too large wrap around."""
    if step == 0:  # one between -1 and 1, cut off
        return np.full(n, start)
    if max(abs(start), abs(step), abs(start + n * step)) >= 1 << 62:
        return start + step * np.arange(n, dtype=np.int64)
    if n < SLOW // 8:
        return np.arange(start, start + n * step, step, dtype=np.int64)
    found = counted(n, "arange", lambda k, i, a, s: a + i * s, np.dtype(np.int64), start, step)
    return np.arange(start, start + n * step, step, dtype=np.int64) if found is None else found


def counting(start: float, step: float, n: int, d: dtype) -> Any:
    """n floats at a distance: `arange`."""
    target = d.numpy
    if (
        start == int(start)
        and step == int(step)
        and max(abs(start), abs(start + n * step)) <= 2 / dtypes.finfo(d).eps
    ):
        return integers(int(start), int(step), n).astype(target)  # all of them are exact
    work = _F64 if d.itemsize > 2 else _F32
    a: Any = work.type(start)
    s: Any = work.type(step)
    if work == _F64 and n >= SLOW // 8:
        found = counted(n, "counting", _counting_at, _F64, float(a), float(s))
    else:
        found = None
    y = (_fma(s, np.arange(n), a, work) if found is None else found).astype(target)
    width = _REGISTER // d.itemsize
    tasks = max(1, min(threads.get_num_threads(), -(-n // _GRAIN)))
    size = -(-n // tasks) or 1
    for begin in range(0, n, size):  # in two registers at a time, by the part of each thread
        whole = min(size, n - begin) // (2 * width) * 2 * width
        rows = y[begin : begin + whole].reshape(-1, width)
        first, places = rows[:, :1].astype(work), np.arange(width)
        if d is dtypes.bfloat16:
            rows[...] = (first + s * places.astype(work)).astype(target)
        else:
            rows[...] = _fma(s, places, first, work).astype(target)
    return y


def _counting_at(k: Any, i: Any, start: Any, step: Any) -> Any:
    return k.fma(k.cast(i, "float64"), step, start)


def spaced(start: Any, end: Any, steps: int, d: dtype) -> Any:
    """`linspace`: computed from both ends towards the middle, so that both ends are exact."""
    if steps <= 1:
        return np.full(steps, start, d.numpy)
    if d.is_complex:
        part = dtypes.float32 if d.itemsize == 8 else dtypes.float64
        first, last = complex(start), complex(end)
        out = np.empty(steps, d.numpy)
        out.real = spaced(first.real, last.real, steps, part)
        out.imag = spaced(first.imag, last.imag, steps, part)
        return out
    half = steps // 2
    if d.category <= dtypes.INTEGRAL:
        distance = (int(end) - int(start)) / (steps - 1)
        at = np.arange(steps)
        near, far = _fma(distance, at, int(start), _F64), _fma(-distance, steps - 1 - at, int(end), _F64)
        return np.trunc(np.where(at < half, near, far)).astype(d.numpy)
    if d.itemsize <= 2:
        return _spaced_halves(start, end, steps, d.numpy)
    work = d.numpy
    low, high = work.type(start), work.type(end)
    with np.errstate(over="ignore", invalid="ignore"):
        step = work.type((high - low) / work.type(steps - 1))
    if steps * work.itemsize >= SLOW:
        ends = float(low), float(high), float(step), half, steps - 1
        found = counted(steps, ("linspace", work.name), functools.partial(_spaced_at, work.name), work, *ends)
        if found is not None:
            return found
    i = np.arange(steps - half)
    out = np.empty(steps, work)
    out[:half] = _fma(step, i[:half], low, work)
    out[half:] = _fma(-step, i, high, work)[::-1]
    return out


def _spaced_at(name: str, k: Any, i: Any, first: Any, last: Any, step: Any, half: Any, most: Any) -> Any:
    """Element i of `spaced`, in a kernel."""
    near = i < half
    at = k.cast(k.select(near, i, most - i), name)
    return k.fma(at, k.select(near, step, -step), k.select(near, first, last))


def _spaced_halves(start: Any, end: Any, steps: int, half: Any) -> Any:
    """16-bit floats: every step is rounded, the numbers that count among them."""

    def rounded(x: Any) -> Any:
        return np.asarray(x, np.float32).astype(half).astype(np.float32)

    low, high = rounded(start), rounded(end)
    with np.errstate(all="ignore"):
        step = rounded(rounded(high - low) / rounded(steps - 1))
        i = np.arange(steps)
        near, far = (rounded(step * rounded(at)) for at in (i, steps - 1 - i))
        return np.where(i < steps // 2, low + near, high - far).astype(np.float32).astype(half)


def powers(start: Any, end: Any, steps: int, base: float, d: dtype) -> Any:
    """`logspace`: powers of exponents in double precision, from ends in that of the range, rounded once.

    The powers are the C library's, one by one, while there are few.
    """
    i = np.arange(steps)
    if d.category <= dtypes.INTEGRAL:
        low: Any = int(start)
        high: Any = int(end)
        between: Any = high - low
        base = int(base)
        half = max(steps // 2, 1)
    else:
        low, high = (np.asarray(v, d.numpy).astype(np.float64) for v in (start, end))
        between = (np.asarray(end, d.numpy) - np.asarray(start, d.numpy)).astype(np.float64)
        half = steps // 2
    step = between / max(steps - 1, 1)
    exponents = np.where(i < half, low + step * i, high - step * (steps - 1 - i))
    if steps == 1:
        exponents = np.asarray([start], np.float64)
    if steps > 1 << 14:
        return np.power(np.float64(base), exponents)
    return np.array([_power(float(base), x) for x in exponents.tolist()], np.float64)


def _power(base: float, x: float) -> float:
    try:
        return math.pow(base, x)
    except (OverflowError, ValueError):  # infinities and NaN, with C's rules
        with np.errstate(all="ignore"):
            return float(np.power(np.float64(base), np.float64(x)))
