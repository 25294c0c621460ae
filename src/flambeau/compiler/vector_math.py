"""exp, log, sin, cos, tanh, erf and pow on vectors, from arithmetic alone.

Each is within 2 units in the last place over its whole range, handles NaN, infinities, signed zeros and
subnormal numbers, and gives the same bits on every machine that has fused multiply-add.  The reductions
follow W. J. Cody and W. Waite, *Software Manual for the Elementary Functions* (1980), and P. T. P. Tang's
papers on table-free exp and log; the coefficients are fitted in ``tools/fit_polynomials.py``.  Sines of huge
arguments and float64 powers, which need more than the working precision, go lane by lane to the C library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import polynomials as table
from .types import COMPUTE

if TYPE_CHECKING:
    from .dialect import Dialect, Value

__all__ = ["cos", "erf", "exp", "expm1", "log", "log1p", "power", "sin", "tanh"]

_INF, _NAN = math.inf, math.nan
# Sums of two or three parts: the first has trailing zeros so that its product with a small integer is exact.
_LN2 = {32: (0.693145751953125, 1.428606765330187e-06), 64: (0.693147180559663, 2.8235290563031577e-13)}
_HALF_PI = {
    32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100059e-15),
    64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33),
}
_MANTISSA = {32: 23, 64: 52}
_BIAS = {32: 127, 64: 1023}
# Adding it to a small number leaves the number, rounded to an integer, in the low bits.
_MAGIC = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}
_MAGIC_BITS = {32: 0x4B400000, 64: 0x4338000000000000}
_INTEGER = {32: "int32", 64: "int64"}


def _horner(k: Dialect, x: Value, coefficients: Sequence[float]) -> Value:
    result = k.const(coefficients[-1], x.type)
    for c in reversed(coefficients[:-1]):
        result = k.fma(result, x, c)
    return result


def _estrin(k: Dialect, x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial in pairs: a shorter chain of dependent operations than Horner's for many terms."""
    if len(coefficients) < 6:
        return _horner(k, x, coefficients)
    terms = [
        k.fma(k.const(c1, x.type), x, c0)
        for c0, c1 in zip(coefficients[::2], coefficients[1::2], strict=False)
    ]
    if len(coefficients) % 2:
        terms.append(k.const(coefficients[-1], x.type))
    square = x * x
    result = terms[-1]
    for term in reversed(terms[:-1]):
        result = k.fma(result, square, term)
    return result


def _round_to_integer(k: Dialect, x: Value) -> tuple[Value, Value]:
    """`x`, of at most 22 (51) bits, rounded: as a float, and as an integer; NaN gives some integer."""
    bits = x.type.bits
    shifted = x + _MAGIC[bits]
    return shifted - _MAGIC[bits], k.bitcast(shifted, _INTEGER[bits]) - _MAGIC_BITS[bits]


def _power_of_two(k: Dialect, n: Value) -> Value:
    """``2**n`` for normal results; `n` is an integer value."""
    bits = n.type.bits
    return k.bitcast(k.shift("shl", n + _BIAS[bits], _MANTISSA[bits]), f"float{bits}")


def _scale(k: Dialect, x: Value, n: Value) -> Value:
    """``x * 2**n`` with one rounding if the result is normal; ``|n|`` may exceed the exponent range."""
    bits = n.type.bits
    width = k.lanes * bits
    if width in (128, 256, 512) and k.host.has("avx512f", "avx512vl"):
        return _scale_instruction(k, x, n, width)
    total = n + 2 * _BIAS[bits]  # positive; both halves carry one bias each
    half = k.shift("lshr", total, 1)
    rest = total - half
    first = k.bitcast(k.shift("shl", half, _MANTISSA[bits]), f"float{bits}")
    second = k.bitcast(k.shift("shl", rest, _MANTISSA[bits]), f"float{bits}")
    return x * first * second


def _scale_instruction(k: Dialect, x: Value, n: Value, width: int) -> Value:
    """The same as one instruction of AVX-512, which takes `n` as a float."""
    bits = n.type.bits
    power = k.bitcast(n + _MAGIC_BITS[bits], x.type.name) - _MAGIC[bits]
    vector, mask = k.vector(x.type), "i16" if k.lanes == 16 else "i8"
    name = f"llvm.x86.avx512.mask.scalef.{'ps' if bits == 32 else 'pd'}.{width}"
    rounding = ("i32", ", i32 4") if width == 512 else ("", "")  # 4: as the current mode says
    k.declare(
        name, f"declare {vector} @{name}({vector}, {vector}, {vector}, {mask}{rounding[0] and ', i32'})"
    )
    text = f"{vector} {x.ref}, {vector} {power.ref}, {vector} {x.ref}, {mask} -1{rounding[1]}"
    return k.op_text(f"call {vector} @{name}({text})", x.type)


def _clamp(k: Dialect, x: Value, low: float, high: float) -> Value:
    """`x` kept within bounds; NaN stays NaN."""
    x = k.select(x < low, low, x)
    return k.select(x > high, high, x)


def _at_most(k: Dialect, x: Value, high: float) -> Value:
    """The smaller of `x` and `high`; NaN stays NaN."""
    return k.select(x > high, high, x)


def _exp_reduce(k: Dialect, x: Value) -> tuple[Value, Value, Value]:
    """``x = n log 2 + r + tail`` with ``|r| <= log(2)/2``: (r, tail, n)."""
    high, low = _LN2[x.type.bits]
    n, integer = _round_to_integer(k, x * (1 / math.log(2)))
    leading = k.fma(n, -high, x)  # exact
    r = k.fma(n, -low, leading)
    return r, k.fma(n, -low, leading - r), integer


def exp(k: Dialect, x: Value, moderate: bool = False) -> Value:
    """e to the power x; `moderate` promises that the result is a normal number."""
    bits = x.type.bits
    if not moderate:
        x = _clamp(k, x, *((-104.0, 89.0) if bits == 32 else (-746.0, 710.0)))
    r, _, n = _exp_reduce(k, x)
    p = _estrin(k, r, table.EXP_32 if bits == 32 else table.EXP_64)
    p = k.fma(p, r * r, r) + 1.0
    return p * _power_of_two(k, n) if moderate else _scale(k, p, n)


def expm1(k: Dialect, x: Value) -> Value:
    """exp(x) - 1."""
    bits = x.type.bits
    y = _clamp(k, x, *((-18.0, 89.0) if bits == 32 else (-38.0, 710.0)))
    r, tail, n = _exp_reduce(k, y)
    p = _estrin(k, r, table.EXP_32 if bits == 32 else table.EXP_64)
    p = k.fma(p, r * r, tail) + r
    # 2^n (1 + p) - 1 = 2 (2^(n-1) p + (2^(n-1) - 1/2)): the factor 2 keeps the largest power finite.
    s = _power_of_two(k, n - 1)
    result = k.fma(s, p, s - 0.5) * 2.0
    # For n = 0 the above would lose subnormal numbers and the sign of zero.
    result = k.select(n == 0, p, result)
    return k.select(x == 0.0, x, result)


def _log_parts(k: Dialect, x: Value, e: Value | None, tail: Value | None, short: bool) -> Value:
    """log of the positive normal `x`, plus `e` log 2; `tail` is what `x` lacks of the wanted argument."""
    bits = x.type.bits
    mantissa = _MANTISSA[bits]
    pattern = k.bitcast(x, _INTEGER[bits])
    root = 0x3F3504F3 if bits == 32 else 0x3FE6A09E667F3BCD  # sqrt(1/2)
    # The exponent is negative for small x, and only a logical shift is cheap for 64 bits: bias it first.
    biased = k.shift("lshr", pattern - root + (_BIAS[bits] << mantissa), mantissa)
    scaled = pattern - k.shift("shl", biased - _BIAS[bits], mantissa)
    exponent = k.bitcast(biased + _MAGIC_BITS[bits], f"float{bits}") - (_MAGIC[bits] + _BIAS[bits])
    f = k.bitcast(scaled, f"float{bits}") - 1.0
    if tail is not None:
        # tail * 2^-exponent; 2^-exponent has the bits of the exponent mirrored about the bias.
        mirrored = k.max(2 * _BIAS[bits] - biased, 0)
        f = f + tail * k.bitcast(k.shift("shl", mirrored, mantissa), f"float{bits}")
    if e is not None:
        exponent = exponent + e
    high, low = _LN2[bits]
    square = f * f
    if bits == 32:
        p = _estrin(k, f, table.LOG_32)
        rest = k.fma(p * square, f, exponent * low)
        rest = k.fma(square, -0.5, rest)
        return k.fma(exponent, high, f + rest)
    s = f / (f + 2.0)
    u = s * s
    p = u * _estrin(k, u, table.LOG_SHORT_64 if short else table.LOG_64)
    half = square * 0.5
    # log(1+f) = f - (f^2/2 - s (f^2/2 + p)), see Tang (1990): the leading terms are nearly exact.
    rest = k.fma(s, half + p, exponent * low)
    return k.fma(exponent, high, f - (half - rest))


def log(k: Dialect, x: Value, short: bool = False) -> Value:
    """Natural logarithm."""
    bits = x.type.bits
    smallest, lift = (2.0**-126, 23) if bits == 32 else (2.0**-1022, 52)
    subnormal = x < smallest
    normal = k.select(subnormal, x * 2.0**lift, x)
    e = k.select(subnormal, k.const(float(-lift), x.type), 0.0)
    result = _log_parts(k, normal, e, None, short)
    result = k.select(x < _INF, result, x)  # infinity and NaN are their own logarithms
    result = k.select(x > 0.0, result, k.select(x == 0.0, k.const(-_INF, x.type), _NAN))
    return k.select(k.isnan(x), x, result)


def log1p(k: Dialect, x: Value) -> Value:
    """log(1 + x)."""
    total = x + 1.0
    # What the rounded sum lacks, exactly (D. E. Knuth's two-sum, TAOCP 4.2.2).
    virtual = total - 1.0
    tail = (x - virtual) + (1.0 - (total - virtual))
    result = _log_parts(k, total, None, tail, False)
    result = k.select(x < _INF, result, x)
    result = k.select(x > -1.0, result, k.select(x == -1.0, k.const(-_INF, x.type), _NAN))
    tiny = k.abs(x) < 2.0**-60  # and zero, whose sign counts
    return k.select(tiny | k.isnan(x), x, result)


def _sin_cos(k: Dialect, x: Value, shift: int) -> Value:
    bits = x.type.bits
    first, second, third = _HALF_PI[bits]
    limit = 1e5 if bits == 32 else 1e6
    huge = ~(k.abs(x) < limit)  # NaN too, which the C library returns quietly
    y = k.select(huge, 0.0, x)
    n, quadrant = _round_to_integer(k, y * (2 / math.pi))
    r = k.fma(n, -third, k.fma(n, -second, k.fma(n, -first, y)))
    u = r * r
    sine = k.fma(_horner(k, u, table.SIN_32 if bits == 32 else table.SIN_64) * u, r, r)
    p = _horner(k, u, table.COS_32 if bits == 32 else table.COS_64)
    half = u * 0.5
    leading = 1.0 - half
    # (1 - leading) - half is what the rounding of `leading` lost.
    cosine = leading + k.fma(p * u, u, (1.0 - leading) - half)
    quadrant = quadrant + shift
    result = k.select((quadrant & 1) == 0, sine, cosine)
    sign = k.shift("shl", quadrant & 2, bits - 2)
    integer = k.bitcast(result, _INTEGER[bits]) ^ sign
    result = k.bitcast(integer, x.type.name)
    if shift == 0:
        result = k.select(x == 0.0, x, result)
    return k.scalar_call("cos" if shift else "sin", huge, result, x)


def sin(k: Dialect, x: Value) -> Value:
    """Sine."""
    return _sin_cos(k, x, 0)


def cos(k: Dialect, x: Value) -> Value:
    """Cosine."""
    return _sin_cos(k, x, 1)


def tanh(k: Dialect, x: Value) -> Value:
    """Hyperbolic tangent."""
    size = k.abs(x)
    if x.type.bits == 32:
        e = exp(k, _at_most(k, size, 10.0) * 2.0, moderate=True)
        large = 1.0 - 2.0 / (e + 1.0)
        u = x * x
        small = k.fma(_horner(k, u, table.TANH_32) * u, size, size)
        result = k.select(size < 0.625, small, large)
    else:
        e = expm1(k, _at_most(k, size, 20.0) * 2.0)
        divisor = e + 2.0
        inverse = 1.0 / divisor
        # e / (e + 2), corrected by the remainder of the division and the rounding of the divisor.
        quotient = e * inverse
        lost = e - (divisor - 2.0)
        remainder = k.fma(-quotient, lost, k.fma(-quotient, divisor, e))
        result = k.select(size < 0.625, k.fma(remainder, inverse, quotient), 1.0 - 2.0 * inverse)
    return k.copysign(result, x)


def erf(k: Dialect, x: Value) -> Value:
    """Error function."""
    size = k.abs(x)
    u = x * x
    if x.type.bits == 32:
        small = k.fma(_horner(k, u, table.ERF_SMALL_32), size, size)
        large = 1.0 - exp(k, _horner(k, _at_most(k, size, 4.0), table.ERF_LARGE_32), moderate=True)
        result = k.select(size < 0.925, small, large)
    else:
        small = k.fma(_estrin(k, u, table.ERF_SMALL_64), size, size)
        y = _at_most(k, size, 6.0)
        t = (y - 2.0) / (y + 2.0)
        large = 1.0 - exp(k, -(y * y), moderate=True) * _estrin(k, t, table.ERFC_64)
        result = k.select(size < 1.0, small, large)
    return k.copysign(result, x)


def _power_32(k: Dialect, x: Value, y: Value) -> Value:
    """|x| to the power y through float64, where the product y log|x| keeps enough digits."""
    exponent = k.cast(y, "float64") * log(k, k.cast(k.abs(x), "float64"), short=True)
    exponent = _clamp(k, exponent, -746.0, 710.0)
    r, _, n = _exp_reduce(k, exponent)
    p = k.fma(_horner(k, r, table.EXP_SHORT_64), r * r, r) + 1.0
    return k.cast(_scale(k, p, n), "float32")


def power(k: Dialect, x: Value, y: Value) -> Value:
    """x to the power y; special cases as in C (ISO/IEC 9899, annex F.10.4.4)."""
    if x.type is COMPUTE["float64"]:
        k.weight += 60
        return k.scalar_call("pow", k.const(True, "bool"), x, x, y)
    magnitude = _power_32(k, x, y)
    whole = k.round(y) == y
    odd = whole & (k.abs(y) < 2.0**24) & (k.round(y * 0.5) != y * 0.5)
    negative = k.bitcast(x, "int32") < 0
    result = k.select(negative & odd, -magnitude, magnitude)
    result = k.select((x < 0.0) & (x > -_INF) & ~whole, k.const(_NAN, x.type), result)
    one = (y == 0.0) | (x == 1.0) | ((x == -1.0) & (k.abs(y) == _INF))
    return k.select(one, 1.0, result)
