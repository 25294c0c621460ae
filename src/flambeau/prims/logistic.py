"""The logarithm of the logistic function and the losses made of it, each one operation.

The target comes first: it decides how a result lies in memory. Their derivatives are single products, so an infinite weight or cotangent gives an infinity; the steps of a composite
would subtract two of them.
"""

from __future__ import annotations

from typing import Any

from ..core.families import pointwise_op
from ..core.tensor import Tensor
from . import pointwise as pw


def _log(k: Any, x: Any) -> Any:
    return k.min(x, 0) - k.log1p(k.exp(-k.abs(x)))


logsigmoid_op: Any = pointwise_op(
    "logsigmoid",
    _log,
    (lambda t, x: t * pw.sigmoid(-x),),
    grad_name="LogSigmoidBackward0",
)
logits_loss_op: Any = pointwise_op(
    "logits_loss",
    lambda k, target, x: (1 - target) * x - _log(k, x),
    (lambda t, x: -x * t, lambda t, target, x: t * (pw.sigmoid(x) - target)),
    grad_name="BinaryCrossEntropyWithLogitsBackward0",
)


def _weighted_slope(t: Tensor, target: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    share = weight * target
    return t * ((share + 1 - target) * pw.sigmoid(x) - share)  # type: ignore[no-any-return]


# with a weight of the positive answers
weighted_logits_loss_op: Any = pointwise_op(
    "weighted_logits_loss",
    lambda k, target, x, weight: (1 - target) * x - ((weight - 1) * target + 1) * _log(k, x),
    (
        lambda t, x, weight: t * (logsigmoid_op(-x) - weight * logsigmoid_op(x)),
        _weighted_slope,
        lambda t, target, x: -logsigmoid_op(x) * target * t,
    ),
    grad_name="BinaryCrossEntropyWithLogitsBackward0",
)
