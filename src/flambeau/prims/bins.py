"""Means over the bins of adaptive pooling, which need not be equal: bin i of `out` is ``[i m // out, ceil((i + 1) m / out))``."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..core import families as fam


@functools.lru_cache(maxsize=256)
def edges(m: int, out: int) -> tuple[Any, Any]:
    """(where the bins of a dim of size m begin, where they end)."""
    i = np.arange(out)
    return (i * m) // out if out else i, -((-(i + 1) * m) // out) if out else i


@functools.lru_cache(maxsize=256)
def _weights(m: int, out: int, dtype: Any) -> Any:
    """(m, out): what each element is worth in each mean."""
    start, end = edges(m, out)
    j = np.arange(m)[:, None]
    return (((j >= start) & (j < end)) / np.maximum(end - start, 1)).astype(dtype)


def _along(x: Any, axis: int, matrix: Any) -> Any:
    """The product over one dim, by dims in front and behind."""
    if axis == x.ndim - 1:
        return np.matmul(x, matrix)
    if axis == x.ndim - 2:
        return np.matmul(matrix.T, x)
    return np.moveaxis(np.matmul(np.moveaxis(x, axis, -1), matrix), -1, axis)


def _bin_means(x: Any, *, size: Any, out: Any) -> Any:
    y, n = x, len(out)
    for d, (m, o) in enumerate(zip(size, out)):
        if m != o:
            y = _along(y, x.ndim - n + d, _weights(m, o, x.dtype))
    if np.isfinite(y).all():
        return y
    y = x  # zeros of the weights times infinities are NaN in bins that do not hold them: each bin by itself
    for d, (m, o) in enumerate(zip(size, out)):
        axis = x.ndim - n + d
        lead = (slice(None),) * axis
        means = [y[(*lead, slice(a, e))].sum(axis) / x.dtype.type(e - a) for a, e in zip(*edges(m, o))]
        y = np.stack(means, axis)
    return y


def _bin_means_adjoint(g: Any, *, size: Any, out: Any) -> Any:
    x, n = g, len(out)
    for d, (m, o) in enumerate(zip(size, out)):
        if m != o:
            x = _along(x, g.ndim - n + d, _weights(m, o, g.dtype).T)
    if np.isfinite(x).all():
        return x
    x = g
    for d, (m, o) in enumerate(zip(size, out)):
        axis = g.ndim - n + d
        lead = (slice(None),) * axis
        wider = np.zeros((*x.shape[:axis], m, *x.shape[axis + 1 :]), g.dtype)
        for i, (a, e) in enumerate(zip(*edges(m, o))):
            wider[(*lead, slice(a, e))] += x[(*lead, slice(i, i + 1))] / g.dtype.type(e - a)
        x = wider
    return x


bin_means_op: Any = fam.linear_op(
    _bin_means,
    lambda g, size, out: bin_means_adjoint_op(g, size=size, out=out),
    name="bin_means",
    grad_name="AdaptiveAvgPoolBackward0",
)
bin_means_adjoint_op: Any = fam.linear_op(
    _bin_means_adjoint,
    lambda g, size, out: bin_means_op(g, size=size, out=out),
    name="bin_means_adjoint",
    grad_name="AdaptiveAvgPoolBackwardBackward0",
)
