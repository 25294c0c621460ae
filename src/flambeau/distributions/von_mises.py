"""The von Mises distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..autograd.grad_mode import no_grad
from ..core.tensor import Tensor
from ..runtime.dtypes import float64
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property

__all__ = ["VonMises"]


class VonMises(Distribution):
    """A distribution of angles around `loc`, of density proportional to ``exp(concentration * cos(x - loc))``.

    Draws by Best and Fisher's rejection from a wrapped Cauchy distribution (Applied Statistics 28, 1979).
    """

    arg_constraints: Any = {"loc": constraints.real, "concentration": constraints.positive}
    support: Any = constraints.real
    has_rsample = False
    _batched = {"loc": 0, "concentration": 0}

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        k = self.concentration
        log_i0 = k + ops.special_i0e(k).log()  # scaled: I0 itself overflows for large k
        return k * (value - self.loc).cos() - math.log(2 * math.pi) - log_i0

    @lazy_property
    def _proposal_r(self) -> Tensor:
        """The proposal's parameter, in float64: float32 hangs for small concentrations."""
        k = self.concentration.to(float64)
        tau = 1 + (1 + 4 * k**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        return ops.where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))

    @no_grad()  # type: ignore[untyped-decorator]
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        loc, k, r = self.loc.to(float64), self.concentration.to(float64), self._proposal_r
        shape = self._extended_shape(sample_shape)
        angle = ops.zeros(shape, dtype=float64)
        done = angle.bool()
        while not constraints.holds(done):
            u1, u2, u3 = ops.rand((3, *shape), dtype=float64).unbind()
            z = (math.pi * u1).cos()
            f = (1 + r * z) / (r + z)
            c = k * (r - f)
            accepted = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
            angle = ops.where(accepted, (u3 - 0.5).sign() * f.acos(), angle)
            done = done | accepted
        return ((angle + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self) -> Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        """The circular variance, ``1 - I1(k) / I0(k)``."""
        return 1 - ops.special_i1e(self.concentration) / ops.special_i0e(self.concentration)
