"""The generalised Pareto distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """The generalised Pareto distribution above `loc`; `concentration` 0 is the exponential one."""

    arg_constraints: Any = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True
    _batched = {"loc": 0, "scale": 0, "concentration": 0}

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        c = self.concentration
        end = ops.where(c < 0, self.loc - self.scale / ops.where(c < 0, c, 1.0), math.inf)
        return constraints.interval(self.loc, end)

    def _cases(self) -> tuple[Tensor, Tensor]:
        """Where the concentration counts as zero, and the concentration made safe to divide by."""
        zero = ops.isclose(self.concentration, ops.zeros_like(self.concentration))
        return zero, ops.where(zero, 1.0, self.concentration)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(ops.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        z = (value - self.loc) / self.scale
        zero, c = self._cases()
        y = 1 / c + ops.ones_like(z)
        # with concentration -1 the density is constant, up to a border where log1p(-1) is infinite
        return -self.scale.log() - ops.where(zero, z, ops.where(y == 0, y, y * (c * z).log1p()))

    def log_survival_function(self, value: Any) -> Tensor:
        """``log(1 - cdf(value))``."""
        self._check(value)
        z = (value - self.loc) / self.scale
        zero, c = self._cases()
        return ops.where(zero, -z, -(c * z).log1p() / c)

    def log_cdf(self, value: Any) -> Tensor:
        """``log(cdf(value))``."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Any) -> Tensor:
        return self.log_cdf(value).exp()

    def icdf(self, value: Any) -> Tensor:
        zero, c = self._cases()
        left = (-value).log1p()
        return ops.where(zero, self.loc - self.scale * left, self.loc + self.scale / c * (-c * left).expm1())

    @property
    def mean(self) -> Tensor:
        finite = self.concentration < 1
        c = ops.where(finite, self.concentration, 0.5)
        return ops.where(finite, self.loc + self.scale / (1 - c), math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.concentration < 0.5
        c = ops.where(finite, self.concentration, 0.25)
        return ops.where(finite, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), math.nan)

    def entropy(self) -> Tensor:
        return (self.scale.log() + self.concentration + 1).expand(self._batch_shape)
