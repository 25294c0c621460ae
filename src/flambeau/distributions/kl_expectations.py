"""Divergences between distributions of two families: ``-H(p) - E_p log q``.

For each q, `_LOG_DENSITY` writes the mean of its log density in means under p: of x, of log x, of log(1 - x), of
exp(t x).  For each p, `_MEANS` gives those it knows.  Where p has mass outside the support of q the answer is infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .continuous_bernoulli import ContinuousBernoulli
from .exponential import Exponential
from .gamma import Gamma
from .gumbel import Gumbel
from .kl import register_kl
from .laplace import Laplace
from .normal import Normal
from .pareto import Pareto
from .poisson import Poisson
from .uniform import Uniform
from .utils import euler_constant

INF = math.inf
Means = dict[str, Callable[..., Tensor]]


def _x_log_x(x: Tensor) -> Tensor:
    return ops.xlogy(x, x)


def _distance_normal(p: Normal, point: Tensor) -> Tensor:
    """``E |x - point|`` of a normal number."""
    d = p.loc - point
    bell = (-0.5 * (d / p.scale).pow(2)).exp() * p.scale * math.sqrt(2 / math.pi)
    return bell + d * (d / (math.sqrt(2) * p.scale)).erf()


# E log x, E log(1 - x), E exp(t x), E |x - point|; the mean and the variance are the distribution's own
_MEANS: dict[type, Means] = {
    Beta: {
        "log": lambda p: p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma(),
    },
    Exponential: {
        "log": lambda p: -p.rate.log() - euler_constant,
        "exp": lambda p, t: ops.where(t < p.rate, p.rate / (p.rate - t), INF),
    },
    Gamma: {
        "log": lambda p: p.concentration.digamma() - p.rate.log(),
        "exp": lambda p, t: (p.rate / (p.rate - t)).pow(p.concentration),
    },
    Normal: {
        "exp": lambda p, t: (p.loc * t + 0.5 * (p.scale * t).pow(2)).exp(),
        "distance": _distance_normal,
    },
    Pareto: {"log": lambda p: p.scale.log() + p.alpha.reciprocal()},
    Uniform: {
        "log": lambda p: (_x_log_x(p.high) - _x_log_x(p.low)) / (p.high - p.low) - 1,
        "log1m": lambda p: (_x_log_x(1 - p.low) - _x_log_x(1 - p.high)) / (p.high - p.low) - 1,
        "exp": lambda p, t: ((t * p.high).exp() - (t * p.low).exp()) / (t * (p.high - p.low)),
    },
}


def _mean(p: Any, name: str, *args: Any) -> Tensor:
    return _MEANS[type_of(p)][name](p, *args)


def type_of(p: Any) -> type:
    """The class in `_MEANS` that `p` is of."""
    return next(c for c in type(p).__mro__ if c in _MEANS)


def _beta_density(p: Any, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    normalizer = (a + b).lgamma() - a.lgamma() - b.lgamma()
    return (a - 1) * _mean(p, "log") + (b - 1) * _mean(p, "log1m") + normalizer


def _gamma_density(p: Any, q: Gamma) -> Tensor:
    a, b = q.concentration, q.rate
    return a * b.log() - a.lgamma() + (a - 1) * _mean(p, "log") - b * p.mean


def _gumbel_density(p: Any, q: Gumbel) -> Tensor:
    tail = (q.loc / q.scale).exp() * _mean(p, "exp", -q.scale.reciprocal())
    return (q.loc - p.mean) / q.scale - tail - q.scale.log()


def _normal_density(p: Any, q: Normal) -> Tensor:
    spread = p.variance + (p.mean - q.loc).pow(2)
    return -0.5 * math.log(2 * math.pi) - q.scale.log() - spread / (2 * q.scale.pow(2))


_LOG_DENSITY: dict[type, Callable[[Any, Any], Tensor]] = {
    Beta: _beta_density,
    ContinuousBernoulli: lambda p, q: p.mean * q.logits + (-q.probs).log1p() + q._cont_bern_log_norm(),
    Exponential: lambda p, q: q.rate.log() - q.rate * p.mean,
    Gamma: _gamma_density,
    Gumbel: _gumbel_density,
    Laplace: lambda p, q: -(2 * q.scale).log() - _mean(p, "distance", q.loc) / q.scale,
    Normal: _normal_density,
    Pareto: lambda p, q: q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * _mean(p, "log"),
    Poisson: lambda p, q: p.probs * q.rate.log() - q.rate,  # of numbers 0 and 1
    Uniform: lambda p, q: -(q.high - q.low).log(),
}

# where (p, q) diverge because of their parameters
_OUTSIDE: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {
    (Beta, Uniform): lambda p, q: (q.low > 0) | (q.high < 1),
    (ContinuousBernoulli, Uniform): lambda p, q: (q.low > 0) | (q.high < 1),
    (Pareto, Exponential): lambda p, q: p.alpha <= 1,
    (Pareto, Gamma): lambda p, q: p.alpha <= 1,
    (Pareto, Normal): lambda p, q: p.alpha <= 2,
    (Uniform, Beta): lambda p, q: (p.low < 0) | (p.high > 1),
    (Uniform, ContinuousBernoulli): lambda p, q: (p.low < 0) | (p.high > 1),
    (Uniform, Exponential): lambda p, q: p.low < 0,
    (Uniform, Gamma): lambda p, q: p.low < 0,
    (Uniform, Pareto): lambda p, q: p.low < q.scale,
}

_FINITE: dict[type, tuple[type, ...]] = {
    Bernoulli: (Poisson,),
    Beta: (ContinuousBernoulli, Exponential, Gamma, Normal, Uniform),
    ContinuousBernoulli: (Exponential, Normal, Uniform),
    Exponential: (Gamma, Gumbel, Normal),
    Gamma: (Exponential, Gumbel, Normal),
    Gumbel: (Normal,),
    Laplace: (Normal,),
    Normal: (Gumbel, Laplace),
    Pareto: (Exponential, Gamma, Normal),
    Uniform: (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Normal, Pareto),
}
_POSITIVE = (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
_INFINITE: dict[type, tuple[type, ...]] = {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gamma: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gumbel: _POSITIVE,
    Laplace: _POSITIVE,
    Normal: _POSITIVE,
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}


def _finite(type_p: type, type_q: type) -> None:
    log_density, outside = _LOG_DENSITY[type_q], _OUTSIDE.get((type_p, type_q))

    def divergence(p: Any, q: Any) -> Tensor:
        value = -p.entropy() - log_density(p, q)
        return value if outside is None else ops.where(outside(p, q), INF, value)

    register_kl(type_p, type_q)(divergence)


def _infinite(p: Any, q: Any) -> Tensor:
    return ops.full(p.batch_shape, INF, dtype=p.mean.dtype)


for _p, _others in _FINITE.items():
    for _q in _others:
        _finite(_p, _q)
for _p, _others in _INFINITE.items():
    for _q in _others:
        register_kl(_p, _q)(_infinite)
