"""In which order the dims of an elementwise result lie in memory: PyTorch's rule (ATen's TensorIterator).

The operands decide, the first one first: a dim lies further out than another if its stride is larger in the first
operand that can tell them apart. NumPy decides by all operands together, and gives the order of indices where two of them
disagree.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

Strides = tuple[int, ...]


@functools.lru_cache(maxsize=4096)
def innermost_first(shape: Strides, operands: tuple[Strides, ...]) -> Strides:
    """The dims in the order of memory. Operands have the strides with which they broadcast: 0 where a dim is repeated."""
    order = list(range(len(shape) - 1, -1, -1))
    for i in range(1, len(order)):
        mine = i
        for other in range(i - 1, -1, -1):
            d, e = order[other], order[mine]
            wins = _compare(shape, operands, d, e)
            if wins < 0:
                break
            if wins > 0:
                order[other], order[mine] = e, d
                mine = other
    return tuple(order)


def _compare(shape: Strides, operands: tuple[Strides, ...], d: int, e: int) -> int:
    """Negative where d lies inside of e, positive where it is the other way round, 0 where no operand says."""
    for strides in operands:
        if strides[d] == 0 or strides[e] == 0:
            continue
        if strides[d] != strides[e]:
            return -1 if strides[d] < strides[e] else 1
        if shape[d] > shape[e]:
            return 1
    return 0


def _broadcast(shape: Strides, a: Any) -> Strides:
    lead: int = len(shape) - a.ndim
    own: Strides = tuple([0 if n == 1 != m else s for n, m, s in zip(a.shape, shape[lead:], a.strides)])
    return (0,) * lead + own


def channels_last(x: Any) -> bool:
    """Whether PyTorch takes the layout of images or volumes for one with the channels (dim 1) innermost.

    The strides of dims of size 1 decide, too, as in its `suggest_memory_format`.
    """
    return x.ndim in (4, 5) and channels_innermost(x.shape, x.strides)


def channels_innermost(shape: Strides, strides: Strides) -> bool:
    """`channels_last` of images with this shape and strides."""
    if strides[1] == 0 or 0 in shape:
        return False
    least = 0
    for d in (1, *range(len(shape) - 1, 1, -1), 0):
        if strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * max(shape[d], 1)
    return True


def order_of(shape: Strides, arrays: Sequence[Any]) -> tuple[int, ...] | None:
    """The dims of the result with this shape, the outermost first; None for the order of the indices."""
    n = len(shape)
    if n < 2 or 0 in shape or all([a.flags.c_contiguous for a in arrays]):
        return None
    inwards: Strides = innermost_first(shape, tuple([_broadcast(shape, a) for a in arrays if a.ndim]))
    return None if inwards == tuple(range(n - 1, -1, -1)) else inwards[::-1]


def turned(xs: Sequence[Any]) -> tuple[Sequence[Any], list[int] | None]:
    """Operands with the dims in the order in which their result lies in memory, and the way back; None for that of indices."""
    arrays = [x for x in xs if type(x) is np.ndarray and x.ndim]
    shape = arrays[0].shape
    if any([a.shape != shape for a in arrays]):
        shape = np.broadcast_shapes(*[a.shape for a in arrays])
    order = order_of(shape, arrays)
    if order is None:
        return xs, None
    n = len(shape)
    found = []
    for x in xs:
        if type(x) is np.ndarray and x.ndim:
            x = x.reshape((1,) * (n - x.ndim) + x.shape) if x.ndim < n else x
            x = x.transpose(order)
        found.append(x)
    back = [0] * n
    for i, d in enumerate(order):
        back[d] = i
    return found, back


def empty(shape: Strides, order: tuple[int, ...], dtype: Any) -> Any:
    """Memory for a result with its dims in this order."""
    back = [0] * len(order)
    for i, d in enumerate(order):
        back[d] = i
    return np.empty([shape[d] for d in order], dtype).transpose(back)


def settled(y: Any, arrays: Sequence[Any]) -> Any:
    """`y`, an elementwise result of `arrays` that nobody else holds, in the order in which PyTorch has it."""
    shape = y.shape
    order = order_of(shape, arrays)
    if order is None:
        return y if y.flags.c_contiguous or y.ndim < 2 else np.ascontiguousarray(y)
    if y.transpose(order).flags.c_contiguous:
        return y
    fresh = empty(shape, order, y.dtype)
    fresh[...] = y
    return fresh
