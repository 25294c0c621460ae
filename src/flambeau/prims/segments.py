"""Bags of rows: which bag a position belongs to, and which row of a bag holds its maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam


def _rows(fn: Any, *xs: Any) -> Any:
    """`fn` on every example of a batch."""
    return np.stack([fn(*example) for example in zip(*xs)])


def _bag_of(offsets: Any, *, count: int) -> Any:
    """(..., bags) of the first position of each bag to (..., count) bags of the positions."""
    if offsets.ndim > 1:
        return _rows(lambda o: _bag_of(o, count=count), offsets)
    return np.searchsorted(offsets, np.arange(count), side="right") - 1


def _segment_argmax(x: Any, bag: Any, keep: Any, *, bags: int) -> Any:
    """Row of the maximum of each bag and column: x (..., n, d), bag and keep (..., n); -1 for bags without a row."""
    if x.ndim > 2:
        return _rows(lambda *a: _segment_argmax(*a, bags=bags), x, bag, keep)
    out = np.full((bags, x.shape[1]), -1, np.int64)
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(bag[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(bag[rows], append=-1)) + 1
    start = 0
    for end in ends.tolist():
        mine = rows[start:end]
        out[bag[mine[0]]] = mine[x[mine].argmax(0)]
        start = end
    return out


bag_of_op = fam.opaque_op(_bag_of, None, name="bag_of", differentiable=False)
segment_argmax_op = fam.opaque_op(_segment_argmax, None, name="segment_argmax", differentiable=False)
