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
from .types import Storage, UnsupportedError, storage
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
    "places",
)


def _write(kind: Storage, tile: int, taps: int) -> str:
    """A unit is a tile of output channels, an input channel and a part of the taps.

    Arrays: the gradient (groups, blocks, tile, channels, parts, taps), the planes (images, groups, channels, pitch),
    the output's gradient (images, groups, blocks, tile, distance), the taps' shifts.
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
            rows = k.word("add", k.word("mul", stack, s["blocks"]), block)
            given = k.at(g, k.word("mul", rows, s["distance"]), item * tile)
            with k.loop(0, s["wide"], k.lanes) as p:
                factors = []
                for m in range(tile):
                    place = k.at(given, k.word("add", k.word("mul", s["distance"], m), p), item)
                    factors.append(Value(k, k.load(vector, place), kind.compute))
                for t, move in enumerate(moves):
                    ref = k.load(vector, k.at(places, k.word("add", p, move), item))
                    for m in range(tile):
                        old = Value(k, sums[m][t].get(), kind.compute)
                        sums[m][t].set(k.fma(factors[m], Value(k, ref, kind.compute), old).ref)
        target = k.word("add", k.word("mul", group, s["blocks"]), block)
        for m in range(tile):
            row = k.word("add", k.word("mul", target, tile), m)
            row = k.word("add", k.word("mul", row, s["channels"]), channel)
            row = k.word("add", k.word("mul", row, s["places"]), first)
            for t in range(taps):
                total = k.fold(Value(k, sums[m][t].get(), kind.compute), lambda a, b: a + b)
                one = k.emit(f"extractelement {vector} {total.ref}, i32 0")
                k.store(kind.llvm, one, out, k.word("add", row, t), item)
    return finish(k)


@cache
def _kernel(name: str, tile: int, taps: int) -> Callable[..., None]:
    kind = storage(name)
    text = _write(kind, tile, taps)
    return make_unit_kernel("products", text, 1, [kind, kind, kind, _INT64], len(_SCALARS))


@cache
def _shape(each: int, taps: int) -> tuple[int, int]:
    """(output channels, taps) of a unit: of what fits into registers, that which waits least for memory."""
    room = 27 if engine.host().vector_bits == 512 else 12

    def cost(shape: tuple[int, int]) -> tuple[float, int]:
        tile, part = shape
        loads = tile / 2 + part  # stretches of the input begin anywhere, and take twice as long
        return max(tile * part / 2, loads, 4.0) / (tile * part), -part

    divisors = [[d for d in range(1, n + 1) if n % d == 0] for n in (each, taps)]
    return min(((a, b) for a in divisors[0] for b in divisors[1] if a * b <= room and a <= 8), key=cost)


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
    if x.dtype.name not in ("float32", "float64") or g.dtype != x.dtype:
        raise UnsupportedError(f"no gradient of {x.dtype} and {g.dtype} here")
    n, channels, outputs = x.shape[0], x.shape[1] // groups, g.shape[1]
    lanes = engine.host().vector_bits // (8 * x.itemsize)
    q = planes(x.shape[2:], kernel, stride, padding, dilation, g.shape[2:], lanes)
    places, each = math.prod(q.kernel), outputs // groups
    tile, taps = _shape(each, places)
    blocks, parts = each // tile, places // taps
    wide = -(-q.used // lanes) * lanes
    memory = lay_out(x, q, 2 * lanes)
    results = q.of_results(lanes)
    given = lay_out(g, results, 0)
    units = groups * blocks * channels * parts
    work = n * wide * tile * taps // (8 * lanes)
    result: Array = empty((outputs, channels, *kernel), x.dtype)
    _kernel(x.dtype.name, tile, taps)(
        result, memory, given, q.shifts, units, work, share(units, work), n, groups, blocks, channels, parts,
        q.pitch, results.pitch, wide, places,
    )  # fmt: skip
    return result
