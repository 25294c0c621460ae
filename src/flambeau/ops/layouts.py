"""In which order the dims of a new tensor lie in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.families import contiguous
from ..core.layout import channels_innermost, channels_last, innermost_first
from ..core.pending import Pending
from ..core.public import FUNCTIONS
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims.base import permute_op
from ..runtime.dtypes import dtype
from ..runtime.pool import empty as empty_array


def _innermost_first(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The dims in the order of memory; one that is expanded, and has no place in it, is passed over."""
    return innermost_first(tuple(shape), (tuple(strides),))


def order_of(x: Tensor) -> list[int] | None:
    """The dims of `x` in the order of its memory, the outermost first; None where that is their own order."""
    a = x._a
    if type(a) not in (np.ndarray, Pending) or a.ndim < 2 or a.flags.c_contiguous or 0 in a.shape:
        return None
    return list(_innermost_first(a.shape, a.strides)[::-1])


def memory_like(x: Tensor, d: dtype) -> Any:
    """Uninitialised memory with the dims of `x` in the same order (preserve_format)."""
    a = x._a
    order = order_of(x)
    if order is None:
        return empty_array(tuple(a.shape), d.numpy)
    return empty_array(tuple([a.shape[i] for i in order]), d.numpy).transpose(np.argsort(order))


def _has_layout(x: Tensor) -> bool:
    """Whether the payload has a memory layout, be it that of a promise: under transforms it has none yet."""
    return type(x._a) in (np.ndarray, Pending)


def _images(a: Any) -> bool:
    """Whether images (N, C, H, W) or volumes (N, C, D, H, W) lie with the channels innermost, and not C-contiguously."""
    return a.ndim in (4, 5) and not a.flags.c_contiguous and channels_last(a)


def _laid_out(y: Tensor, order: Sequence[int]) -> Tensor:
    """The new tensor `y` with its values in memory with the dims in this order, the outermost first."""
    pending = type(y._a) is Pending
    a = (y._a.stand_in() if pending else y._a).transpose(order)
    if a.flags.c_contiguous:
        return y
    if (
        y._base is not None
    ):  # a view of an intermediate result shares memory with it: it cannot be bound to other memory
        y = FUNCTIONS["clone"](y)
    back = tuple(np.argsort(order).tolist())
    if pending:  # a captured function moves it as steps of its own
        before = tls.grad
        tls.set_grad(False)  # the history of `y` stays as it is
        try:
            y._a = permute_op(contiguous(permute_op(y, dims=tuple(order))), dims=back)._a
        finally:
            tls.set_grad(before)
        return y
    fresh = empty_array(a.shape, a.dtype)
    fresh[...] = a
    y._a = fresh.transpose(back)
    return y


def is_images(x: Tensor) -> bool:
    """Whether `x` is to have results with the channels innermost."""
    return _has_layout(x) and _images(x._a)


def like_images(y: Tensor, *inputs: Tensor) -> Tensor:
    """`y`, a result that nobody else holds, with the channels innermost in memory if one of the inputs has them there."""
    if _has_layout(y) and y._a.ndim in (4, 5) and any(is_images(x) for x in inputs):
        return _laid_out(y, [0, *range(2, y._a.ndim), 1])
    return y


def like_signals(y: Tensor, x: Tensor) -> Tensor:
    """`y`, a result of signals (N, C, L) that nobody else holds, with the channels innermost if `x` has them there.

    PyTorch computes signals as images of one row.
    """
    if _has_layout(y) and _has_layout(x) and x._a.ndim == 3 and not x._a.flags.c_contiguous:
        (n, c, length), (sn, sc, sl) = x._a.shape, x._a.strides
        if channels_innermost((n, c, 1, length), (sn, sc, length * sl, sl)):
            return _laid_out(y, (0, 2, 1))
    return in_own_order(y)


def in_order_of(y: Tensor, x: Tensor) -> Tensor:
    """`y`, a result of the shape of `x` that nobody else holds, with the dims in memory in the order of those of `x`."""
    if _has_layout(y) and _has_layout(x) and not x._a.flags.c_contiguous and 0 not in x._a.shape:
        return _laid_out(y, _innermost_first(x._a.shape, x._a.strides)[::-1])
    return y


def in_memory_order(y: Tensor, strides: tuple[tuple[int, ...], ...]) -> Tensor:
    """`y`, a result outside of transforms that nobody else holds, in the order that its operands' `strides` say."""
    return _laid_out(y, innermost_first(tuple(y._a.shape), strides)[::-1])


def in_layout_of(y: Tensor, x: Tensor) -> Tensor:
    """`y`, a result of the shape of `x` that nobody else holds: `in_order_of` it, contiguous where it is."""
    if _has_layout(x) and (x._a.flags.c_contiguous or 0 in x._a.shape):
        return in_own_order(y)
    return in_order_of(y, x)


def in_own_order(y: Tensor) -> Tensor:
    """`y`, a result that nobody else holds, contiguous in memory."""
    if _has_layout(y) and not y._a.flags.c_contiguous:
        return _laid_out(y, list(range(y._a.ndim)))
    return y
