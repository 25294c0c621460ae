"""Maxima and sums over windows of the last dims, without a copy of the windows or of a padded input.

Values are found one dim after the other; where a window's maximum lies is only asked for by derivatives and
`return_indices`, as the number of its tap: a place of the window in row-major order.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core import families as fam
from ..core.acceleration import FLOATS, ready
from ..core.acceleration import HEAVY as WORTH
from ..core.tensor import Tensor
from .index_kernels import LARGE as INDEXED
from .index_kernels import scattered


class Windows(NamedTuple):
    """Windows over the last dims: one entry for each of them."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    size: tuple[int, ...]  # of the input
    out: tuple[int, ...]  # of the result


@functools.lru_cache(maxsize=1024)
def _overlap(w: Windows, dim: int, tap: int) -> tuple[slice, slice]:
    """(outputs whose tap lies inside the input, the inputs that it meets there)."""
    s, first = w.stride[dim], tap * w.dilation[dim] - w.padding[dim]
    low = max(0, -(first // s))
    high = max(low, min(w.out[dim], (w.size[dim] - 1 - first) // s + 1))
    start = low * s + first
    return slice(low, high), slice(start, start + (high - low - 1) * s + 1 if high > low else start, s)


@functools.lru_cache(maxsize=256)
def _taps(w: Windows) -> list[tuple[int, Any, Any]]:
    """(number, index into the result, index into the input) of every tap that meets the input."""
    found = []
    for number, place in enumerate(itertools.product(*[range(k) for k in w.kernel])):
        pairs = [_overlap(w, dim, tap) for dim, tap in enumerate(place)]
        found.append((number, (..., *[p[0] for p in pairs]), (..., *[p[1] for p in pairs])))
    return found


def _along(x: Any, w: Windows, dim: int, ufunc: Any, neutral: Any) -> Any:
    """One dim's windows reduced by a ufunc."""
    axis = x.ndim - len(w.kernel) + dim
    lead = (slice(None),) * axis
    shape = (*x.shape[:axis], w.out[dim], *x.shape[axis + 1 :])
    y = None
    for tap in range(w.kernel[dim]):
        to, at = _overlap(w, dim, tap)
        if y is None:
            if to == slice(0, w.out[dim]):
                y = np.ascontiguousarray(x[(*lead, at)])
                if y is x or y.base is not None:  # the ufunc is going to write here
                    y = y.copy()
                continue
            y = np.full(shape, neutral, x.dtype)
        part = y[(*lead, to)]
        ufunc(part, x[(*lead, at)], out=part)
    return y


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind in "fV" else np.iinfo(dtype).min


SMALL = 1 << 13  # bytes of an image, up to which the calls are most of the work


@functools.lru_cache(maxsize=256)
def _tiling(w: Windows) -> tuple[int, ...] | None:
    """The sizes of the last dims when they are cut into tiles, if that is what the windows are."""
    if w.kernel != w.stride or any(w.padding) or set(w.dilation) != {1}:
        return None
    if any(k * n != size for k, n, size in zip(w.kernel, w.out, w.size)):
        return None
    return tuple(itertools.chain.from_iterable(zip(w.out, w.kernel)))


def _tiles(x: Any, w: Windows) -> tuple[Any, Any]:
    """A small image cut into tiles and the dims that they have, so that they are reduced in one call; else None."""
    cut = _tiling(w) if x.nbytes < SMALL else None
    if cut is None:
        return None, ()
    lead = x.ndim - len(w.kernel)
    return x.reshape(x.shape[:lead] + cut), tuple(range(lead + 1, lead + len(cut), 2))


def _max_pool(x: Any, *, w: Any) -> Any:
    tiles, axes = _tiles(x, w)
    if tiles is not None:
        return np.maximum.reduce(tiles, axis=axes)
    y = _generated("max_values", w, x)
    if y is not None:
        return y
    for dim in range(len(w.kernel)):
        x = _along(x, w, dim, np.maximum, _lowest(x.dtype))
    return x


def _generated(name: str, w: Windows, *arrays: Any) -> Any:
    """The result of a function of `compiler.pooling`, or None where there is no kernel or it does not pay."""
    x = max(arrays, key=lambda a: a.nbytes)
    if arrays[0].dtype not in FLOATS or x.nbytes < WORTH or not ready(x.nbytes):
        return None
    pooling, unsupported = _module()
    try:
        return getattr(pooling, name)(*arrays, w)
    except unsupported:
        return None


@functools.cache
def _module() -> Any:
    """`compiler.pooling` and its error: an import statement takes as long as a check of a call."""
    from ..compiler import pooling
    from ..compiler.types import UnsupportedError

    return pooling, UnsupportedError


def _max_pool_taps(x: Any, *, w: Any) -> Any:
    """The tap of each window that equals its maximum, the first of several; the last NaN where there is one."""
    count = math.prod(w.kernel)
    found = _generated("max_taps", w, x)
    if found is not None:
        return found
    y = _max_pool(x, w=w)  # not kept from the forward pass: programs write to it in place
    taps = np.zeros(y.shape, np.uint8 if count <= 256 else np.int64)
    for number, to, at in reversed(_taps(w)):
        np.copyto(taps[to], number, where=x[at] == y[to], casting="unsafe")
    if y.dtype.kind in "fV" and np.isnan(y).any():
        for number, to, at in _taps(w):
            np.copyto(taps[to], number, where=np.isnan(x[at]), casting="unsafe")
    return taps


def _pick_taps(x: Any, taps: Any, *, w: Any) -> Any:
    y = np.zeros(taps.shape, x.dtype)
    for number, to, at in _taps(w):
        np.copyto(y[to], x[at], where=taps[to] == number)
    return y


def _flat(x: Any, taps: Any, g: Any, w: Any) -> Any:
    """Images, the places in them that windows took, and the windows' values, each with the size of an image."""
    n = math.prod(w.out)
    return (x, math.prod(w.size)), (_tap_positions(taps, w=w), n), (g, n)


def _spread_taps(g: Any, taps: Any, *, w: Any) -> Any:
    x = _generated("spread_taps", w, g, taps)
    if x is not None:
        return x
    shape = (*g.shape[: g.ndim - len(w.size)], *w.size)
    if fam.is_half(g):  # PyTorch adds the shares in 16 bits, window after window
        x = np.zeros(shape, g.dtype)
        for number, to, at in reversed(_taps(w)):
            x[at] += np.where(taps[to] == number, g[to], g.dtype.type(0))
        return x
    x = np.zeros(shape, g.dtype)
    if g.nbytes >= INDEXED:
        images, places, values = (a.reshape(-1, n) for a, n in _flat(x, taps, g, w))
        if scattered(images, places, values, 1, True):
            return x
        x[...] = 0
    for number, to, at in _taps(w):
        part, mask = x[at], taps[to] == number  # no product of the two: of infinity and zero it is NaN
        if g.size < SMALL:
            np.add(part, g[to], out=part, where=mask)
        else:
            part += np.where(mask, g[to], 0)
    return x


def _tap_positions(taps: Any, *, w: Any) -> Any:
    """Flat positions in the input's last dims."""
    places = np.unravel_index(taps.astype(np.int64), w.kernel)
    n = len(w.kernel)
    flat = np.zeros(taps.shape, np.int64)
    for d in range(n):
        start = np.arange(w.out[d]).reshape((-1,) + (1,) * (n - 1 - d)) * w.stride[d] - w.padding[d]
        flat = flat * w.size[d] + (start + places[d] * w.dilation[d])
    return flat


def _taps_jvp(op: Any) -> Any:
    """Linear in the first input; `op()` is the operation, which does not exist yet."""

    def jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
        return None if ts[0] is None else op()(ts[0], xs[1], **params)

    return jvp


taps_op: Any = fam.opaque_op(_max_pool_taps, None, name="max_pool_taps", differentiable=False)
positions_op = fam.opaque_op(_tap_positions, None, name="max_pool_positions", differentiable=False)
pick_op: Any = fam.opaque_op(
    _pick_taps,
    (lambda g, taps, w: spread_op(g, taps, w=w), None),
    name="max_pool_pick",
    jvp=_taps_jvp(lambda: pick_op),
)
spread_op: Any = fam.opaque_op(
    _spread_taps,
    (lambda g, taps, w: pick_op(g, taps, w=w), None),
    name="max_pool_spread",
    jvp=_taps_jvp(lambda: spread_op),
    grad_name="MaxPoolBackwardBackward0",
)


def _max_pool_vjp(g: Tensor, x: Tensor, w: Windows) -> Tensor:
    return spread_op(g, taps_op(x, w=w), w=w)  # type: ignore[no-any-return]


def _max_pool_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    w = params["w"]
    return pick_op(ts[0], taps_op(xs[0], w=w), w=w)


max_pool_op = fam.opaque_op(_max_pool, (_max_pool_vjp,), name="max_pool", jvp=_max_pool_jvp)

# ------------------------------------------------------------------------------------------------------------- sums


def _sum_pool(x: Any, *, w: Any) -> Any:
    wide = x.astype(np.float32) if fam.is_half(x) else x
    tiles, axes = _tiles(wide, w)
    if tiles is not None:
        return np.add.reduce(tiles, axis=axes).astype(x.dtype, copy=False)
    for dim in range(len(w.kernel)):
        wide = _along(wide, w, dim, np.add, 0)
    return wide.astype(x.dtype, copy=False)


def _sum_pool_adjoint(g: Any, *, w: Any) -> Any:
    x = g.astype(np.float32) if fam.is_half(g) else g
    for dim in reversed(range(len(w.kernel))):
        axis = x.ndim - len(w.kernel) + dim
        lead = (slice(None),) * axis
        wider = np.zeros((*x.shape[:axis], w.size[dim], *x.shape[axis + 1 :]), x.dtype)
        for tap in range(w.kernel[dim]):
            to, at = _overlap(w, dim, tap)
            wider[(*lead, at)] += x[(*lead, to)]
        x = wider
    return x.astype(g.dtype, copy=False)


sum_pool_op: Any = fam.linear_op(
    _sum_pool, lambda g, w: sum_pool_adjoint_op(g, w=w), name="sum_pool", grad_name="AvgPoolBackward0"
)
sum_pool_adjoint_op: Any = fam.linear_op(
    _sum_pool_adjoint,
    lambda g, w: sum_pool_op(g, w=w),
    name="sum_pool_adjoint",
    grad_name="AvgPoolBackwardBackward0",
)
