"""Gradients through draws that have no formula in closed form: gamma and Dirichlet.

A draw x of a distribution with parameter a stays at one value of the distribution function F while a moves, which
defines dx/da (implicit reparametrisation: Figurnov, Mohamed and Mnih, NeurIPS 2018).  Here x(a) at fixed F is
differentiated numerically through SciPy's inverse of F, by a fourth-order difference in the logarithm (in the logit for
beta), whose error is near 1e-11; the leading term of F takes over where x is too small for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.families import opaque_op, pointwise_op
from ..core.tensor import Tensor
from .pointwise import mul

STEP = 1e-3  # relative: the truncation error is of order STEP**4, rounding of order 1e-14 / STEP
TINY = 1e-10  # below it the leading term of F is exact to rounding


def _slope(solve: Callable[[Any], Any], a: Any) -> Any:
    """d solve(a) / da by the fourth-order central difference."""
    h = STEP * a
    near = solve(a + h) - solve(a - h)
    far = solve(a + 2 * h) - solve(a - 2 * h)
    return (8 * near - far) / (12 * h)


def _wide(*xs: Any) -> list[Any]:
    return [np.asarray(x, np.float64) for x in np.broadcast_arrays(*xs)]


def gamma_slope(alpha: Any, x: Any) -> Any:
    """dx/dalpha for a draw x of the standard gamma distribution; arrays of one dtype."""
    from scipy import special

    a, v = _wide(alpha, x)
    with np.errstate(all="ignore"):
        p, q = special.gammainc(a, v), special.gammaincc(a, v)
        lower = p <= q

        def log_x(b: Any) -> Any:
            return np.log(np.where(lower, special.gammaincinv(b, p), special.gammainccinv(b, q)))

        # P(a, x) ~ x**a / Gamma(a + 1) for small x (DLMF 8.7.1)
        leading = (special.digamma(a + 1) - np.log(v)) / a
        slope = np.where(v < TINY, leading, _slope(log_x, a))
        return np.where(v > 0, v * slope, np.where(v == 0, 0.0, np.nan)).astype(x.dtype)


def dirichlet_slope(x: Any, alpha: Any, total: Any) -> Any:
    """dx/dalpha / (1 - x) for a component x of a Dirichlet draw: x is beta(alpha, total - alpha)."""
    from scipy import special

    v, a, s = _wide(x, alpha, total)
    with np.errstate(all="ignore"):
        b = s - a
        flip = v > 0.5
        u = np.where(flip, 1 - v, v)  # 1 - x is beta(b, a): the smaller of the two keeps its digits
        first, second = np.where(flip, b, a), np.where(flip, a, b)
        p, q = special.betainc(first, second, u), special.betaincc(first, second, u)
        lower = p <= q

        def logit(moved: Any) -> Any:
            one, two = np.where(flip, b, moved), np.where(flip, moved, b)
            w = np.where(lower, special.betaincinv(one, two, p), special.betainccinv(one, two, q))
            return np.log(w) - np.log1p(-w)

        # I_u(a, b) ~ u**a / (a B(a, b)) for small u (DLMF 8.17.7)
        small = (special.digamma(a + 1) - special.digamma(s) - np.log(u)) / a
        large = (special.digamma(a) - special.digamma(s)) / b
        slope = np.where(u < TINY, np.where(flip, large, small), _slope(logit, a))
        slope = np.where(flip, -slope, slope)
        return np.where(v > 0, v * slope, 0.0).astype(x.dtype)


def _no_derivative(name: str) -> Callable[..., Any]:
    def rule(t: Tensor) -> Tensor:
        raise NotImplementedError(
            f"the derivative for '{name}' is not implemented: draws of gamma, beta and Dirichlet distributions can "
            "be differentiated once"
        )

    return rule


standard_gamma_grad: Any = pointwise_op(
    "standard_gamma_grad",
    lambda k, alpha, x: k.standard_gamma_grad(alpha, x),
    (_no_derivative("_standard_gamma_grad"),) * 2,
    impl=gamma_slope,
)
dirichlet_grad: Any = pointwise_op(
    "dirichlet_grad",
    lambda k, x, alpha, total: k.dirichlet_grad(x, alpha, total),
    (_no_derivative("_dirichlet_grad"),) * 3,
    impl=dirichlet_slope,
)

# A standard gamma draw as a function of its parameter: the value is the draw.
gamma_draw: Any = pointwise_op(
    "gamma_draw",
    lambda k, alpha, drawn: drawn,
    (lambda t, alpha, y: mul(t, standard_gamma_grad(alpha, y)), None),
    impl=lambda alpha, drawn: np.array(np.broadcast_to(drawn, np.broadcast_shapes(alpha.shape, drawn.shape))),
    grad_name="StandardGammaBackward0",
)


def _dirichlet_draw(alpha: Any, drawn: Any) -> Any:
    return np.array(drawn)


def _dirichlet_slope_of(alpha: Tensor, y: Tensor) -> Tensor:
    return dirichlet_grad(y, alpha, alpha.sum(-1, keepdim=True))  # type: ignore[no-any-return]


def _dirichlet_vjp(g: Tensor, alpha: Tensor, y: Tensor) -> Tensor:
    return _dirichlet_slope_of(alpha, y) * (g - (y * g).sum(-1, keepdim=True))  # type: ignore[no-any-return]


def _dirichlet_jvp(ts: Any, xs: Any, y: Tensor, params: dict[str, Any]) -> Any:
    if ts[0] is None:
        return None
    moved = _dirichlet_slope_of(xs[0], y) * ts[0]
    return moved - y * moved.sum(-1, keepdim=True)


# A Dirichlet draw (over the last dim) as a function of its concentration.
dirichlet_draw: Any = opaque_op(
    _dirichlet_draw,
    (_dirichlet_vjp, None),
    name="dirichlet_draw",
    jvp=_dirichlet_jvp,
    grad_name="SampleDirichletBackward0",
)
