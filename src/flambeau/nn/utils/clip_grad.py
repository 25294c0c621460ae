"""Clipping of gradients by norm and by value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from ... import ops
from ...autograd.grad_mode import no_grad
from ...core.tensor import Tensor

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def _with_grads(parameters: Any) -> list[Tensor]:
    """The parameters that have gradients, from one tensor or several; warns of a generator that yields none."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    elif isinstance(parameters, Iterator):
        parameters = list(parameters)
        if not parameters:  # most likely it was used up before
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3
            )
    return [p for p in parameters if p.grad is not None]


def _norm(x: Tensor, norm_type: float) -> Tensor:
    return ops.norm(x, norm_type)  # type: ignore[no-any-return]


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of the vector of the norms of all tensors: the norm of all elements together.

    `foreach` is accepted and changes nothing.

    Raises: RuntimeError for a norm that is not finite, if `error_if_nonfinite`.

    >>> import flambeau as torch
    >>> torch.nn.utils.get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5.)
    """
    parts = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not parts:
        return ops.tensor(0.0)  # type: ignore[no-any-return]
    order = float(norm_type)
    with no_grad():
        total = _norm(ops.stack([_norm(t, order) for t in parts]), order)
    if error_if_nonfinite and not math.isfinite(float(total)):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: Any, foreach: bool | None = None
) -> None:
    """Scale the gradients in place by max_norm / (total_norm + 1e-6), if that is below 1."""
    parameters = _with_grads(parameters)
    with no_grad():
        # the factor stays a tensor, so that a non-finite norm reaches the gradients as in PyTorch
        factor = (max_norm / (total_norm + 1e-6)).clamp(max=1.0)
        for p in parameters:
            p.grad.mul_(factor.to(p.grad.dtype))


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients in place so that their norm, all together, is at most max_norm; returns it as it
    was.

    Raises: RuntimeError for a norm that is not finite, if `error_if_nonfinite`.

    >>> import flambeau as torch
    >>> p = torch.nn.Parameter(torch.zeros(2))
    >>> p.grad = torch.tensor([3.0, 4.0])
    >>> torch.nn.utils.clip_grad_norm_(p, 1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    chosen = _with_grads(parameters)
    total_norm = get_total_norm([p.grad for p in chosen], norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(chosen, max_norm, total_norm, foreach)
    return total_norm


def clip_grad_norm(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of `clip_grad_norm_`; warns."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Clamp the gradients in place to [-clip_value, clip_value].

    >>> import flambeau as torch
    >>> p = torch.nn.Parameter(torch.zeros(2))
    >>> p.grad = torch.tensor([3.0, -0.5])
    >>> torch.nn.utils.clip_grad_value_(p, 1.0)
    >>> p.grad
    tensor([ 1.0000, -0.5000])
    """
    clip_value = float(clip_value)
    with no_grad():
        for p in _with_grads(parameters):
            p.grad.clamp_(min=-clip_value, max=clip_value)
