"""Running sums and products along the last axis, accumulated in float64.

A vector's own prefixes come from log2(lanes) shifted additions (W. Hillis and G. Steele, *Data Parallel Algorithms*,
1986); what came before is added to all of its lanes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from .dialect import Value
from .row_kernel import RowKernel, RowWriter
from .types import COMPUTE, Storage, UnsupportedError, storage

__all__ = ["scan_last"]

Array = npt.NDArray[Any]
_FLOATS = {np.dtype(name): storage(name) for name in ("float32", "float64")}
_NEUTRAL = {"sum": 0.0, "prod": 1.0}


@cache
def _kernel(kind: Storage, name: str) -> RowKernel:
    wide = COMPUTE["float64"]

    def write(r: RowWriter) -> None:
        k = r.k
        vector = k.vector(wide)
        neutral = k.const(_NEUTRAL[name], wide)
        carry = k.variable(vector, neutral.ref)

        def combine(a: Value, b: Value) -> Value:
            return a + b if name == "sum" else a * b

        def prefixes(raw: str) -> Value:
            v = k.cast(k.decode(raw, kind), "float64")
            step = 1
            while step < k.lanes:
                lanes = [k.lanes if i < step else i - step for i in range(k.lanes)]
                mask = ", ".join(f"i32 {i}" for i in lanes)
                shifted = k.emit(
                    f"shufflevector {vector} {v.ref}, {vector} {neutral.ref}, <{k.lanes} x i32> <{mask}>"
                )
                v = combine(v, Value(k, shifted, wide))
                step *= 2
            return combine(v, Value(k, carry.get(), wide))

        whole = k.word("and", r.columns, -k.lanes)
        with k.loop(0, whole, k.lanes) as i:
            v = prefixes(r.memory.load(kind, r.lane(1, i)))
            r.memory.store(kind, k.encode(k.cast(v, kind.compute.name), kind), r.lane(0, i))
            last = ", ".join([f"i32 {k.lanes - 1}"] * k.lanes)
            carry.set(k.emit(f"shufflevector {vector} {v.ref}, {vector} poison, <{k.lanes} x i32> <{last}>"))
        rest = k.word("sub", r.columns, whole)
        with k.when(k.compare("ne", rest, 0)):
            mask = r.memory.mask(rest)
            v = prefixes(r.memory.load_part(kind, r.lane(1, whole), rest, mask))
            out = k.encode(k.cast(v, kind.compute.name), kind)
            r.memory.store_part(kind, out, r.lane(0, whole), rest, mask)

    return RowKernel([(kind, "matrix"), (kind, "matrix")], 1, write, cost=0.5)


def scan_last(x: Array, name: str) -> Array:
    """``np.cumsum`` ("sum") or ``np.cumprod`` ("prod") along the last axis of a float32 or float64 array.

    Raises: UnsupportedError for other dtypes and names; ValueError for 0-d arrays.

    >>> import numpy as np
    >>> from flambeau.compiler.scan import scan_last
    >>> scan_last(np.arange(1.0, 5.0), "prod")
    array([ 1.,  2.,  6., 24.])
    """
    kind = _FLOATS.get(x.dtype)
    if kind is None or name not in _NEUTRAL:
        raise UnsupportedError(f"no running {name} of {x.dtype} here")
    if x.ndim == 0:
        raise ValueError("a running sum needs an axis, got a 0-d array")
    x = np.ascontiguousarray(x)
    out = empty(x.shape, x.dtype)
    if x.size:
        columns = x.shape[-1]
        kernel = _kernel(kind, name)
        kernel.fn(out, x, *kernel.shape(x.size // columns, columns))
    return out
