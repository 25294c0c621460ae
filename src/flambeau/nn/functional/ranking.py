"""Losses of ranking and metric learning."""

from __future__ import annotations

from collections.abc import Callable

from ...core.public import FUNCTIONS, overridable
from ...core.tensor import Tensor
from ...prims.pointwise import where_op
from .distance import pairwise_distance
from .loss import Reduce, apply_reduction, reduction_of


@overridable
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """x for target 1, ``max(0, margin - x)`` for target -1."""
    reduction = reduction_of(size_average, reduce, reduction)
    gap = (
        margin if input._a.dtype.kind in "fV" else int(margin)
    ) - input  # integers stay integers, as in PyTorch
    positive = where_op(target != -1, input, 0)
    negative = where_op(target != 1, FUNCTIONS["clamp_min"](gap, 0), 0)
    return apply_reduction(positive + negative, reduction)


@overridable
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, -target * (x1 - x2) + margin)``."""
    reduction = reduction_of(size_average, reduce, reduction)
    if not len(input1._a.shape) == len(input2._a.shape) == len(target._a.shape):
        raise RuntimeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    return apply_reduction(FUNCTIONS["clamp_min"](-target * (input1 - input2) + float(margin), 0), reduction)


@overridable
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 - cos`` for target 1, ``max(0, cos - margin)`` for target -1."""
    reduction = reduction_of(size_average, reduce, reduction)
    nd = len(target._a.shape)
    if nd not in (0, 1):
        raise RuntimeError(
            f"cosine_embedding_loss : 0D or 1D target tensor expected, multi-target not supported ({nd}D given)"
        )
    if len(input1._a.shape) != nd + 1 or len(input2._a.shape) != nd + 1:
        raise RuntimeError(
            f"cosine_embedding_loss : {nd}D target tensor expects {nd + 1}D input tensors, but found inputs with sizes {list(input1._a.shape)} and {list(input2._a.shape)}."
        )
    epsilon = 1e-12
    dot = (input1 * input2).sum(nd)
    na, nb = (x * x for x in (input1, input2))
    cos = dot / ((na.sum(nd) + epsilon) * (nb.sum(nd) + epsilon)).sqrt()
    zero = cos * 0
    loss = where_op(target == 1, 1 - cos, zero) + where_op(
        target == -1, FUNCTIONS["clamp_min"](cos - margin, 0), zero
    )
    return apply_reduction(loss, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, d(a, p) - d(a, n) + margin)``; `swap` uses the closer of d(a, n) and d(p, n)."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    dims = {len(x._a.shape) for x in (anchor, positive, negative)}
    if len(dims) != 1:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    dp, dn = distance(anchor, positive), distance(anchor, negative)
    if swap:
        dn = FUNCTIONS["minimum"](dn, distance(positive, negative))
    return apply_reduction(FUNCTIONS["clamp_min"](dp - dn + margin, 0), reduction)


@overridable
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """The triplet loss with p-norm distances (Balntas et al., 2016)."""
    reduction = reduction_of(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda a, b: pairwise_distance(a, b, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )
