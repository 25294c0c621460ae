"""Plain loops: what the structured operations mean, written for clarity."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np


def convolve(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Cross-correlation of x (N, C, *size) with w (O, C / groups, *kernel), one output element at a time."""
    n = w.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    kernel = w.shape[2:]
    out = [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    y = np.zeros((x.shape[0], w.shape[0], *out), np.result_type(x, w))
    per = w.shape[0] // groups
    for o in range(w.shape[0]):
        first = (o // per) * w.shape[1]
        for at in np.ndindex(*out):
            window = tuple(
                slice(at[i] * stride[i], at[i] * stride[i] + dilation[i] * (kernel[i] - 1) + 1, dilation[i])
                for i in range(n)
            )
            part = x[(slice(None), slice(first, first + w.shape[1]), *window)]
            y[(slice(None), o, *at)] = (part * w[o]).reshape(x.shape[0], -1).sum(1)
    return y


def adjoint(fn: Callable[[Any], Any], g: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of a linear map, by applying the map to every basis vector."""
    out = np.zeros(shape, g.dtype)
    for at in np.ndindex(*shape):
        e = np.zeros(shape, g.dtype)
        e[at] = 1
        out[at] = (fn(e) * g).sum()
    return out


def patches(x: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """(N, C, H, W) to (N, C * kh * kw, L)."""
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    out = [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    rows = []
    for c in range(x.shape[1]):
        for i, j in itertools.product(*map(range, kernel)):
            row = [
                x[:, c, a * stride[0] + i * dilation[0], b * stride[1] + j * dilation[1]]
                for a, b in np.ndindex(*out)
            ]
            rows.append(np.stack(row, -1))
    return np.stack(rows, 1)


def windows(x: Any, w: Any, fill: float) -> Any:
    """(..., *out, prod(kernel)): the values under each window of the last dims."""
    n = len(w.kernel)
    lead = x.ndim - n
    x = np.pad(x, [(0, 0)] * lead + [(p, p) for p in w.padding], constant_values=fill)
    y = np.empty((*x.shape[:lead], *w.out, int(np.prod(w.kernel))), x.dtype)
    for at in np.ndindex(*w.out):
        for k, tap in enumerate(np.ndindex(*w.kernel)):
            place = tuple(a * s + t * d for a, s, t, d in zip(at, w.stride, tap, w.dilation))
            y[(..., *at, k)] = x[(..., *place)]
    return y


def bin_means(x: Any, out: tuple[int, ...]) -> Any:
    """Adaptive pooling of the last dims, one bin after the other."""
    n = len(out)
    y = np.zeros((*x.shape[:-n], *out), x.dtype)
    for at in np.ndindex(*out):
        bins = [slice(i * m // o, -(-(i + 1) * m // o)) for i, m, o in zip(at, x.shape[-n:], out)]
        y[(..., *at)] = x[(..., *bins)].mean(tuple(range(-n, 0)))
    return y


def scatter(x: Any, src: Any, index: Any, dim: int, reduce: str) -> Any:
    """One element at a time."""
    out = x.copy()
    for at in np.ndindex(*index.shape):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        v = src[at]
        old = out[to]
        out[to] = {"set": v, "add": old + v, "mul": old * v, "amax": max(old, v), "amin": min(old, v)}[reduce]
    return out


def reduce_at(x: Any, src: Any, index: Any, dim: int, reduce: str, include_self: bool) -> Any:
    """The reduction of all values that meet at a place, with or without the one that was there."""
    out = x.copy()
    meeting: dict[Any, list[float]] = {}
    for at in np.ndindex(*index.shape):
        meeting.setdefault((*at[:dim], index[at], *at[dim + 1 :]), []).append(src[at])
    for to, values in meeting.items():
        values = values + [x[to]] * include_self
        out[to] = {"prod": np.prod, "amax": max, "amin": min}[reduce](values)
    return out


def gather(x: Any, index: Any, dim: int) -> Any:
    out = np.empty(index.shape, x.dtype)
    for at in np.ndindex(*index.shape):
        out[at] = x[(*at[:dim], index[at], *at[dim + 1 :])]
    return out


def put(x: Any, v: Any, indices: Any, spec: Any, accumulate: bool) -> Any:
    """Writes in order; positions that occur more than once add up, or keep the last value."""
    out = x.copy()
    places = np.arange(x.size).reshape(x.shape)
    found = iter(indices)
    where = places[tuple(next(found) if s else slice(None) for s in spec)]
    values = np.broadcast_to(v, where.shape)
    for at in np.ndindex(*where.shape):
        if accumulate:
            out.reshape(-1)[where[at]] += values[at]
        else:
            out.reshape(-1)[where[at]] = values[at]
    return out


def ctc(lp: Any, targets: Any, lengths: Any, ends: Any, blank: int) -> Any:
    """Minus the log of the summed probabilities of all alignments, each tried."""
    steps, n, classes = lp.shape
    result = np.zeros(n)
    for i in range(n):
        label = targets[i, : ends[i]].tolist()
        total = 0.0
        for path in itertools.product(range(classes), repeat=int(lengths[i])):
            collapsed = [c for k, c in enumerate(path) if (k == 0 or path[k - 1] != c) and c != blank]
            if collapsed == label:
                total += float(np.exp(sum(lp[t, i, c] for t, c in enumerate(path))))
        result[i] = -np.log(total) if total else np.inf
    return result
