"""Losses."""

from __future__ import annotations

import math
import warnings
from typing import Any, Callable, Optional

import numpy as np

from ... import ops
from ...core.public import FUNCTIONS, convert
from ...core.tensor import Tensor
from ...ops.args import dtype_of, numel
from ...ops.shape import broadcast_shapes, expand_to
from ...prims import base
from ...prims.indexing import gather_op, index_get_op
from ...prims.pointwise import exp, log, log1p, where_op
from ...prims.softmax import log_softmax_op
from ...prims.special_functions import xlogy
from ...runtime import dtypes
from .activation import logsigmoid

Reduce = Optional[bool]


def reduction_of(size_average: Reduce, reduce: Reduce, reduction: str) -> str:
    """The reduction's name from PyTorch's old and new arguments."""
    if size_average is None and reduce is None:
        return reduction
    average = True if size_average is None else size_average
    name = "none" if reduce is False else "mean" if average else "sum"
    warnings.warn(f"size_average and reduce args will be deprecated, please use reduction='{name}' instead.", UserWarning, stacklevel=4)
    return name


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
        warnings.warn(
            f"Using a target size ({b.shape}) that is different to the input size ({a.shape}). This will likely lead to incorrect results due "
            "to broadcasting. Please ensure they have the same size.",
            UserWarning,
            stacklevel=3,
        )
        shape = tuple(broadcast_shapes(tuple(a._a.shape), tuple(b._a.shape)))
        a, b = expand_to(a, shape), expand_to(b, shape)
    return a, b


def _weighted(loss: Tensor, weight: Optional[Tensor], reduction: str, name: str) -> Tensor:
    if weight is not None:
        if tuple(weight._a.shape) != tuple(loss._a.shape):
            raise ValueError(f"Inputs and weight must have the same size ({name}: {list(loss._a.shape)} and {list(weight._a.shape)}).")
        loss = loss * weight
    if weight is not None and reduction == "mean":
        return loss.sum() / weight.sum()  # type: ignore[no-any-return]
    return apply_reduction(loss, reduction)


def mse_loss(input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean", weight: Optional[Tensor] = None) -> Tensor:
    """The squared error."""
    a, b = _pair(input, target, "mse_loss")
    d = a - b
    return _weighted(d * d, weight, reduction_of(size_average, reduce, reduction), "mse_loss")


def l1_loss(input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean", weight: Optional[Tensor] = None) -> Tensor:
    """The absolute error."""
    a, b = _pair(input, target, "l1_loss")
    return _weighted((a - b).abs(), weight, reduction_of(size_average, reduce, reduction), "l1_loss")


def smooth_l1_loss(input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Squared below beta, absolute above (Girshick, "Fast R-CNN", 2015).

    Raises: RuntimeError for negative beta.
    """
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    a, b = _pair(input, target, "smooth_l1_loss")
    z = (a - b).abs()
    loss = z if beta == 0 else where_op(z < beta, z * z * (0.5 / beta), z - 0.5 * beta)
    return apply_reduction(loss, reduction_of(size_average, reduce, reduction))


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Optional[Tensor] = None) -> Tensor:
    """Squared below delta, linear above (Huber, 1964).

    Raises: RuntimeError unless delta > 0.
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    a, b = _pair(input, target, "huber_loss")
    z = (a - b).abs()
    return _weighted(where_op(z <= delta, 0.5 * z * z, delta * (z - 0.5 * delta)), weight, reduction, "huber_loss")


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
    weight: Optional[Tensor] = None,
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
            raise ValueError(f"Expected input batch_size ({s[0]}) to match target batch_size ({target._a.shape[0]}).")
        raise RuntimeError(f"nll_loss: expected target of shape {list(want)} for input of shape {list(s)}, got {list(target._a.shape)}")
    if weight is not None and tuple(weight._a.shape) != (classes,):
        raise RuntimeError(f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: {list(weight._a.shape)}")
    target = convert(target, dtypes.int64)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    rows, _ = _channels_last(input)
    if len(s) == 1:
        rows = base.reshape(rows, (1, classes))
    flat = base.reshape(target, (numel(target),))
    return _nll(rows, flat, weight, ignore_index, reduction, tuple(target._a.shape) if len(s) > 1 else tuple(target._a.shape), classes)


def _nll(rows: Tensor, flat: Tensor, weight: Optional[Tensor], ignore_index: int, reduction: str, shape: tuple[int, ...], classes: int) -> Tensor:
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
    weight: Optional[Tensor] = None,
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
        raise RuntimeError(f"Expected floating point type for target with class probabilities of input's shape {list(s)}, got {dtype_of(target)} of shape {list(target._a.shape)}")
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
    return loss * (1 - label_smoothing) + smooth * (label_smoothing / s[d])


def _class_weights(weight: Tensor, nd: int, d: int) -> Tensor:
    return base.reshape(weight, (weight._a.shape[0],) if nd == 1 else (1, weight._a.shape[0], *(1,) * (nd - 2)))


def _soft_targets(logp: Tensor, target: Tensor, weight: Optional[Tensor], reduction: str, smoothing: float, d: int) -> Tensor:
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
    input: Tensor, target: Tensor, weight: Optional[Tensor] = None, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """``-(t log p + (1 - t) log(1 - p))``, each log no smaller than -100.

    Raises: RuntimeError for probabilities outside [0, 1], ValueError for different shapes.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if tuple(input._a.shape) != tuple(target._a.shape):
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. Please ensure they have the same size.")
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
    weight: Optional[Tensor] = None,
    size_average: Reduce = None,
    reduce: Reduce = None,
    reduction: str = "mean",
    pos_weight: Optional[Tensor] = None,
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


def kl_div(input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """``target * (log target - input)``, input being log-probabilities; "batchmean" divides the sum by the batch size."""
    reduction = reduction_of(size_average, reduce, reduction)
    loss = exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    if reduction == "batchmean":
        return loss.sum() / input._a.shape[0] if input._a.shape else loss.sum()  # type: ignore[no-any-return]
    return apply_reduction(loss, reduction)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: Reduce = None, eps: float = 1e-8, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """The Poisson negative log-likelihood, up to a constant unless `full` (Stirling's formula then)."""
    reduction = reduction_of(size_average, reduce, reduction)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        big = target > 1
        safe = where_op(big, target, 1)
        loss = loss + where_op(big, safe * log(safe) - safe + 0.5 * log(2 * math.pi * safe), 0)
    return apply_reduction(loss, reduction)


def gaussian_nll_loss(input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Tensor:
    """The Gaussian negative log-likelihood with given variances.

    Raises: ValueError for negative variances or shapes that do not fit.
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input * 0 + var
    elif type(var._a) is np.ndarray and (var._a < 0).any():
        raise ValueError("var has negative entry/entries")
    if tuple(var._a.shape) != tuple(input._a.shape):
        if tuple(input._a.shape)[:-1] == tuple(var._a.shape):
            var = var.unsqueeze(-1)
        elif not (tuple(input._a.shape)[:-1] == tuple(var._a.shape)[:-1] and var._a.shape[-1] == 1):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    safe = where_op(var.detach() < eps, eps, var) if False else var + (FUNCTIONS["clamp_min"](var, eps) - var).detach()
    d = input - target
    loss = 0.5 * (log(safe) + d * d / safe)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return apply_reduction(loss, reduction)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean") -> Tensor:
    """x for target 1, ``max(0, margin - x)`` for target -1."""
    reduction = reduction_of(size_average, reduce, reduction)
    zero = input * 0
    positive = where_op(target != -1, input, zero)
    negative = where_op(target != 1, FUNCTIONS["clamp_min"](margin - input, 0), zero)
    return apply_reduction(positive + negative, reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """``max(0, -target * (x1 - x2) + margin)``."""
    reduction = reduction_of(size_average, reduce, reduction)
    if not len(input1._a.shape) == len(input2._a.shape) == len(target._a.shape):
        raise RuntimeError(f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} ")
    return apply_reduction(FUNCTIONS["clamp_min"](-target * (input1 - input2) + margin, 0), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean") -> Tensor:
    """``log(1 + exp(-target * x))``."""
    reduction = reduction_of(size_average, reduce, reduction)
    return apply_reduction(-logsigmoid(input * target), reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Optional[Tensor] = None, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """The mean over classes of the logistic loss of each label."""
    reduction = reduction_of(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return apply_reduction(loss.mean(-1), reduction)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along a dim."""
    from ...core.public import result_type
    from ...ops.args import wrap_dims
    from ...ops.contraction import vector_norm

    d = result_type(x1, x2)
    if d.category < dtypes.FLOATING:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {d.name}")
    shape = tuple(broadcast_shapes(tuple(x1._a.shape), tuple(x2._a.shape)))
    a, b = (expand_to(convert(x, d), shape) for x in (x1, x2))
    dims = wrap_dims(dim, len(shape))

    def unit(x: Tensor) -> Tensor:
        return x / FUNCTIONS["clamp_min"](vector_norm(x, 2.0, dims, True), eps)

    return (unit(a) * unit(b)).sum(dims)  # type: ignore[no-any-return]


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` over the last dim."""
    from ...ops.contraction import vector_norm

    x = x1 - x2 + eps
    return vector_norm(x, float(p), (max(len(x._a.shape) - 1, 0),) if x._a.shape else (), keepdim)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
) -> Tensor:
    """``1 - cos`` for target 1, ``max(0, cos - margin)`` for target -1."""
    reduction = reduction_of(size_average, reduce, reduction)
    nd = len(target._a.shape)
    if nd not in (0, 1):
        raise RuntimeError(f"cosine_embedding_loss : 0D or 1D target tensor expected, multi-target not supported ({nd}D given)")
    if len(input1._a.shape) != nd + 1 or len(input2._a.shape) != nd + 1:
        raise RuntimeError(f"cosine_embedding_loss : {nd}D target tensor expects {nd + 1}D input tensors, but found inputs with sizes {list(input1._a.shape)} and {list(input2._a.shape)}.")
    epsilon = 1e-12
    dot = (input1 * input2).sum(nd)
    na, nb = (x * x for x in (input1, input2))
    cos = dot / ((na.sum(nd) + epsilon) * (nb.sum(nd) + epsilon)).sqrt()
    zero = cos * 0
    loss = where_op(target == 1, 1 - cos, zero) + where_op(target == -1, FUNCTIONS["clamp_min"](cos - margin, 0), zero)
    return apply_reduction(loss, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, distance_function: Optional[Callable[[Tensor, Tensor], Tensor]] = None, margin: float = 1.0, swap: bool = False, reduction: str = "mean"
) -> Tensor:
    """``max(0, d(a, p) - d(a, n) + margin)``; `swap` uses the closer of d(a, n) and d(p, n)."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    dims = {len(x._a.shape) for x in (anchor, positive, negative)}
    if len(dims) != 1:
        raise RuntimeError(f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs")
    dp, dn = distance(anchor, positive), distance(anchor, negative)
    if swap:
        dn = FUNCTIONS["minimum"](dn, distance(positive, negative))
    return apply_reduction(FUNCTIONS["clamp_min"](dp - dn + margin, 0), reduction)


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
        anchor, positive, negative, distance_function=lambda a, b: pairwise_distance(a, b, p, eps), margin=margin, swap=swap, reduction=reduction
    )


def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Optional[Tensor] = None, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean"
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
        raise RuntimeError(f"inconsistent target size, expected {x._a.shape[0]} but got {list(target._a.shape)}")
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


def multilabel_margin_loss(input: Tensor, target: Tensor, size_average: Reduce = None, reduce: Reduce = None, reduction: str = "mean") -> Tensor:
    """``sum_ij max(0, 1 - (x_yj - x_i)) / C`` over target labels j (up to the first -1) and other classes i."""
    reduction = reduction_of(size_average, reduce, reduction)
    single = len(input._a.shape) <= 1
    x = base.reshape(input, (1, numel(input))) if single else input
    if tuple(target._a.shape) != tuple(input._a.shape):
        raise RuntimeError(f"inconsistent size {list(target._a.shape)} for target; expected {list(input._a.shape)}")
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


for _name in ("cosine_similarity", "pairwise_distance", "hinge_embedding_loss", "margin_ranking_loss", "triplet_margin_loss", "cosine_embedding_loss", "poisson_nll_loss", "kl_div", "binary_cross_entropy_with_logits"):  # fmt: skip
    FUNCTIONS.setdefault(_name, globals()[_name])
_ = ops
