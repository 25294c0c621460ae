"""Adadelta."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.tensor import Tensor
from .elementwise import ElementwiseOptimizer, check_at_least_zero, check_one_element, hyperparameter, number

__all__ = ["Adadelta"]


class _Coefficients(NamedTuple):
    minus_lr: Any
    rho: Any
    one_minus_rho: Any
    eps: Any
    weight_decay: Any
    maximize: bool
    decay: bool


class Adadelta(ElementwiseOptimizer):
    """Adadelta (M. D. Zeiler, *ADADELTA: An Adaptive Learning Rate Method*, 2012, algorithm 1).

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> opt = torch.optim.Adadelta([w], rho=0.0, eps=1.0)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w
    tensor([0.2929], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_zero("epsilon value", eps)
        check_at_least_zero("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        rho, weight_decay = of(group["rho"]), of(group["weight_decay"])
        return _Coefficients(
            -of(group["lr"]),
            rho,
            1 - rho,
            of(group["eps"]),
            weight_decay,
            bool(group["maximize"]),
            bool(weight_decay != 0),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        square, deltas = state
        if c.maximize:
            g = k.neg(g)
        if c.decay:
            g = k.add(g, p, c.weight_decay)
        k.mul_(square, c.rho)
        k.addcmul_(square, g, g, c.one_minus_rho)
        root = k.sqrt(k.add(square, c.eps))
        delta = k.sqrt(k.add(deltas, c.eps))
        k.div_(delta, root)
        k.mul_(delta, g)
        k.mul_(deltas, c.rho)
        k.addcmul_(deltas, delta, delta, c.one_minus_rho)
        k.add_(p, delta, c.minus_lr)
