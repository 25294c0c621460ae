"""Generated kernels over rows, loaded when the calls so far would have saved what loading costs."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from ..core.acceleration import LOADING, loaded
from ..runtime import pool

WORTH = 1 << 15  # bytes from which a kernel beats NumPy's passes
SECONDS_PER_CALL = 5e-7  # and against the calls of them
SECONDS_PER_BYTE = 4e-10  # what one saves against them, a cautious figure
FEW, LONG = 8, 1 << 19  # rows, and bytes of one, that are added in one pass without partial results
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def in_order(y: Any) -> Any:
    """`y` in C order: so PyTorch lays out what is reduced, scanned or normalised, whatever the layout it came in."""
    return y if y.flags.c_contiguous else np.ascontiguousarray(y)


class _State:
    saved = 0.0
    module: Any = None
    reduce: Any = None  # functions of modules that load with it
    scan_last: Any = None
    pointwise_kernel: Any = None


def kernels(x: Any, calls: int = 0) -> Any:
    """`compiler.rowwise` when it should do this array's work, else None.

    `calls` says how many calls of NumPy a kernel replaces: where there are some, it is quicker for small arrays, too,
    which use what others have loaded: a training of small arrays never pays LLVM's time and memory.
    """
    small = x.nbytes < WORTH
    if small and not calls or x.dtype not in FLOATS or not x.flags.c_contiguous:
        return None
    if _State.module is None:
        if not loaded():
            if small:
                return None
            _State.saved += x.nbytes * SECONDS_PER_BYTE + calls * SECONDS_PER_CALL
            if _State.saved < LOADING:
                return None
        from ..compiler import rowwise
        from ..compiler.pointwise import pointwise_kernel
        from ..compiler.reduce import reduce
        from ..compiler.scan import scan_last

        _State.module, _State.pointwise_kernel = rowwise, pointwise_kernel
        _State.reduce, _State.scan_last = reduce, scan_last
    return _State.module


def reduced(x: Any, dims: Any, name: str) -> Any:
    """`x` reduced over dims by a kernel (`compiler.reduce.NAMES`), or None for NumPy to do it."""
    if x.nbytes < WORTH or x.dtype not in FLOATS or kernels(x) is None:
        return None
    if name == "sum" and x.nbytes >= 2 * LONG and _few_rows(x, tuple(dims)):
        rows = math.prod(x.shape[: len(dims)])
        return elementwise(
            f"sum of {rows}", lambda k, *v: functools.reduce(operator.add, v), *x.reshape(rows, -1)
        ).reshape(x.shape[len(dims) :])
    return _State.reduce(x, dims, name)


def _few_rows(x: Any, dims: tuple[int, ...]) -> bool:
    rows = math.prod(x.shape[: len(dims)])
    return dims == tuple(range(len(dims))) and 1 < rows <= FEW and x.nbytes >= rows * LONG


def scanned(x: Any, dim: int, name: str) -> Any:
    """Running sums or products along a dim by a kernel, or None for NumPy to do it."""
    if dim != x.ndim - 1 or x.nbytes < WORTH or x.dtype not in FLOATS or kernels(x.reshape(-1)) is None:
        return None
    return _State.scan_last(x, name)


_elementwise: dict[Any, Any] = {}


def elementwise(name: str, body: Any, *arrays: Any) -> Any:
    """``body(k, *arrays)`` over arrays of one floating dtype that broadcast to the first one's shape, in one pass.

    None where a kernel does not pay. `name` stands for the body.
    """
    first = arrays[0]
    if kernels(first) is None or any(a.dtype != first.dtype for a in arrays):
        return None
    key = (name, first.dtype)
    kernel = _elementwise.get(key)
    if kernel is None:
        kernel = _elementwise[key] = _State.pointwise_kernel(body, [first.dtype] * len(arrays), [first.dtype])
    out = pool.empty(first.shape, first.dtype)
    kernel.broadcast((out,), arrays)
    return out
