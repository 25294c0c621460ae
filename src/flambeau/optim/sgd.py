"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from ..core.tensor import Tensor
from ..runtime.types import strided
from .elementwise import ElementwiseOptimizer, Work, check_one_element, hyperparameter, number

__all__ = ["SGD"]


class _Coefficients(NamedTuple):
    minus_lr: Any
    weight_decay: Any
    momentum: Any
    take: Any  # of the gradient: 1 - dampening
    maximize: bool
    decay: bool
    with_momentum: bool
    first: bool  # the momentum buffer starts as the gradient, without dampening
    nesterov: bool


class SGD(ElementwiseOptimizer):
    """Gradient descent, with momentum (Sutskever et al., *On the importance of initialization and momentum in
    deep learning*, 2013, in PyTorch's form, where the learning rate multiplies the buffer).

    Raises: ValueError for negative hyperparameters, and for `nesterov` without momentum or with dampening.

    >>> import flambeau as torch
    >>> w = torch.tensor([2.0], requires_grad=True)
    >>> opt = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     opt.zero_grad()
    ...     (w * w).sum().backward()
    ...     opt.step()
    >>> w
    tensor([0.9200], requires_grad=True)
    """

    _added_options = {
        "nesterov": False,
        "maximize": False,
        "foreach": None,
        "differentiable": False,
        "fused": False,
    }

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_one_element(lr)
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        self._refuse_fused_conflicts(fused, foreach, differentiable)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def _collect(self, group: dict[str, Any]) -> list[Work]:
        if group["momentum"] == 0:
            return super()._collect(group)
        fresh = []
        for p in group["params"]:
            grad = getattr(p, "_grad", None)
            if grad is None or type(grad) is not Tensor and grad.layout is not strided:
                continue
            if self.state[p].get("momentum_buffer") is None:
                self.state[p]["momentum_buffer"] = self._zeros(p)
                fresh.append(p)
        try:
            works = super()._collect(group)
        except BaseException:
            for p in fresh:  # still without a step
                del self.state[p]["momentum_buffer"]
            raise
        new = {id(p) for p in fresh}
        for work in works:
            work.key = id(work.tensors[0]) in new
        return works

    def _sparse_update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """A step by a sparse gradient: the momentum buffer is sparse then, too.

        Raises: RuntimeError for weight decay, which makes the gradient dense.
        """
        lr, momentum = number(group["lr"]), number(group["momentum"])
        if group["maximize"]:
            grad = -grad
        if group["weight_decay"] != 0:
            raise RuntimeError("SGD: weight_decay is not compatible with sparse gradients; use sparse=False")
        if momentum != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = grad.clone().detach()
            else:
                buffer.mul_(float(momentum)).add_(grad, alpha=1 - group["dampening"])
            grad = grad.add(buffer, alpha=float(momentum)) if group["nesterov"] else buffer
        p.add_(grad, alpha=-float(lr))

    def _init_state(self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        pass  # without momentum there is none

    def _advance(self, group: dict[str, Any], work: Work) -> Hashable:
        return bool(work.key)

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        lr, momentum, weight_decay = of(group["lr"]), of(group["momentum"]), of(group["weight_decay"])
        return _Coefficients(
            -lr,
            weight_decay,
            momentum,
            1 - of(group["dampening"]),
            bool(group["maximize"]),
            bool(weight_decay != 0),
            bool(momentum != 0),
            key,
            bool(group["nesterov"]),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        if c.maximize:
            g = k.neg(g)
        if c.decay:
            g = k.add(g, p, c.weight_decay)
        if c.with_momentum:
            (buffer,) = state
            if c.first:
                k.copy_(buffer, g)
            else:
                k.mul_(buffer, c.momentum)
                k.add_(buffer, g, c.take)
            g = k.add(g, buffer, c.momentum) if c.nesterov else buffer
        k.add_(p, g, c.minus_lr)
