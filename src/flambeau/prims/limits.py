"""Elements limited by bounds, as operations of their own: at NaN their value is NaN and their derivative zero.

A composite of selections would have one of the two: what is selected has the derivative of where it comes from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.families import pointwise_op
from .pointwise import where_op

# Of equal zeros the element is kept, with its sign; a bound that is NaN gives NaN.
at_least_op: Any = pointwise_op(
    "at_least",
    lambda k, x, low: k.select(_or_missing(x < low, low), low, x),
    (lambda t, x, low: where_op(x >= low, t, 0), lambda t, x, low: where_op(x < low, t, 0)),
    impl=lambda x, low: _chosen(_or_missing(x < low, low), low, x),
    grad_name="ClampMinBackward0",
)
at_most_op: Any = pointwise_op(
    "at_most",
    lambda k, x, high: k.select(_or_missing(x > high, high), high, x),
    (lambda t, x, high: where_op(x <= high, t, 0), lambda t, x, high: where_op(x > high, t, 0)),
    impl=lambda x, high: _chosen(_or_missing(x > high, high), high, x),
    grad_name="ClampMaxBackward0",
)


def _or_missing(outside: Any, bound: Any) -> Any:
    return outside if isinstance(bound, (int, float)) else outside | (bound != bound)


def _chosen(outside: Any, bound: Any, x: Any) -> Any:
    dtype = x.dtype if isinstance(x, np.ndarray) else bound.dtype
    return np.where(outside, np.asarray(bound, dtype), x)


# ``min(max(x + 3, 0), 6) / 6``, whose derivative is zero at the ends.
hard_sigmoid_op: Any = pointwise_op(
    "hard_sigmoid",
    lambda k, x: k.min(k.max(x + 3, 0), 6) / 6,
    (lambda t, x: where_op((x > -3) & (x < 3), t / 6, 0),),
    grad_name="HardsigmoidBackward0",
)
