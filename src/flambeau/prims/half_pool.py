"""Means over windows of 16-bit floats, and their gradients, rounded where PyTorch rounds them.

A mean is computed in float32 and rounded once.  Its gradient is not: every share of a window's gradient is rounded, and
an element's shares are added in 16 bits, in the order of the windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..core import families as fam
from ..core.tensor import Tensor


class Bins(NamedTuple):
    """Windows over the last dims: for each dim and result, the inputs start:end and what their sum is divided by."""

    size: tuple[int, ...]  # of the input
    start: tuple[tuple[int, ...], ...]
    end: tuple[tuple[int, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    divisor: float | None  # in the place of the counts
    together: bool  # one division by the product of the counts, or one after the other
    stepwise: bool = (
        False  # the mean itself is summed in 16 bits too, as in PyTorch's adaptive pooling of volumes
    )


def _grid(values: Any, dim: int, n: int) -> Any:
    """One dim's values, to broadcast against the last `n` dims."""
    return np.asarray(values).reshape(-1, *(1,) * (n - 1 - dim))


def _divided(x: Any, b: Bins, half: Any) -> Any:
    """`x` over what its windows count; every quotient is rounded to `half` if that is given."""

    def rounded(v: Any) -> Any:
        return v if half is None else v.astype(half).astype(x.dtype)

    if b.divisor is not None:
        return rounded(x / x.dtype.type(b.divisor))
    n = len(b.size)
    grids = [_grid(c, d, n) for d, c in enumerate(b.counts)]
    if b.together:
        grids = [math.prod(grids[1:], start=grids[0])]
    for grid in grids:
        x = rounded(x / grid.astype(x.dtype))
    return x


def _half_mean_pool(x: Any, *, bins: Any) -> Any:
    n, y = len(bins.size), fam.wide(x)
    if bins.stepwise:
        return _divided(fam.wide(_stepwise_sum(x, bins)), bins, x.dtype).astype(x.dtype)
    for d in range(n):
        axis = y.ndim - n + d
        lead = (slice(None),) * axis
        sums = [np.add.reduce(y[(*lead, slice(a, e))], axis=axis) for a, e in zip(bins.start[d], bins.end[d])]
        y = np.stack(sums, axis) if sums else np.zeros((*y.shape[:axis], 0, *y.shape[axis + 1 :]), y.dtype)
    return _divided(y, bins, None).astype(x.dtype)


def _stepwise_sum(x: Any, b: Bins) -> Any:
    """The sum of each window in the order of its elements, every sum rounded."""
    n = len(b.size)
    total = np.zeros((*x.shape[: x.ndim - n], *map(len, b.start)), x.dtype)

    def add(part: Any, d: int) -> None:
        if d == n:
            total.__iadd__(part)
            return
        start, end = np.array(b.start[d]), np.array(b.end[d])
        for k in range(int((end - start).max(initial=0))):
            live = (start + k < end).reshape(-1, *(1,) * (n - 1 - d))
            taken = np.take(part, np.minimum(start + k, b.size[d] - 1), part.ndim - n + d)
            add(np.where(live, taken, part.dtype.type(0)), d + 1)

    add(x, 0)
    return total


def _covers(size: int, windows: Iterable[Iterable[int]]) -> list[tuple[Any, Any]]:
    """The first, second ... window that holds each input of a dim: (its number, whether there is one)."""
    found: list[list[int]] = [[] for _ in range(size)]
    for i, window in enumerate(windows):
        for k in window:
            found[k].append(i)
    depth = max(map(len, found), default=0)
    table = np.array([[f[r] if r < len(f) else -1 for f in found] for r in range(depth)]).reshape(depth, size)
    return [(np.maximum(row, 0), row >= 0) for row in table]


def _half_mean_pool_adjoint(g: Any, *, bins: Any) -> Any:
    share = _divided(fam.wide(g), bins, g.dtype).astype(g.dtype)
    windows = [[range(a, e) for a, e in zip(*ends)] for ends in zip(bins.start, bins.end)]
    return _added(share, bins.size, windows)


def _added(share: Any, size: Any, windows: Any) -> Any:
    """What each input gets from the windows that hold it, added in 16 bits in the order of the windows."""
    n = len(size)
    total = np.zeros((*share.shape[: share.ndim - n], *size), share.dtype)

    def add(part: Any, d: int) -> None:
        if d == n:
            total.__iadd__(part)
            return
        axis = part.ndim - n + d
        for number, live in _covers(size[d], windows[d]):
            shape = (-1,) + (1,) * (n - 1 - d)
            taken = np.take(part, number, axis) if part.shape[axis] else part
            add(np.where(live.reshape(shape), taken, part.dtype.type(0)), d + 1)

    add(share, 0)
    return total


def _half_repeat(x: Any, *, size: Any, places: Any) -> Any:
    n = len(places)
    for d, at in enumerate(places):
        x = np.take(x, np.array(at, np.int64), x.ndim - n + d)
    return x


def _half_repeat_adjoint(g: Any, *, size: Any, places: Any) -> Any:
    return _added(g, size, [[(k,) for k in at] for at in places])


# Inputs of the last dims at the given places (padding by replication).
half_repeat_op: Any = fam.linear_op(
    _half_repeat,
    lambda g, size, places: half_repeat_adjoint_op(g, size=size, places=places),
    name="half_repeat",
    grad_name="ReplicationPadBackward0",
)
half_repeat_adjoint_op: Any = fam.linear_op(
    _half_repeat_adjoint,
    lambda g, size, places: half_repeat_op(g, size=size, places=places),
    name="half_repeat_adjoint",
    grad_name="ReplicationPadBackwardBackward0",
)


half_mean_pool_op: Any = fam.linear_op(
    _half_mean_pool,
    lambda g, bins: half_mean_pool_adjoint_op(g, bins=bins),
    name="half_mean_pool",
    grad_name="AvgPoolBackward0",
)
half_mean_pool_adjoint_op: Any = fam.linear_op(
    _half_mean_pool_adjoint,
    lambda g, bins: half_mean_pool_op(g, bins=bins),
    name="half_mean_pool_adjoint",
    grad_name="AvgPoolBackwardBackward0",
)


def half_mean_pool(x: Tensor, bins: Bins) -> Tensor:
    """The mean of each window."""
    return half_mean_pool_op(x, bins=bins)  # type: ignore[no-any-return]
