"""Convolutions of a few hundred numbers: all patches by one `take`, whose positions are remembered for each geometry."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .products import matmul

if TYPE_CHECKING:
    from .conv_arrays import Geometry

__all__ = ["convolve", "is_tiny", "weight"]

TINY = 1 << 12  # numbers in all patches up to which the calls take most of the time


def is_tiny(x: Any, q: Geometry, groups: int) -> bool:
    """Whether x (N, C, *size) is for these functions."""
    return (
        groups == 1
        and 0 < x.size * math.prod(q.kernel) <= TINY
        and x.size // math.prod(q.size) * math.prod(q.kernel) * math.prod(q.out) <= TINY
    )


@functools.lru_cache(maxsize=64)
def _positions(channels: int, q: Geometry) -> tuple[Any, bool]:
    """Where in a flat image (C, *size) the patches (C * prod(kernel), prod(out)) are, and whether some are outside.

    What lies outside is found behind the image's last number.
    """
    n = len(q.size)
    flat, inside = np.zeros((1,) * (2 * n), np.int64), np.ones((1,) * (2 * n), bool)
    for d in range(n):
        taps = np.arange(q.kernel[d]).reshape(-1, *(1,) * (2 * n - 1 - d)) * q.dilation[d]
        outs = np.arange(q.out[d]).reshape(-1, *(1,) * (n - 1 - d)) * q.stride[d]
        at = taps + outs - q.padding[d]
        flat, inside = flat * q.size[d] + at, inside & (at >= 0) & (at < q.size[d])
    image = math.prod(q.size)
    first = (np.arange(channels) * image).reshape(-1, *(1,) * (2 * n))
    found = np.where(inside, first + flat, channels * image).reshape(-1, math.prod(q.out))
    return found, not inside.all()


def _patches(x: Any, q: Geometry) -> Any:
    """(N, C * prod(kernel), prod(out)); without its first dim for one image."""
    n = x.shape[0]
    places, padded = _positions(x.shape[1], q)
    flat = x.reshape(n, -1)
    if padded:
        flat = np.empty((n, flat.shape[1] + 1), x.dtype)
        flat[:, :-1] = x.reshape(n, -1)
        flat[:, -1] = 0
    return flat.take(places) if n == 1 else flat.take(places, 1)


def convolve(x: Any, w: Any, q: Geometry, bias: Any = None) -> Any:
    """x (N, C, *size), w (O, C, *kernel), bias (O,) or None: y (N, O, *out)."""
    y = matmul(w.reshape(w.shape[0], -1), _patches(x, q))
    if bias is not None:
        y += bias.reshape(-1, 1)
    return y.reshape(x.shape[0], w.shape[0], *q.out)


def weight(x: Any, g: Any, q: Geometry) -> Any:
    """The adjoint in w: x (N, C, *size), g (N, O, *out) to (O, C, *kernel)."""
    n, o = g.shape[:2]
    patches = _patches(x, q)
    if n == 1:
        w = matmul(g.reshape(o, -1), patches.T)
    else:
        rows = g.reshape(n, o, -1).transpose(1, 0, 2).reshape(o, -1)
        w = matmul(rows, patches.transpose(0, 2, 1).reshape(rows.shape[1], -1))
    return w.reshape(o, x.shape[1], *q.kernel)
