"""Searching sorted sequences, membership, counting into bins: operations on values, without gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import families as fam


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
    if x.dtype.kind == "V":
        x, test = x.astype(np.float32), test.astype(np.float32)
    if x.ndim == ndim:
        return np.isin(x, test, invert=invert)
    # every example of a batch has numbers of its own: equal values have equal ones, and NaN equals nothing
    lead = x.shape[: x.ndim - ndim]
    rows = math.prod(lead)
    mine, theirs = x.reshape(rows, -1), test.reshape(rows, -1)
    both = np.concatenate((mine, theirs), 1)
    values, codes = np.unique(both, return_inverse=True, equal_nan=False)
    codes = codes.reshape(both.shape) + len(values) * np.arange(rows)[:, None]
    cut = mine.shape[1]
    return np.isin(codes[:, :cut], codes[:, cut:], invert=invert).reshape(x.shape)


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
    lead = x.shape[: x.ndim - ndim]
    rows = math.prod(lead)
    out = np.full((rows, size, ndim), fill_value, np.int64)
    if ndim and x.size:
        each = x.reshape(rows, *x.shape[x.ndim - ndim :])
        found = np.argwhere(each)
        counts = np.count_nonzero(each.reshape(rows, -1), axis=1)
        within = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = within < size
        out[found[kept, 0], within[kept]] = found[kept, 1:]
    return out.reshape(*lead, size, ndim)


def _places(edge: Any, column: Any) -> Any:
    """(..., n) values to the bins of (..., bins + 1) edges that they lie in, the last one closed."""
    bins = edge.shape[-1] - 1
    if edge.ndim == 1 or not any(edge.strides[:-1]):  # the same edges for all examples
        found = np.searchsorted(edge[(0,) * (edge.ndim - 1)], column, side="right")
    else:
        found = _searchsorted(edge, column, side="right")
    return np.minimum(found - 1, bins - 1)


def _histogram(x: Any, weight: Any, *edges: Any) -> Any:
    """Weights of points (..., n, d) summed into the bins between d sequences of edges; points outside are left out.

    The last bin includes its right edge.
    """
    lead, n = x.shape[:-2], x.shape[-2]
    rows = math.prod(lead)
    keep = np.ones((*lead, n), bool)
    flat = np.zeros((*lead, n), np.int64)
    for k, edge in enumerate(edges):
        column = x[..., k]
        flat = flat * (edge.shape[-1] - 1) + _places(edge, column)
        keep &= (column >= edge[..., :1]) & (column <= edge[..., -1:])
    shape = tuple([edge.shape[-1] - 1 for edge in edges])
    bins = math.prod(shape)
    flat = flat + bins * np.arange(rows).reshape(*lead, 1)
    counts = np.bincount(flat[keep], np.broadcast_to(weight, (*lead, n))[keep], minlength=rows * bins)
    return counts.reshape(*lead, *shape).astype(x.dtype)


def _histc(x: Any, *, bins: int, low: float, high: float, ndim: int) -> Any:
    """Counts in `bins` bins of equal width between low and high (both 0: the range of the data)."""
    lead = x.shape[: x.ndim - ndim]
    rows = math.prod(lead)
    a = x.reshape(rows, -1)
    a = a.astype(np.float32) if a.dtype.itemsize == 2 else a
    if low == high == 0 and a.size:
        lows, highs = a.min(1).astype(np.float64), a.max(1).astype(np.float64)
    else:
        lows, highs = np.full(rows, float(low)), np.full(rows, float(high))
    wrong = ~(np.isfinite(lows) & np.isfinite(highs))
    if wrong.any():
        k = int(wrong.argmax())
        raise RuntimeError(f"torch.histc: range of [{float(lows[k])}, {float(highs[k])}] is not finite")
    same = lows == highs
    lows, highs = np.where(same, lows - 1, lows), np.where(same, highs + 1, highs)
    first, last = lows.astype(a.dtype)[:, None], highs.astype(a.dtype)[:, None]
    inside = (a >= first) & (a <= last)
    row = np.nonzero(inside)[0]
    offset, width = (a - first)[inside], (last - first)[row, 0]
    place = np.minimum((offset * bins / width).astype(np.int64), bins - 1)
    counts = np.bincount(place + bins * row, minlength=rows * bins)
    return counts.astype(x.dtype).reshape(*lead, bins)


searchsorted_op = fam.opaque_op(_searchsorted, None, name="searchsorted", differentiable=False)
isin_op = fam.opaque_op(_isin, None, name="isin", differentiable=False)
nonzero_static_op = fam.opaque_op(_nonzero_static, None, name="nonzero_static", differentiable=False)
bincount_op = fam.opaque_op(_bincount, None, name="bincount", differentiable=False)
weighted_bincount_op = fam.opaque_op(_weighted_bincount, None, name="weighted_bincount", differentiable=False)
argwhere_op = fam.opaque_op(_argwhere, None, name="argwhere", differentiable=False)
histc_op = fam.opaque_op(_histc, None, name="histc", differentiable=False)
histogram_op = fam.opaque_op(_histogram, None, name="histogram", differentiable=False)
