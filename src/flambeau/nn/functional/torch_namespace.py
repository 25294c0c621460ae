"""Losses as ``flambeau.kl_div`` and the like: in the torch namespace the reduction is a number, by default 0 (none)."""

from __future__ import annotations

from typing import Any

from ...core.public import FUNCTIONS
from ...core.tensor import Tensor
from .classification import binary_cross_entropy_with_logits as _bce
from .loss import kl_div as _kl_div
from .loss import poisson_nll_loss as _poisson
from .ranking import hinge_embedding_loss as _hinge
from .ranking import triplet_margin_loss as _triplet

REDUCTIONS = ("none", "mean", "sum")


def _name(reduction: Any) -> str:
    """The reduction's name; names are taken as well.

    Raises: ValueError for other numbers.
    """
    if isinstance(reduction, str):
        return reduction
    if reduction not in (0, 1, 2):
        raise ValueError(f"{reduction} is not a valid value for reduction: 0 (none), 1 (mean) or 2 (sum)")
    return REDUCTIONS[reduction]


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: Any = 0,
) -> Tensor:
    """`nn.functional.binary_cross_entropy_with_logits`."""
    return _bce(input, target, weight, reduction=_name(reduction), pos_weight=pos_weight)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: Any = 0) -> Tensor:
    """`nn.functional.hinge_embedding_loss`."""
    return _hinge(input, target, margin, reduction=_name(reduction))


def kl_div(input: Tensor, target: Tensor, reduction: Any = 0, *, log_target: bool = False) -> Tensor:
    """`nn.functional.kl_div`."""
    return _kl_div(input, target, reduction=_name(reduction), log_target=log_target)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: Any
) -> Tensor:
    """`nn.functional.poisson_nll_loss`."""
    return _poisson(input, target, log_input, full, eps=eps, reduction=_name(reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Any = 0,
) -> Tensor:
    """`nn.functional.triplet_margin_loss`."""
    return _triplet(anchor, positive, negative, margin, p, eps, swap, reduction=_name(reduction))


for _fn in (
    binary_cross_entropy_with_logits,
    hinge_embedding_loss,
    kl_div,
    poisson_nll_loss,
    triplet_margin_loss,
):
    FUNCTIONS.setdefault(_fn.__name__, _fn)
