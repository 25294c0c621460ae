"""SparseAdam, for sparse gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd.grad_mode import enable_grad, no_grad
from ..core.inplace import check_writable
from ..core.tensor import Tensor
from ..runtime.types import strided
from .elementwise import check_betas, check_one_element, number
from .optimizer import Optimizer

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam that leaves alone the rows without a gradient: neither their values nor their moments change.

    It takes sparse gradients only, such as ``nn.Embedding(..., sparse=True)`` has. The formula is that of D. P. Kingma
    and J. Ba, *Adam: A Method for Stochastic Optimization*, 2015, the efficient form at the end of section 2.

    Raises: ValueError for hyperparameters out of range, complex and sparse parameters.

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
        sparse = [
            [i, j]
            for i, group in enumerate(self.param_groups)
            for j, p in enumerate(group["params"])
            if p.layout is not strided
        ]
        if sparse:
            raise ValueError(
                f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors"
            )
        if found:
            raise ValueError(
                f"Complex params at indices {found}: SparseAdam does not support complex parameters"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns what `closure` returned.

        Raises: RuntimeError for dense gradients, and for read-only parameters.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                for p in params:
                    if p.grad.layout is strided:
                        raise RuntimeError(
                            "SparseAdam does not support dense gradients, please consider Adam instead"
                        )
                    check_writable(p, "SparseAdam.step")
                for p in params:
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, grad: Any, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=0, exp_avg=ops.zeros_like(p), exp_avg_sq=ops.zeros_like(p))
        state["step"] += 1
        grad = grad.coalesce()
        if not grad._nnz():
            return
        at = tuple(grad.indices())
        beta1, beta2 = group["betas"]
        g = -grad.values() if group["maximize"] else grad.values()
        first, second = state["exp_avg"], state["exp_avg_sq"]
        m = first[at].lerp(g, 1 - beta1)
        v = second[at] * beta2 + (1 - beta2) * g * g
        first[at], second[at] = m, v
        step = state["step"]
        rate = number(group["lr"]) * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        p[at] -= float(rate) * m / (v.sqrt() + group["eps"])
