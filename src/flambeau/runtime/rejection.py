"""Distributions whose samples need a varying number of draws: Poisson, binomial, gamma, Dirichlet.

Each element of the parameters is sampled in turn, in C order, with float64 uniforms.  How many an element
will need is unknown, but a lower bound is: `_uniforms` draws in advance only what is certain to be used, so
the generator ends exactly where one-by-one drawing would leave it.

The algorithms are PyTorch's: Poisson by multiplication below 10 and by transformed rejection from there on
(PTRS, Hörmann, Insurance: Math. and Econ. 12, 1993); binomial by waiting times while n p < 10, else by
transformed rejection (BTRS, Hörmann, J. Stat. Comput. Simul. 46, 1993); gamma by Marsaglia and Tsang (ACM TOMS
26(3), 2000).  Parameters of dtype float32 go through float32 arithmetic where PyTorch's templates do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from flambeau.runtime.box_muller import pair
from flambeau.runtime.mt19937 import Generator

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

__all__ = ["binomial", "dirichlet", "poisson", "standard_gamma"]

Array: TypeAlias = "npt.NDArray[Any]"
Draw = Callable[[], float]
Round = Callable[[float], float]

_AT_ONCE = 1 << 16
_NAMES = {
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
}
_NAMES |= {"uint8": "Byte", "bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble"}


def _check_dtype(kernel: str, values: Array, *allowed: str) -> None:
    name = values.dtype.name
    if name not in allowed:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{_NAMES.get(name, name)}'")


class _Owed:
    """How many uniforms the elements still to come need at least."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


def _uniforms(generator: Generator, owed: _Owed) -> Iterator[float]:
    while True:
        # Whoever asks needs one, whatever those to come need.
        raw = generator.raw64(min(owed.count, _AT_ONCE) + 1)
        raw &= (1 << 53) - 1
        yield from (raw.astype(np.float64) * 2.0**-53).tolist()


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def poisson(generator: Generator, rate: Array) -> Array:
    """Poisson counts for floating ``rate``, in its dtype.

    Raises: RuntimeError for negative, NaN or infinite rates; NotImplementedError for other dtypes.
    """
    _check_dtype("poisson_cpu", rate, "float16", "bfloat16", "float32", "float64")
    if not np.all(rate >= 0):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    if np.any(np.isinf(rate)):
        raise RuntimeError("invalid Poisson rate, expected rate to be finite")
    rates = rate.astype(np.float64).reshape(-1)
    needs = np.where(rates >= 10, 2, np.where(rates > 0, 1, 0))
    owed = _Owed(int(needs.sum()))
    counts: list[int] = []
    with generator.lock:
        draw = _uniforms(generator, owed).__next__
        for value, need in zip(rates.tolist(), needs.tolist()):
            owed.count -= need
            if need == 0:
                counts.append(0)
            elif need == 1:
                counts.append(_poisson_product(value, draw))
            else:
                counts.append(_poisson_rejection(value, draw))
    return (
        np.array(counts, np.float64)
        .astype(np.float32 if rate.dtype.itemsize == 2 else rate.dtype)
        .astype(rate.dtype)
        .reshape(rate.shape)
    )


def _poisson_product(rate: float, draw: Draw) -> int:
    limit = math.exp(-rate)
    count = 0
    product = draw()
    while product > limit:
        count += 1
        product *= draw()
    return count


def _poisson_rejection(rate: float, draw: Draw) -> int:
    root, log_rate = math.sqrt(rate), math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = draw() - 0.5
        v = draw()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        acceptance = _log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if acceptance <= -rate + k * log_rate - math.lgamma(k + 1):
            return k


def binomial(generator: Generator, count: Array, prob: Array) -> Array:
    """Binomial counts for ``count`` trials of probability ``prob``, both float32 or both float64; broadcasts.

    As in PyTorch, ``prob`` >= 1 gives ``count``, ``prob`` or ``count`` <= 0 gives 0, NaN ``prob`` gives NaN.

    Raises: ValueError when ``count`` is not floating; RuntimeError for differing dtypes and for NaN or
    infinite counts; NotImplementedError for 16-bit dtypes.
    """
    if count.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"binomial only supports floating-point dtypes for count, got: {count.dtype.name}")
    if prob.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"binomial only supports floating-point dtypes for prob, got: {prob.dtype.name}")
    if count.dtype != prob.dtype:
        raise RuntimeError(
            f"Found dtype {prob.dtype.name} but expected {count.dtype.name} for binomial's prob"
        )
    _check_dtype("binomial_cpu", count, "float32", "float64")
    if not np.all(np.isfinite(count)):
        raise RuntimeError("binomial expects finite counts, found NaN or infinity")
    counts, probs = np.broadcast_arrays(count, prob)
    rounding: Round = (lambda x: float(np.float32(x))) if count.dtype == np.float32 else (lambda x: x)
    drawn = (counts > 0) & (probs > 0) & (probs < 1)
    # Two uniforms where rejection is used, one at least else; one is a bound for both.
    owed = _Owed(int(np.count_nonzero(drawn)))
    result: list[float] = []
    with generator.lock:
        draw = _uniforms(generator, owed).__next__
        for n, p in zip(counts.reshape(-1).tolist(), probs.reshape(-1).tolist()):
            if n <= 0 or p <= 0:
                result.append(0.0)
            elif p >= 1:
                result.append(n)
            elif math.isnan(p):
                result.append(math.nan)
            else:
                owed.count -= 1
                q = p if p <= 0.5 else rounding(1 - p)
                sampler = _binomial_rejection if rounding(n * q) >= 10 else _binomial_waiting
                sample = sampler(n, q, draw, rounding)
                result.append(sample if p <= 0.5 else n - sample)
    return np.array(result, count.dtype).reshape(counts.shape)


def _binomial_waiting(count: float, prob: float, draw: Draw, rounding: Round) -> float:
    """Successes, as the number of geometric waiting times that fit into ``count`` trials."""
    log_failure = rounding(math.log1p(-prob))
    waited, successes = 0.0, 0.0
    while True:
        u = draw()
        waited += math.ceil(math.log(u) / log_failure) if u > 0 else math.inf
        if waited > count:
            return successes
        successes += 1


# log(k!) - Stirling's approximation of it, for k = 0 .. 9.
_STIRLING_TAIL = (
    0.0810614667953272,
    0.0413406959554092,
    0.0276779256849983,
    0.02079067210376509,
    0.0166446911898211,
    0.0138761288230707,
    0.0118967099458917,
    0.0104112652619720,
    0.00925546218271273,
    0.00833056343336287,
)


def _stirling_tail(k: float) -> float:
    if k < len(_STIRLING_TAIL):
        return _STIRLING_TAIL[max(int(k), 0)]
    square = (k + 1) * (k + 1)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)


def _binomial_rejection(count: float, prob: float, draw: Draw, rounding: Round) -> float:
    failure = rounding(1 - prob)
    expected = rounding(count * prob)
    deviation = rounding(math.sqrt(rounding(expected * failure)))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c = expected + 0.5
    v_r = 0.92 - 4.2 / b
    odds = rounding(prob / failure)
    alpha = (2.83 + 5.1 / b) * deviation
    trials = rounding(count + 1)
    mode = math.floor(rounding(trials * prob))
    while True:
        u = draw() - 0.5
        v = draw()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        k = rounding(math.floor((2 * a / us + b) * u + c))
        if k < 0 or k > count:
            continue
        if us >= 0.07 and v <= v_r:
            return k
        others = rounding(rounding(count - k) + 1)
        after = rounding(k + 1)
        bound = (
            (mode + 0.5) * _log((mode + 1) / (odds * (count - mode + 1)))
            + trials * _log((count - mode + 1) / others)
            + (k + 0.5) * _log(odds * others / after)
            + _stirling_tail(mode)
            + _stirling_tail(count - mode)
            - _stirling_tail(k)
            - _stirling_tail(rounding(count - k))
        )
        if _log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


def standard_gamma(generator: Generator, alpha: Array) -> Array:
    """Gamma numbers of shape ``alpha`` (float32 or float64) and scale 1, at least the least normal number.

    Raises: NotImplementedError for other dtypes.
    """
    _check_dtype("gamma_cpu", alpha, "float32", "float64")
    tiny = float(np.finfo(alpha.dtype).tiny)
    values = np.array(_gammas(generator, alpha, alpha.dtype == np.float32), np.float64)
    with np.errstate(over="ignore"):
        values = values.astype(alpha.dtype)
    return np.where(values > tiny, values, np.array(tiny, alpha.dtype)).reshape(alpha.shape)


def dirichlet(generator: Generator, alpha: Array) -> Array:
    """Points on the simplex along the last dimension, with concentrations ``alpha`` (float32 or float64).

    Raises: NotImplementedError for other dtypes.
    """
    _check_dtype("dirichlet", alpha, "float32", "float64")
    gammas = np.array(_gammas(generator, alpha, False), np.float64).reshape(alpha.shape)
    least = np.finfo(np.float64).tiny
    gammas = np.where(gammas > least, gammas, least)
    with np.errstate(invalid="ignore"):
        ratios = (gammas / gammas.sum(axis=-1, keepdims=True)).astype(alpha.dtype)
    one = alpha.dtype.type(1)
    # fmax also takes the NaN of infinity over infinity (from negative concentrations) to the least number.
    return np.asarray(np.fmin(np.fmax(ratios, np.finfo(alpha.dtype).tiny), np.nextafter(one, one * 0)))


def _gammas(generator: Generator, alpha: Array, single: bool) -> list[float]:
    """Gamma numbers in float64; ``single`` where ``alpha`` itself is worked on in float32."""
    rounding: Round = (lambda x: float(np.float32(x))) if single else (lambda x: x)
    alphas = alpha.reshape(-1)
    owed = _Owed(int(np.count_nonzero(alphas != 0)))
    result: list[float] = []
    with generator.lock:
        draw = _uniforms(generator, owed).__next__

        def normal() -> float:
            cached = generator.next_normal
            if cached is not None:
                generator.next_normal = None
                return cached
            value, generator.next_normal = pair(draw(), draw())
            return value

        for a in alphas.tolist():
            if a == 0:
                result.append(0.0)
                continue
            owed.count -= 1
            result.append(_gamma(a, draw, normal, rounding))
    return result


_THIRD = float(np.float32(1) / np.float32(3))  # PyTorch writes these two as float32 literals
_SQUEEZE = float(np.float32(0.0331))


def _gamma(alpha: float, draw: Draw, normal: Draw, rounding: Round) -> float:
    scale = 1.0
    if alpha < 1:
        try:
            scale = (1 - draw()) ** rounding(1 / alpha)
        except OverflowError:
            scale = math.inf
        alpha = rounding(alpha + 1)
    d = rounding(alpha - _THIRD)
    # A negative or NaN alpha makes d negative or NaN: PyTorch's square root is NaN then, and the result tiny.
    c = 1 / math.sqrt(9 * d) if d > 0 else math.nan
    while True:
        y = 0.0
        while y <= 0:
            x = normal()
            y = 1 + c * x
        v = y * y * y
        u = 1 - draw()
        square = x * x
        if u < 1 - _SQUEEZE * square * square or math.log(u) < 0.5 * square + d * (1 - v + _log(v)):
            return scale * d * v
