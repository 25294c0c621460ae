"""Adagrad."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import ops
from ..core.tensor import Tensor
from .elementwise import ElementwiseOptimizer, check_at_least_zero, check_one_element, hyperparameter, number

__all__ = ["Adagrad"]


class _Coefficients(NamedTuple):
    minus_lr: Any
    eps: Any
    weight_decay: Any
    maximize: bool
    decay: bool


class Adagrad(ElementwiseOptimizer):
    """Adagrad (J. Duchi et al., *Adaptive Subgradient Methods for Online Learning*, 2011).

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> opt = torch.optim.Adagrad([w], lr=0.1)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    _added_options = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        check_at_least_zero("lr_decay value", lr_decay)
        check_at_least_zero("weight_decay value", weight_decay)
        check_at_least_zero("initial_accumulator_value value", initial_accumulator_value)
        check_at_least_zero("epsilon value", eps)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        self._refuse_fused_conflicts(fused, foreach, differentiable)
        for group in self.param_groups:
            for p in group["params"]:
                self._init_state(p, p, group, self.state[p])

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _init_state(self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        start = self.defaults["initial_accumulator_value"]
        state["step"] = self._new_step()
        state["sum"] = ops.full_like(p.detach(), complex(start, start) if p.is_complex() else start)

    def share_memory(self) -> None:
        """Move the sums to memory that processes share."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _sparse_update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """A step by a sparse gradient: rows without entries stay as they are.

        Raises: RuntimeError for weight decay.
        """
        from ..sparse.construction import sparse_coo_tensor

        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        state["step"] += 1
        rate = number(group["lr"]) / (1 + (float(state["step"]) - 1) * number(group["lr_decay"]))
        grad = (-grad if group["maximize"] else grad).coalesce()
        state["sum"].add_(grad.pow(2))
        root = state["sum"].sparse_mask(grad).values().sqrt().add(number(group["eps"]))
        step = sparse_coo_tensor(grad.indices(), grad.values() / root, grad.shape)
        p.add_(step, alpha=-float(rate))

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        weight_decay = of(group["weight_decay"])
        return _Coefficients(
            -(of(group["lr"]) / (1 + (key - 1) * of(group["lr_decay"]))),
            of(group["eps"]),
            weight_decay,
            bool(group["maximize"]),
            bool(weight_decay != 0),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        (total,) = state
        if c.maximize:
            g = k.neg(g)
        if c.decay:
            g = k.add(g, p, c.weight_decay)
        k.addcmul_(total, g, g, 1.0)
        root = k.sqrt(total)
        k.add_(root, c.eps)
        k.addcdiv_(p, g, root, c.minus_lr)
