"""Matrix products of arrays: NumPy's, or generated code from a size where that is faster.

Generated products run on the library's own threads, read transposed factors in place, and share a batch out;
`np.matmul` multiplies the products of a batch one after another, on one thread.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import numpy as np

from ..core.acceleration import BIG, HEAVY, LOADING, loaded, make_kernel, ready
from ..runtime import pool
from ..runtime.blas import guarded
from ..runtime.threads import respect_quota
from .memory_kernels import converted

WORTH = 1 << 18  # multiplications from which generated code pays
SMALL = 1 << 15  # multiplications up to which the call is most of the work
FEW = 4  # rows or columns of a product that only reads a matrix once: BLAS does as well
SECONDS_PER_MULTIPLICATION = 5e-12  # what generated code saves, a cautious figure
SECONDS_ALONE = (
    5e-11  # what a multiplication takes on one thread: what NumPy takes beyond that is waiting for threads
)
SINGLE = np.dtype(np.float32)
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class _State:
    saved = 0.0
    module: Any = None
    begun = False


def kernels(work: int) -> Any:
    """`compiler.gemm` once what the products so far would have saved is worth loading it, else None."""
    if _State.module is None:
        if not _State.begun:
            _State.begun = True
            respect_quota()
        _State.saved += work * SECONDS_PER_MULTIPLICATION
        if _State.saved < LOADING and not loaded():
            return None
        from ..compiler import gemm

        _State.module = gemm
    return _State.module


def batches(a: Any, b: Any) -> tuple[Any, Any] | None:
    """The factors as batches of matrices; None where one of them would have to be repeated."""
    m, k = a.shape[-2:]
    n = b.shape[-1]
    if b.ndim == 2:  # one product with more rows
        return a.reshape(1, -1, k), b[None]
    left, right = math.prod(a.shape[:-2]), math.prod(b.shape[:-2])
    if a.shape[:-2] == b.shape[:-2] or left == 1 or right == 1:
        return a.reshape(left, m, k), b.reshape(right, k, n)
    return None


_complex_matmul = guarded(np.matmul, "numpy")  # for which nothing is generated
_multiplications: dict[str, Any] = {}  # kernels, by dtype


def _outer(a: Any, b: Any, out: Any, bias: Any) -> Any:
    """Products of a column with a row, as the gradients of a layer's weights for single examples are.

    They are as much work to write as to compute: a multiplication into recycled memory, by a kernel where NumPy would
    begin anew with every row.
    """
    nbytes = max(a.size * b.shape[-1], b.size * a.shape[-2]) * a.itemsize
    if out is None and nbytes >= HEAVY:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = pool.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    if nbytes >= HEAVY and a.dtype in FLOATS and ready(nbytes):
        name = a.dtype.name
        multiply = _multiplications.get(name)
        if multiply is None:
            make: Any = make_kernel()
            multiply = _multiplications[name] = make(lambda k, a, b: a * b, [name, name], [name], [])
        multiply.broadcast((out,), (a, b))
        y = out
    else:
        y = np.multiply(a, b, out=out)
    if bias is not None:
        y += bias
    return y


def _as(x: Any, dtype: Any) -> Any:
    """`x` in another dtype, by a kernel where that pays."""
    y = converted(x, dtype)
    return x.astype(dtype) if y is None else y


def _in_pairs(a: Any, b: Any, bias: Any) -> Any:
    """A product of bfloat16 matrices by the processor's own instructions, or None."""
    if a.dtype.name != "bfloat16" or b.dtype != a.dtype or min(a.ndim, b.ndim) < 2:
        return None
    m, n = a.shape[-2], b.shape[-1]
    work = max(a.size * n, b.size * m)
    if work < WORTH or n < FEW or a.shape[-1] != b.shape[-2]:
        return None
    found = kernels(work)
    pair = batches(a, b) if found is not None and found.has_bfloat16() else None
    if pair is None:
        return None
    wide = None if bias is None else np.ascontiguousarray(bias, np.float32)
    y = found.bfloat16_matmul(*pair, wide)
    return y.reshape(*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n)


def matmul(a: Any, b: Any, out: Any = None, bias: Any = None) -> Any:
    """``np.matmul(a, b)``, plus `bias` in every row; half types are multiplied in float32 and rounded once.

    `out` is C-contiguous, of the result's shape and dtype.
    """
    dtype = a.dtype
    work = 0
    if out is None and dtype in FLOATS and a.ndim == b.ndim == 2 and b.dtype == dtype:
        if 1 < a.shape[1] == b.shape[0] and a.size * b.shape[1] < SMALL:
            y = a.dot(b)  # the same product with half of the call
            if bias is not None:
                y += bias
            return y
    if dtype.itemsize == 2 and dtype.kind in "fV":
        y = _in_pairs(a, b, bias)
        if y is None:
            y = _as(matmul(_as(a, SINGLE), _as(b, SINGLE), None, bias), dtype)
        if out is None:
            return y
        out[...] = y
        return out
    if (
        b.dtype == dtype
        and dtype.kind in "fc"
        and a.ndim >= 2
        and b.ndim >= 2
        and a.shape[-1] == b.shape[-2] == 1
    ):
        return _outer(a, b, out, bias)
    if dtype in FLOATS and b.dtype == dtype and a.ndim >= 2 and b.ndim >= 2:
        m, n = a.shape[-2], b.shape[-1]
        work = max(a.size * n, b.size * m)
        if work >= WORTH and n >= FEW and (m >= FEW or (b.ndim == 2 and a.size >= FEW * a.shape[-1])):
            found = kernels(work)
            pair = batches(a, b) if found is not None and a.shape[-1] == b.shape[-2] else None
            if pair is not None:
                if out is None:
                    y = found.batched_matmul(*pair, bias=bias)
                    return y.reshape(*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n)
                found.batched_matmul(*pair, out.reshape(-1, pair[0].shape[1], n), bias=bias)
                return out
        if out is None and work and a.ndim == b.ndim == 2 and m * n * dtype.itemsize >= BIG:
            out = pool.empty((m, n), dtype)
    if work < WORTH or _State.module is not None:
        multiply = _complex_matmul if dtype.kind == "c" else np.matmul
        y = multiply(a, b) if out is None else multiply(a, b, out=out)
    else:  # on a machine that is busy, or grants less than it shows, its threads wait for each other
        begun = perf_counter()
        y = np.matmul(a, b) if out is None else np.matmul(a, b, out=out)
        _State.saved += max(0.0, perf_counter() - begun - work * SECONDS_ALONE)
    if bias is not None:
        y += bias
    return y
