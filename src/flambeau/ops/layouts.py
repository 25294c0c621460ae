"""In which order the dims of a new tensor lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.pending import Pending
from ..core.tensor import Tensor
from ..runtime.dtypes import dtype
from ..runtime.pool import empty as empty_array


def _innermost_first(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """The dims in the order of memory; one that is expanded, and has no place in it, is passed over."""
    order = list(range(len(shape) - 1, -1, -1))
    for i in range(1, len(order)):
        mine = i
        for other in range(i - 1, -1, -1):
            d, e = order[other], order[mine]
            if strides[d] == 0 or strides[e] == 0:
                continue
            if strides[d] < strides[e]:
                break
            if strides[d] > strides[e] or shape[d] > shape[e]:
                order[other], order[mine] = e, d
                mine = other
    return order


def memory_like(x: Tensor, d: dtype) -> Any:
    """Uninitialised memory with the dims of `x` in the same order (preserve_format)."""
    a = x._a
    if type(a) not in (np.ndarray, Pending) or a.ndim < 2 or a.flags.c_contiguous or 0 in a.shape:
        return empty_array(tuple(a.shape), d.numpy)
    order = _innermost_first(a.shape, a.strides)[::-1]
    return empty_array(tuple([a.shape[i] for i in order]), d.numpy).transpose(np.argsort(order))
