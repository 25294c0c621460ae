"""Rprop."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import ops
from ..core.tensor import Tensor
from .elementwise import ElementwiseOptimizer, check_at_least_zero, check_one_element, hyperparameter, number

__all__ = ["Rprop"]


class _Coefficients(NamedTuple):
    smaller: Any
    larger: Any
    lowest: Any
    highest: Any
    maximize: bool


class Rprop(ElementwiseOptimizer):
    """Resilient backpropagation (M. Riedmiller and H. Braun, *A direct adaptive method for faster
    backpropagation learning*, 1993): each element has a step size, which grows while
    the sign of its gradient stays.

    `etas` are the factors of shrinking and growing, `step_sizes` the smallest and largest step.

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -1.0], requires_grad=True)
    >>> opt = torch.optim.Rprop([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w
    tensor([ 0.9000, -0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("prev", "step_size")

    def _init_state(self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        lr = float(number(group["lr"]))
        state["step"] = self._new_step()
        state["prev"] = self._zeros(p)
        state["step_size"] = ops.full_like(grad.detach(), complex(lr, lr) if p.is_complex() else lr)

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        smaller, larger = [of(x) for x in group["etas"]]
        lowest, highest = [of(x) for x in group["step_sizes"]]
        return _Coefficients(smaller, larger, lowest, highest, bool(group["maximize"]))

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        previous, step_size = state
        if c.maximize:
            g = k.neg(g)
        agreement = k.mul(g, previous)
        # Where the product is 0 the step stays as it is; NaN goes on as NaN.
        k.mul_(step_size, k.choose(agreement, c.larger, c.smaller, k.add(agreement, 1.0)))
        k.clamp_(step_size, c.lowest, c.highest)
        g = k.choose(agreement, g, 0.0, g)  # after a change of sign: no step, and none remembered
        k.addcmul_(p, k.sign(g), step_size, -1.0)
        k.copy_(previous, g)
