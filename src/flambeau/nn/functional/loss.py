"""Losses of regression, and what all losses share."""

from __future__ import annotations

import math
from typing import Any

from ...core.fusion import fused
from ...core.grad_names import GradName, shows
from ...core.pending import seen
from ...core.public import half_in_single, overridable
from ...core.tensor import Tensor
from ...core.where import warn
from ...ops.shape import broadcast_shapes, expand_to
from ...prims.pointwise import exp, log, where_op
from ...prims.special_functions import xlogy

Reduce = bool | None


def reduction_of(size_average: Reduce, reduce: Reduce, reduction: str) -> str:
    """The reduction's name from PyTorch's old and new arguments."""
    if size_average is None and reduce is None:
        return reduction
    average = True if size_average is None else size_average
    name = "none" if reduce is False else "mean" if average else "sum"
    warn(
        f"size_average and reduce args will be deprecated, please use reduction='{name}' instead.",
    )
    return name


def check_reduction(reduction: str) -> None:
    """Raises: ValueError for a name that is none of "none", "mean" and "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def apply_reduction(x: Tensor, reduction: str) -> Tensor:
    """Mean, sum, or all values.

    Raises: ValueError for other names.
    """
    if reduction == "mean":
        return x.mean()  # type: ignore[no-any-return]
    if reduction == "sum":
        return x.sum()  # type: ignore[no-any-return]
    if reduction == "none":
        return x
    raise ValueError(f"{reduction} is not a valid value for reduction")


def _pair(a: Tensor, b: Tensor, name: str) -> tuple[Tensor, Tensor]:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        bad = b if isinstance(a, Tensor) else a
        raise TypeError(f"{name}: both input and target must be Tensor, not {type(bad).__name__}")
    if tuple(a._a.shape) != tuple(b._a.shape):
        warn(
            f"Using a target size ({b.shape}) that is different to the input size ({a.shape}). This will likely lead to incorrect results due "
            "to broadcasting. Please ensure they have the same size.",
        )
        shape = tuple(broadcast_shapes(tuple(a._a.shape), tuple(b._a.shape)))
        a, b = expand_to(a, shape), expand_to(b, shape)
    return a, b


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str, name: str) -> Tensor:
    if weight is not None:
        if tuple(weight._a.shape) != tuple(loss._a.shape):
            raise ValueError(
                f"Inputs and weight must have the same size ({name}: {list(loss._a.shape)} and {list(weight._a.shape)})."
            )
        loss = loss * weight
    if weight is not None and reduction == "mean":
        return loss.sum() / weight.sum()  # type: ignore[no-any-return]
    return apply_reduction(loss, reduction)


def _halves(a: Tensor, b: Tensor) -> bool:
    return a._a.dtype.itemsize == 2 and a._a.dtype == b._a.dtype and a._a.dtype.kind in "fV"


@fused
def _squared_error(a: Tensor, b: Tensor) -> Tensor:
    d = a - b
    return d * d  # type: ignore[no-any-return]


@overridable
@shows("MseLossBackward0")
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared error."""
    a, b = _pair(input, target, "mse_loss")
    if weight is None and _halves(a, b):
        from .half_losses import (
            square_error_op,
        )  # it needs the activations, which need this module's neighbours

        reduction = reduction_of(size_average, reduce, reduction)
        check_reduction(reduction)
        return square_error_op(a, b, None, reduction=reduction, setting=0.0)  # type: ignore[no-any-return]
    return _weighted(_squared_error(a, b), weight, reduction_of(size_average, reduce, reduction), "mse_loss")


@fused
def _absolute_error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs()  # type: ignore[no-any-return]


def _last_step(name: str, position: int = 4) -> GradName:
    """The name of the loss's last step where nothing is reduced."""

    def choose(args: Any, kwargs: Any) -> str | None:
        reduction = args[position] if len(args) > position else kwargs.get("reduction", "mean")
        return name if reduction == "none" else None

    return choose


@overridable
@shows(_last_step("AbsBackward0"))
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute error."""
    a, b = _pair(input, target, "l1_loss")
    return _weighted(_absolute_error(a, b), weight, reduction_of(size_average, reduce, reduction), "l1_loss")


@fused
def _smooth_l1(a: Tensor, b: Tensor, beta: float) -> Tensor:
    z: Tensor = (a - b).abs()
    if beta == 0:
        return z
    s = where_op(z >= beta, beta, z)  # squared where it is small alone: infinite errors have finite gradients
    return s * s * (0.5 / beta) + (z - s)  # type: ignore[no-any-return]


def _smooth_name(args: Any, kwargs: Any) -> str | None:
    """With beta = 0 it is the absolute error."""
    beta = args[5] if len(args) > 5 else kwargs.get("beta", 1.0)
    return "SmoothL1LossBackward0" if beta else None


@overridable
@shows(_smooth_name)
@half_in_single
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Squared below beta, absolute above (Girshick, "Fast R-CNN", 2015).

    Raises: RuntimeError for negative beta.
    """
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    a, b = _pair(input, target, "smooth_l1_loss")
    return apply_reduction(_smooth_l1(a, b, beta), reduction_of(size_average, reduce, reduction))


@fused
def _huber(a: Tensor, b: Tensor, delta: float) -> Tensor:
    z = (a - b).abs()
    far = z > delta
    near = where_op(far, 0, z)
    return 0.5 * near * near + where_op(far, delta * (z - 0.5 * delta), 0)  # type: ignore[no-any-return]


@overridable
@shows("HuberLossBackward0")
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Squared below delta, linear above (Huber, 1964).

    Raises: RuntimeError unless delta > 0.
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    a, b = _pair(input, target, "huber_loss")
    if weight is None and _halves(a, b):
        from .half_losses import huber_op

        check_reduction(reduction)
        return huber_op(a, b, None, reduction=reduction, setting=float(delta))  # type: ignore[no-any-return]
    loss = _huber(a, b, delta)
    if weight is None or reduction != "mean":
        return _weighted(loss, weight, reduction, "huber_loss")
    return _weighted(loss, weight, "none", "huber_loss").mean()  # type: ignore[no-any-return]  # over their number


@fused
def _divergence(target: Tensor, x: Tensor, log_target: bool) -> Tensor:
    if log_target:
        return exp(target) * (target - x)  # type: ignore[no-any-return]
    return xlogy(target, target) - target * x  # type: ignore[no-any-return]


def _divergence_name(args: Any, kwargs: Any) -> str | None:
    log_target = args[5] if len(args) > 5 else kwargs.get("log_target", False)
    last: Any = _last_step("MulBackward0" if log_target else "SubBackward0")
    return last(args, kwargs)  # type: ignore[no-any-return]


@overridable
@shows(_divergence_name)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """``target * (log target - input)``, input being log-probabilities; "batchmean" divides the sum by the batch size."""
    reduction = reduction_of(size_average, reduce, reduction)
    loss = _divergence(target, input, log_target)
    if reduction == "batchmean":
        return loss.sum() / input._a.shape[0] if input._a.shape else loss.sum()  # type: ignore[no-any-return]
    return apply_reduction(loss, reduction)


@overridable
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Reduce = None,
    eps: float = 1e-8,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """The Poisson negative log-likelihood, up to a constant unless `full` (Stirling's formula then)."""
    reduction = reduction_of(size_average, reduce, reduction)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        small = target <= 1  # and not `target > 1`: what is NaN stays
        safe = where_op(small, 1, target)
        loss = loss + where_op(small, 0, safe * log(safe) - safe + 0.5 * log(2 * math.pi * safe))
    return apply_reduction(loss, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The Gaussian negative log-likelihood with given variances.

    Raises: ValueError for negative variances or shapes that do not fit.
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input * 0 + var
    elif (seen(var) < 0).any():
        raise ValueError("var has negative entry/entries")
    if tuple(var._a.shape) != tuple(input._a.shape):
        if tuple(input._a.shape)[:-1] == tuple(var._a.shape):
            var = var.unsqueeze(-1)
        elif (
            len(var._a.shape) != len(input._a.shape)
            or sum(v for n, v in zip(input._a.shape, var._a.shape) if n != v) != 1
        ):  # only one dim may be broadcast
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    safe = var + where_op(var < eps, eps - var, 0).detach()  # the gradient is that of var
    d = input - target
    loss = 0.5 * (log(safe) + d * d / safe)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return apply_reduction(loss, reduction)
