"""Indexing by generated code for large arrays; what these functions decline is NumPy's.

None means declined.  A bad index is declined too: the careful path raises for it, in its own words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import acceleration

LARGE = 1 << 16  # bytes of indices, or of what they move
SUMS = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.int64))
INT64 = np.dtype(np.int64)


def _module(nbytes: int) -> Any:
    if nbytes < LARGE or not acceleration.ready(nbytes):
        return None
    from ..compiler import indexed

    return indexed


def gathered(x: Any, index: Any, dim: int) -> Any:
    """``take_along_axis(x, index, dim)``."""
    indexed = _module(index.nbytes) if index.dtype == INT64 and x.dtype.itemsize <= 8 else None
    if indexed is None:
        return None
    try:
        return indexed.gather_along(x, index, dim)
    except (IndexError, ValueError):
        return None


def scattered(out: Any, index: Any, src: Any, dim: int, add: bool) -> bool:
    """``out[index along dim] = src``, or ``+=``. After False, `out` must be made anew."""
    indexed = _module(index.nbytes) if index.dtype == INT64 and out.dtype.itemsize <= 8 else None
    if indexed is None or not isinstance(src, np.ndarray) or src.dtype != out.dtype:
        return False
    if not out.flags.c_contiguous or src.shape != index.shape or add and out.dtype not in SUMS:
        return False
    try:
        (indexed.add_along if add else indexed.scatter_along)(out, index, src, dim)
    except (IndexError, ValueError):
        return False
    return True


def taken(x: Any, index: Any) -> Any:
    """``x[index]``, rows of x."""
    if not x.ndim or index.dtype != INT64 or x.dtype.itemsize > 8 or not x.shape[0]:
        return None
    indexed = _module(index.size * (x.nbytes // x.shape[0]))
    if indexed is None:
        return None
    try:
        y = indexed.take_rows(x, _positive(index.reshape(-1), len(x)))
    except (IndexError, ValueError):
        return None
    return y.reshape(*index.shape, *x.shape[1:])


def added(out: Any, index: Any, rows: Any) -> bool:
    """``np.add.at(out, index, rows)``; after False nothing is certain about `out`."""
    if out.dtype not in SUMS or rows.dtype != out.dtype or index.dtype != INT64 or not out.flags.c_contiguous:
        return False
    indexed = _module(rows.nbytes)
    if indexed is None or rows.shape != (*index.shape, *out.shape[1:]):
        return False
    try:
        indexed.add_rows(out, _positive(index.reshape(-1), len(out)), rows.reshape(-1, *out.shape[1:]))
    except (IndexError, ValueError):
        return False
    return True


def _positive(index: Any, n: int) -> Any:
    """Indices counted from the front."""
    if not index.size or np.minimum.reduce(index) >= 0:
        return index
    return np.where(index < 0, index + n, index)
