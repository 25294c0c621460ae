"""Minus the numbers at the classes of rows, reduced: the negative log-likelihood without class weights.

It is linear in the rows, and so is its transpose: each is the other's derivative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from .indexing import largest_unsigned, positions
from .softmax import check_classes

__all__ = ["nll_op"]


def _counted(target: Any, classes: int, ignore: int) -> Any:
    """Which targets count; None where all do.

    Raises: IndexError for targets that count and are no class.
    """
    if not target.size or not 0 <= ignore < classes and largest_unsigned(target) < classes:
        return None
    counts = target != ignore
    check_classes(target, counts, classes)
    return counts


def _key(target: Any, counts: Any) -> tuple[Any, ...]:
    """Where the targets' classes are in the rows; the first class where none counts."""
    safe = target if counts is None else np.where(counts, target, 0)
    return (*[positions(safe.shape, d) for d in range(safe.ndim)], safe)


def _divided(total: Any, target: Any, counts: Any) -> Any:
    """By the number of targets that count; 16-bit numbers are divided in single precision. The mean of nothing is NaN."""
    n = target.shape[-1] if counts is None else np.count_nonzero(counts, -1)
    if total.dtype.itemsize == 2:
        return (total.astype(np.float32) / np.float32(n)).astype(total.dtype)
    return total / (n if type(n) is int else n.astype(total.dtype))


def _nll(x: Any, target: Any, *, ignore: int, reduction: str) -> Any:
    """Rows (..., N, C) and their classes (..., N) to losses (..., N), zero for the class `ignore`, or their sum or mean."""
    counts = _counted(target, x.shape[-1], ignore)
    # Without classes all are ignored.
    losses = np.negative(x[_key(target, counts)]) if x.shape[-1] else np.zeros(target.shape, x.dtype)
    if counts is not None:
        losses = np.where(counts, losses, x.dtype.type(0))
    if reduction == "none":
        return losses
    total = np.add.reduce(fam.wide(losses), axis=-1)
    if total.dtype != x.dtype:
        total = total.astype(x.dtype)
    return total if reduction == "sum" else _divided(total, target, counts)


def _nll_grad(g: Any, target: Any, *, classes: int, ignore: int, reduction: str) -> Any:
    """The transpose of `_nll`: rows of zeros, with minus the share of `g` at each class."""
    counts = _counted(target, classes, ignore)
    out = np.zeros((*target.shape, classes), g.dtype)
    if classes:
        share = np.negative(_divided(g, target, counts) if reduction == "mean" else g)
        if reduction != "none":
            share = share[..., None]
        out[_key(target, counts)] = share if counts is None else np.where(counts, share, share.dtype.type(0))
    return out


nll_op: Any = fam.opaque_op(
    _nll,
    (
        lambda g, target, x_meta, ignore, reduction: nll_grad_op(
            g, target, classes=x_meta.shape[-1], ignore=ignore, reduction=reduction
        ),
        None,
    ),
    name="nll",
    jvp=lambda ts, xs, y, p: nll_op(ts[0], xs[1], **p),
    grad_name="NllLossBackward0",
)
nll_grad_op: Any = fam.opaque_op(
    _nll_grad,
    (
        lambda g, target, ignore, reduction: nll_op(g, target, ignore=ignore, reduction=reduction),
        None,
    ),
    name="nll_grad",
    jvp=lambda ts, xs, y, p: nll_grad_op(ts[0], xs[1], **p),
    grad_name="NllLossBackwardBackward0",
)
