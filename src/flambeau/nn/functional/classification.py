"""Losses of classification."""

from __future__ import annotations

import math

import numpy as np

from ...core.public import FUNCTIONS, convert
from ...core.tensor import Tensor
from ...ops.args import dtype_of, numel
from ...prims import base
from ...prims.indexing import gather_op, index_get_op
from ...prims.pointwise import log, log1p, where_op
from ...prims.softmax import log_softmax_op
from ...runtime import dtypes
from .activation import logsigmoid
from .loss import Reduce, apply_reduction, reduction_of


def _channels_last(x: Tensor) -> tuple[Tensor, int]:
    """Classes moved to the last dim of (N, C, ...), flattened to rows."""
    nd = len(x._a.shape)
    if nd <= 2:
        return x, nd
    moved = x.movedim(1, -1)
    return base.reshape(moved, (numel(x) // x._a.shape[1] if x._a.shape[1] else 0, x._a.shape[1])), nd


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Reduce = None,
    ignore_index: int = -100,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of the target class: input (N, C, ...) of log-probabilities, target (N, ...) of classes.

    Raises: IndexError for classes out of range, RuntimeError or ValueError for shapes and dtypes that do not fit.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    s = tuple(input._a.shape)
    if not s:
        raise ValueError("nll_loss: expected input of at least 1 dimension")
    if target._a.dtype not in (np.int64, np.uint8):
        raise RuntimeError(f"expected scalar type Long but found {dtype_of(target)}")
    classes = s[0] if len(s) == 1 else s[1]
    want = () if len(s) == 1 else (s[0], *s[2:])
    if tuple(target._a.shape) != want and not (len(s) == 1 and tuple(target._a.shape) == (1,)):
        if len(s) > 1 and len(target._a.shape) and s[0] != target._a.shape[0]:
            raise ValueError(
                f"Expected input batch_size ({s[0]}) to match target batch_size ({target._a.shape[0]})."
            )
        raise RuntimeError(
            f"nll_loss: expected target of shape {list(want)} for input of shape {list(s)}, got {list(target._a.shape)}"
        )
    if weight is not None and tuple(weight._a.shape) != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: {list(weight._a.shape)}"
        )
    target = convert(target, dtypes.int64)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    rows, _ = _channels_last(input)
    if len(s) == 1:
        rows = base.reshape(rows, (1, classes))
    flat = base.reshape(target, (numel(target),))
    return _nll(
        rows,
        flat,
        weight,
        ignore_index,
        reduction,
        tuple(target._a.shape) if len(s) > 1 else tuple(target._a.shape),
        classes,
    )


def _nll(
    rows: Tensor,
    flat: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    shape: tuple[int, ...],
    classes: int,
) -> Tensor:
    if type(flat._a) is np.ndarray:
        a = flat._a
        bad = (a != ignore_index) & ((a < 0) | (a >= classes))
        if bad.any():
            raise IndexError(f"Target {int(a[bad][0])} is out of bounds.")
        ignoring = bool((a == ignore_index).any())
    else:
        ignoring = True
    ignored = flat == ignore_index if ignoring else None
    safe = where_op(ignored, 0, flat) if ignored is not None else flat
    picked = -base.reshape(gather_op(rows, base.reshape(safe, (numel(flat), 1)), dim=1), (numel(flat),))
    w = None
    if weight is not None:
        w = index_get_op(weight, safe, spec=(True,))
        if ignored is not None:
            w = where_op(ignored, 0, w)
        picked = picked * w
    if ignored is not None:
        picked = where_op(ignored, 0, picked)
    if reduction == "none":
        return base.reshape(picked, shape)
    total = picked.sum()
    if reduction == "sum":
        return total  # type: ignore[no-any-return]
    if w is not None:
        return total / w.sum()  # type: ignore[no-any-return]
    if ignored is not None:
        return total / convert(~ignored, dtype_of(rows)).sum()  # type: ignore[no-any-return]
    return total / numel(flat) if numel(flat) else total * math.nan  # type: ignore[no-any-return]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Reduce = None,
    ignore_index: int = -100,
    reduce: Reduce = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy of logits (N, C, ...) against classes (N, ...) or probabilities (N, C, ...).

    Raises: as `nll_loss`; RuntimeError for label_smoothing outside [0, 1].

    >>> import flambeau as torch
    >>> torch.nn.functional.cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
    tensor(0.6931)
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    s = tuple(input._a.shape)
    if not s:
        raise RuntimeError("cross_entropy: expected input of at least 1 dimension")
    d = 0 if len(s) == 1 else 1
    logp = log_softmax_op(input, dim=d)
    if tuple(target._a.shape) == s and target._a.dtype.kind in "fV":
        return _soft_targets(logp, target, weight, reduction, label_smoothing, d)
    if target._a.dtype.kind in "fV":
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities of input's shape {list(s)}, got {dtype_of(target)} of shape {list(target._a.shape)}"
        )
    loss = nll_loss(logp, target, weight, None, ignore_index, None, reduction)
    if label_smoothing == 0:
        return loss
    smooth = -(logp if weight is None else logp * _class_weights(weight, len(s), d)).sum(d)
    ignored = target == ignore_index
    smooth = where_op(ignored, 0, smooth)
    if reduction == "mean":
        if weight is not None:
            w = where_op(ignored, 0, index_get_op(weight, where_op(ignored, 0, target), spec=(True,)))
            smooth = smooth.sum() / w.sum()
        else:
            smooth = smooth.sum() / convert(~ignored, dtype_of(logp)).sum()
    else:
        smooth = apply_reduction(smooth, reduction)
    return loss * (1 - label_smoothing) + smooth * (label_smoothing / s[d])  # type: ignore[no-any-return]


def _class_weights(weight: Tensor, nd: int, d: int) -> Tensor:
    return base.reshape(
        weight, (weight._a.shape[0],) if nd == 1 else (1, weight._a.shape[0], *(1,) * (nd - 2))
    )


def _soft_targets(
    logp: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, d: int
) -> Tensor:
    s = tuple(logp._a.shape)
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / s[d]
    terms = logp * target
    if weight is not None:
        terms = terms * _class_weights(weight, len(s), d)
    loss = -terms.sum(d)
    if reduction == "mean":
        n = numel(logp) // s[d] if s[d] else 0
        return loss.sum() / n if n else loss.sum() * math.nan  # type: ignore[no-any-return]
    return apply_reduction(loss, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """``-(t log p + (1 - t) log(1 - p))``, each log no smaller than -100.

    Raises: RuntimeError for probabilities outside [0, 1], ValueError for different shapes.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if tuple(input._a.shape) != tuple(target._a.shape):
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. Please ensure they have the same size."
        )
    if type(input._a) is np.ndarray and input._a.size and not ((input._a >= 0) & (input._a <= 1)).all():
        raise RuntimeError("all elements of input should be between 0 and 1")
    lp = FUNCTIONS["clamp_min"](log(input), -100.0)
    lq = FUNCTIONS["clamp_min"](log1p(-input), -100.0)
    loss = (target - 1) * lq - target * lp
    if weight is not None:
        loss = loss * weight
    return apply_reduction(loss, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of sigmoid(x), without overflow.

    Raises: ValueError for different shapes.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if tuple(input._a.shape) != tuple(target._a.shape):
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    ls = logsigmoid(input)
    if pos_weight is not None:
        factor = (pos_weight - 1) * target + 1
        loss = (1 - target) * input - factor * ls
    else:
        loss = (1 - target) * input - ls
    if weight is not None:
        loss = loss * weight
    return apply_reduction(loss, reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """``log(1 + exp(-target * x))``."""
    reduction = reduction_of(size_average, reduce, reduction)
    return apply_reduction(-logsigmoid(input * target), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of the logistic loss of each label."""
    reduction = reduction_of(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return apply_reduction(loss.mean(-1), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """``sum_i max(0, margin - x_y + x_i)^p / C`` over the classes i other than y."""
    reduction = reduction_of(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and len(weight._a.shape) != 1:
        raise ValueError("weight must be one-dimensional")
    single = len(input._a.shape) <= 1
    x = base.reshape(input, (1, numel(input))) if single else input
    y = base.reshape(target, (numel(target), 1))
    c = x._a.shape[1]
    if tuple(y._a.shape) != (x._a.shape[0], 1):
        raise RuntimeError(
            f"inconsistent target size, expected {x._a.shape[0]} but got {list(target._a.shape)}"
        )
    if type(y._a) is np.ndarray and y._a.size and (int(y._a.min()) < 0 or int(y._a.max()) >= c):
        raise RuntimeError("target out of range")
    z = FUNCTIONS["clamp_min"](margin - gather_op(x, y, dim=1) + x, 0)
    if p == 2:
        z = z * z
    if weight is not None:
        z = z * index_get_op(weight, y, spec=(True,))
    z = where_op(FUNCTIONS["arange"](c) == y, z * 0, z)
    loss = z.sum(1) / c
    if reduction == "none" and single and not target._a.shape:
        return base.reshape(loss, ())
    return apply_reduction(loss, reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """``sum_ij max(0, 1 - (x_yj - x_i)) / C`` over target labels j (up to the first -1) and other classes i."""
    reduction = reduction_of(size_average, reduce, reduction)
    single = len(input._a.shape) <= 1
    x = base.reshape(input, (1, numel(input))) if single else input
    if tuple(target._a.shape) != tuple(input._a.shape):
        raise RuntimeError(
            f"inconsistent size {list(target._a.shape)} for target; expected {list(input._a.shape)}"
        )
    y = base.reshape(target, tuple(x._a.shape))
    c = x._a.shape[1]
    live = convert(y < 0, dtypes.int64).cumsum(1) == 0
    safe = where_op(live, y, 0)
    classes = FUNCTIONS["arange"](c)
    is_target = ((safe.unsqueeze(2) == classes) & live.unsqueeze(2)).any(1)
    picked = gather_op(x, safe, dim=1)
    z = FUNCTIONS["clamp_min"](1 - (picked.unsqueeze(2) - x.unsqueeze(1)), 0)
    z = where_op(live.unsqueeze(2) & ~is_target.unsqueeze(1), z, z * 0)
    loss = z.sum((1, 2)) / c
    if reduction == "none" and single:
        return base.reshape(loss, ())
    return apply_reduction(loss, reduction)
