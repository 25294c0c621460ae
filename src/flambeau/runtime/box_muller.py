"""Normal numbers by the Box-Muller transform (Ann. Math. Stat. 29(2), 1958), rounded as PyTorch rounds them.

PyTorch has three versions of the transform on the CPU, and which one runs depends on size and layout:

* float32 (and float16, bfloat16, which compute in float32), 16 or more contiguous elements: blocks of 16,
  eight uniforms for the radius then eight for the angle, in the arithmetic of its AVX2 kernel.  That is
  Cephes' single precision `logf` and `sincosf` polynomials (Moshier 1989) with each multiplication that feeds
  an addition fused with it.  `fill16_float32` rounds at exactly the same places, bit for bit; the AVX-512
  build of PyTorch runs the AVX2 kernel here too.
* float64, 16 or more contiguous elements: the same blocks through the C library's `log`, `cos` and `sin`.
* everything else: pairs through the C library's `log1p`, `cos` and `sin`, the second number of a pair cached.

Fused multiply-adds on float32 are one multiplication and addition in float64, where the product is exact,
and a rounding to float32; the sum's first rounding can only matter in one case of about 2**29.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from flambeau.runtime.native_draws import kernels

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

    from flambeau.runtime.mt19937 import Generator

__all__ = [
    "FEW",
    "few_normals",
    "fill16_float32",
    "fill16_float64",
    "libm",
    "multiply_add",
    "normals_from_bits",
    "pair",
    "pairs",
]

F32: TypeAlias = "npt.NDArray[np.float32]"
F64: TypeAlias = "npt.NDArray[np.float64]"


def _column(*values: float) -> F64:
    """float32 constants, widened: one per row of a two-row array."""
    return np.array(values, np.float32).astype(np.float64).reshape(-1, 1)


# logf: log(1 + x) = x - x**2/2 + x**3 P(x) on [sqrt(1/2) - 1, sqrt(2) - 1].
_LOG_P = [
    float(np.float32(c))
    for c in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
]
_LN2_LOW, _LN2_HIGH = np.float32(-2.12194440e-4), np.float32(0.693359375)
_SQRT_HALF_BITS = 0x3F3504F3
# sincosf: row 0 is cos(x) = 1 - z/2 + z**2 C(z), row 1 is sin(x) = x + x z S(z), with z = x**2, |x| <= pi/4.
_TRIG_P = [
    _column(2.443315711809948e-5, -1.9515295891e-4),
    _column(-1.388731625493765e-3, 8.3321608736e-3),
    _column(4.166664568298827e-2, -1.6666654611e-1),
]
# pi/4 in three parts; products of the first two with the octant number are exact.
_QUARTER_PI_1, _QUARTER_PI_2 = np.float32(0.78515625), np.float32(2.4187564849853515625e-4)
_QUARTER_PI_3 = float(np.float32(3.77489497744594108e-8))
_FOUR_OVER_PI = np.float32(1.27323954473516)
_TWO_PI32 = np.float32(2 * math.pi)


def _log32(x: F32) -> F32:
    """log(x) for normal float32 x > 0."""
    bits = x.view(np.int32) - _SQRT_HALF_BITS
    exponent = (bits >> 23).astype(np.float32)
    bits &= 0x7FFFFF
    bits += _SQRT_HALF_BITS
    x = bits.view(np.float32) - np.float32(1)
    wide = x.astype(np.float64)
    y = np.empty_like(x)
    t = wide * _LOG_P[0]
    t += _LOG_P[1]
    for c in _LOG_P[2:]:
        y[...] = t
        t[...] = y
        t *= wide
        t += c
    y[...] = t
    y *= x
    square = x * x
    t[...] = y
    t *= square
    exponent_low = exponent * _LN2_LOW
    t += exponent_low
    y[...] = t
    square *= np.float32(0.5)
    y -= square
    x += y
    exponent *= _LN2_HIGH
    x += exponent
    return x


def _cos_sin32(theta: F32) -> F32:
    """cos and sin of float32 angles in [0, 2 pi), as the two rows of the result."""
    octant = (theta * _FOUR_OVER_PI).astype(np.int32)
    octant += 1
    octant &= -2
    multiple = octant.astype(np.float32)
    x = theta - multiple * _QUARTER_PI_1
    x -= multiple * _QUARTER_PI_2
    t = multiple.astype(np.float64)
    t *= -_QUARTER_PI_3
    t += x
    x = t.astype(np.float32)
    z = x * x
    last = np.empty((2, x.size))  # what the last multiplication of each row multiplies by
    last[0] = z
    last[1] = x
    term = np.empty_like(last)  # and what is then added
    np.multiply(last[0], -0.5, out=term[0])
    term[1] = x
    y = np.empty(last.shape, np.float32)
    wide = last[0] * _TRIG_P[0]
    wide += _TRIG_P[1]
    y[...] = wide
    wide[...] = y
    wide *= last[0]
    wide += _TRIG_P[2]
    y[...] = wide
    y *= z
    wide[...] = y
    wide *= last
    wide += term
    y[...] = wide
    y[0] += np.float32(1)
    # Odd quadrants exchange the rows, then the signs follow the quadrant.
    bits = y.view(np.int32)
    exchange = octant << 30
    exchange >>= 31
    exchange &= bits[0] ^ bits[1]
    bits ^= exchange
    bits[1] ^= (octant & 4) << 29
    octant -= 2
    np.invert(octant, out=octant)
    octant &= 4
    octant <<= 29
    bits[0] ^= octant
    return y


def fill16_float32(uniform: F32, mean: float, std: float) -> F32:
    """Normals from float32 uniforms in [0, 1), whose number is a multiple of 16; same order and shape (flat)."""
    blocks = uniform.reshape(-1, 2, 8)
    radius = _log32((np.float32(1) - blocks[:, 0]).reshape(-1))
    radius *= np.float32(-2)
    np.sqrt(radius, out=radius)
    normal = _cos_sin32((blocks[:, 1] * _TWO_PI32).reshape(-1))
    normal *= radius
    # `+ 0.0` turns a -0.0 into 0.0, as the fused `* std + 0.0` does.
    mean32, std32 = np.float32(mean), np.float32(std)
    if mean32 == 0:
        normal *= std32
        normal += np.float32(0)
    else:
        wide = normal.astype(np.float64)
        wide *= float(std32)
        wide += float(mean32)
        normal[...] = wide
    result = np.empty_like(blocks)
    result[:, 0] = normal[0].reshape(-1, 8)
    result[:, 1] = normal[1].reshape(-1, 8)
    return result.reshape(-1)


def normals_from_bits(bits: npt.NDArray[np.uint32], mean: float, std: float) -> F32:
    """`fill16_float32` for outputs of the engine, whose low 24 bits are the uniforms; works in their memory."""
    native = kernels(4e-5 + 8e-9 * bits.size)
    normals = bits.view(np.float32)
    if native is not None and native.has_normal32:
        native.normal32(bits, mean, std)
    else:
        bits &= 0xFFFFFF
        normals[...] = fill16_float32(bits.astype(np.float32) * np.float32(2.0**-24), mean, std)
    return normals


FEW = 1024


class _Scratch:
    """Where small draws are made: to ask a new array for its address would take as long as they do."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bits = np.empty(FEW, np.uint32)
        self.normals = self.bits.view(np.float32)
        self.address = self.bits.ctypes.data


_scratch: _Scratch | None = None


def few_normals(generator: Generator, n: int, mean: float, std: float) -> F32 | None:
    """`normals_from_bits` of the next `n` outputs, a multiple of 16 up to `FEW`; None without native code."""
    native = kernels(4e-5 + 8e-9 * n)
    if native is None or not native.has_normal32:
        return None
    global _scratch
    if _scratch is None:
        _scratch = _Scratch()
    with generator.lock, _scratch.lock:
        generator.fill32(_scratch.bits[:n])
        native.normal32_at(_scratch.address, n, mean, std)
        return _scratch.normals[:n].copy()


def libm(function: Callable[[float], float], x: F64) -> F64:
    """The C library's ``function`` (from `math`) of each element.

    NumPy's own vector versions are faster, but round up to 8 % of float64 results to the other neighbour.
    """
    native = kernels(x.size * 4e-8) if x.size >= 32 else None
    if native is None:
        return np.fromiter(map(function, x.reshape(-1).tolist()), np.float64, x.size).reshape(x.shape)
    result = x.reshape(-1).copy()
    native.libm[function.__name__](result)
    return result.reshape(x.shape)


def multiply_add(x: F64, factor: float, term: float) -> F64:
    """x * factor + term rounded once, which is how PyTorch's vectorised kernels compute it.

    The rounding errors of product and sum are found exactly (Dekker, Numer. Math. 18, 1971; Knuth, TAOCP 2,
    4.2.2) and added back.
    """
    if term == 0:
        return x * factor + 0.0
    if factor == 1:
        return x + term
    product = x * factor
    total = product + term
    head = x * 134217729.0
    head -= head - x
    tail = x - head
    factor_head = factor * 134217729.0
    factor_head -= factor_head - factor
    factor_tail = factor - factor_head
    error = head * factor_head - product
    error += head * factor_tail
    error += tail * factor_head
    error += tail * factor_tail
    virtual = total - product
    error += (product - (total - virtual)) + (term - virtual)
    error += total
    # Splitting overflows for numbers near the largest: the plain result is right to the last place there.
    return np.where(np.isfinite(error), error, total)


def fill16_float64(uniform: F64, mean: float, std: float) -> F64:
    """The float64 form of `fill16_float32`."""
    blocks = uniform.reshape(-1, 2, 8)
    radius = np.sqrt(-2 * libm(math.log, 1 - blocks[:, 0]))
    theta = 2 * math.pi * blocks[:, 1]
    result = np.empty_like(blocks)
    result[:, 0] = multiply_add(radius * libm(math.cos, theta), std, mean)
    result[:, 1] = multiply_add(radius * libm(math.sin, theta), std, mean)
    return result.reshape(-1)


def pairs(uniform: F64) -> F64:
    """Standard normals from an even number of float64 uniforms: (angle, radius) pairs give (cos, sin) pairs."""
    if uniform.size > 32:
        radius = np.sqrt(-2 * libm(math.log1p, -uniform[1::2]))
        theta = 2 * math.pi * uniform[0::2]
        result = np.empty_like(uniform)
        np.multiply(radius, libm(math.cos, theta), out=result[0::2])
        np.multiply(radius, libm(math.sin, theta), out=result[1::2])
        return result
    values: list[float] = []
    stream = iter(uniform.tolist())
    for turn, u in zip(stream, stream):
        values.extend(pair(turn, u))
    return np.array(values, np.float64)


def pair(turn: float, u: float) -> tuple[float, float]:
    """The two normals that two uniforms make."""
    radius = math.sqrt(-2 * math.log1p(-u))
    theta = 2 * math.pi * turn
    return radius * math.cos(theta), radius * math.sin(theta)
