"""Convolution of stride 1 as sums of shifted planes, without patches.

In a padded plane that lies in one piece, the place that tap (a, b) of a kernel reads for the output at flat place p
is ``p + shift`` with one shift for each tap. So an output plane, as wide as the padded input, is a sum over input
channels and taps of a number times a stretch of memory; the last columns of its rows are not part of the result.
A tile of a few output channels times two vectors stays in registers during the whole sum, whose order is that of
channels and taps, whatever the number of threads.
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

__all__ = ["shifted_sums"]

Array = npt.NDArray[Any]
_INT64 = np.dtype(np.int64)
_VECTORS = 2
_SCALARS = ("units", "work", "grain", "blocks", "groups", "channels", "taps", "plane", "wide")


def _write(kind: Storage, tile: int) -> str:
    """``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)``; a unit is a tile of output channels of one image.

    Arrays: the result (images, groups, blocks, tile, wide), the padded input (images, groups, channels, plane) and
    slack, weights (groups, blocks, channels, taps, tile), the taps' shifts.
    """
    host = engine.host()
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    out, x, w, shifts = (k.load("ptr", "%arrays", i) for i in range(4))
    s = {name: k.load("i64", "%scalars", i) for i, name in enumerate(_SCALARS)}
    item, llvm, vector = kind.itemsize, kind.llvm, k.vector(kind.compute)
    fma = f"llvm.fma.v{k.lanes}{'f32' if item == 4 else 'f64'}"
    k.declare(fma, f"declare {vector} @{fma}({vector}, {vector}, {vector})")
    terms = k.word("mul", s["channels"], s["taps"])
    with k.loop("%lo", "%hi") as unit:
        stack, block = k.word("udiv", unit, s["blocks"]), k.word("urem", unit, s["blocks"])
        group = k.word("urem", stack, s["groups"])
        weights = k.word("add", k.word("mul", group, s["blocks"]), block)
        factors = k.at(w, k.word("mul", weights, terms), item * tile)
        planes = k.at(x, k.word("mul", stack, k.word("mul", s["channels"], s["plane"])), item)
        target = k.at(out, k.word("mul", unit, s["wide"]), item * tile)
        with k.loop(0, s["wide"], k.lanes * _VECTORS) as p:
            sums = [[k.variable(vector, "zeroinitializer") for _ in range(_VECTORS)] for _ in range(tile)]
            with k.loop(0, s["channels"]) as c:
                start = k.at(planes, k.word("add", k.word("mul", c, s["plane"]), p), item)
                own = k.at(factors, k.word("mul", c, s["taps"]), item * tile)
                with k.loop(0, s["taps"]) as t:
                    place = k.at(start, k.load("i64", shifts, t), item)
                    parts = [k.load(vector, place, v * k.lanes, item) for v in range(_VECTORS)]
                    row = k.at(own, t, item * tile)
                    for m in range(tile):
                        factor = k.splat(k.load(llvm, row, m, item), kind.compute).ref
                        for v in range(_VECTORS):
                            old = sums[m][v].get()
                            arguments = ", ".join(f"{vector} {a}" for a in (factor, parts[v], old))
                            sums[m][v].set(k.emit(f"call {vector} @{fma}({arguments})"))
            for m in range(tile):
                first = k.at(target, k.word("add", k.word("mul", s["wide"], m), p), item)
                for v in range(_VECTORS):
                    k.store(vector, sums[m][v].get(), first, v * k.lanes, item)
    return finish(k)


@cache
def _kernel(name: str, tile: int) -> Callable[..., None]:
    kind = storage(name)
    text = _write(kind, tile)
    return make_unit_kernel("shifted", text, 1, [kind, kind, kind, _INT64], len(_SCALARS))


def shifted_sums(
    x: Array, w: Array, groups: int, padding: tuple[int, ...], dilation: tuple[int, ...]
) -> Array:
    """The convolution of stride 1 of images (N, C, *size) with weights (O, C / groups, *kernel).

    Raises: UnsupportedError for dtypes other than float32 and float64.

    >>> import numpy as np
    >>> from flambeau.compiler.shifted_conv import shifted_sums
    >>> shifted_sums(np.arange(4.0).reshape(1, 1, 4), np.ones((1, 1, 2)), 1, (0,), (1,))
    array([[[1., 3., 5.]]])
    """
    if x.dtype.name not in ("float32", "float64") or w.dtype != x.dtype:
        raise UnsupportedError(f"no convolution of {x.dtype} and {w.dtype} here")
    n, channels, kernel = x.shape[0], w.shape[1], w.shape[2:]
    padded = tuple([a + 2 * b for a, b in zip(x.shape[2:], padding)])
    out = tuple([a - (b - 1) * d for a, b, d in zip(padded, kernel, dilation)])
    strides = [math.prod(padded[i + 1 :]) for i in range(len(padded))]
    plane, taps = math.prod(padded), math.prod(kernel)
    step = _VECTORS * engine.host().vector_bits // (8 * x.itemsize)
    used = sum((a - 1) * b for a, b in zip(out, strides)) + 1  # places up to the last output
    rows = out[0] * strides[0]  # what a view of the outputs needs
    wide = -(-max(used, rows) // step) * step
    each = w.shape[0] // groups
    tile = next(t for t in (8, 6, 4, 3, 2, 1) if each % t == 0)
    blocks = each // tile
    # The last tiles read past the end of a plane; what they find there does not count, but must be readable.
    slack = wide + plane
    memory: Array = empty((n * groups * channels * plane + slack,), x.dtype)  # recycled: new pages cost more
    memory[...] = 0
    inner: Any = (..., *[slice(b, b + a) for a, b in zip(x.shape[2:], padding)])
    memory[: memory.size - slack].reshape(n, groups * channels, *padded)[inner] = x
    places = [np.arange(a) * d * s for a, d, s in zip(kernel, dilation, strides)]
    shifts: Array = np.zeros((), np.int64)
    for place in places:
        shifts = np.add.outer(shifts, place)
    shifts = np.ascontiguousarray(shifts.reshape(-1))
    factors = np.ascontiguousarray(w.reshape(groups, blocks, tile, channels, taps).transpose(0, 1, 3, 4, 2))
    result = empty((n, w.shape[0], wide), x.dtype)
    units, work = n * groups * blocks, channels * taps * wide * tile // 16
    grain = share(units, work)
    _kernel(x.dtype.name, tile)(
        result, memory, factors, shifts, units, work, grain, blocks, groups, channels, taps, plane, wide
    )
    crop: Any = (..., *[slice(0, a) for a in out])
    kept = result[..., :rows].reshape(n, w.shape[0], out[0], *padded[1:])
    y: Array = empty((n, w.shape[0], *out), x.dtype)
    y[...] = kept[crop]
    return y
