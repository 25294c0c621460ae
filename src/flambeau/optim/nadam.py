"""NAdam."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from ..core.tensor import Tensor
from .elementwise import (
    ElementwiseOptimizer,
    Work,
    check_at_least_zero,
    check_betas,
    check_one_element,
    hyperparameter,
    number,
)

__all__ = ["NAdam"]


class _Coefficients(NamedTuple):
    of_gradient: Any
    of_average: Any
    correction2: Any
    one_minus_beta1: Any
    beta2: Any
    one_minus_beta2: Any
    eps: Any
    weight_decay: Any
    shrink: Any
    maximize: bool
    decay: bool
    decoupled: bool


class NAdam(ElementwiseOptimizer):
    """NAdam: Adam with Nesterov momentum (T. Dozat, *Incorporating Nesterov Momentum into Adam*, 2016).

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> opt = torch.optim.NAdam([w], lr=0.1)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w
    tensor([0.8944], requires_grad=True)
    """

    _added_options = {**ElementwiseOptimizer._added_options, "decoupled_weight_decay": False}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        check_at_least_zero("epsilon value", eps)
        check_betas(betas)
        check_at_least_zero("weight_decay value", weight_decay)
        check_at_least_zero("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for values in self.state.values():
            if "mu_product" in values and not isinstance(values["mu_product"], Tensor):
                values["mu_product"] = self._new_step(float(values["mu_product"]))

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _init_state(self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        state["step"] = self._new_step()
        state["mu_product"] = self._new_step(1.0)
        state["exp_avg"] = self._zeros(p)
        state["exp_avg_sq"] = self._zeros(p)

    def _advance(self, group: dict[str, Any], work: Work) -> Hashable:
        step = super()._advance(group, work)
        product = work.state["mu_product"]._a
        np.multiply(product, _momentum(group, step), out=product)
        return step, product.item()

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        step, product = key
        lr, weight_decay = of(group["lr"]), of(group["weight_decay"])
        beta1, beta2 = [of(b) for b in group["betas"]]
        now, after = _momentum(group, step), _momentum(group, step + 1)
        return _Coefficients(
            -lr * (1.0 - now) / (1.0 - product),
            -lr * after / (1.0 - product * after),
            1 - beta2**step,
            1 - beta1,
            beta2,
            1 - beta2,
            of(group["eps"]),
            weight_decay,
            1 - lr * weight_decay,
            bool(group["maximize"]),
            bool(weight_decay != 0),
            bool(group["decoupled_weight_decay"]),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        average, square = state
        if c.maximize:
            g = k.neg(g)
        if c.decay:
            if c.decoupled:
                k.mul_(p, c.shrink)
            else:
                g = k.add(g, p, c.weight_decay)
        k.lerp_(average, g, c.one_minus_beta1)
        k.mul_(square, c.beta2)
        k.addcmul_(square, g, g, c.one_minus_beta2)
        corrected = k.copy(square)
        k.div_(corrected, c.correction2)
        denominator = k.sqrt(corrected)
        k.add_(denominator, c.eps)
        k.addcdiv_(p, g, denominator, c.of_gradient)
        k.addcdiv_(p, average, denominator, c.of_average)


def _momentum(group: dict[str, Any], step: Any) -> float:
    """The momentum of a step: it warms up from beta1 / 2 to beta1."""
    full = float(number(group["betas"][0]))
    return full * (1.0 - 0.5 * float(0.96 ** (step * group["momentum_decay"])))
