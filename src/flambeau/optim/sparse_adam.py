"""SparseAdam, for gradients most rows of which are zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd.grad_mode import enable_grad, no_grad
from ..core.inplace import check_writable
from ..core.tensor import Tensor
from .elementwise import check_betas, check_one_element, number
from .optimizer import Optimizer

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam that leaves alone the rows without a gradient: neither their values nor their moments change.

    PyTorch's needs sparse gradients, such as ``nn.Embedding(..., sparse=True)`` has there. All tensors are dense
    here, and the rows (first dim) with an element other than zero stand for those that a sparse gradient
    holds. The formula is that of D. P. Kingma and J. Ba, *Adam: A Method for Stochastic Optimization*, 2015,
    the efficient form at the end of section 2.

    Raises: ValueError for hyperparameters out of range and complex parameters.

    >>> import flambeau as torch
    >>> embedding = torch.nn.Embedding.from_pretrained(torch.ones(3, 2), freeze=False, sparse=True)
    >>> opt = torch.optim.SparseAdam(embedding.parameters(), lr=0.1)
    >>> embedding(torch.tensor([0, 2])).sum().backward()
    >>> opt.step()
    >>> embedding.weight.detach()
    tensor([[0.9000, 0.9000],
            [1.0000, 1.0000],
            [0.9000, 0.9000]])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        check_one_element(lr)
        if not 0.0 < lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        found = [
            [i, j]
            for i, group in enumerate(self.param_groups)
            for j, p in enumerate(group["params"])
            if p.is_complex()
        ]
        if found:
            raise ValueError(
                f"Complex params at indices {found}: SparseAdam does not support complex parameters"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns what `closure` returned.

        Raises: RuntimeError for read-only parameters, and when state and parameter differ in shape.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        check_writable(p, "SparseAdam.step")
                        self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=0, exp_avg=ops.zeros_like(p), exp_avg_sq=ops.zeros_like(p))
        state["step"] += 1
        first, second = state["exp_avg"], state["exp_avg_sq"]
        if not p.ndim:
            p, grad, first, second = (t.unsqueeze(0) for t in (p, grad, first, second))
        rows = (grad != 0).flatten(1).any(1) if grad.ndim > 1 else grad != 0
        if not rows.any():
            return
        beta1, beta2 = group["betas"]
        g = -grad[rows] if group["maximize"] else grad[rows]
        m = first[rows].lerp(g, 1 - beta1)
        v = second[rows] * beta2 + (1 - beta2) * g * g
        first[rows], second[rows] = m, v
        step = state["step"]
        rate = number(group["lr"]) * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        p[rows] -= float(rate) * m / (v.sqrt() + group["eps"])
