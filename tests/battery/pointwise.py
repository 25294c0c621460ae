"""Elementwise operations: a safe domain and an independent value for each name; the calls are made from these."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from battery.sample import Sample

REAL, POSITIVE, UNIT, SMALL, ABOVE_ONE, PROBABILITY, WHOLE, TRUTH, ORDER = (
    "real", "positive", "unit", "small", "above_one", "probability", "whole", "truth", "order",
)  # fmt: skip

_VALUES = {
    REAL: [-1.73, -0.62, 0.31, 0.87, 1.44, 2.35],
    POSITIVE: [0.23, 0.61, 0.98, 1.37, 2.26, 3.14],
    UNIT: [-0.83, -0.52, -0.17, 0.22, 0.58, 0.91],
    SMALL: [-0.35, -0.21, -0.08, 0.06, 0.24, 0.41],
    ABOVE_ONE: [1.25, 1.49, 1.83, 2.37, 3.01, 4.2],
    PROBABILITY: [0.07, 0.23, 0.41, 0.56, 0.78, 0.94],
}
_SECOND = {
    REAL: [0.92, -1.31, 2.07, -0.44, 0.53, 1.66],
    POSITIVE: [1.72, 0.35, 2.51, 0.83, 1.19, 0.47],
    ABOVE_ONE: [2.2, 1.4, 3.3, 1.7, 2.9, 2.4],
}
_WHOLE = np.array([[-7, -2, 0], [3, 5, 12]])
_WHOLE_SECOND = np.array([[2, 3, 1], [4, 2, 5]])


def values(domain: str, place: int = 0, complex_: bool = False) -> Any:
    """A (2, 3) array inside a domain, another one for each place."""
    if domain == WHOLE:
        return (_WHOLE if place == 0 else _WHOLE_SECOND).copy()
    if domain == TRUTH:
        return np.array(
            [[True, False, True], [False, False, True]] if place == 0 else [[True] * 3, [False, True, False]]
        )
    if domain == ORDER:
        return np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 2.0]])
    table = _VALUES if place == 0 else {**_VALUES, **_SECOND}
    a = np.array(table[domain]).reshape(2, 3)
    if complex_:
        return a + 1j * np.array(_VALUES[SMALL if domain in (UNIT, SMALL) else REAL]).reshape(2, 3)[::-1] * (
            1 + place
        )
    return a


def mp(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers by mpmath, with 30 digits, as a function of arrays."""

    def at(*xs: float) -> Any:
        with mpmath.workdps(30):
            y = fn(*[mpmath.mpmathify(complex(x) if isinstance(x, complex) else float(x)) for x in xs])
            return complex(y) if isinstance(y, mpmath.mpc) else float(y)

    return np.vectorize(at, otypes=[np.float64])


def _gamma_slope(a: Any, x: Any) -> Any:
    """dx/da with the distribution function of the gamma distribution held: -(dF/da) / (dF/dx)."""
    moved = mpmath.diff(lambda b: mpmath.gammainc(b, 0, x, regularized=True), a)
    return -moved / (x ** (a - 1) * mpmath.exp(-x) / mpmath.gamma(a))


def _beta_slope(x: Any, a: Any, b: Any) -> Any:
    """The same for the beta distribution."""
    moved = mpmath.diff(lambda c: mpmath.betainc(c, b, 0, x, regularized=True), a)
    return -moved * mpmath.beta(a, b) / (x ** (a - 1) * (1 - x) ** (b - 1))


def _logistic_loss(t: Any, x: Any, w: Any) -> Any:
    """The cross entropy of two answers, the positive one weighted."""
    p = 1 / (1 + mpmath.exp(-x))
    return -w * t * mpmath.log(p) - (1 - t) * mpmath.log(1 - p)


def mpc(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`mp` for functions of complex numbers."""

    def call(*xs: Any) -> Any:
        if not any(np.iscomplexobj(x) for x in xs):
            return mp(fn)(*xs)

        def at(*ys: Any) -> complex:
            with mpmath.workdps(30):
                return complex(fn(*[mpmath.mpc(y.real, y.imag) for y in map(complex, ys)]))

        return np.vectorize(at, otypes=[np.complex128])(*xs)

    return call


def _erfinv(y: Any) -> Any:
    return mpmath.erfinv(y)


def _ndtr(x: Any) -> Any:
    return mpmath.ncdf(x)


def _gelu_tanh(x: Any) -> Any:
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))


def _mish(x: Any) -> Any:
    return x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x)))


def _log_odds(p: Any) -> Any:
    return np.log(p) - np.log(1 - p)


def _logaddexp(a: Any, b: Any) -> Any:
    """The branch of the larger real part, which fixes the imaginary part beyond multiples of 2 pi."""
    top, low = (a, b) if mpmath.re(a) >= mpmath.re(b) else (b, a)
    return top + mpmath.log(1 + mpmath.exp(low - top))


def _trunc_mod(a: Any, b: Any) -> Any:
    return a - b * np.trunc(a / b)


def _whole(fn: Callable[[int, int], int]) -> Callable[..., Any]:
    return np.vectorize(lambda a, b: fn(int(a), int(b)), otypes=[np.int64])


def _bitwise(fn: Callable[[int, int], int]) -> Callable[..., Any]:
    return _whole(fn)


def _shifted(kind: str) -> Callable[..., Any]:
    """Polynomials of 2x - 1."""
    return lambda x, n: CHEBYSHEV[kind](2 * x - 1, n)


# The four kinds of Chebyshev polynomials by their trigonometric definitions (DLMF 18.5.1-4).
CHEBYSHEV: dict[str, Callable[..., Any]] = {
    "t": lambda x, n: np.cos(n * np.arccos(x)),
    "u": lambda x, n: np.sin((n + 1) * np.arccos(x)) / np.sin(np.arccos(x)),
    "v": lambda x, n: np.cos((n + 0.5) * np.arccos(x)) / np.cos(0.5 * np.arccos(x)),
    "w": lambda x, n: np.sin((n + 0.5) * np.arccos(x)) / np.sin(0.5 * np.arccos(x)),
}

# name: (domain of each input, reference)
TABLE: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "add": ((REAL, REAL), np.add),
    "sub": ((REAL, REAL), np.subtract),
    "mul": ((REAL, REAL), np.multiply),
    "div": ((REAL, REAL), np.true_divide),
    "neg": ((REAL,), np.negative),
    "reciprocal": ((REAL,), np.reciprocal),
    "sqrt": ((POSITIVE,), mpc(mpmath.sqrt)),
    "rsqrt": ((POSITIVE,), mpc(lambda x: 1 / mpmath.sqrt(x))),
    "square": ((REAL,), np.square),
    "eq": ((WHOLE, WHOLE), np.equal),
    "ne": ((WHOLE, WHOLE), np.not_equal),
    "lt": ((REAL, REAL), np.less),
    "le": ((REAL, REAL), np.less_equal),
    "gt": ((REAL, REAL), np.greater),
    "ge": ((REAL, REAL), np.greater_equal),
    "where": ((TRUTH, REAL, REAL), np.where),
    "maximum": ((REAL, REAL), np.maximum),
    "minimum": ((REAL, REAL), np.minimum),
    "fmax": ((REAL, REAL), np.fmax),
    "fmin": ((REAL, REAL), np.fmin),
    "exp": ((REAL,), mpc(mpmath.exp)),
    "exp2": ((REAL,), mpc(lambda x: mpmath.power(2, x))),
    "expm1": ((REAL,), mpc(mpmath.expm1)),
    "log": ((POSITIVE,), mpc(mpmath.log)),
    "log2": ((POSITIVE,), mpc(lambda x: mpmath.log(x) / mpmath.log(2))),
    "log10": ((POSITIVE,), mpc(lambda x: mpmath.log(x) / mpmath.log(10))),
    "log1p": ((UNIT,), mpc(lambda x: mpmath.log(1 + x))),
    "pow": ((POSITIVE, REAL), mpc(mpmath.power)),
    "sin": ((REAL,), mpc(mpmath.sin)),
    "cos": ((REAL,), mpc(mpmath.cos)),
    "tan": ((UNIT,), mpc(mpmath.tan)),
    "asin": ((UNIT,), mpc(mpmath.asin)),
    "acos": ((UNIT,), mpc(mpmath.acos)),
    "atan": ((REAL,), mpc(mpmath.atan)),
    "sinh": ((REAL,), mpc(mpmath.sinh)),
    "cosh": ((REAL,), mpc(mpmath.cosh)),
    "tanh": ((REAL,), mpc(mpmath.tanh)),
    "asinh": ((REAL,), mpc(mpmath.asinh)),
    "acosh": ((ABOVE_ONE,), mpc(mpmath.acosh)),
    "atanh": ((UNIT,), mpc(mpmath.atanh)),
    "atan2": ((REAL, REAL), mp(mpmath.atan2)),
    "hypot": ((REAL, REAL), mp(mpmath.hypot)),
    "sigmoid": ((REAL,), mpc(lambda x: 1 / (1 + mpmath.exp(-x)))),
    "floor": ((REAL,), np.vectorize(math.floor, otypes=[float])),
    "ceil": ((REAL,), np.vectorize(math.ceil, otypes=[float])),
    "trunc": ((REAL,), np.vectorize(math.trunc, otypes=[float])),
    "rint": ((REAL,), np.vectorize(round, otypes=[float])),
    "frac": ((REAL,), lambda x: np.vectorize(lambda v: math.modf(v)[0])(x)),
    "sign": ((REAL,), lambda x: np.where(x > 0, 1.0, -1.0)),
    "signbit": ((REAL,), lambda x: x < 0),
    "abs": ((REAL,), lambda x: np.sqrt(x.real**2 + x.imag**2)),
    "sgn": ((REAL,), lambda x: x / np.abs(x)),
    "conj": ((REAL,), np.conj),
    "complex": ((REAL, REAL), lambda a, b: a + 1j * b),
    "angle": ((REAL,), lambda x: np.arctan2(x.imag, x.real)),
    "isnan": ((REAL,), lambda x: np.zeros(x.shape, bool)),
    "isinf": ((REAL,), lambda x: np.zeros(x.shape, bool)),
    "isfinite": ((REAL,), lambda x: np.ones(x.shape, bool)),
    "isposinf": ((REAL,), lambda x: np.zeros(x.shape, bool)),
    "isneginf": ((REAL,), lambda x: np.zeros(x.shape, bool)),
    "logical_not": ((TRUTH,), lambda a: a == False),  # noqa: E712
    "logical_and": ((TRUTH, TRUTH), lambda a, b: a.astype(int) * b > 0),
    "logical_or": ((TRUTH, TRUTH), lambda a, b: a.astype(int) + b > 0),
    "logical_xor": ((TRUTH, TRUTH), lambda a, b: a.astype(int) + b == 1),
    "bitwise_and": ((WHOLE, WHOLE), _bitwise(lambda a, b: a & b)),
    "bitwise_or": ((WHOLE, WHOLE), _bitwise(lambda a, b: a | b)),
    "bitwise_xor": ((WHOLE, WHOLE), _bitwise(lambda a, b: a ^ b)),
    "bitwise_not": ((WHOLE,), lambda a: -a - 1),
    "bitwise_left_shift": ((WHOLE, WHOLE), _bitwise(lambda a, b: a << b)),
    "bitwise_right_shift": ((WHOLE, WHOLE), _bitwise(lambda a, b: a >> b)),
    "remainder": ((REAL, REAL), lambda a, b: a - b * np.floor(a / b)),
    "fmod": ((REAL, REAL), _trunc_mod),
    "div_floor": ((REAL, REAL), lambda a, b: np.floor(a / b)),
    "div_trunc": ((REAL, REAL), lambda a, b: np.trunc(a / b)),
    "addcmul": ((REAL, REAL, POSITIVE, REAL), lambda x, a, b, v: x + v * a * b),
    "addcdiv": ((REAL, REAL, POSITIVE, REAL), lambda x, a, b, v: x + v * a / b),
    "lerp": ((REAL, REAL, PROBABILITY), lambda a, b, w: (1 - w) * a + w * b),
    "lerp_far": ((REAL, REAL, PROBABILITY), lambda a, b, rest: rest * a + (1 - rest) * b),
    "at_least": ((REAL, REAL), lambda x, low: np.maximum(x, low)),
    "at_most": ((REAL, REAL), lambda x, high: np.minimum(x, high)),
    "hard_sigmoid": ((REAL,), lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "logsigmoid": ((REAL,), mp(lambda x: -mpmath.log1p(mpmath.exp(-x)))),
    "logits_loss": ((PROBABILITY, REAL), mp(lambda t, x: _logistic_loss(t, x, 1))),
    "weighted_logits_loss": ((PROBABILITY, REAL, POSITIVE), mp(lambda t, x, w: _logistic_loss(t, x, w))),
    "lerp_near": ((REAL, REAL, PROBABILITY), lambda a, b, w: (1 - w) * a + w * b),
    "ldexp": ((REAL, REAL), lambda x, n: x * np.power(2.0, n)),
    "logit": ((PROBABILITY, SMALL), lambda x, e: _log_odds(np.clip(x, e, 1 - e))),
    "tanh_slope": ((REAL, UNIT), lambda t, y: t * (1 - y**2)),
    "sigmoid_slope": ((REAL, PROBABILITY), lambda t, y: t * (y - y**2)),
    "half_gelu_slope": ((REAL, REAL), mp(lambda g, x: g * mpmath.diff(lambda v: v * mpmath.ncdf(v), x))),
    "half_gelu_tanh_slope": ((REAL, REAL), mp(lambda g, x: g * mpmath.diff(_gelu_tanh, x))),
    "half_logsigmoid": ((REAL,), mp(lambda x: -mpmath.log1p(mpmath.exp(-x)))),
    "half_logsigmoid_slope": ((REAL, REAL), mp(lambda t, x: t / (1 + mpmath.exp(x)))),
    "half_mish": ((REAL,), mp(lambda x: _mish(x))),
    "half_mish_slope": ((REAL, REAL), mp(lambda t, x: t * mpmath.diff(_mish, x))),
    "half_gated": ((REAL, REAL), mp(lambda a, b: a / (1 + mpmath.exp(-b)))),
    "half_gate_open": ((REAL, REAL), mp(lambda a, b: a / (1 + mpmath.exp(-b)))),
    "half_gate_slope": ((REAL, REAL, REAL), mp(lambda g, a, b: g * a * mpmath.diff(lambda v: 1 / (1 + mpmath.exp(-v)), b))),
    "half_entropy_slope": (
        (REAL, PROBABILITY, PROBABILITY, REAL, POSITIVE),
        lambda g, p, t, w, n: g * (p - t) / (p - p**2) * w / n,
    ),
    "half_square_slope": ((REAL, REAL, REAL, POSITIVE), lambda g, x, t, n: 2 * g * (x - t) / n),
    "half_huber_slope": ((REAL, REAL, REAL, POSITIVE, POSITIVE), lambda g, x, t, n, d: g * np.clip(x - t, -d, d) / n),
    "half_weighted_logits_loss": (
        (REAL, PROBABILITY, POSITIVE),
        mp(lambda x, t, w: (1 - t) * x + (1 + (w - 1) * t) * mpmath.log(1 + mpmath.exp(-x))),
    ),
    "moved": ((REAL, REAL, REAL, REAL), lambda old, new, keep, take: old * keep + new * take),
    "affine": ((REAL, REAL, POSITIVE), lambda x, w, b: x * w + b),
    "times_difference": ((REAL, POSITIVE, REAL), lambda g, x, m: g * (x - m)),
    "binary_entropy": (
        (PROBABILITY, PROBABILITY),
        lambda p, t: -(t * np.log(p) + (1 - t) * np.log1p(-p)),
    ),
    "copysign": ((REAL, REAL), lambda a, b: np.abs(a) * np.where(b < 0, -1, 1)),
    "nextafter": ((REAL, REAL), np.vectorize(math.nextafter)),
    "gcd": ((WHOLE, WHOLE), _whole(math.gcd)),
    "lcm": ((WHOLE, WHOLE), _whole(math.lcm)),
    "heaviside": ((REAL, REAL), np.heaviside),
    "overwrite": ((REAL, REAL), lambda a, b: b),
    "elu_expm1": ((REAL,), mpc(mpmath.expm1)),
    "gelu_erf": ((REAL,), mp(lambda x: x * mpmath.ncdf(x))),
    "gelu_erf_slope": ((REAL,), mp(lambda x: mpmath.diff(lambda v: v * mpmath.ncdf(v), x))),
    "gelu_tanh": ((REAL,), mp(lambda x: _gelu_tanh(x))),
    "gelu_tanh_slope": ((REAL,), mp(lambda x: mpmath.diff(_gelu_tanh, x))),
    "silu": ((REAL,), mp(lambda x: x / (1 + mpmath.exp(-x)))),
    "silu_slope": ((REAL,), mp(lambda x: mpmath.diff(lambda v: v / (1 + mpmath.exp(-v)), x))),
    "relu": ((REAL,), lambda x: np.maximum(x, 0)),
    "erf": ((REAL,), mp(mpmath.erf)),
    "erfc": ((REAL,), mp(mpmath.erfc)),
    "erfinv": ((UNIT,), mp(_erfinv)),
    "special_erfcx": ((REAL,), mp(lambda x: mpmath.exp(x * x) * mpmath.erfc(x))),
    "lgamma": ((POSITIVE,), mp(mpmath.loggamma)),
    "digamma": ((POSITIVE,), mp(lambda x: mpmath.psi(0, x))),
    "special_zeta": ((ABOVE_ONE, POSITIVE), mp(mpmath.zeta)),
    "i0": ((REAL,), mp(lambda x: mpmath.besseli(0, x))),
    "special_i1": ((REAL,), mp(lambda x: mpmath.besseli(1, x))),
    "special_i0e": ((REAL,), mp(lambda x: mpmath.exp(-abs(x)) * mpmath.besseli(0, x))),
    "special_i1e": ((REAL,), mp(lambda x: mpmath.exp(-abs(x)) * mpmath.besseli(1, x))),
    "special_bessel_j0": ((REAL,), mp(lambda x: mpmath.besselj(0, x))),
    "special_bessel_j1": ((REAL,), mp(lambda x: mpmath.besselj(1, x))),
    "special_bessel_y0": ((POSITIVE,), mp(lambda x: mpmath.bessely(0, x))),
    "special_bessel_y1": ((POSITIVE,), mp(lambda x: mpmath.bessely(1, x))),
    "special_modified_bessel_i0": ((REAL,), mp(lambda x: mpmath.besseli(0, x))),
    "special_modified_bessel_i1": ((REAL,), mp(lambda x: mpmath.besseli(1, x))),
    "special_modified_bessel_k0": ((POSITIVE,), mp(lambda x: mpmath.besselk(0, x))),
    "special_modified_bessel_k1": ((POSITIVE,), mp(lambda x: mpmath.besselk(1, x))),
    "special_scaled_modified_bessel_k0": ((POSITIVE,), mp(lambda x: mpmath.exp(x) * mpmath.besselk(0, x))),
    "special_scaled_modified_bessel_k1": ((POSITIVE,), mp(lambda x: mpmath.exp(x) * mpmath.besselk(1, x))),
    "special_airy_ai": ((REAL,), mp(mpmath.airyai)),
    "special_spherical_bessel_j0": ((REAL,), mp(lambda x: mpmath.sin(x) / x)),
    "special_ndtr": ((REAL,), mp(_ndtr)),
    "special_ndtri": ((PROBABILITY,), mp(lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1))),
    "special_log_ndtr": ((REAL,), mp(lambda x: mpmath.log(_ndtr(x)))),
    "igamma": ((POSITIVE, POSITIVE), mp(lambda a, x: mpmath.gammainc(a, 0, x, regularized=True))),
    "igammac": ((POSITIVE, POSITIVE), mp(lambda a, x: mpmath.gammainc(a, x, mpmath.inf, regularized=True))),
    "standard_gamma_grad": ((POSITIVE, POSITIVE), mp(lambda a, x: _gamma_slope(a, x))),
    "dirichlet_grad": ((PROBABILITY, POSITIVE, ABOVE_ONE), mp(lambda x, a, s: _beta_slope(x, a, s - a) / (1 - x))),
    "gamma_draw": ((POSITIVE, POSITIVE), lambda alpha, x: x + 0 * alpha),
    "xlogy": ((REAL, POSITIVE), mp(lambda x, y: x * mpmath.log(y))),
    "special_xlog1py": ((REAL, POSITIVE), mp(lambda x, y: x * mpmath.log(1 + y))),
    "special_entr": ((POSITIVE,), mp(lambda x: -x * mpmath.log(x))),
    "sinc": ((REAL,), mpc(lambda x: mpmath.sin(mpmath.pi * x) / (mpmath.pi * x))),
    "logaddexp": ((REAL, REAL), mpc(_logaddexp)),
    "logaddexp2": ((REAL, REAL), mp(lambda a, b: mpmath.log(mpmath.power(2, a) + mpmath.power(2, b), 2))),
    "special_hermite_polynomial_h": ((REAL, ORDER), mp(lambda x, n: mpmath.hermite(int(n), x))),
    "special_hermite_polynomial_he": (
        (REAL, ORDER),
        mp(lambda x, n: mpmath.power(2, -n / 2) * mpmath.hermite(int(n), x / mpmath.sqrt(2))),
    ),
    "special_laguerre_polynomial_l": ((REAL, ORDER), mp(lambda x, n: mpmath.laguerre(int(n), 0, x))),
    "special_legendre_polynomial_p": ((UNIT, ORDER), mp(lambda x, n: mpmath.legendre(int(n), x))),
    **{f"special_chebyshev_polynomial_{k}": ((UNIT, ORDER), CHEBYSHEV[k]) for k in "tuvw"},
    **{f"special_shifted_chebyshev_polynomial_{k}": ((PROBABILITY, ORDER), _shifted(k)) for k in "tuvw"},
}  # fmt: skip

# Those that take complex numbers.
COMPLEX = frozenset(
    "add sub mul div neg reciprocal sqrt rsqrt square eq ne where exp exp2 expm1 log log2 log10 log1p pow sin cos tan asin "
    "acos atan sinh cosh tanh asinh acosh atanh sigmoid abs sgn conj angle isnan isinf isfinite sinc logaddexp overwrite".split()
)

# Functions that PyTorch leaves complex or integer tensors out of are tested through the public form.
ORDERS = {
    "nextafter": 0,
    "special_airy_ai": 0,
    "standard_gamma_grad": 0,
    "dirichlet_grad": 0,
    "gamma_draw": 0,
}


def polygamma(n: int) -> Callable[..., Any]:
    return mp(lambda x: mpmath.psi(n, x))


def mvlgamma(p: int) -> Callable[..., Any]:
    def value(x: Any) -> Any:
        terms = [mpmath.log(abs(mpmath.gamma(x - mpmath.mpf(j) / 2))) for j in range(p)]
        return sum(terms) + mpmath.mpf(p * (p - 1)) / 4 * mpmath.log(mpmath.pi)

    return mp(value)


def entry(name: str) -> tuple[tuple[str, ...], Callable[..., Any]] | None:
    """The row of the table; polygamma functions and mvlgamma are registered one for each order that is used."""
    if name.startswith("polygamma_"):
        return (POSITIVE,), polygamma(int(name.rpartition("_")[2]))
    if name.startswith("mvlgamma_"):
        return (ABOVE_ONE,), mvlgamma(int(name.rpartition("_")[2]))
    return TABLE.get(name)


def samples_of(name: str) -> list[Sample]:
    """The calls of one elementwise operation: full shapes, broadcasting, complex numbers, 0-d."""
    found = entry(name)
    if found is None:
        return []
    domains, reference = found
    order = ORDERS.get(name, 2)
    args = tuple(values(d, i) for i, d in enumerate(domains))
    wrt = (0,) if ORDER in domains else (1,) if name in ("igamma", "igammac", "special_zeta") else None
    samples = [Sample(name, args, reference=reference, order=order, wrt=wrt)]
    if len(args) > 1:
        for note, cut in (("row", lambda a: a[1]), ("column", lambda a: a[:, :1])):
            if name in ("overwrite",):  # the first input has the shape of the result
                mixed = (*args[:-1], cut(args[-1]))
                samples.append(
                    Sample(name, mixed, reference=lambda a, b: np.broadcast_to(b, a.shape), note=note)
                )
            else:
                mixed = (cut(args[0]), *args[1:])
                samples.append(Sample(name, mixed, reference=reference, order=order, wrt=wrt, note=note))
    samples.append(
        Sample(name, tuple(np.array(a[1, 1]) for a in args), reference=reference, order=order, wrt=wrt)
    )
    if name in COMPLEX:
        zs = tuple(values(d, i, complex_=d not in (TRUTH, WHOLE)) for i, d in enumerate(domains))
        if not any(a.dtype.kind == "c" for a in zs):
            zs = tuple(a.astype(np.complex128) for a in zs)
        samples.append(Sample(name, zs, reference=reference, order=order))
    return samples
