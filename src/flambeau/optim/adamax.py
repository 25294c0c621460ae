"""Adamax."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.tensor import Tensor
from .elementwise import (
    ElementwiseOptimizer,
    check_at_least_zero,
    check_betas,
    check_one_element,
    hyperparameter,
    number,
)

__all__ = ["Adamax"]


class _Coefficients(NamedTuple):
    minus_step_size: Any
    one_minus_beta1: Any
    beta2: Any
    eps: Any
    weight_decay: Any
    maximize: bool
    decay: bool


class Adamax(ElementwiseOptimizer):
    """Adamax: Adam with the infinity norm (D. P. Kingma and J. Ba, *Adam*, 2015, algorithm 2).

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> opt = torch.optim.Adamax([w], lr=0.1)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        check_at_least_zero("epsilon value", eps)
        check_betas(betas)
        check_at_least_zero("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        beta1, beta2 = [of(b) for b in group["betas"]]
        weight_decay = of(group["weight_decay"])
        return _Coefficients(
            -(of(group["lr"]) / (1 - beta1**key)),
            1 - beta1,
            beta2,
            of(group["eps"]),
            weight_decay,
            bool(group["maximize"]),
            bool(weight_decay != 0),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        average, largest = state
        if c.maximize:
            g = k.neg(g)
        if c.decay:
            g = k.add(g, p, c.weight_decay)
        k.lerp_(average, g, c.one_minus_beta1)
        k.mul_(largest, c.beta2)
        size = k.abs(g)
        k.add_(size, c.eps)
        k.maximum_(largest, size)
        k.addcdiv_(p, average, largest, c.minus_step_size)
