"""Reductions of contiguous arrays over any dims: sum, sum of squares, product, minimum and maximum.

Dims at the end are reduced by a kernel over rows, with a long row first in pieces; those at the front by adding
whole rows into a few rows of partial results.  The order of the additions depends on the shape alone, never on the
number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .channels import totals
from .dialect import Value
from .row_kernel import Combine, RowKernel, RowWriter, add, larger, maximum
from .types import Storage, UnsupportedError, storage

__all__ = ["NAMES", "reduce"]

Array = npt.NDArray[Any]
NAMES = ("sum", "squares", "prod", "max", "min")
_PIECE = 1 << 14  # elements of a row that are reduced by themselves
_CHANNELS, _PLACES = 4, 16  # a thread sums a channel: there are some, and each has vectors of places
_PARTS = 32  # partial results of a reduction over dims at the front
_FLOATS = {np.dtype(name): storage(name) for name in ("float32", "float64")}
_UFUNCS: dict[str, Any] = {
    "sum": np.add,
    "squares": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}
_NEUTRAL = {"sum": 0.0, "squares": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}


def _times(a: Value, b: Value) -> Value:
    return a * b


def _smaller(a: Value, b: Value) -> Value:
    """Combines partial minima of which `b` is not NaN."""
    return a.k.select(a < b, a, b)


_COMBINE: dict[str, Combine] = {"sum": add, "squares": add, "prod": _times, "max": larger, "min": _smaller}


@cache
def _rows_kernel(kind: Storage, name: str) -> RowKernel:
    """One number from each row."""
    combine, neutral = _COMBINE[name], _NEUTRAL[name]

    def write(r: RowWriter) -> None:
        k = r.k
        if name in ("max", "min"):

            def extreme(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
                # NaN is remembered by itself: a chain of simple comparisons is faster than one that heeds it.
                return [], [combine(v[0], s[0]), k.select(k.isnan(v[0]), v[0], s[1])]

            best, seen = r.sweep([1], extreme, (), [(neutral, combine), (0.0, maximum)], 4)
            r.set_scalar(0, k.select(k.isnan(seen), seen, best))
            return
        term: Callable[[Value], Value] = (lambda v: v * v) if name == "squares" else (lambda v: v)
        (total,) = r.sweep([1], lambda v, s: ([], [combine(s[0], term(v[0]))]), (), [(neutral, combine)], 8)
        r.set_scalar(0, total)

    return RowKernel([(kind, "scalar"), (kind, "matrix")], 1, write, cost=0.08)


@cache
def _columns_kernel(kind: Storage, name: str) -> RowKernel:
    """Each chunk of rows combined into one row."""

    def write(r: RowWriter) -> None:
        k = r.k

        def step(v: list[Value], _: list[Value]) -> tuple[list[Value], list[Value]]:
            old, new = v
            if name in ("max", "min"):
                best = _COMBINE[name](new, old)
                return [k.select(k.isnan(new), new, k.select(k.isnan(old), old, best))], []
            return [_COMBINE[name](old, new * new if name == "squares" else new)], []

        r.sweep([0, 1], step, [0], (), 4)

    return RowKernel([(kind, "chunk"), (kind, "matrix")], 1, write, cost=0.12)


def _last(x: Array, rows: int, columns: int, name: str) -> Array:
    """(rows * columns) to (rows)."""
    kind = _FLOATS[x.dtype]
    kernel = _rows_kernel(kind, name)
    if columns >= 2 * _PIECE:
        whole = columns // _PIECE * _PIECE
        after = "sum" if name == "squares" else name
        if rows == 1 or whole == columns:
            flat = x.reshape(rows, columns)
            first = _last(flat[:, :whole].reshape(-1), rows * (whole // _PIECE), _PIECE, name)
            found = _last(first, rows, whole // _PIECE, after)
            if whole < columns:
                found = _UFUNCS[name](found, _last(flat[0, whole:], 1, columns - whole, name))
            return np.asarray(found)
    out: Array = np.empty(rows, x.dtype)
    kernel.fn(out, x, *kernel.shape(rows, columns))
    return out


def _first(x: Array, rows: int, columns: int, name: str) -> Array:
    """(rows * columns) to (columns)."""
    kernel = _columns_kernel(_FLOATS[x.dtype], name)
    grain = max(-(-rows // _PARTS), min(rows, -(-_PIECE // columns)))
    chunks = -(-rows // grain)
    partial: Array = np.full((chunks, columns), _NEUTRAL[name], x.dtype)
    kernel.fn(partial, x, rows, columns, grain)
    found: Array = partial[0]
    if chunks > 1:
        found = _UFUNCS[name].reduce(partial, axis=0)
    return found


def reduce(x: Array, dims: Sequence[int], name: str) -> Array | None:
    """Reduce `dims` of a C-contiguous float32 or float64 array by one of `NAMES`; None for a layout without kernel.

    A maximum or minimum is NaN where there is a NaN.

    Raises: UnsupportedError for other dtypes and names; ValueError for an extreme of nothing.

    >>> import numpy as np
    >>> from flambeau.compiler.reduce import reduce
    >>> reduce(np.arange(6.0).reshape(2, 3), (0,), "max")
    array([3., 4., 5.])
    """
    if x.dtype not in _FLOATS or name not in NAMES:
        raise UnsupportedError(f"no reduction {name} of {x.dtype} here")
    if not x.flags.c_contiguous or not x.flags.aligned:
        return None
    if x.size and len(dims) == x.ndim:
        return _last(x.reshape(-1), 1, x.size, name).reshape(())
    if len(dims) == 1 and x.ndim == 2 and x.size:  # one kernel, and nothing to arrange
        rows, columns = x.shape
        if dims[0] == 1 and columns > 1:
            return _last(x.reshape(-1), rows, columns, name)
        if dims[0] == 0 and rows > 1 and columns > 1:
            return _first(x.reshape(-1), rows, columns, name)
    kept = [d for d in range(x.ndim) if d not in dims]
    shape = tuple([x.shape[d] for d in kept])
    if x.size == 0:
        if name in ("max", "min") and math.prod(shape):
            raise ValueError(f"{name} of no elements, in an array of shape {x.shape}")
        return np.full(shape, _NEUTRAL[name], x.dtype)
    # Neighbouring dims that are both reduced, or both kept, count as one.
    groups: list[list[int]] = []  # [reduced?, size]
    for d, n in enumerate(x.shape):
        if n == 1:
            continue
        reduced = int(d in dims)
        if groups and groups[-1][0] == reduced:
            groups[-1][1] *= n
        else:
            groups.append([reduced, n])
    if not any(reduced for reduced, _ in groups):
        return (x * x if name == "squares" else x.copy()).reshape(shape)
    y: Array = x.reshape(-1)
    if name == "sum" and [g[0] for g in groups] == [1, 0, 1]:
        sizes = [g[1] for g in groups]
        if sizes[1] >= _CHANNELS and sizes[2] >= _PLACES:
            return totals(x.reshape(sizes)).reshape(shape)
    while any(reduced for reduced, _ in groups):
        if groups[-1][0]:
            size = groups.pop()[1]
            y = _last(y, y.size // size, size, name)
        elif groups[0][0]:
            size = groups.pop(0)[1]
            y = _first(y, size, y.size // size, name)
        else:  # a middle dim: one part of the first dim after the other, if those are large
            first, size = groups[0][1], groups[1][1]
            inner = y.size // (first * size)
            if len(groups) != 3 or size * inner < _PIECE:
                return None
            y = np.concatenate([_first(part, size, inner, name) for part in y.reshape(first, -1)])
            groups = [[0, first], [0, inner]]
        if name == "squares":
            name = "sum"
    return np.asarray(y).reshape(shape)
