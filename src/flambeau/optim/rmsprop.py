"""RMSprop."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.tensor import Tensor
from .elementwise import ElementwiseOptimizer, check_at_least_zero, check_one_element, hyperparameter, number

__all__ = ["RMSprop"]


class _Coefficients(NamedTuple):
    minus_lr: Any
    alpha: Any
    one_minus_alpha: Any
    eps: Any
    weight_decay: Any
    momentum: Any
    maximize: bool
    decay: bool
    centered: bool
    with_momentum: bool


class RMSprop(ElementwiseOptimizer):
    """RMSprop (T. Tieleman and G. Hinton, *Neural Networks for Machine Learning*, lecture 6e, 2012).

    `centered` divides by an estimate of the standard deviation (A. Graves, *Generating Sequences With
    Recurrent Neural Networks*, 2013, section 4.2). As in PyTorch `eps` is added after the root.

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> opt = torch.optim.RMSprop([w], lr=0.01)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    _added_options = {"momentum": 0, "centered": False, **ElementwiseOptimizer._added_options}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        check_at_least_zero("epsilon value", eps)
        check_at_least_zero("momentum value", momentum)
        check_at_least_zero("weight_decay value", weight_decay)
        check_at_least_zero("alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        slots = ["square_avg"]
        if group["momentum"] > 0:
            slots.append("momentum_buffer")
        if group["centered"]:
            slots.append("grad_avg")
        return tuple(slots)

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        alpha, weight_decay, momentum = of(group["alpha"]), of(group["weight_decay"]), of(group["momentum"])
        return _Coefficients(
            -of(group["lr"]),
            alpha,
            1 - alpha,
            of(group["eps"]),
            weight_decay,
            momentum,
            bool(group["maximize"]),
            bool(weight_decay != 0),
            bool(group["centered"]),
            bool(momentum > 0),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        square, *more = state
        if c.maximize:
            g = k.neg(g)
        if c.decay:
            g = k.add(g, p, c.weight_decay)
        k.mul_(square, c.alpha)
        k.addcmul_(square, g, g, c.one_minus_alpha)
        if c.centered:
            mean = more[-1]
            k.lerp_(mean, g, c.one_minus_alpha)
            variance = k.copy(square)
            k.addcmul_(variance, mean, mean, -1.0)
            deviation = k.sqrt(variance)
        else:
            deviation = k.sqrt(square)
        k.add_(deviation, c.eps)
        if c.with_momentum:
            buffer = more[0]
            k.mul_(buffer, c.momentum)
            k.addcdiv_(buffer, g, deviation, 1.0)
            k.add_(p, buffer, c.minus_lr)
        else:
            k.addcdiv_(p, g, deviation, c.minus_lr)
