"""Adafactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd.grad_mode import enable_grad, no_grad
from ..core.tensor import Tensor
from ..runtime import dtypes
from ..runtime.types import strided
from .elementwise import ElementwiseOptimizer, check_one_element, number
from .optimizer import Optimizer

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Adafactor (N. Shazeer and M. Stern, *Adafactor: Adaptive Learning Rates with Sublinear Memory Cost*,
    2018, algorithm 4): of the second moments of a matrix only the sums of rows and columns are kept.

    Raises: ValueError for hyperparameters out of range; RuntimeError in the step for complex parameters.

    >>> import flambeau as torch
    >>> w = torch.ones(2, 3, requires_grad=True)
    >>> opt = torch.optim.Adafactor([w], lr=0.1)
    >>> w.sum().backward()
    >>> opt.step()
    >>> w[0]
    tensor([0.9000, 0.9000, 0.9000], grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_one_element(lr)
        least: list[tuple[str, Any]] = [
            ("Learning rate", lr),
            ("epsilon2", eps[1]),
            ("weight_decay", weight_decay),
        ]
        if eps[0] is not None:
            least.append(("epsilon1", eps[0]))
        for name, value in least:
            if not 0.0 <= value:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

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
                    raise RuntimeError("Adafactor does not support sparse gradients")
                if any(p.is_complex() for p in params):
                    raise RuntimeError("Adafactor does not support complex parameters")
                for p in params:
                    self._update(p, p.grad, group)
        return loss

    def _state_of(self, p: Tensor, grad: Tensor) -> dict[str, Any]:
        state = self.state[p]
        if not state:
            state["step"] = ElementwiseOptimizer._new_step()
            if grad.ndim > 1:
                *outer, rows, columns = grad.shape
                state["row_var"] = grad.new_zeros([*outer, rows, 1])
                state["col_var"] = grad.new_zeros([*outer, 1, columns])
            else:
                state["variance"] = ops.zeros_like(grad)
        return state

    def _update(self, p: Tensor, grad: Any, group: dict[str, Any]) -> None:
        if group["maximize"]:
            grad = -grad
        state = self._state_of(p, grad)
        eps1, eps2 = group["eps"]
        if eps1 is None:
            eps1 = dtypes.finfo(p.dtype).eps
        lr = number(group["lr"])
        state["step"] += 1
        step = float(state["step"])  # a number in states of other makers
        weight = step ** group["beta2_decay"]
        size = p.numel() ** 0.5
        alpha = min(lr, 1 / step**0.5) * max(eps2, p.norm(2).item() / size)
        if group["weight_decay"] != 0:
            p.mul_(float(1 - lr * group["weight_decay"]))
        if grad.ndim > 1:
            rows, columns = state["row_var"], state["col_var"]
            rows.lerp_(grad.square().mean(dim=-1, keepdim=True), weight)
            columns.lerp_(grad.square().mean(dim=-2, keepdim=True), weight)
            variance = (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=eps1))
        else:
            state["variance"].lerp_(grad * grad, weight)
            variance = state["variance"].clone()
        update = variance.clamp_(min=eps1 * eps1).rsqrt_().mul_(grad)
        clip = max(1.0, update.norm(2).item() / (size * group["d"]))
        p.add_(update, alpha=float(-alpha / clip))
