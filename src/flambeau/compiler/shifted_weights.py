"""The gradient of a convolution in its weights, as products of shifted planes.

Planes lie as in `shifted_conv`: the place that a tap reads for the output at flat place p is ``p + shift``. So a tap's
gradient is the inner product of an output gradient's plane, zero where its rows end, with a stretch of an input plane.
The sums of a few output channels and some taps stay in registers over all places and images.
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
from .dialect import Dialect, Value
from .planes import lay_out, planes
from .types import FLOATS, Storage, UnsupportedError, storage
from .unit_kernel import finish, make_unit_kernel, share

__all__ = ["shifted_products"]

Array = npt.NDArray[Any]
_INT64 = np.dtype(np.int64)
_SCALARS = (
    *(
        "units",
        "work",
        "grain",
        "images",
        "groups",
        "blocks",
        "channels",
        "parts",
        "pitch",
        "distance",
        "wide",
    ),
    *("places", "each"),
)


def _write(kind: Storage, tile: int, taps: int) -> str:
    """A unit is a tile of output channels, an input channel and a part of the taps.

    Arrays: the gradient (groups, each, channels, parts, taps), the planes (images, groups, channels, pitch), the output's
    gradient (images, groups, each, distance), with `tile` more planes that can be read behind it, the taps' shifts.
    """
    host = engine.host()
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    out, x, g, shifts = (k.load("ptr", "%arrays", i) for i in range(4))
    s = {name: k.load("i64", "%scalars", i) for i, name in enumerate(_SCALARS)}
    item, vector = kind.itemsize, k.vector(kind.compute)
    with k.loop("%lo", "%hi") as unit:
        part, rest = k.word("urem", unit, s["parts"]), k.word("udiv", unit, s["parts"])
        channel, rest = k.word("urem", rest, s["channels"]), k.word("udiv", rest, s["channels"])
        block, group = k.word("urem", rest, s["blocks"]), k.word("udiv", rest, s["blocks"])
        first = k.word("mul", part, taps)
        moves = [k.load("i64", shifts, k.word("add", first, t)) for t in range(taps)]
        sums = [[k.variable(vector, "zeroinitializer") for _ in range(taps)] for _ in range(tile)]
        with k.loop(0, s["images"]) as n:
            stack = k.word("add", k.word("mul", n, s["groups"]), group)
            own = k.word("add", k.word("mul", stack, s["channels"]), channel)
            places = k.at(x, k.word("mul", own, s["pitch"]), item)
            rows = k.word("add", k.word("mul", stack, s["each"]), k.word("mul", block, tile))
            given = k.at(g, k.word("mul", rows, s["distance"]), item)
            with k.loop(0, s["wide"], k.lanes) as p:
                # fewer of the two kinds of operands are kept, and each of the others is read when its turn comes
                read_g, read_x = [
                    [
                        k.at(given, k.word("add", k.word("mul", s["distance"], m), p), item)
                        for m in range(tile)
                    ],
                    [k.at(places, k.word("add", p, move), item) for move in moves],
                ]
                order = [(m, t) for m in range(tile) for t in range(taps)]
                if tile <= taps:
                    order.sort(key=lambda pair: pair[1])
                found: dict[str, Value] = {}
                for m, t in order:
                    for address in (read_g[m], read_x[t]):
                        if address not in found:
                            found[address] = Value(k, k.load(vector, address), kind.compute)
                    old = Value(k, sums[m][t].get(), kind.compute)
                    sums[m][t].set(k.fma(found[read_g[m]], found[read_x[t]], old).ref)
        done = k.new_label("done")
        for m in range(tile):
            row = k.word("add", k.word("mul", block, tile), m)
            if m:  # the last tile may reach beyond the group's channels
                k.leave_if(k.compare("uge", row, s["each"]), done)
            row = k.word("add", k.word("mul", group, s["each"]), row)
            row = k.word("add", k.word("mul", row, s["channels"]), channel)
            row = k.word("add", k.word("mul", row, s["places"]), first)
            for t in range(taps):
                total = k.fold(Value(k, sums[m][t].get(), kind.compute), lambda a, b: a + b)
                one = k.emit(f"extractelement {vector} {total.ref}, i32 0")
                k.store(kind.llvm, one, out, k.word("add", row, t), item)
        k.branch(done)
        k.label(done)
    return finish(k)


@cache
def _kernel(dtype: np.dtype[Any], tile: int, taps: int) -> Callable[..., None]:
    kind = storage(dtype)
    text = _write(kind, tile, taps)
    return make_unit_kernel("products", text, 1, [kind, kind, kind, _INT64], len(_SCALARS))


@cache
def _shape(each: int, taps: int) -> tuple[int, int]:
    """(output channels, taps) of a unit: of what fits into registers, that which waits least for memory."""
    room = 27 if engine.host().vector_bits == 512 else 12

    def cost(shape: tuple[int, int]) -> tuple[float, int]:
        tile, part = shape
        loads = 1.5 * (
            tile + part
        )  # stretches of the input begin anywhere, planes of gradients come from afar
        beside = -(-each // tile) * tile / each  # what is computed beside the last channel
        return max(tile * part / 2, loads) / (tile * part) * beside, -part

    parts = [d for d in range(1, taps + 1) if taps % d == 0]
    return min(((a, b) for a in range(1, min(each, 8) + 1) for b in parts if a * b <= room), key=cost)


def shifted_products(
    x: Array,
    g: Array,
    groups: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Array:
    """The gradient (O, C / groups, *kernel) from images (N, C, *size) and the output's gradient (N, O, *out).

    Raises: UnsupportedError for dtypes other than float32 and float64, more than three dims, strides above 4.

    >>> import numpy as np
    >>> from flambeau.compiler.shifted_weights import shifted_products
    >>> x, g = np.arange(4.0).reshape(1, 1, 4), np.ones((1, 1, 3))
    >>> shifted_products(x, g, 1, (2,), (1,), (0,), (1,))
    array([[[3., 6.]]])
    """
    if x.dtype not in FLOATS or g.dtype != x.dtype:
        raise UnsupportedError(f"no gradient of {x.dtype} and {g.dtype} here")
    n, channels, outputs = x.shape[0], x.shape[1] // groups, g.shape[1]
    lanes = engine.host().vector_bits // (8 * x.itemsize)
    q = planes(x.shape[2:], kernel, stride, padding, dilation, g.shape[2:], lanes)
    places, each = math.prod(q.kernel), outputs // groups
    tile, taps = _shape(each, places)
    blocks, parts = -(-each // tile), places // taps
    wide = -(-q.used // lanes) * lanes
    memory = lay_out(x, q, 2 * lanes)
    results = q.of_results(lanes)
    given = lay_out(g, results, tile * results.pitch)
    units = groups * blocks * channels * parts
    work = n * wide * tile * taps // (8 * lanes)
    result: Array = empty((outputs, channels, *kernel), x.dtype)
    _kernel(x.dtype, tile, taps)(
        result, memory, given, q.shifts, units, work, share(units, work), n, groups, blocks, channels, parts,
        q.pitch, results.pitch, wide, places, each,
    )  # fmt: skip
    return result
