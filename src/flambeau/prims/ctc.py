"""Connectionist temporal classification: the probability of a label sequence over all of its alignments.

Forward and backward variables in log space (Graves et al., "Connectionist temporal classification", 2006, sections
4.1 and 4.2), all examples and positions at once, one step of time after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..core import families as fam
from ..core.op import bind
from ..core.tensor import Tensor
from .base import permute_op, reshape

LOW = -np.inf


def _logsumexp(xs: Sequence[Any]) -> Any:
    top = np.maximum.reduce(xs)
    shift = np.where(top == LOW, 0, top)
    total = sum(np.exp(x - shift) for x in xs)
    return np.where(top == LOW, LOW, np.log(np.where(top == LOW, 1, total)) + shift)


def _extended(targets: Any, blank: int) -> tuple[Any, Any]:
    """(labels with blanks around them (N, 2S + 1), where a position may be reached over the blank before it)."""
    n, s = targets.shape
    labels = np.full((n, 2 * s + 1), blank, np.int64)
    labels[:, 1::2] = targets
    skip = np.zeros(labels.shape, bool)
    skip[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    return labels, skip


def _shifted(x: Any, by: int) -> Any:
    """`x` moved along its last dim, -inf entering."""
    out = np.full(x.shape, LOW, x.dtype)
    if by > 0:
        out[:, by:] = x[:, :-by]
    else:
        out[:, :by] = x[:, -by:]
    return out


def _forward(lp: Any, labels: Any, skip: Any, lengths: Any, ends: Any) -> tuple[Any, Any]:
    """(log alpha (T, N, 2S + 1), minus the log-probability of each example)."""
    steps, n, _ = lp.shape
    width = labels.shape[1]
    alpha = np.full((steps, n, width), LOW, lp.dtype)
    rows = np.arange(n)
    if steps:
        alpha[0, :, 0] = lp[0, rows, labels[:, 0]]
        if width > 1:
            alpha[0, :, 1] = np.where(ends > 0, lp[0, rows, labels[:, 1]], LOW)
    for t in range(1, steps):
        before = alpha[t - 1]
        over = np.where(skip, _shifted(before, 2), LOW) if width > 2 else np.full_like(before, LOW)
        step = _logsumexp([before, _shifted(before, 1), over] if width > 1 else [before])
        alpha[t] = step + np.take_along_axis(lp[t], labels, 1)
    last = np.maximum(lengths - 1, 0)
    if not steps:
        return alpha, np.where(ends > 0, np.inf, 0).astype(lp.dtype)
    final = alpha[last, rows, 2 * ends]
    other = np.where(ends > 0, alpha[last, rows, np.maximum(2 * ends - 1, 0)], LOW)
    nll = -_logsumexp([final, other])
    return alpha, np.where(lengths == 0, np.where(ends > 0, np.inf, 0), nll).astype(lp.dtype)


def _backward(lp: Any, labels: Any, skip: Any, lengths: Any, ends: Any) -> Any:
    """log beta (T, N, 2S + 1), each step's own probability included."""
    steps, n, _ = lp.shape
    width = labels.shape[1]
    beta = np.full((steps, n, width), LOW, lp.dtype)
    here = np.arange(width)
    is_end = (here == 2 * ends[:, None]) | ((here == 2 * ends[:, None] - 1) & (ends[:, None] > 0))
    skip_next = np.zeros_like(skip)
    skip_next[:, :-2] = skip[:, 2:]
    for t in range(steps - 1, -1, -1):
        own = np.take_along_axis(lp[t], labels, 1)
        begin = np.where(is_end, own, LOW)
        step = begin
        if t + 1 < steps:
            after = beta[t + 1]
            over = np.where(skip_next, _shifted(after, -2), LOW) if width > 2 else np.full_like(after, LOW)
            step = _logsumexp([after, _shifted(after, -1), over] if width > 1 else [after]) + own
        last = (lengths - 1 == t)[:, None]
        beta[t] = np.where(last, begin, np.where((t < lengths)[:, None], step, LOW))
    return beta


def _ctc(lp: Any, targets: Any, lengths: Any, ends: Any, *, blank: int, zero_infinity: bool) -> Any:
    labels, skip = _extended(targets, blank)
    nll = _forward(lp, labels, skip, lengths, ends)[1]
    return np.where(nll == np.inf, 0, nll).astype(lp.dtype) if zero_infinity else nll


def _ctc_grad(lp: Any, targets: Any, lengths: Any, ends: Any, *, blank: int, zero_infinity: bool) -> Any:
    """``exp(lp) - P(class at t | targets)``: the gradient for the logits, which is what PyTorch returns for lp."""
    labels, skip = _extended(targets, blank)
    alpha, nll = _forward(lp, labels, skip, lengths, ends)
    both = alpha + _backward(lp, labels, skip, lengths, ends)
    both[:, np.arange(labels.shape[1]) > 2 * ends[:, None]] = LOW
    own = np.take_along_axis(lp, np.broadcast_to(labels, both.shape), 2)
    with np.errstate(invalid="ignore"):  # -inf + inf, for sequences that cannot be: NaN unless zero_infinity
        share = np.exp(both - np.where(own == LOW, 0, own) + nll[:, None])
    posterior = np.zeros(lp.shape, lp.dtype)
    rows = np.arange(lp.shape[1])
    for s in range(labels.shape[1]):  # a class may stand at several positions, so these add up
        posterior[:, rows, labels[:, s]] += share[:, :, s]
    grad = np.exp(lp) - posterior
    grad[:, ~np.isfinite(nll)] = np.nan  # of the classes beside the targets, too
    grad[np.arange(lp.shape[0])[:, None] >= lengths] = 0
    if zero_infinity:
        grad[:, nll == np.inf] = 0
    return grad


def _batch(op: Any, size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Examples of all batches side by side."""
    lp, targets, lengths, ends = fam.batch_to_front(args, batched, size)
    _, steps, n, c = lp._a.shape
    lp = reshape(permute_op(lp, dims=(1, 0, 2, 3)), (steps, size * n, c))
    targets = reshape(targets, (size * n, targets._a.shape[2]))
    y = bind(op, (lp, targets, reshape(lengths, (size * n,)), reshape(ends, (size * n,))), params)
    if len(y._a.shape) == 1:
        return reshape(y, (size, n)), True
    return permute_op(reshape(y, (steps, size, n, c)), dims=(1, 0, 2, 3)), True


def _no_second(g: Tensor) -> NoReturn:
    raise RuntimeError(
        "derivative for ctc_loss's backward is not implemented: ctc_loss can be differentiated once"
    )


ctc_grad_op: Any = fam.opaque_op(
    _ctc_grad, (_no_second, None, None, None), name="ctc_loss_grad", batch=lambda *a: _batch(ctc_grad_op, *a)
)
ctc_op: Any = fam.opaque_op(
    _ctc,
    (
        lambda g, lp, targets, lengths, ends, blank, zero_infinity: (
            reshape(g, (1, g._a.shape[0], 1))
            * ctc_grad_op(lp, targets, lengths, ends, blank=blank, zero_infinity=zero_infinity)
        ),
        None,
        None,
        None,
    ),
    name="ctc_loss",
    batch=lambda *a: _batch(ctc_op, *a),
)
