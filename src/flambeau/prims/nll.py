"""Minus the numbers at the classes of rows, reduced: the negative log-likelihood without class weights.

It is linear in the rows, and so is its transpose: each is the other's derivative. The same holds of the mean alone,
which cross entropy takes of its rows' losses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from .softmax import counted, own_class

__all__ = ["mean_of_counted_op", "nll_op"]


def _divided(total: Any, target: Any, counts: Any) -> Any:
    """By the number of targets that count; 16-bit numbers are divided in single precision. The mean of nothing is NaN."""
    n = target.shape[-1] if counts is None else np.count_nonzero(counts, -1)
    if total.dtype.itemsize == 2:
        return (total.astype(np.float32) / np.float32(n)).astype(total.dtype)
    return total / (n if type(n) is int else n.astype(total.dtype))


def _total(losses: Any) -> Any:
    total = np.add.reduce(fam.wide(losses), axis=-1)
    return total if total.dtype == losses.dtype else total.astype(losses.dtype)


def _nll(x: Any, target: Any, *, ignore: int, reduction: str) -> Any:
    """Rows (..., N, C) and their classes (..., N) to losses (..., N), zero for the class `ignore`, or their sum or mean."""
    counts = counted(target, x.shape[-1], ignore)
    # Without classes all are ignored.
    losses = np.negative(x[own_class(target, counts)]) if x.shape[-1] else np.zeros(target.shape, x.dtype)
    if counts is not None:
        losses = np.where(counts, losses, x.dtype.type(0))
    if reduction == "none":
        return losses
    total = _total(losses)
    return total if reduction == "sum" else _divided(total, target, counts)


def _nll_grad(g: Any, target: Any, *, classes: int, ignore: int, reduction: str) -> Any:
    """The transpose of `_nll`: rows of zeros, with minus the share of `g` at each class."""
    counts = counted(target, classes, ignore)
    out = np.zeros((*target.shape, classes), g.dtype)
    if classes:
        share = np.negative(_divided(g, target, counts) if reduction == "mean" else g)
        if reduction != "none":
            share = share[..., None]
        out[own_class(target, counts)] = (
            share if counts is None else np.where(counts, share, share.dtype.type(0))
        )
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


def _mean_of_counted(losses: Any, target: Any, *, ignore: int) -> Any:
    """Losses (..., N), zero where the targets are `ignore`, to their mean over the others."""
    return _divided(_total(losses), target, target != ignore)


def _shares(g: Any, target: Any, *, ignore: int) -> Any:
    """The transpose of `_mean_of_counted`."""
    out = np.empty(target.shape, g.dtype)
    out[...] = _divided(g, target, target != ignore)[..., None]
    return out


mean_of_counted_op: Any = fam.opaque_op(
    _mean_of_counted,
    (lambda g, target, ignore: shares_op(g, target, ignore=ignore), None),
    name="mean_of_counted",
    jvp=lambda ts, xs, y, p: mean_of_counted_op(ts[0], xs[1], **p),
    grad_name="NllLossBackward0",
)
shares_op: Any = fam.opaque_op(
    _shares,
    (lambda g, target, ignore: mean_of_counted_op(g, target, ignore=ignore), None),
    name="shares_of_counted",
    jvp=lambda ts, xs, y, p: shares_op(ts[0], xs[1], **p),
    grad_name="NllLossBackwardBackward0",
)
