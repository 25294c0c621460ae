"""Exponential families: entropy from the log normaliser."""

from __future__ import annotations

from typing import Any

from ..autograd.differentiate import grad
from ..autograd.grad_mode import enable_grad
from ..core.tensor import Tensor
from .distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """A distribution of density ``exp(<t(x), theta> - F(theta) + k(x))``.

    `_natural_params` are theta, `_log_normalizer` is F, and `_mean_carrier_measure` the mean of k(x).
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> float:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """``F(theta) - <theta, grad F(theta)> - E k(x)`` (Nielsen and Nock, ICIP 2010)."""
        carrier = self._mean_carrier_measure
        with enable_grad():
            theta = [p.detach().requires_grad_() for p in self._natural_params]
            normalizer = self._log_normalizer(*theta)
            gradients = grad(normalizer.sum(), theta, create_graph=True)
        result: Any = normalizer - carrier
        for p, g in zip(theta, gradients):
            result = result - (p * g).reshape((*self._batch_shape, -1)).sum(-1)
        return result
