"""Muon."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd.grad_mode import enable_grad, no_grad
from ..core.tensor import Tensor
from ..runtime.types import strided
from .elementwise import check_one_element, number
from .optimizer import Optimizer

__all__ = ["Muon"]


def _orthogonalized(grad: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Roughly the nearest semi-orthogonal matrix, by a quintic Newton-Schulz iteration in bfloat16."""
    a, b, c = coefficients
    rows, columns = grad.shape
    x = grad.bfloat16()
    if rows > columns:
        x = x.T
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = ops.addmm(x, ops.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if rows > columns else x  # type: ignore[no-any-return]


class Muon(Optimizer):
    """Muon (K. Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024): momentum
    whose update is orthogonalized. For matrices only; other parameters go to AdamW.

    `adjust_lr_fn`: "original" scales by the shape, "match_rms_adamw" so that AdamW's learning rates can be
    used (J. Liu et al., *Muon is Scalable for LLM Training*, 2025).

    Raises: ValueError for hyperparameters out of range and for parameters that are not matrices; RuntimeError
    in the step for complex parameters.

    >>> import flambeau as torch
    >>> w = torch.eye(2).requires_grad_()
    >>> opt = torch.optim.Muon([w], lr=0.5, weight_decay=0.0)
    >>> w.sum().backward()
    >>> opt.step()
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_one_element(lr)
        for name, value in (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)):
            if not 0.0 <= value:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(ns_coefficients) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}"
                    )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                if any(p.grad.layout is not strided for p in params):
                    raise RuntimeError("Muon does not support sparse gradients")
                if any(p.is_complex() for p in params):
                    raise RuntimeError("Muon does not support complex parameters")
                for p in params:
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, grad: Any, group: dict[str, Any]) -> None:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = ops.zeros_like(grad)
        buffer = state["momentum_buffer"]
        buffer.lerp_(grad, 1 - group["momentum"])
        update = grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        update = _orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        lr = float(number(group["lr"]))
        rows, columns = p.shape
        ratio = 1.0
        if group["adjust_lr_fn"] in (None, "original"):
            ratio = math.sqrt(max(1, rows / columns))
        elif group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        p.mul_(1 - lr * group["weight_decay"])
        p.add_(update.to(p.dtype), alpha=-lr * ratio)
