"""Losses of 16-bit tensors, each one operation whose values and gradients are rounded where PyTorch rounds them.

Other dtypes take the composites in `loss` and `classification`, which say the same in operations that fuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import families as fam
from ...core.op import dtype_of
from ...core.promotion import convert
from ...core.public import FUNCTIONS
from ...core.tensor import Tensor
from ...prims import pointwise as pw
from ...prims.base import sum_op
from ...prims.reductions import half_mean_op
from .activation import logsigmoid

Slope = Callable[[Tensor, Tensor, Tensor, int, float, Any], Tensor]


def is_half(*tensors: Any) -> bool:
    """Whether all of these are tensors of one 16-bit floating dtype."""
    first = tensors[0]._a.dtype
    return first.itemsize == 2 and first.kind in "fV" and all(t._a.dtype == first for t in tensors)


def _reduced(y: Tensor, dims: tuple[int, ...], reduction: str) -> Tensor:
    if reduction == "none":
        return y
    return half_mean_op(y, dims=dims) if reduction == "mean" else sum_op(y, dims=dims)  # type: ignore[no-any-return]


def _loss(
    name: str, values: Any, slope: Slope, target_slope: Slope, grad_name: str, *, divides: bool = False
) -> Any:
    """An operation on input, target and weight (a tensor or None); `values` is its elements, over arrays.

    The slopes map a cotangent of the elements to the gradients of the two, ``slope(g, x, t, n, setting, w)``; then come
    the weight, and the division of a mean by n, unless the slope does both itself, as `divides` says (n is 1 where there
    is no mean, and w where there is no weight).
    """

    def impl(x: Any, t: Any, w: Any, *, reduction: str, setting: float) -> Any:
        half = x.dtype
        with np.errstate(all="ignore"):
            y = values(x, t, setting)
        if w is not None:
            y = y * w
        if reduction == "none":
            return y
        total = np.add.reduce(fam.wide(y), axis=None)
        with np.errstate(invalid="ignore"):
            return np.asarray(total if reduction == "sum" else total / total.dtype.type(y.size)).astype(half)

    def vjp(g: Tensor, inputs: Any, needs: Any, reduction: str, setting: float) -> list[Any]:
        x, t, w = inputs
        n = math.prod(x._a.shape) if reduction == "mean" else 1
        weight = 1.0 if w is None else w

        def finished(r: Tensor) -> Tensor:
            if divides:
                return r
            r = r if w is None else r * w
            return r / n if n != 1 else r

        found: list[Any] = [None, None, None]
        if needs[0]:
            found[0] = finished(fam.expand(slope(g, x, t, n, setting, weight), tuple(x._a.shape)))
        if needs[1]:
            found[1] = finished(fam.expand(target_slope(g, x, t, n, setting, weight), tuple(x._a.shape)))
        if needs[2]:
            each = op(x, t, None, reduction="none", setting=setting) * g
            each = each / n if n != 1 else each
            found[2] = fam.unbroadcast(each, tuple(w._a.shape))
        return found

    def jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
        (tx, tt, tw), (x, t, w) = ts, xs
        parts = []
        for tangent, fn in ((tx, slope), (tt, target_slope)):
            if tangent is not None:
                r = fn(tangent, x, t, 1, params["setting"], 1.0 if w is None else w)
                parts.append(r if w is None or divides else r * w)
        if tw is not None:
            parts.append(op(x, t, None, reduction="none", setting=params["setting"]) * tw)
        total = parts[0]
        for p in parts[1:]:
            total = total + p
        return _reduced(total, tuple(range(len(x._a.shape))), params["reduction"])

    def batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
        x, t, w = args
        x, t = fam.batch_to_front((x, t), batched[:2], size)
        if w is not None:
            w = fam.align((x, w), (True, batched[2]), size)[1]
        y = op(x, t, w, reduction="none", setting=params["setting"])
        return _reduced(y, tuple(range(1, len(y._a.shape))), params["reduction"]), True

    op = fam.opaque_op(impl, vjp, name=name, jvp=jvp, batch=batch, grad_name=grad_name)
    return op


def _over(x: Tensor, n: Any) -> Tensor:
    return x if type(n) is int and n == 1 else x / n


def _entropy(p: Any, t: Any, setting: float) -> Any:
    low, one = p.dtype.type(-100), p.dtype.type(1)
    return (t - one) * np.maximum(np.log1p(-p), low) - t * np.maximum(np.log(p), low)


def _entropy_slope_values(g: Any, p: Any, t: Any, w: Any, n: Any) -> Any:
    half = p.dtype.type
    with np.errstate(all="ignore"):
        y = g * (p - t) / np.maximum((half(1) - p) * p, half(1e-12))
        y = y if type(w) is float else y * w
        if type(n) is int:
            return y if n == 1 else (fam.wide(y) / fam.wide(y).dtype.type(n)).astype(p.dtype)
        return y / n


_entropy_slope_values.knows_halves = True  # type: ignore[attr-defined]


_entropy_slope: Any = fam.pointwise_op(
    "half_entropy_slope",
    lambda k, g, p, t, w, n: g * (p - t) / k.max((1 - p) * p, 1e-12) * w / n,
    (
        lambda s, p, t, w, n: _over((p - t) / ((p + 1e-12) * (1 - p + 1e-12)) * s * w, n),
        lambda s, g, p, t, w, n: _over(_entropy_curve(p, t) * (s * g) * w, n),
        lambda s, g, p, w, n: _over(-s * g / ((1 - p) * p) * w, n),
        lambda s, g, p, t, n: _entropy_slope(s * g, p, t, 1.0, n),
        None,
    ),
    impl=_entropy_slope_values,
    grad_name="BinaryCrossEntropyBackwardBackward0",
)


def _entropy_curve(p: Tensor, t: Tensor) -> Tensor:
    """The second derivative in p: ``t / p^2 + (1 - t) / (1 - p)^2``."""
    low, high = pw.power(p + 1e-12, 2), pw.power(1 - p + 1e-12, 2)
    return (p * p - 2 * p * t + t) / (low * high)  # type: ignore[no-any-return]


def _log_odds(g: Tensor, p: Tensor, t: Tensor) -> Tensor:
    return -FUNCTIONS["logit"](p) * g  # type: ignore[no-any-return]


binary_cross_entropy_op = _loss(
    "half_binary_cross_entropy",
    _entropy,
    lambda g, p, t, n, setting, w: _entropy_slope(g, p, t, w, n),
    lambda g, p, t, n, setting, w: _over(_log_odds(g, p, t) * w, n),
    "BinaryCrossEntropyBackward0",
    divides=True,
)


def _wide(values: Any) -> Any:
    """Elements computed in float32 and rounded once."""
    return lambda x, t, setting: values(fam.wide(x), fam.wide(t), setting).astype(x.dtype)


def _square_slope_values(g: Any, x: Any, t: Any, n: int) -> Any:
    with np.errstate(all="ignore"):
        return x.dtype.type(2.0 / n) * (x - t) * g


_square_slope_values.knows_halves = True  # type: ignore[attr-defined]  # rounded after each step, as in PyTorch
_square_slope: Any = fam.pointwise_op(
    "half_square_slope",
    lambda k, g, x, t, n: (x - t) * (2.0 / n) * g,
    (
        lambda s, x, t, n: _square_slope(s, x, t, n),
        lambda s, g, n: _over(s * g * 2, n),
        lambda s, g, n: -_over(s * g * 2, n),
        None,
    ),
    impl=_square_slope_values,
    grad_name="MseLossBackwardBackward0",
)
square_error_op = _loss(
    "half_square_error",
    _wide(lambda x, t, setting: np.square(x - t)),
    lambda g, x, t, n, setting, w: _square_slope(g, x, t, n),
    lambda g, x, t, n, setting, w: _square_slope(g, t, x, n),
    "MseLossBackward0",
    divides=True,
)


def _near(s: Tensor, g: Tensor, x: Tensor, t: Tensor, n: Any, delta: float) -> Tensor:
    return _over(s * g * convert(abs(x - t) < delta, dtype_of(x)), n)


_huber_slope: Any = fam.pointwise_op(
    "half_huber_slope",
    lambda k, g, x, t, n, delta: k.max(k.min(x - t, delta), -delta) * g / n,
    (
        lambda s, x, t, n, delta: _huber_slope(s, x, t, n, delta),
        _near,
        lambda s, g, x, t, n, delta: -_near(s, g, x, t, n, delta),
        None,
        None,
    ),
    grad_name="HuberLossBackwardBackward0",
)


def _huber(x: Any, t: Any, delta: float) -> Any:
    z = np.abs(x - t)
    return np.where(z <= delta, 0.5 * z * z, delta * (z - 0.5 * delta))


huber_op = _loss(
    "half_huber",
    _wide(_huber),
    lambda g, x, t, n, delta, w: _huber_slope(g, x, t, n, delta),
    lambda g, x, t, n, delta, w: _huber_slope(g, t, x, n, delta),
    "HuberLossBackward0",
    divides=True,
)


def _logits_values(x: Any, t: Any, setting: float) -> Any:
    half = x.dtype
    wide = fam.wide(x)
    log = (np.minimum(wide, 0) - np.log1p(np.exp(-np.abs(wide)))).astype(half)
    return (half.type(1) - t) * x - log


logits_op = _loss(
    "half_logits_loss",
    _logits_values,
    lambda g, x, t, n, setting, w: (pw.sigmoid(x) - t) * g,
    lambda g, x, t, n, setting, w: -x * g,
    "BinaryCrossEntropyWithLogitsBackward0",
)


def _weighted_logits_values(x: Any, t: Any, w: Any) -> Any:
    half = x.dtype
    wide = fam.wide(x)
    log = (np.minimum(wide, 0) - np.log1p(np.exp(-np.abs(wide)))).astype(half)
    one = half.type(1)
    return (one - t) * x - log * ((w - one) * t + one)


_weighted_logits_values.knows_halves = True  # type: ignore[attr-defined]


def _weighted_slope(g: Tensor, x: Tensor, t: Tensor, w: Tensor) -> Tensor:
    wt = w * t
    return ((wt + 1 - t) * pw.sigmoid(x) - wt) * g  # type: ignore[no-any-return]


# with weights of the positive answers; the loss of each element
weighted_logits_op: Any = fam.pointwise_op(
    "half_weighted_logits_loss",
    lambda k, x, t, w: (1 - t) * x + k.log1p(k.exp(-x)) * ((w - 1) * t + 1),
    (
        _weighted_slope,
        lambda g, x, w: (logsigmoid(-x) - w * logsigmoid(x)) * g,
        lambda g, x, t: -logsigmoid(x) * t * g,
    ),
    impl=_weighted_logits_values,
    grad_name="BinaryCrossEntropyWithLogitsBackward0",
)
