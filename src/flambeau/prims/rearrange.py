"""Linear maps that copy elements to other places: padding, repetition, triangles."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis, Index, Shape
from ..runtime import pool
from .base import _full, index_view_op, sum_op
from .indexing import positions
from .memory_kernels import copy_into
from .row_kernels import WORTH, elementwise

__all__ = ["MANY", "add_each_op", "repeat_each_op", "triangle_op", "zero_pad_op"]


def _zero_pad(x: Any, *, shape: Shape, where: Index) -> Any:
    out = _full(shape=tuple(shape), value=0, dtype=x.dtype)
    key: Any = tuple(where)
    copy_into(out[key], x)
    return out


zero_pad_op: Any = fam.linear_op(_zero_pad, lambda g, where: index_view_op(g, index=where), name="zero_pad")


def _repeat_each(x: Any, *, dim: Axis, times: int) -> Any:
    s = x.shape
    out = pool.empty((*s[: dim + 1], times, *s[dim + 1 :]), x.dtype)
    lead: Any = (slice(None),) * (dim + 1)
    for i in range(times):
        out[(*lead, i)] = x
    return out.reshape(*s[:dim], s[dim] * times, *s[dim + 1 :])


def _add_each(x: Any, *, dim: Axis, times: int) -> Any:
    s = x.shape
    parts = x.reshape(*s[:dim], s[dim] // times, times, *s[dim + 1 :])
    if x.dtype.itemsize == 2 or times > MANY:
        return sum_op.impl(parts, dims=(dim + 1,))
    lead: Any = (slice(None),) * (dim + 1)
    total = parts[(*lead, 0)].copy()
    for i in range(1, times):
        total += parts[(*lead, i)]
    return total


CACHED = 4096  # elements of a matrix whose triangles are remembered
MANY = 16  # repetitions from which NumPy's own loop is better
repeat_each_op: Any = fam.linear_op(
    _repeat_each, lambda g, dim, times: add_each_op(g, dim=dim, times=times), name="repeat_each"
)
add_each_op: Any = fam.linear_op(
    _add_each, lambda g, dim, times: repeat_each_op(g, dim=dim, times=times), name="add_each"
)


@functools.lru_cache(maxsize=64)
def _outside(n: int, m: int, diagonal: int, upper: bool) -> Any:
    """Where a small matrix becomes zero."""
    i, j = np.arange(n)[:, None], np.arange(m)
    first, last = (i + diagonal, j) if upper else (j, i + diagonal)
    mask = first > last
    mask.flags.writeable = False
    return mask


def _triangle(x: Any, *, diagonal: int, upper: bool) -> Any:
    n, m = x.shape[-2:]
    if n * m <= CACHED:
        y = x.copy()
        np.copyto(y, np.zeros((), x.dtype), where=_outside(n, m, diagonal, upper))
        return y
    i, j = positions((n, 1), 0), positions((m,), 0)
    first, last = (i + diagonal, j) if upper else (j, i + diagonal)  # kept where first <= last
    if (
        x.nbytes >= WORTH and max(n, m) + abs(diagonal) < 1 << 24 and x.dtype.kind == "f"
    ):  # then floats hold the positions
        kept = elementwise(
            "triangle",
            lambda k, v, a, b: k.select(a <= b, v, 0.0),
            *(x, first.astype(x.dtype), last.astype(x.dtype)),
        )
        if kept is not None:
            return kept
    return np.where(first <= last, x, np.zeros((), x.dtype))


triangle_op: Any = fam.linear_op(
    _triangle, lambda g, diagonal, upper: triangle_op(g, diagonal=diagonal, upper=upper), name="triangle"
)
