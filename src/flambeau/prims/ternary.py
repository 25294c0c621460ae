"""Elementwise operations of three tensors: multiply-adds and interpolation, each one kernel that rounds once.

The derivatives multiply in the order in which PyTorch's do, so that 16-bit gradients are rounded alike.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ..core.families import pointwise_op, zeros_like
from ..core.tape import helpers
from ..core.tensor import Tensor
from .pointwise import div


def _times(t: Tensor, value: Any) -> Tensor:
    return t if type(value) in (int, float) and value == 1 else t * value


def _total(parts: Sequence[Tensor | None]) -> Any:
    """The sum of the tangents that there are."""
    return functools.reduce(helpers["add"], [t for t in parts if t is not None])


def _addcmul_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any) -> Any:
    (tx, ta, tb, _), (_, a, b, value) = ts, xs
    return _total(
        [tx, None if ta is None else _times(ta * b, value), None if tb is None else _times(tb * a, value)]
    )


addcmul_op: Any = pointwise_op(
    "addcmul",
    lambda k, x, a, b, value: x + a * b * value,
    (lambda t: t, lambda t, b, value: t * _times(b, value), lambda t, a, value: t * _times(a, value), None),
    jvp=_addcmul_jvp,
)


def _ratio(value: Any, b: Tensor) -> Any:
    """``value / b``; 16-bit, the number is rounded, too."""
    dtype = b._a.dtype
    return div(float(dtype.type(value)) if dtype.itemsize == 2 and dtype.kind in "fV" else value, b)


def _addcdiv_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any) -> Any:
    (tx, ta, tb, _), (_, a, b, value) = ts, xs
    return _total(
        [
            tx,
            None if ta is None else _times(ta / b, value),
            None if tb is None else -_times(tb * (a / b) / b, value),
        ]
    )


addcdiv_op: Any = pointwise_op(
    "addcdiv",
    lambda k, x, a, b, value: x + a / b * value,
    (
        lambda t: t,
        lambda t, b, value: t * _ratio(value, b),
        lambda t, a, b, value: -t * (_times(a, value) / (b * b)),
        None,
    ),
    jvp=_addcdiv_jvp,
)

# From the nearer end, so that both ends are exact.
lerp_op: Any = pointwise_op(
    "lerp",
    lambda k, a, b, w: k.select(k.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1 - w)),
    (lambda t, w: t * (1 - w), lambda t, w: t * w, lambda t, a, b: t * (b - a)),
    jvp=lambda ts, xs, y: _lerp_jvp(ts, xs),
    order=(1, 0, 2),
)
_mix_op: Any = pointwise_op(
    "lerp_near",
    lambda k, a, b, w: a + w * (b - a),
    (lambda t, w: t * (1 - w), lambda t, w: t * w, None),
    jvp=lambda ts, xs, y: _mix_op(*_filled(ts[:2], xs), xs[2]),
)


# The same from b's end: `rest` is 1 - w.
_far_mix_op: Any = pointwise_op(
    "lerp_far",
    lambda k, a, b, rest: b + rest * (a - b),
    (lambda t, rest: t * rest, lambda t, rest: t * (1 - rest), None),
    jvp=lambda ts, xs, y: _far_mix_op(*_filled(ts[:2], xs), xs[2]),
    order=(1, 0, 2),
)


def _filled(ts: Sequence[Any], xs: Sequence[Any]) -> list[Any]:
    return [zeros_like(x) if t is None else t for t, x in zip(ts, xs)]


def _lerp_jvp(ts: Sequence[Any], xs: Sequence[Any]) -> Any:
    a, b, w = xs
    between = None if ts[0] is None and ts[1] is None else lerp_op(*_filled(ts[:2], xs), w)
    return _total([between, None if ts[2] is None else ts[2] * (b - a)])


def lerp(a: Tensor, b: Tensor, weight: Any) -> Tensor:
    """``a + weight * (b - a)`` for a number, from the nearer end."""
    if abs(weight) < 0.5:
        return _mix_op(a, b, weight)  # type: ignore[no-any-return]
    return _far_mix_op(a, b, 1 - weight)  # type: ignore[no-any-return]
