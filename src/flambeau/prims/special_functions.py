"""Special functions: values from SciPy's ufuncs (imported when one is first used), derivatives of our own.

Formulas: NIST Digital Library of Mathematical Functions, chapters 5 (gamma), 7 (error functions), 10 (Bessel),
25 (zeta).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.elementwise import binary, unary
from ..core.promotion import FLOAT, SAME
from ..core.tensor import Tensor
from .pointwise import cos, exp, log, masked, power, sin, where_op


def ufunc(name: str) -> Any:
    """SciPy's ufunc of this name.

    Raises: AttributeError when there is none.
    """
    import scipy.special

    return getattr(scipy.special, name)


def scipy_impl(name: str) -> Callable[..., Any]:
    """An implementation by SciPy that keeps the dtype (half types compute in float32)."""
    found: list[Any] = []

    def impl(*xs: Any) -> Any:
        if not found:
            found.append(ufunc(name))
        arrays = [x for x in xs if isinstance(x, np.ndarray)]
        dtype = arrays[0].dtype
        if dtype.itemsize == 2:
            xs = tuple([x.astype(np.float32) if isinstance(x, np.ndarray) else x for x in xs])
        return np.asarray(found[0](*xs)).astype(dtype, copy=False)

    return impl


def special(name: str, d: Any = None, *, scipy: str = "", aliases: tuple[str, ...] = (), **kw: Any) -> Any:
    """A unary special function, also offered as ``special_<name>``."""
    scipy = scipy or name
    return unary(
        name,
        lambda k, x: getattr(k, scipy)(x),
        d,
        impl=scipy_impl(scipy),
        aliases=aliases,
        reject="c",
        **kw,
    )


_gammaln = scipy_impl("gammaln")


def lgamma_values(x: Any) -> Any:
    """log |gamma(x)| of an array; infinite at the poles and at both infinities."""
    y = _gammaln(x)
    return np.where(np.isneginf(y), np.asarray(np.inf, y.dtype), y)  # of -inf it is inf, as in C


TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)

erf = special("erf", (lambda t, x: t * (TWO_OVER_SQRT_PI * exp(-x * x)),), aliases=("special_erf",))
erfc = special("erfc", (lambda t, x: t * (-TWO_OVER_SQRT_PI * exp(-x * x)),), aliases=("special_erfc",))
erfinv: Any = special(
    "erfinv", (lambda t, x: t * (exp(erfinv(x).square()) / TWO_OVER_SQRT_PI),), aliases=("special_erfinv",)
)
erfcx = special(
    "special_erfcx",
    (lambda t, x, y: t * (2 * x * y - TWO_OVER_SQRT_PI),),
    scipy="erfcx",
    method=False,
    inplace=False,
)
lgamma = unary(
    "lgamma",
    lambda k, x: k.gammaln(x),
    (lambda t, x: t * digamma(x),),
    impl=lgamma_values,
    aliases=("special_gammaln",),
    reject="c",
)


def _digamma(x: Any) -> Any:
    """psi; poles give NaN, and 0 gives -inf with the sign of the zero, as in PyTorch."""
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    y = ufunc("psi")(wide)
    y = np.where((wide < 0) & (wide == np.floor(wide)), np.nan, y)
    return np.where(wide == 0, np.copysign(np.inf, -wide), y).astype(x.dtype)


digamma: Any = unary(
    "digamma", lambda k, x: k.psi(x), (lambda t, x: t * polygamma_n(1, x),), impl=_digamma, aliases=("special_digamma", "special_psi"), reject="c"
)  # fmt: skip


def _zeta(x: Any, q: Any) -> Any:
    """Hurwitz zeta, also for negative non-integer q when x is an even or odd integer (poles are inf)."""
    like = next(v for v in (x, q) if isinstance(v, np.ndarray))
    dtype = like.dtype
    x, q = (np.asarray(v, np.float64) for v in (x, q))
    y = ufunc("zeta")(x, q)
    negative = (q <= 0) & (q == np.floor(q))
    return np.where(negative & (x > 1), np.inf, y).astype(dtype)


def _no_derivative(what: str) -> Callable[..., Any]:
    """The rule of an input for which there is no closed form, here or in PyTorch: an error, not a silent zero."""

    def tangent(t: Tensor) -> Tensor:
        raise NotImplementedError(f"the derivative for '{what}' is not implemented.")

    return tangent


zeta: Any = binary("special_zeta", lambda k, x, q: k.zeta(x, q), (_no_derivative("zeta"), lambda t, x, q: t * (-x * zeta(x + 1, q))), impl=_zeta, kind=FLOAT, method=False, inplace=False, reject="c")  # fmt: skip

_POLYGAMMA: dict[int, Any] = {}


def polygamma_n(n: int, x: Tensor) -> Tensor:
    """The n-th derivative of digamma: (-1)**(n+1) n! zeta(n+1, x)."""
    if n == 0:
        return digamma(x)  # type: ignore[no-any-return]
    op = _POLYGAMMA.get(n)
    if op is None:
        sign = (-1.0) ** (n + 1) * math.factorial(n)

        def impl(v: Any) -> Any:
            wide = v.astype(np.float64)
            if n == 1:
                return _trigamma(wide).astype(v.dtype)
            return (sign * _zeta(np.float64(n + 1), wide)).astype(v.dtype)

        op = _POLYGAMMA[n] = unary(
            f"polygamma_{n}", lambda k, v: k.polygamma(n, v), (lambda t, v: t * polygamma_n(n + 1, v),), impl=impl,
            method=False, inplace=False, function=False, reject="c", grad_name="PolygammaBackward0",
        )  # fmt: skip
    return op(x)  # type: ignore[no-any-return]


def _trigamma(x: Any) -> Any:
    """zeta(2, x), continued to negative arguments by the reflection formula (DLMF 5.15.6)."""
    zeta2 = ufunc("zeta")
    s = np.sin(np.pi * x)
    return np.where(x < 0.5, (np.pi / s) ** 2 - zeta2(2.0, 1 - x), zeta2(2.0, np.where(x < 0.5, 1.0, x)))


# Bessel functions
i0 = special("i0", (lambda t, x: t * i1(x),), aliases=("special_i0",))
i1: Any = special(
    "special_i1", (lambda t, x, y: t * _i1_slope(x, y),), scipy="i1", method=False, inplace=False
)
i0e = special(
    "special_i0e",
    (lambda t, x, y: t * (i1e(x) - _sign(x) * y),),
    scipy="i0e",
    method=False,
    inplace=False,
    grad_name="SpecialI0EBackward0",
)
i1e: Any = special(
    "special_i1e",
    (lambda t, x, y: t * _i1e_slope(x, y),),
    scipy="i1e",
    method=False,
    inplace=False,
    grad_name="SpecialI1EBackward0",
)


def _sign(x: Tensor) -> Tensor:
    return where_op(x < 0, -1.0, where_op(x > 0, 1.0, x))  # type: ignore[no-any-return]


def _i1_slope(x: Tensor, y: Tensor) -> Tensor:
    """i0(x) - i1(x) / x, with its limit 1/2 at zero."""
    safe = where_op(x == 0, 1.0, x)
    return where_op(x == 0, 0.5, i0(safe) - y / safe)  # type: ignore[no-any-return]


def _i1e_slope(x: Tensor, y: Tensor) -> Tensor:
    safe = where_op(x == 0, 1.0, x)
    return where_op(x == 0, 0.5, i0e(safe) - y * (_sign(safe) + 1 / safe))  # type: ignore[no-any-return]


def bessel(name: str, scipy: str, d: Any = None) -> Any:
    return special("special_" + name, d, scipy=scipy, method=False, inplace=False)


bessel_j0 = bessel("bessel_j0", "j0", (lambda t, x: -t * bessel_j1(x),))
bessel_j1: Any = bessel("bessel_j1", "j1", (lambda t, x, y: t * (bessel_j0(x) - _over(y, x)),))
bessel_y0 = bessel("bessel_y0", "y0", (lambda t, x: -t * bessel_y1(x),))
bessel_y1: Any = bessel("bessel_y1", "y1", (lambda t, x, y: t * (bessel_y0(x) - y / x),))
modified_bessel_i0 = bessel("modified_bessel_i0", "i0", (lambda t, x: t * i1(x),))
modified_bessel_i1 = bessel("modified_bessel_i1", "i1", (lambda t, x, y: t * _i1_slope(x, y),))
modified_bessel_k0 = bessel("modified_bessel_k0", "k0", (lambda t, x: -t * modified_bessel_k1(x),))
modified_bessel_k1: Any = bessel(
    "modified_bessel_k1", "k1", (lambda t, x, y: -t * (modified_bessel_k0(x) + y / x),)
)
scaled_modified_bessel_k0 = bessel(
    "scaled_modified_bessel_k0", "k0e", (lambda t, x, y: t * (y - scaled_modified_bessel_k1(x)),)
)
scaled_modified_bessel_k1: Any = bessel(
    "scaled_modified_bessel_k1", "k1e", (lambda t, x, y: t * (y - scaled_modified_bessel_k0(x) - y / x),)
)


def _over(y: Tensor, x: Tensor) -> Tensor:
    """J1(x) / x, with its limit 1/2 at zero."""
    zero = x == 0
    return where_op(zero, 0.5, y / where_op(zero, 1.0, x))  # type: ignore[no-any-return]


def _airy(x: Any) -> Any:
    wide = x.astype(np.float64)
    return ufunc("airy")(wide)[0].astype(x.dtype)


airy_ai = unary(
    "special_airy_ai", lambda k, x: k.airy_ai(x), impl=_airy, method=False, inplace=False, reject="c"
)


def _spherical_j0(x: Any) -> Any:
    wide = x.astype(np.float64)
    small = np.abs(wide) < 0.5
    safe = np.where(small, 1.0, wide)
    x2 = wide * wide
    series = 1 + x2 * (-1 / 6 + x2 * (1 / 120 + x2 * (-1 / 5040 + x2 * (1 / 362880 - x2 / 39916800))))
    y = np.where(small, series, np.sin(safe) / safe)
    return np.where(np.isinf(wide), 0.0, y).astype(x.dtype)


spherical_bessel_j0 = unary(
    "special_spherical_bessel_j0", lambda k, x: k.sinc(x), (lambda t, x, y: t * masked((cos(x) - y) / where_op(x == 0, 1.0, x), x != 0),),
    impl=_spherical_j0, method=False, inplace=False, reject="c",
)  # fmt: skip

# normal distribution


def _ndtr(x: Any) -> Any:
    if x.dtype.itemsize == 2:  # rounded after each step, as in PyTorch
        at = (x.astype(np.float32) / np.float32(math.sqrt(2))).astype(x.dtype)
        return (1 + ufunc("erf")(at.astype(np.float32)).astype(x.dtype)) * x.dtype.type(0.5)
    return ufunc("ndtr")(x)


_ndtr.knows_halves = True  # type: ignore[attr-defined]
ndtr = unary(
    "special_ndtr",
    lambda k, x: k.ndtr(x),
    (lambda t, x: TWO_OVER_SQRT_PI * exp(-power(x / math.sqrt(2), 2)) * (t * 0.5) / math.sqrt(2),),
    impl=_ndtr,
    reject="c",
    grad_name="MulBackward1",
    method=False,
    inplace=False,
)
ndtri = special(
    "special_ndtri",
    (lambda t, y: t * (exp(y * y / 2) * math.sqrt(2 * math.pi)),),
    scipy="ndtri",
    method=False,
    inplace=False,
)
log_ndtr = special(
    "special_log_ndtr",
    (lambda t, x: t * (math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5))),),
    scipy="log_ndtr",
    method=False,
    inplace=False,
)

# incomplete gamma functions: differentiable in x only, as in PyTorch
igamma = binary(
    "igamma", lambda k, a, x: k.gammainc(a, x),
    (_no_derivative("igamma: input"), lambda t, a, x: t * exp((a - 1) * log(x) - x - lgamma(a))),
    impl=scipy_impl("gammainc"), kind=FLOAT, aliases=("special_gammainc",), reject="c", numbers="none",
)  # fmt: skip
igammac = binary(
    "igammac", lambda k, a, x: k.gammaincc(a, x),
    (_no_derivative("igammac: input"), lambda t, a, x: -t * exp((a - 1) * log(x) - x - lgamma(a))),
    impl=scipy_impl("gammaincc"), kind=FLOAT, aliases=("special_gammaincc",), reject="c", numbers="none",
)  # fmt: skip


def _xlog(name: str) -> Callable[..., Any]:
    found: list[Any] = []

    def impl(x: Any, y: Any) -> Any:
        if not found:
            found.append(ufunc(name))
        like = next(v for v in (x, y) if isinstance(v, np.ndarray))
        if like.dtype.itemsize == 2 and like.dtype.kind in "fV":
            x, y = (v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in (x, y))
            log = np.asarray((np.log if name == "xlogy" else np.log1p)(y), np.float32)
            r = np.asarray(x * log.astype(like.dtype).astype(np.float32))  # rounded twice, as in PyTorch
            return np.where((x == 0) & ~np.isnan(y), 0, r).astype(like.dtype)
        r = np.asarray(found[0](x, y))
        return np.where(np.isnan(y), np.nan, r).astype(like.dtype, copy=False)

    impl.knows_halves = True  # type: ignore[attr-defined]
    return impl


def _xlogy_slope(t: Tensor, x: Any, y: Any) -> Tensor:
    """t * log(y), and zero where x log(y) is zero by definition; y may be a number."""
    if not isinstance(y, Tensor):
        return xlogy(t, y) if y > 0 else masked(t * (-math.inf if y == 0 else math.nan), x != 0)
    return masked(xlogy(t, y), ~((x == 0) & (y <= 0)))


def _xlog1py_slope(t: Tensor, x: Any, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        return _xlogy_slope(t, x, y + 1)
    return masked(xlog1py(t, y), ~((x == 0) & (y <= -1)))


xlogy: Any = binary(
    "xlogy",
    lambda k, x, y_: k.xlogy(x, y_),
    (lambda t, x, y_: _xlogy_slope(t, x, y_), lambda t, x, y_: t * x / y_),
    impl=_xlog("xlogy"),
    kind=FLOAT,
    aliases=("special_xlogy",),
    reject="c",
    grad_name="XlogyBackward2",
    tensor_name="XlogyBackward0",
)
xlog1py: Any = binary(
    "special_xlog1py",
    lambda k, x, y_: k.xlog1py(x, y_),
    (lambda t, x, y_: _xlog1py_slope(t, x, y_), lambda t, x, y_: t * x / (y_ + 1)),
    impl=_xlog("xlog1py"),
    kind=FLOAT,
    method=False,
    inplace=False,
    reject="c",
    grad_name="SpecialXlog1PyBackward0",
)


def _entr(x: Any) -> Any:
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    r = ufunc("entr")(wide)
    return np.where(np.isnan(wide), np.nan, r).astype(x.dtype)


entr = unary(
    "special_entr",
    lambda k, x: k.entr(x),
    (lambda t, x: t * (-log(x) - 1),),
    impl=_entr,
    method=False,
    inplace=False,
    reject="c",
)


def _sinc(x: Any) -> Any:
    p = np.pi * x
    zero = x == 0
    return np.where(zero, 1, np.sin(p) / np.where(zero, 1, p)).astype(x.dtype)


def _sinc_slope(x: Tensor) -> Tensor:
    zero = x * x == 0  # there the slope is 0 to working precision, and 0 / 0 as a quotient
    safe = where_op(zero, 1, x)
    p = safe * math.pi
    return where_op(zero, 0, (p * cos(p) - sin(p)) / (safe * safe * math.pi))  # type: ignore[no-any-return]


sinc = unary(
    "sinc", lambda k, x: k.sinc(x), (lambda t, x: t * _sinc_slope(x),), impl=_sinc, aliases=("special_sinc",)
)

# Log-sum-exp of two
_share = (lambda t, a, b: t / (1 + exp(b - a)), lambda t, a, b: t / (1 + exp(a - b)))


def _logaddexp(fn: Any) -> Callable[..., Any]:
    def impl(a: Any, b: Any) -> Any:
        if a.dtype.kind == "c":
            top = np.where(a.real >= b.real, a, b)
            low = np.where(a.real >= b.real, b, a)
            same = np.isinf(top.real) & (top == low)
            return np.where(same, top, top + np.log(1 + np.exp(low - top)))
        if a.dtype.itemsize == 2:
            return fn(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
        return fn(a, b)

    return impl


def _softmax_share(base: float) -> Any:
    def share(t: Tensor, mine: Tensor, other: Tensor) -> Tensor:
        d = other - mine
        if d._a.dtype.kind != "c":
            d = where_op(mine == other, 0, d)  # equal infinities
        return t / (1 + (exp(d) if base == math.e else power(base, d)))  # type: ignore[no-any-return]

    return lambda t, a, b: share(t, a, b), lambda t, a, b: share(t, b, a)


logaddexp = binary("logaddexp", lambda k, a, b: k.logaddexp(a, b), _softmax_share(math.e), impl=_logaddexp(np.logaddexp), inplace=False, reject="bui", numbers="none", aliases=())  # fmt: skip
logaddexp2 = binary("logaddexp2", lambda k, a, b: k.logaddexp2(a, b), _softmax_share(2.0), impl=_logaddexp(np.logaddexp2), inplace=False, reject="buic", numbers="none")  # fmt: skip

_ = SAME
del _share
