"""Searching sorted sequences, membership, counting into bins: operations on values, without gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import families as fam


def each(fn: Any, *xs: Any) -> Any:
    """`fn` on every example of a batch."""
    return np.stack([fn(*example) for example in zip(*xs)])


def _searchsorted(sequence: Any, x: Any, *, side: str) -> Any:
    """Places of `x` (..., m) in `sequence` (..., n), sorted along its last dim.

    Any trailing shape of `x` belongs to the sequence with the same leading positions.
    """
    if sequence.dtype.kind == "V":  # bfloat16: float32 holds the same values and NumPy can search it
        sequence, x = sequence.astype(np.float32), x.astype(np.float32)
    if sequence.ndim == 1:
        return np.searchsorted(sequence, x, side=side)  # type: ignore[call-overload]
    lead = sequence.shape[:-1]
    rows = sequence.reshape(int(np.prod(lead)), sequence.shape[-1])
    count = int(np.prod(x.shape[len(lead) :]))
    values = x.reshape(rows.shape[0], count)
    found = np.empty(values.shape, np.int64)
    for i, row in enumerate(rows):
        found[i] = row.searchsorted(values[i], side=side)
    return found.reshape(x.shape)


def _isin(x: Any, test: Any, *, invert: bool, ndim: int) -> Any:
    if x.ndim > ndim:
        return each(lambda a, b: _isin(a, b, invert=invert, ndim=ndim), x, test)
    if x.dtype.kind == "V":
        x, test = x.astype(np.float32), test.astype(np.float32)
    return np.isin(x, test, invert=invert)


def _bincount(x: Any, *, minlength: int) -> Any:
    return _counted(x, None, minlength)


def _weighted_bincount(x: Any, weights: Any, *, minlength: int) -> Any:
    counts = _counted(x, weights, minlength)
    return counts.astype(np.float32) if weights.dtype == np.float32 else counts


def _counted(x: Any, weights: Any, minlength: int) -> Any:
    """Counts along the last dim: every example of a batch counts in a range of its own."""
    if x.ndim == 1:
        return np.bincount(x, weights, minlength)
    if x.size and x.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    rows = math.prod(x.shape[:-1])
    longest = x.max(-1, initial=-1) + 1
    n = max(int(longest.max(initial=0)), minlength)
    if rows and int(longest.min()) < n > minlength:
        raise RuntimeError(
            f"vmap: bincount would have results of {sorted(set(np.maximum(longest, minlength).ravel().tolist()))} elements "
            f"for different examples, and no dense batch of them; pass minlength={n} or more"
        )
    places = x.reshape(rows, -1) + n * np.arange(rows)[:, None]
    flat = None if weights is None else np.ascontiguousarray(weights).reshape(-1)
    return np.bincount(places.reshape(-1), flat, rows * n).reshape(*x.shape[:-1], n)


def _argwhere(x: Any, *, ndim: int) -> Any:
    """Positions of what is not zero among the last `ndim` dims, of which every example has the same number."""
    if not ndim:
        x, width = x[..., None], 0
    else:
        width = ndim
    lead = x.shape[: x.ndim - max(ndim, 1)]
    found = np.argwhere(x)[:, len(lead) : len(lead) + width]
    counts = np.count_nonzero(x.reshape(*lead, -1), axis=-1) if x.size else np.zeros(lead, np.int64)
    n = int(counts.max(initial=0))
    if lead and (counts != n).any():
        raise RuntimeError(
            f"vmap: argwhere finds between {int(counts.min())} and {n} elements in different examples, so there is no "
            "dense batched answer. Use nonzero_static(x, size=n), where(condition, x, y) or a mask of fixed shape instead."
        )
    return found.reshape(*lead, n, width)


def _nonzero_static(x: Any, *, size: int, fill_value: int, ndim: int) -> Any:
    if x.ndim > ndim:
        return np.stack([_nonzero_static(e, size=size, fill_value=fill_value, ndim=ndim) for e in x])
    out = np.full((size, ndim), fill_value, np.int64)
    found = np.argwhere(x)[:size] if ndim else np.zeros((0, 0), np.int64)
    out[: len(found)] = found
    return out


def _histogram(x: Any, weight: Any, *edges: Any) -> Any:
    """Weights of points (n, d) summed into the bins between d sequences of edges; points outside are left out.

    The last bin includes its right edge.
    """
    if x.ndim > 2:
        return each(_histogram, x, weight, *edges)
    places = []
    keep = np.ones(len(x), bool)
    for column, edge in zip(x.T, edges):
        bins = len(edge) - 1
        places.append(np.minimum(np.searchsorted(edge, column, side="right") - 1, bins - 1))
        keep &= (column >= edge[0]) & (column <= edge[-1])
    shape = tuple([len(edge) - 1 for edge in edges])
    flat = np.ravel_multi_index(tuple([p[keep] for p in places]), shape)
    return np.bincount(flat, weight[keep], minlength=int(np.prod(shape))).reshape(shape).astype(x.dtype)


def _histc(x: Any, *, bins: int, low: float, high: float, ndim: int) -> Any:
    """Counts in `bins` bins of equal width between low and high (both 0: the range of the data)."""
    if x.ndim > ndim:
        return np.stack([_histc(e, bins=bins, low=low, high=high, ndim=ndim) for e in x])
    a = x.reshape(-1)
    a = a.astype(np.float32) if a.dtype.itemsize == 2 else a
    if low == high == 0 and a.size:
        low, high = float(a.min()), float(a.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low}, {high}] is not finite")
    if low == high:
        low, high = low - 1, high + 1
    first, last = a.dtype.type(low), a.dtype.type(high)
    inside = a[(a >= first) & (a <= last)]
    place = np.minimum(((inside - first) * bins / (last - first)).astype(np.int64), bins - 1)
    return np.bincount(place, minlength=bins).astype(x.dtype)


searchsorted_op = fam.opaque_op(_searchsorted, None, name="searchsorted", differentiable=False)
isin_op = fam.opaque_op(_isin, None, name="isin", differentiable=False)
nonzero_static_op = fam.opaque_op(_nonzero_static, None, name="nonzero_static", differentiable=False)
bincount_op = fam.opaque_op(_bincount, None, name="bincount", differentiable=False)
weighted_bincount_op = fam.opaque_op(_weighted_bincount, None, name="weighted_bincount", differentiable=False)
argwhere_op = fam.opaque_op(_argwhere, None, name="argwhere", differentiable=False)
histc_op = fam.opaque_op(_histc, None, name="histc", differentiable=False)
histogram_op = fam.opaque_op(_histogram, None, name="histogram", differentiable=False)
