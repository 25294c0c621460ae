"""Patches of images as columns (im2col) and back by summing (col2im): a pair of adjoint linear maps."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..core import families as fam


def _grid(size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[int, ...]:
    return tuple(
        [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, d, p, s in zip(size, kernel, dilation, padding, stride)
        ]
    )


def _padded_slice(at: Any, out: Any, dilation: Any, stride: Any) -> tuple[slice, ...]:
    return tuple([slice(i * d, i * d + (o - 1) * s + 1, s) for i, o, d, s in zip(at, out, dilation, stride)])


def _inner(size: Any, padding: Any) -> tuple[slice, ...]:
    return tuple([slice(p, p + n) for n, p in zip(size, padding)])


def _im2col(x: Any, *, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """(..., C, *size) to (..., C * prod(kernel), L)."""
    n = len(kernel)
    lead, size = x.shape[:-n], x.shape[-n:]
    out = _grid(size, kernel, dilation, padding, stride)
    full: Any = np.zeros((*lead, *[m + 2 * p for m, p in zip(size, padding)]), x.dtype)
    full[(..., *_inner(size, padding))] = x
    columns: Any = np.empty((*lead, math.prod(kernel), *out), x.dtype)
    for i, at in enumerate(itertools.product(*[range(k) for k in kernel])):
        columns[(*(slice(None),) * len(lead), i)] = full[(..., *_padded_slice(at, out, dilation, stride))]
    return columns.reshape(*lead[:-1], lead[-1] * math.prod(kernel), math.prod(out))


def _col2im(x: Any, *, size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """(..., C * prod(kernel), L) to (..., C, *size)."""
    taps = math.prod(kernel)
    lead = (*x.shape[:-2], x.shape[-2] // taps)
    out = _grid(size, kernel, dilation, padding, stride)
    columns = x.reshape(*lead, taps, *out)
    full: Any = np.zeros((*lead, *[m + 2 * p for m, p in zip(size, padding)]), x.dtype)
    for i, at in enumerate(itertools.product(*[range(k) for k in kernel])):
        full[(..., *_padded_slice(at, out, dilation, stride))] += columns[(*(slice(None),) * len(lead), i)]
    return np.ascontiguousarray(full[(..., *_inner(size, padding))])


im2col_op = fam.linear_op(
    _im2col,
    lambda g, x_meta, kernel, dilation, padding, stride: col2im_op(
        g,
        size=tuple(x_meta.shape[-len(kernel) :]),
        kernel=kernel,
        dilation=dilation,
        padding=padding,
        stride=stride,
    ),
    name="im2col",
    grad_name="Im2ColBackward0",
)
col2im_op: Any = fam.linear_op(
    _col2im,
    lambda g, kernel, dilation, padding, stride: im2col_op(
        g, kernel=kernel, dilation=dilation, padding=padding, stride=stride
    ),
    name="col2im",
    grad_name="Col2ImBackward0",
)
