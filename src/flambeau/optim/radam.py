"""RAdam."""

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

__all__ = ["RAdam"]


class _Coefficients(NamedTuple):
    correction1: Any
    minus_lr: Any
    scale: Any  # the rectification times the root of the second bias correction
    one_minus_beta1: Any
    beta2: Any
    one_minus_beta2: Any
    eps: Any
    weight_decay: Any
    shrink: Any
    maximize: bool
    decay: bool
    decoupled: bool
    rectified: bool


class RAdam(ElementwiseOptimizer):
    """RAdam (L. Liu et al., *On the Variance of the Adaptive Learning Rate and Beyond*, 2020, algorithm 2):
    plain momentum until the variance of the adaptive learning rate is tractable, then Adam with a
    rectification.

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> opt = torch.optim.RAdam([w], lr=0.1)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    _added_options = {**ElementwiseOptimizer._added_options, "decoupled_weight_decay": False}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        lr, weight_decay = of(group["lr"]), of(group["weight_decay"])
        beta1, beta2 = [of(b) for b in group["betas"]]
        correction2 = 1 - beta2**key
        limit = 2 / (1 - beta2) - 1  # the length of the simple moving average, and its limit
        length = limit - 2 * key * beta2**key / correction2
        rectified = bool(length > 5.0)
        scale: Any = 1.0
        if rectified:
            scale = ((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)) ** 0.5
            scale = scale * correction2**0.5
        return _Coefficients(
            1 - beta1**key,
            -lr,
            scale,
            1 - beta1,
            beta2,
            1 - beta2,
            of(group["eps"]),
            weight_decay,
            1 - lr * weight_decay,
            bool(group["maximize"]),
            bool(weight_decay != 0),
            bool(group["decoupled_weight_decay"]),
            rectified,
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
        update = k.copy(average)
        k.div_(update, c.correction1)
        if c.rectified:
            root = k.sqrt(square)
            k.add_(root, c.eps)
            k.mul_(update, c.scale)
            k.div_(update, root)
        k.add_(p, update, c.minus_lr)
