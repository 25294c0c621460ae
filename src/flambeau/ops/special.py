"""Composites among the special functions, and the orthogonal polynomials."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.elementwise import binary
from ..core.families import is_half, pointwise_op
from ..core.promotion import FLOAT, convert, promote
from ..core.public import FUNCTIONS, check_tensor, inplace_form, public
from ..core.state import defaults
from ..core.tensor import Tensor
from ..prims import base
from ..prims import special_functions as sf
from ..prims.pointwise import where_op
from .args import dtype_of


def _floating(x: Tensor) -> Tensor:
    return convert(x, defaults.dtype) if x._a.dtype.kind in "bui" else x


def _logit_tangent(t: Tensor, x: Tensor, eps: Any) -> Tensor:
    """Where x was clamped there is no slope; outside of [0, 1] it is NaN."""
    low, high, outside = (0.0, 1.0, math.nan) if eps is None else (eps, 1 - eps, 0.0)
    return where_op((x < low) | (x > high), outside, t / (x * (1 - x)))  # type: ignore[no-any-return]


def _logit_values(x: Any, eps: Any) -> Any:
    if eps is not None:
        x = np.where(x < eps, eps, np.where(x > 1 - eps, 1 - eps, x)).astype(x.dtype)
    return np.log(x / (x.dtype.type(1) - x))


_logit_values.knows_halves = True  # type: ignore[attr-defined]  # rounded after each step, as in PyTorch
_logit_op: Any = pointwise_op(
    "logit",
    lambda k, x, eps: k.log(x / (1 - x)),
    (lambda t, x, eps: _logit_tangent(t, x, eps), None),
    impl=_logit_values,
)


@public(out=True, inplace=True, aliases=("special_logit",), grad_name="LogitBackward0")
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``, with x first clamped to [eps, 1 - eps] if eps is given."""
    x = _floating(input)
    if x._a.dtype.kind == "c":
        raise NotImplementedError('"logit_cpu" not implemented for complex dtypes')
    return _logit_op(x, None if eps is None else float(eps))  # type: ignore[no-any-return]


@public(out=True, aliases=("special_polygamma",), name="polygamma", method=False)
def polygamma(n: Any, input: Any = None) -> Tensor:
    """The n-th derivative of the digamma function.

    Raises: TypeError unless n is an integer; RuntimeError for negative n.
    """
    try:
        order = operator.index(n)
    except TypeError:
        raise TypeError(
            f"polygamma(): argument 'n' (position 1) must be int, not {type(n).__name__}"
        ) from None
    if order < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n: {order}")
    return sf.polygamma_n(order, _floating(input))


def _polygamma_method(self: Tensor, n: int) -> Tensor:
    """The n-th derivative of the digamma function."""
    return polygamma(n, self)


setattr(Tensor, "polygamma", _polygamma_method)
setattr(Tensor, "polygamma_", inplace_form(_polygamma_method, "polygamma_", "PolygammaBackward1"))


@functools.cache  # registered once for each dimension that a program uses
def _mvlgamma_op(p: int) -> Any:
    """The operation for one dimension; 16-bit floats are rounded after each step, as in PyTorch."""
    constant = p * (p - 1) / 4 * math.log(math.pi)

    def impl(x: Any) -> Any:
        half = is_half(x)
        parts = [sf.lgamma_values(np.asarray(x - x.dtype.type(j / 2))) for j in range(p)]
        total = np.add.reduce([v.astype(np.float32) if half else v for v in parts])
        return total.astype(x.dtype) + x.dtype.type(constant)

    impl.knows_halves = True  # type: ignore[attr-defined]

    def slope(t: Tensor, x: Tensor) -> Tensor:
        shifts = base.from_value(np.arange(1 - p, 1).astype(np.float32) / 2)
        each = sf.digamma(x.unsqueeze(-1) + convert(shifts, dtype_of(x)))
        return t * each.sum(-1)  # type: ignore[no-any-return]

    return pointwise_op(f"mvlgamma_{p}", lambda k, x: k.multigammaln(x, p), (slope,), impl=impl)


@public(out=True, inplace=True, aliases=("special_multigammaln",), grad_name="MvlgammaBackward0")
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The log of the multivariate gamma function of dimension p.

    Raises: RuntimeError for p < 1.
    """
    try:
        p = operator.index(p)
    except TypeError:
        raise TypeError(
            f"mvlgamma(): argument 'p' (position 2) must be int, not {type(p).__name__}"
        ) from None
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if p > 1 << 20:
        raise RuntimeError(f"mvlgamma: not enough memory for p = {p} terms of each element")
    return _mvlgamma_op(p)(_floating(input))  # type: ignore[no-any-return]


@public(method=False, name="special_log_softmax")
def special_log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """``flambeau.log_softmax``."""
    return FUNCTIONS["log_softmax"](input, dim, dtype=dtype)  # type: ignore[no-any-return]


@public(method=False, name="special_softmax")
def special_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """``flambeau.softmax``."""
    return FUNCTIONS["softmax"](input, dim, dtype=dtype)  # type: ignore[no-any-return]


# Three-term recurrences (Abramowitz & Stegun, table 22.7): p0, p1(x), and p_{k+1} from x, k, p_k, p_{k-1}.
_POLYNOMIALS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, int, Any, Any], Any]]] = {
    "chebyshev_polynomial_t": (lambda x: x, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_u": (lambda x: 2 * x, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_v": (lambda x: 2 * x - 1, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_w": (lambda x: 2 * x + 1, lambda x, k, p, q: 2 * x * p - q),
    "hermite_polynomial_h": (lambda x: 2 * x, lambda x, k, p, q: 2 * (x * p - k * q)),
    "hermite_polynomial_he": (lambda x: x, lambda x, k, p, q: x * p - k * q),
    "laguerre_polynomial_l": (lambda x: 1 - x, lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)),
    "legendre_polynomial_p": (lambda x: x, lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
}
for _kind in "tuvw":
    _first, _next = _POLYNOMIALS[f"chebyshev_polynomial_{_kind}"]
    _POLYNOMIALS[f"shifted_chebyshev_polynomial_{_kind}"] = (
        lambda x, f=_first: f(2 * x - 1),  # type: ignore[misc]
        lambda x, k, p, q, g=_next: g(2 * x - 1, k, p, q),  # type: ignore[misc]
    )


LONGEST = 100_000  # steps of a recurrence
# Chebyshev's polynomials of cos t, for degrees that a recurrence does not reach.
_CLOSED: dict[str, Callable[[Any, Any], Any]] = {
    "chebyshev_polynomial_t": lambda t, n: np.cos(n * t),
    "chebyshev_polynomial_u": lambda t, n: np.sin((n + 1) * t) / np.sin(t),
    "chebyshev_polynomial_v": lambda t, n: np.cos((n + 0.5) * t) / np.cos(t / 2),
    "chebyshev_polynomial_w": lambda t, n: np.sin((n + 0.5) * t) / np.sin(t / 2),
}
_CLOSED |= {f"shifted_{_name}": _fn for _name, _fn in _CLOSED.items()}


def _polynomial(name: str) -> Any:
    first, step = _POLYNOMIALS[name]

    def impl(x: Any, n: Any) -> Any:
        like = next(v for v in (x, n) if isinstance(v, np.ndarray))
        xs, ns = np.broadcast_arrays(np.asarray(x, np.float64), np.trunc(np.asarray(n, np.float64)))
        result = np.where(ns < 0, 0.0, 1.0)
        top = int(ns.max()) if ns.size and np.isfinite(ns.max()) else 0
        before, current = np.ones_like(xs), first(xs)
        for k in range(1, min(top, LONGEST) + 1):
            result = np.where(ns == k, current, result)
            before, current = current, step(xs, k, current, before)
        if top > LONGEST:  # what grows has become NaN on the way
            far = ns > LONGEST
            if not np.isnan(current[far]).all():
                if name not in _CLOSED:
                    raise RuntimeError(
                        f"special_{name}(): degree {top} is too large, at most {LONGEST} can be had"
                    )
                z = 2 * xs - 1 if name.startswith("shifted") else xs
                current = np.where(np.abs(z) <= 1, _CLOSED[name](np.arccos(np.clip(z, -1, 1)), ns), current)
            result = np.where(far, current, result)
        return result.astype(like.dtype)

    return binary(
        f"special_{name}",
        lambda k, x, n: getattr(k, name)(x, n),
        impl=impl,
        kind=FLOAT,
        method=False,
        inplace=False,
        reject="c",
        second="n",
    )


for _name in _POLYNOMIALS:
    _polynomial(_name)


@public(inplace=True, out=True, half=True, grad_name="Deg2RadBackward0")
def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    if input._a.dtype.kind == "c":
        raise RuntimeError("deg2rad is not supported for complex tensors.")
    return _floating(input) * (math.pi / 180)  # type: ignore[no-any-return]


@public(inplace=True, out=True, half=True, grad_name="Rad2DegBackward0")
def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    if input._a.dtype.kind == "c":
        raise RuntimeError("rad2deg is not supported for complex tensors.")
    return _floating(input) * (180 / math.pi)  # type: ignore[no-any-return]


def _ldexp_values(x: Any, n: Any) -> Any:
    """16-bit floats are rounded after each of the two steps, as in PyTorch."""
    if is_half(x) or is_half(n):
        half = x.dtype if is_half(x) else n.dtype
        return x * np.exp2(np.asarray(n, np.float32)).astype(half)
    return x * np.exp2(n)


_ldexp_values.knows_halves = True  # type: ignore[attr-defined]
_ldexp_op: Any = pointwise_op(
    "ldexp",
    lambda k, x, n: x * k.pow(2.0, n),
    (lambda t, n: t * FUNCTIONS["pow"](2.0, n), lambda t, y: t * y * math.log(2)),
    impl=_ldexp_values,
)


@public(inplace=True, out=True, grad_name="LdexpBackward0")
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """``input * 2 ** other``."""
    check_tensor(input, "ldexp")
    check_tensor(other, "ldexp", "other")
    return _ldexp_op(*promote([input, other], FLOAT))  # type: ignore[no-any-return]
