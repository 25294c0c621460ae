"""Losses of classification."""

from __future__ import annotations

import math

import numpy as np

from ...core.grad_names import rename, shows
from ...core.pending import seen
from ...core.promotion import convert
from ...core.public import FUNCTIONS, overridable
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of, numel
from ...prims import base, indexing
from ...prims.indexing import gather_op, index_get_op
from ...prims.logistic import logits_loss_op, weighted_logits_loss_op
from ...prims.nll import mean_of_counted_op, nll_op
from ...prims.pointwise import binary_entropy_op, where_op
from ...prims.softmax import counted, cross_entropy_op, log_softmax_op
from ...runtime import dtypes
from ...runtime.draws import type_name
from . import half_losses
from .activation import logistic_log, logsigmoid
from .loss import Reduce, apply_reduction, check_reduction, reduction_of


def _channels_last(x: Tensor) -> Tensor:
    """(N, C, ...) as rows of classes."""
    if len(x._a.shape) == 2:
        return x
    classes = x._a.shape[1]
    return base.reshape(x.movedim(1, -1), (numel(x) // classes if classes else 0, classes))


@overridable
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
    rows, flat = _rows(input, target, weight, reduction)
    shape = tuple(target._a.shape)
    if weight is None and input._a.dtype.kind in "fV":
        _check_classes(rows, flat, ignore_index)
        y = nll_op(rows, flat, ignore=int(ignore_index), reduction=reduction)
        return _shown(base.reshape(y, shape) if reduction == "none" else y, input)
    ignored = _ignored(flat, ignore_index, rows._a.shape[1])
    n = numel(flat)
    safe = flat if ignored is None else where_op(ignored, 0, flat)
    loss = -base.reshape_new(gather_op(rows, base.reshape(safe, (n, 1)), dim=1), (n,))
    if ignored is not None:
        loss = where_op(ignored, 0, loss)
    return _shown(_reduced(loss, safe, ignored, weight, reduction, shape), input)


def _check_classes(rows: Tensor, flat: Tensor, ignore_index: int) -> None:
    """Look for targets that are no class now where the operation, which does so too, would wait: for the line it is."""
    if tls.capture is not None:
        counted(seen(flat), rows._a.shape[-1], int(ignore_index))


def _shown(loss: Tensor, input: Tensor, name: str | None = None) -> Tensor:
    if name is None:
        name = "NllLossBackward0" if len(input._a.shape) <= 2 else "NllLoss2DBackward0"
    return loss if tls.stack else rename(loss, name)


def _rows(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> tuple[Tensor, Tensor]:
    """Scores as rows (M, C) and their classes (M), checked."""
    s, t = tuple(input._a.shape), tuple(target._a.shape)
    if not s:
        raise ValueError("nll_loss: expected input of at least 1 dimension")
    if len(s) > 1 and t and s[0] != t[0]:
        raise ValueError(f"Expected input batch_size ({s[0]}) to match target batch_size ({t[0]}).")
    if target._a.dtype not in (np.int64, np.uint8):
        raise RuntimeError(
            f"expected scalar type Long but found {dtype_of(target)} (class probabilities need the input's shape "
            f"{list(s)}, got {list(t)})"
        )
    classes = s[0] if len(s) == 1 else s[1]
    want = () if len(s) == 1 else (s[0], *s[2:])
    if t != want and not (len(s) == 1 and t == (1,)):
        raise RuntimeError(
            f"nll_loss: expected target of shape {list(want)} for input of shape {list(s)}, got {list(t)}"
        )
    if weight is not None and tuple(weight._a.shape) != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
            f"of shape: {list(weight._a.shape)}"
        )
    if weight is not None and weight._a.dtype != input._a.dtype:
        raise RuntimeError(f"weight: expected scalar type {dtype_of(input)} but found {dtype_of(weight)}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    rows = base.reshape(input, (1, classes)) if len(s) == 1 else _channels_last(input)
    flat = convert(target, dtypes.int64)
    return rows, flat if len(t) == 1 else base.reshape(flat, (numel(target),))


def _ignored(flat: Tensor, ignore_index: int, classes: int) -> Tensor | None:
    """Which targets do not count; None where all do.

    Raises: IndexError for targets that are no class.
    """
    a = seen(flat)
    if not 0 <= ignore_index < classes and a.size and indexing.largest_unsigned(a) < classes:
        return None
    skip = a == ignore_index
    wrong = ~skip & ((a < 0) | (a >= classes))
    if wrong.any():
        raise IndexError(f"Target {int(a[wrong][0])} is out of bounds: there are {classes} classes.")
    return flat == ignore_index if skip.any() else None


def _reduced(
    loss: Tensor,
    safe: Tensor,
    ignored: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    shape: tuple[int, ...],
) -> Tensor:
    """Losses of rows (zero where ignored) weighted by their classes and reduced."""
    w = None
    if weight is not None:
        w = index_get_op(weight, safe, spec=(True,))
        if ignored is not None:
            w = where_op(ignored, 0, w)
        loss = loss * w
    if reduction == "none":
        return loss if len(shape) == 1 else base.reshape(loss, shape)
    total: Tensor = loss.sum()
    if reduction == "sum":
        return total
    if w is not None:
        return total / w.sum()  # type: ignore[no-any-return]
    if ignored is not None:
        return total / convert(~ignored, dtype_of(loss)).sum()  # type: ignore[no-any-return]
    n = numel(safe)
    return total / n if n else total * math.nan  # type: ignore[no-any-return]


@overridable
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
    if target._a.dtype.kind in "fV" and tuple(target._a.shape) == s:
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        logp = log_softmax_op(input, dim=d)
        return _soft_targets(logp, target, weight, reduction, label_smoothing, d)
    if input._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"log_softmax_lastdim_kernel_impl" not implemented for {dtype_of(input)}')
    rows, flat = _rows(input, target, weight, reduction)
    shape = tuple(target._a.shape)
    if input._a.dtype.itemsize == 2 and s[d]:  # PyTorch's two steps, each of which rounds
        logp = log_softmax_op(input, dim=d)
        loss = nll_loss(logp, target, weight, ignore_index=ignore_index, reduction=reduction)
        if not label_smoothing:
            return loss
        ignored = _ignored(flat, ignore_index, s[d])
        safe = flat if ignored is None else where_op(ignored, 0, flat)
        rows = _rows(logp, target, weight, reduction)[0]
        spread = _spread_loss(rows, safe, ignored, weight, reduction, shape)
        return loss * (1 - label_smoothing) + spread * (label_smoothing / s[d])  # type: ignore[no-any-return]
    if weight is None and s[d]:
        smoothing = float(label_smoothing)
        _check_classes(rows, flat, ignore_index)
        losses = cross_entropy_op(rows, flat, ignore=int(ignore_index), smoothing=smoothing)[0]
        if reduction == "none":
            loss = base.reshape(losses, shape)
        else:
            loss = (
                losses.sum()
                if reduction == "sum"
                else mean_of_counted_op(losses, flat, ignore=int(ignore_index))
            )
        return _shown(loss, input, "AddBackward0" if label_smoothing else None)
    ignored = _ignored(flat, ignore_index, s[d])
    safe = flat if ignored is None else where_op(ignored, 0, flat)
    if not s[d]:  # then all targets are ignored
        rows = base.full((numel(flat), 1), 0, input._a.dtype)
    losses = cross_entropy_op(rows, flat, ignore=int(ignore_index), smoothing=0.0)[0]
    loss = _reduced(losses, safe, ignored, weight, reduction, shape)
    if not label_smoothing:
        return _shown(loss, input)
    logp = log_softmax_op(rows, dim=1)
    return loss * (1 - label_smoothing) + _spread_loss(logp, safe, ignored, weight, reduction, shape) * (  # type: ignore[no-any-return]
        label_smoothing / s[d] if s[d] else math.inf
    )


def _spread_loss(
    logp: Tensor,
    safe: Tensor,
    ignored: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    shape: tuple[int, ...],
) -> Tensor:
    """The sum of the (weighted) losses for all classes, from their rows: what label smoothing adds."""
    loss = -(logp if weight is None else logp * weight).sum(1)
    if ignored is not None:
        loss = where_op(ignored, 0, loss)
    if weight is None or reduction != "mean":
        return _reduced(loss, safe, ignored, None, reduction, shape)
    w = index_get_op(weight, safe, spec=(True,))
    return loss.sum() / (w if ignored is None else where_op(ignored, 0, w)).sum()  # type: ignore[no-any-return]


def _class_weights(weight: Tensor, nd: int, d: int) -> Tensor:
    return base.reshape(
        weight, (weight._a.shape[0],) if nd == 1 else (1, weight._a.shape[0], *(1,) * (nd - 2))
    )


def _soft_targets(
    logp: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, d: int
) -> Tensor:
    s = tuple(logp._a.shape)
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / max(s[d], 1)
    terms = logp * target
    if weight is not None:
        terms = terms * _class_weights(weight, len(s), d)
    loss = -terms.sum(d)
    if reduction == "mean":
        n = numel(logp) // s[d] if s[d] else 0
        mean = loss.sum() / n if n else loss.sum() * math.nan
        return mean if tls.stack else rename(mean, "DivBackward1")  # type: ignore[no-any-return]
    y = apply_reduction(loss, reduction)
    return y if tls.stack else rename(y, "NegBackward0")


@overridable
@shows("BinaryCrossEntropyBackward0")
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
) -> Tensor:
    """``-(t log p + (1 - t) log(1 - p))``, each log no smaller than -100.

    Raises: RuntimeError for probabilities or targets outside [0, 1], ValueError for different shapes.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if tuple(input._a.shape) != tuple(target._a.shape):
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. Please ensure they have the same size."
        )
    for x, what in ((input, "input"), (target, "target")):
        values = seen(x)
        if not ((values >= 0) & (values <= 1)).all():
            raise RuntimeError(f"all elements of {what} should be between 0 and 1")
    if input._a.dtype != target._a.dtype:
        raise RuntimeError(
            f"Found dtype {type_name(target._a.dtype)} but expected {type_name(input._a.dtype)}: "
            "binary_cross_entropy needs a target of the input's dtype"
        )
    if half_losses.is_half(input, target, *([] if weight is None else [weight])):
        return half_losses.binary_cross_entropy_op(input, target, weight, reduction=reduction, setting=0.0)  # type: ignore[no-any-return]
    loss = binary_entropy_op(input, target)
    if weight is not None:
        loss = loss * weight
    return apply_reduction(loss, reduction)


@overridable
@shows("BinaryCrossEntropyWithLogitsBackward0")
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
    if half_losses.is_half(input, target, *([] if pos_weight is None else [pos_weight])):
        if pos_weight is None and (weight is None or half_losses.is_half(input, weight)):
            check_reduction(reduction)
            return half_losses.logits_op(input, target, weight, reduction=reduction, setting=0.0)  # type: ignore[no-any-return]
        ones = FUNCTIONS["ones_like"](input) if pos_weight is None else pos_weight
        loss = half_losses.weighted_logits_op(input, target, ones)
    elif pos_weight is not None:
        loss = weighted_logits_loss_op(target, input, pos_weight)
    else:
        loss = logits_loss_op(target, input)
    if weight is not None:
        loss = loss * weight
    return apply_reduction(loss, reduction)


@overridable
@shows("SoftMarginLossBackward0")
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """``log(1 + exp(-target * x))``."""
    reduction = reduction_of(size_average, reduce, reduction)
    return apply_reduction(-logistic_log(input * target), reduction)


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


@overridable
@shows("MultiMarginLossBackward0")
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
    check_reduction(reduction)
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
    classes = seen(y)
    if classes.size and (int(classes.min()) < 0 or int(classes.max()) >= c):
        raise RuntimeError("target out of range")
    z = margin - gather_op(x, y, dim=1) + x
    counts = (z > 0) & (FUNCTIONS["arange"](c) != y)
    z = where_op(counts, z, 0)  # what is NaN adds nothing
    if p == 2:
        z = z * z
    if weight is not None:
        z = z * where_op(counts, index_get_op(weight, y, spec=(True,)), 0)
    loss = z.sum(1) / c
    if reduction == "none" and single and not target._a.shape:
        return base.reshape(loss, ())
    return apply_reduction(loss, reduction)


@overridable
@shows("MultilabelMarginLossBackward0")
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """``sum_ij max(0, 1 - (x_yj - x_i)) / C`` over target labels j (up to the first -1) and other classes i."""
    reduction = reduction_of(size_average, reduce, reduction)
    check_reduction(reduction)
    single = len(input._a.shape) <= 1
    if len(input._a.shape) > 2 or 0 in input._a.shape[-1:]:
        raise RuntimeError(
            "multilabel_margin_loss expects a non-empty vector or a matrix (the batch may be empty), but the input is "
            f"{list(input._a.shape)}"
        )
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
    z = 1 - (picked.unsqueeze(2) - x.unsqueeze(1))
    z = where_op(live.unsqueeze(2) & ~is_target.unsqueeze(1) & (z > 0), z, 0)  # what is NaN adds nothing
    loss = z.sum((1, 2)) / c
    if reduction == "none" and single:
        return base.reshape(loss, ())
    return apply_reduction(loss, reduction)
