"""Adam."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.tensor import Tensor
from .elementwise import (
    ElementwiseOptimizer,
    Work,
    check_at_least_zero,
    check_betas,
    check_one_element,
    hyperparameter,
    number,
)

__all__ = ["Adam"]


class _Coefficients(NamedTuple):
    minus_step_size: Any
    root: Any  # of the second bias correction
    one_minus_beta1: Any
    beta2: Any
    one_minus_beta2: Any
    eps: Any
    weight_decay: Any
    shrink: Any  # 1 - lr * weight_decay
    maximize: bool
    decay: bool
    decoupled: bool
    amsgrad: bool


class Adam(ElementwiseOptimizer):
    """Adam (D. P. Kingma and J. Ba, *Adam: A Method for Stochastic Optimization*, 2015, algorithm 1).

    `amsgrad` keeps the maximum of the second moments (S. J. Reddi et al., *On the Convergence of Adam and
    Beyond*, 2018); `decoupled_weight_decay` makes it AdamW.

    Raises: ValueError for hyperparameters out of range.

    >>> import flambeau as torch
    >>> w = torch.tensor([1.0, -1.0], requires_grad=True)
    >>> opt = torch.optim.Adam([w], lr=0.1)
    >>> (w**2).sum().backward()
    >>> opt.step()
    >>> w
    tensor([ 0.9000, -0.9000], requires_grad=True)
    """

    _sparse_name, _sparse_cure = "Adam", ", please consider SparseAdam instead"
    _added_options = {
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        stuck = bool(foreach) and not capturable
        if isinstance(lr, Tensor) and stuck:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        check_at_least_zero("epsilon value", eps)
        check_betas(betas)
        check_at_least_zero("weight_decay value", weight_decay)
        kinds = {isinstance(b, Tensor) for b in betas}
        if len(kinds) != 1 or not all(isinstance(b, (float, Tensor)) for b in betas):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                if stuck:
                    raise ValueError(
                        f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                    )
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        defaults = {
            "lr": lr,
            "betas": tuple(b.squeeze() if isinstance(b, Tensor) and b.ndim else b for b in betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        self._refuse_fused_conflicts(fused, foreach, differentiable)

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _collect(self, group: dict[str, Any]) -> list[Work]:
        if group["foreach"] and isinstance(group["lr"], Tensor) and not group["capturable"]:
            raise RuntimeError("lr as a Tensor is not supported for capturable=False and foreach=True")
        return super()._collect(group)

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> NamedTuple:
        of = hyperparameter if live else number
        lr, weight_decay = of(group["lr"]), of(group["weight_decay"])
        beta1, beta2 = [of(b) for b in group["betas"]]
        return _Coefficients(
            -(lr / (1 - beta1**key)),
            (1 - beta2**key) ** 0.5,
            1 - beta1,
            beta2,
            1 - beta2,
            of(group["eps"]),
            weight_decay,
            1 - lr * weight_decay,
            bool(group["maximize"]),
            bool(weight_decay != 0),
            bool(group["decoupled_weight_decay"]),
            bool(group["amsgrad"]),
        )

    @staticmethod
    def rule(k: Any, c: _Coefficients, p: Any, g: Any, *state: Any) -> None:
        average, square, *largest = state
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
        if c.amsgrad:
            k.maximum_(largest[0], square)
        denominator = k.sqrt(largest[0] if c.amsgrad else square)
        k.div_(denominator, c.root)
        k.add_(denominator, c.eps)
        k.addcdiv_(p, average, denominator, c.minus_step_size)
