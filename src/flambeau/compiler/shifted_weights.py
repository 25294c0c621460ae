"""The gradient of a convolution of stride 1 in its weights, as products of shifted planes.

Planes lie as in `shifted_conv`: the place that tap (a, b) reads for the output at flat place p is ``p + shift``. So a
tap's gradient is the inner product of an output gradient's plane, zero where its rows end, with a stretch of an input
plane. The sums of a few output channels and all taps stay in registers over all places and images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from . import engine
from .dialect import Dialect
from .types import Storage, UnsupportedError, storage
from .unit_kernel import finish, make_unit_kernel, share

__all__ = ["shifted_products"]

Array = npt.NDArray[Any]
_INT64 = np.dtype(np.int64)
_SCALARS = ("units", "work", "grain", "images", "groups", "blocks", "channels", "plane", "wide")


def _write(kind: Storage, tile: int, taps: int) -> str:
    """``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)``; a unit is a tile of output channels and an input channel.

    Arrays: the sums (units, tile, taps, lanes), the padded input (images, groups, channels, plane), the output's
    gradient (images, groups, blocks, tile, wide), the taps' shifts.
    """
    host = engine.host()
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    out, x, g, shifts = (k.load("ptr", "%arrays", i) for i in range(4))
    s = {name: k.load("i64", "%scalars", i) for i, name in enumerate(_SCALARS)}
    item, vector = kind.itemsize, k.vector(kind.compute)
    fma = f"llvm.fma.v{k.lanes}{'f32' if item == 4 else 'f64'}"
    k.declare(fma, f"declare {vector} @{fma}({vector}, {vector}, {vector})")
    moves = [k.load("i64", shifts, t) for t in range(taps)]
    with k.loop("%lo", "%hi") as unit:
        channel, rest = k.word("urem", unit, s["channels"]), k.word("udiv", unit, s["channels"])
        block, group = k.word("urem", rest, s["blocks"]), k.word("udiv", rest, s["blocks"])
        sums = [[k.variable(vector, "zeroinitializer") for _ in range(taps)] for _ in range(tile)]
        with k.loop(0, s["images"]) as n:
            stack = k.word("add", k.word("mul", n, s["groups"]), group)
            own = k.word("add", k.word("mul", stack, s["channels"]), channel)
            places = k.at(x, k.word("mul", own, s["plane"]), item)
            rows = k.word("add", k.word("mul", stack, s["blocks"]), block)
            given = k.at(g, k.word("mul", rows, s["wide"]), item * tile)
            with k.loop(0, s["wide"], k.lanes) as p:
                factors = [
                    k.load(vector, k.at(given, k.word("add", k.word("mul", s["wide"], m), p), item))
                    for m in range(tile)
                ]
                for t, move in enumerate(moves):
                    part = k.load(vector, k.at(places, k.word("add", p, move), item))
                    for m in range(tile):
                        operands = (factors[m], part, sums[m][t].get())
                        arguments = ", ".join(f"{vector} {a}" for a in operands)
                        sums[m][t].set(k.emit(f"call {vector} @{fma}({arguments})"))
        target = k.at(out, unit, item * k.lanes * taps * tile)
        for m in range(tile):
            for t in range(taps):
                k.store(vector, sums[m][t].get(), target, m * taps + t, item * k.lanes)
    return finish(k)


@cache
def _kernel(name: str, tile: int, taps: int) -> Callable[..., None]:
    kind = storage(name)
    text = _write(kind, tile, taps)
    return make_unit_kernel("products", text, 1, [kind, kind, kind, _INT64], len(_SCALARS))


def _laid_out(a: Array, size: tuple[int, ...], start: tuple[int, ...], pitch: int) -> Array:
    """Images (N, C, *a) put into planes of `size` from `start` on, zero around them, `pitch` elements apart."""
    n, c = a.shape[:2]
    memory: Array = empty((n * c, pitch), a.dtype)
    memory[...] = 0
    whole = memory[:, : math.prod(size)].reshape(n, c, *size)
    inner: Any = (..., *[slice(b, b + s) for b, s in zip(start, a.shape[2:])])
    whole[inner] = a
    return memory


def shifted_products(
    x: Array,
    g: Array,
    groups: int,
    kernel: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Array:
    """The gradient (O, C / groups, *kernel) from images (N, C, *size) and the output's gradient (N, O, *out).

    Raises: UnsupportedError for dtypes other than float32 and float64, and kernels of too many taps.

    >>> import numpy as np
    >>> from flambeau.compiler.shifted_weights import shifted_products
    >>> x, g = np.arange(4.0).reshape(1, 1, 4), np.ones((1, 1, 3))
    >>> shifted_products(x, g, 1, (2,), (0,), (1,))
    array([[[3., 6.]]])
    """
    taps, host = math.prod(kernel), engine.host()
    room = 27 if host.vector_bits == 512 else 12  # sums that fit beside the other operands
    if x.dtype.name not in ("float32", "float64") or g.dtype != x.dtype or taps > room:
        raise UnsupportedError(f"no gradient of {taps} taps, {x.dtype} and {g.dtype} here")
    n, channels, outputs = x.shape[0], x.shape[1] // groups, g.shape[1]
    padded = tuple([a + 2 * b for a, b in zip(x.shape[2:], padding)])
    strides = [math.prod(padded[i + 1 :]) for i in range(len(padded))]
    lanes = host.vector_bits // (8 * x.itemsize)
    used = sum((a - 1) * b for a, b in zip(g.shape[2:], strides)) + 1
    wide = -(-used // lanes) * lanes
    rows = g.shape[2] * strides[0]
    each = outputs // groups
    tile = next(t for t in (4, 3, 2, 1) if each % t == 0 and t * taps <= room)
    blocks = each // tile
    # A plane ends in zeros: what the last vector reads beyond it must not be another plane's.
    planes = _laid_out(x, padded, padding, math.prod(padded) + lanes)
    given = _laid_out(g, (g.shape[2], *padded[1:]), (0,) * len(padding), max(wide, rows))
    if rows > wide:
        given = np.ascontiguousarray(given[:, :wide])
    shifts: Array = np.zeros((), np.int64)
    for a, d, stride in zip(kernel, dilation, strides):
        shifts = np.add.outer(shifts, np.arange(a) * d * stride)
    units = groups * blocks * channels
    sums: Array = empty((units, tile, taps, lanes), x.dtype)
    work = n * wide * tile * taps // 16
    grain = share(units, work)
    _kernel(x.dtype.name, tile, taps)(
        sums, planes, given, np.ascontiguousarray(shifts.reshape(-1)), units, work, grain, n, groups, blocks,
        channels, planes.shape[1], wide,
    )  # fmt: skip
    found = sums.sum(-1).reshape(groups, blocks, channels, tile, taps).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(found).reshape(outputs, channels, *kernel)
