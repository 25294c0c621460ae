"""Connectionist temporal classification loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.grad_names import rename
from ...core.meta import is_meta
from ...core.pending import seen
from ...core.promotion import convert
from ...core.public import overridable
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...prims.base import from_value
from ...prims.ctc import ctc_op
from ...runtime import dtypes


def _values(x: Tensor) -> Any:
    """The array of targets or lengths, which decide sizes and so cannot differ between the examples of a vmap."""
    if is_meta(x):
        raise NotImplementedError(
            "ctc_loss: the values of targets and lengths are needed, which meta tensors do not have"
        )
    a = seen(x)
    if a.ndim != len(x._a.shape):
        raise RuntimeError("ctc_loss: targets and lengths must be the same for all examples of a vmap")
    return a


def _lengths(x: Any, name: str, n: int) -> Any:
    if isinstance(x, Tensor):
        if x._a.dtype.kind not in "iu":
            raise RuntimeError(f"{name} must be integral, got {dtype_of(x)}")
        values = np.asarray(_values(x), np.int64).reshape(-1)
    else:
        values = np.array([int(v) for v in x] if hasattr(x, "__iter__") else [int(x)], np.int64)
    if values.shape != (n,):
        raise RuntimeError(f"{name} must be of size batch_size: expected {n} lengths, got {values.size}")
    return values


def _padded(targets: Any, ends: Any) -> Any:
    """Targets as (N, longest), from those or from all of them one after the other."""
    n, width = len(ends), int(ends.max(initial=0))
    out = np.zeros((n, width), np.int64)
    here = np.arange(width) < ends[:, None]
    if targets.ndim == 1:
        if targets.size != int(ends.sum()) and targets.size < int(ends.sum()):
            raise RuntimeError(
                f"Expected at least {int(ends.sum())} targets for the target_lengths, got {targets.size}"
            )
        out[here] = targets[: int(ends.sum())]
        return out
    if targets.shape[0] != n or targets.shape[1] < width:
        raise RuntimeError(f"Expected targets of shape ({n}, at least {width}), got {list(targets.shape)}")
    out[here] = targets[:, :width][here]
    return out


@overridable
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability of label sequences: log_probs (T, N, C) or (T, C), targets (N, S) or concatenated.

    "mean" divides each loss by its target's length first.  The gradient is that of the logits under `log_softmax`,
    as in PyTorch; there is no second one.

    Raises: RuntimeError for lengths, labels or shapes that do not fit.
    """
    s = tuple(log_probs._a.shape)
    if len(s) not in (2, 3):
        raise RuntimeError(f"log_probs must be of shape (T, N, C) or (T, C), got {list(s)}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if log_probs._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"ctc_loss_cpu" not implemented for {dtype_of(log_probs)}')
    if targets._a.dtype.kind not in "iu":
        raise RuntimeError(f"targets must be integral, got {dtype_of(targets)}")
    single = len(s) == 2
    lp = log_probs.unsqueeze(1) if single else log_probs
    steps, n, classes = lp._a.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range: expected 0 <= blank < {classes}, got {blank}")
    lengths, ends = _lengths(input_lengths, "input_lengths", n), _lengths(target_lengths, "target_lengths", n)
    if lengths.size and int(lengths.max()) > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {int(lengths.max())}"
        )
    for values, name in ((lengths, "input_lengths"), (ends, "target_lengths")):
        if values.size and int(values.min()) < 0:
            raise RuntimeError(f"Expected {name} to have value at least 0, but got value {int(values.min())}")
    labels = _values(targets)
    labels = _padded(labels.reshape(1, -1) if single else labels, ends)
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise RuntimeError(
            f"targets must be labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}"
        )
    given = dtype_of(lp)
    lp = convert(lp, dtypes.float32) if lp._a.dtype.itemsize == 2 else lp
    loss = ctc_op(
        lp,
        from_value(labels),
        from_value(lengths),
        from_value(ends),
        blank=blank,
        zero_infinity=bool(zero_infinity),
    )
    if zero_infinity:
        rename(loss, "WhereBackward0")
    if reduction == "mean":
        loss = (loss / from_value(np.maximum(ends, 1).astype(loss._a.dtype))).mean()
    elif reduction == "sum":
        loss = loss.sum()
    elif single:
        loss = loss.squeeze(0)
    return convert(loss, given)
