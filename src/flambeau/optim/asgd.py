"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from ..core.tensor import Tensor
from .elementwise import (
    ElementwiseOptimizer,
    Work,
    check_at_least_zero,
    check_one_element,
    hyperparameter,
    number,
    scalar_dtype,
)

__all__ = ["ASGD"]


class _Coefficients(NamedTuple):
    minus_eta: Any
    shrink: Any
    mu: Any
    weight_decay: Any
    maximize: bool
    decay: bool
    averaging: bool


class ASGD(ElementwiseOptimizer):
    """Averaged gradient descent (B. T. Polyak and A. B. Juditsky, *Acceleration of stochastic approximation
    by averaging*, 1992). The average is kept in the state as ``ax``; averaging starts at step `t0`.

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> opt = torch.optim.ASGD([w], lr=0.1)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        check_at_least_zero("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("ax",)

    def _init_state(self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        state["step"] = self._new_step()
        state["eta"] = self._new_step(float(number(group["lr"])))
        state["mu"] = self._new_step(1.0)
        state["ax"] = self._zeros(p)

    def _advance(self, group: dict[str, Any], work: Work) -> Hashable:
        step = super()._advance(group, work)
        eta, mu = work.state["eta"]._a, work.state["mu"]._a
        now = eta.item(), mu.item()
        lr = number(group["lr"])
        rounded = scalar_dtype().numpy.type  # whatever dtype a checkpoint had
        eta[...] = rounded(lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        mu[...] = rounded(1 / max(1, step - group["t0"]))
        return now

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        eta, mu = key
        weight_decay = of(group["weight_decay"])
        return _Coefficients(
            -eta,
            1 - of(group["lambd"]) * eta,
            mu,
            weight_decay,
            bool(group["maximize"]),
            bool(weight_decay != 0),
            bool(mu != 1),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        (average,) = state
        if c.maximize:
            g = k.neg(g)
        if c.decay:
            g = k.add(g, p, c.weight_decay)
        k.mul_(p, c.shrink)
        k.add_(p, g, c.minus_eta)
        if c.averaging:
            difference = k.add(p, average, -1.0)
            k.add_(average, difference, c.mu)
        else:
            k.copy_(average, p)
