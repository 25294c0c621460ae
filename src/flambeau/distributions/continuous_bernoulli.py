"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..autograd.grad_mode import no_grad
from ..core.tensor import Tensor
from ..nn.functional.classification import binary_cross_entropy_with_logits
from . import constraints
from .exp_family import ExponentialFamily
from .utils import ProbsOrLogits, broadcast_all, clamp_probs, lazy_property, logits_to_probs

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(ProbsOrLogits, ExponentialFamily):
    """The distribution on [0, 1] of density proportional to ``probs**x * (1 - probs)**(1 - x)``.

    Between `lims`, where the normaliser is 0 / 0, Taylor series around 1/2 are used (Loaiza-Ganem and Cunningham,
    NeurIPS 2019).
    """

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}
    support: Any = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure: Any = 0
    _batched = {"probs": 0, "logits": 0, "_param": 0}
    _kept = ("_lims",)

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._set_probs_or_logits(probs, logits)
        self._lims = lims
        if probs is not None:
            if validate_args is not None and not constraints.holds(
                constraints.unit_interval.check(self.probs)
            ):
                raise ValueError(f"The parameter probs has invalid values, outside [0, 1]: {self.probs}")
            self.probs = self._param = clamp_probs(self.probs)
        super().__init__(self._param.shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Any:
        """Probabilities, away from 0 and 1."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _stable(self) -> tuple[Tensor, Tensor]:
        """Where the closed forms hold, and probabilities with the others moved to where they do."""
        low, high = self._lims
        outside = (self.probs <= low) | (self.probs > high)
        return outside, ops.where(outside, self.probs, low)

    @staticmethod
    def _odds(p: Tensor) -> Tensor:
        return (-p).log1p() - p.log()

    def _cont_bern_log_norm(self) -> Tensor:
        outside, p = self._stable()
        small = p <= 0.5
        below, above = ops.where(small, p, 0.0), ops.where(small, 1.0, p)
        gap = ops.where(small, (-2.0 * below).log1p(), (2.0 * above - 1.0).log())  # log |1 - 2p|
        x = (self.probs - 0.5).pow(2)
        taylor = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x
        return ops.where(outside, self._odds(p).abs().log() - gap, taylor)

    @property
    def mean(self) -> Tensor:
        outside, p = self._stable()
        x = self.probs - 0.5
        taylor = 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x
        return ops.where(outside, p / (2.0 * p - 1.0) + 1.0 / self._odds(p), taylor)

    @property
    def variance(self) -> Tensor:
        outside, p = self._stable()
        x = (self.probs - 0.5).pow(2)
        taylor = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x
        return ops.where(outside, p * (p - 1.0) / (1.0 - 2.0 * p).pow(2) + self._odds(p).pow(-2), taylor)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(ops.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._cont_bern_log_norm()

    def cdf(self, value: Any) -> Tensor:
        self._check(value)
        outside, p = self._stable()
        inner = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inner = ops.where(outside, inner, value)
        return ops.where(value <= 0.0, 0.0, ops.where(value >= 1.0, 1.0, inner))

    def icdf(self, value: Any) -> Tensor:
        outside, p = self._stable()
        inner = ((-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())
        return ops.where(outside, inner, value)

    def entropy(self) -> Tensor:
        log0, log1 = (-self.probs).log1p(), self.probs.log()
        return self.mean * (log0 - log1) - self._cont_bern_log_norm() - log0

    @property
    def _natural_params(self) -> tuple[Tensor]:
        return (self.logits,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        """``log((exp(x) - 1) / x)``, by its series around zero."""
        (x,) = natural_params
        low, high = self._lims
        outside = (x <= low - 0.5) | (x > high - 0.5)
        safe = ops.where(outside, x, low - 0.5)
        taylor = 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0
        return ops.where(outside, safe.expm1().abs().log() - safe.abs().log(), taylor)
