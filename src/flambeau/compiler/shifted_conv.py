"""Convolution as sums of shifted planes, without patches.

In a plane that lies in one piece (`planes`) an output plane, as wide as the input with its padding, is a sum over input
channels and taps of a number times a stretch of memory; the last columns of its rows are not part of the result. A
tile of a few output channels times a few vectors stays in registers during the whole sum, whose order is that of
channels and taps, whatever the number of threads. A band of rows is summed in a little memory of a thread's own, and
written from there to where it belongs, with what follows: a bias, and the maximum with zero.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from . import engine
from .dialect import Value
from .image_rows import ImageRows
from .planes import Planes, lay_out, planes
from .types import FLOATS, Storage, UnsupportedError, storage
from .unit_kernel import finish, make_unit_kernel, share_with_room

__all__ = ["shifted_input", "shifted_sums"]

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]
_INT64, _BYTE = np.dtype(np.int64), np.dtype(np.uint8)
_BAND = 16_384  # bytes of a band's sums: they stay in the first-level cache
_LARGE, _AT_A_TIME = 1 << 18, 8  # bytes of weights that do not stay in a cache, and channels that do
_SCALARS = (
    *("units", "work", "grain", "slot", "blocks", "groups", "bands", "band", "rows", "channels", "taps"),
    *("pitch", "high", "wide", "each", "outz", "outy", "outx"),
)


def _shape(each: int) -> tuple[int, int]:
    """(output channels, vectors) of a tile."""
    sizes = [(8, 2), (6, 3), (5, 3), (4, 4), (3, 4), (2, 6), (1, 8)]
    if engine.host().vector_bits < 512:  # sixteen registers
        sizes = [(6, 2), (5, 2), (4, 3), (3, 3), (2, 4), (1, 6)]
    # what is computed beside the last channel, and that few channels share what is loaded
    return min(sizes, key=lambda s: -(-each // s[0]) * s[0] * (1 + 1 / s[0] + 1 / s[1]))


def _write(kind: Storage, tile: int, vectors: int, relu: bool) -> str:
    """A unit is a tile of output channels of a band of rows of one image.

    Arrays: the result (images, groups, each, outz, outy, outx), room, the planes (images, groups, channels, pitch)
    and slack, weights (groups, blocks, channels, taps, tile), the taps' shifts, a bias for each output channel.
    """
    k = ImageRows(kind)
    item, llvm, vector = kind.itemsize, kind.llvm, k.vector(kind.compute)
    out, room, x, w, shifts, bias = (k.load("ptr", "%arrays", i) for i in range(6))
    s = {name: k.load("i64", "%scalars", i) for i, name in enumerate(_SCALARS)}
    room = k.at(room, k.word("mul", k.word("udiv", "%lo", s["grain"]), s["slot"]))
    terms = k.word("mul", s["channels"], s["taps"])
    step = k.lanes * vectors
    length = k.word("mul", s["band"], s["wide"])
    steps = k.word("udiv", k.word("add", length, step - 1), step)
    row_bytes = k.word("mul", steps, step * item)
    with k.loop("%lo", "%hi") as unit:
        block, rest = k.word("urem", unit, s["blocks"]), k.word("udiv", unit, s["blocks"])
        band, stack = k.word("urem", rest, s["bands"]), k.word("udiv", rest, s["bands"])
        group = k.word("urem", stack, s["groups"])
        weights = k.word("add", k.word("mul", group, s["blocks"]), block)
        factors = k.at(w, k.word("mul", weights, terms), item * tile)
        first = k.word("mul", band, s["band"])
        last = k.smaller(k.word("add", first, s["band"]), s["rows"])
        planes = k.at(x, k.word("mul", stack, k.word("mul", s["channels"], s["pitch"])), item)
        planes = k.at(planes, k.word("mul", first, s["wide"]), item)
        with k.loop(0, k.word("mul", k.word("sub", last, first), s["wide"]), step) as p:
            sums = [[k.variable(vector, "zeroinitializer") for _ in range(vectors)] for _ in range(tile)]
            with k.loop(0, s["channels"]) as c:
                start = k.at(planes, k.word("add", k.word("mul", c, s["pitch"]), p), item)
                own = k.at(factors, k.word("mul", c, s["taps"]), item * tile)
                with k.loop(0, s["taps"]) as t:
                    place = k.at(start, k.load("i64", shifts, t), item)
                    parts = [
                        Value(k, k.load(vector, place, v * k.lanes, item), kind.compute)
                        for v in range(vectors)
                    ]
                    line = k.at(own, t, item * tile)
                    for m in range(tile):
                        factor = k.splat(k.load(llvm, line, m, item), kind.compute)
                        for v in range(vectors):
                            old = Value(k, sums[m][v].get(), kind.compute)
                            sums[m][v].set(k.fma(factor, parts[v], old).ref)
            for m in range(tile):
                target = k.at(k.at(room, k.word("mul", row_bytes, m)), p, item)
                for v in range(vectors):
                    k.store(vector, sums[m][v].get(), target, v * k.lanes, item)
        channel = k.word("mul", block, tile)
        whole = k.smaller(k.word("sub", s["each"], channel), tile)
        output = k.word("add", k.word("mul", stack, s["each"]), channel)
        biases = k.at(bias, k.word("add", k.word("mul", group, s["each"]), channel), item)
        z, y = (k.variable("i64", k.word(o, first, s["high"])) for o in ("udiv", "urem"))
        with k.loop(first, last) as r:
            is_row = k.compare("ult", y.get(), s["outy"])
            with k.when(is_row), k.loop(0, whole) as own:
                level = k.splat(k.load(llvm, biases, own, item), kind.compute)
                plane = k.word("add", k.word("mul", k.word("add", output, own), s["outz"]), z.get())
                row = k.word("add", k.word("mul", plane, s["outy"]), y.get())
                target = k.at(out, k.word("mul", row, s["outx"]), item)
                begin = k.at(room, k.word("mul", row_bytes, own))
                begin = k.at(begin, k.word("mul", k.word("sub", r, first), s["wide"]), item)
                with k.loop(0, s["outx"], k.lanes) as j:
                    value = Value(k, k.load(vector, k.at(begin, j, item)), kind.compute) + level
                    if relu:
                        value = k.select(value < 0.0, 0.0, value)  # NaN stays
                    _put(k, value, target, j, s["outx"])
            y.set(k.word("add", y.get(), 1))
            with k.when(k.compare("eq", y.get(), s["high"])):
                y.set(0)
                z.set(k.word("add", z.get(), 1))
    return finish(k)


def _put(k: ImageRows, value: Value, row: str, start: str, width: str) -> None:
    if k.masked:
        k.put(k.kind, value.ref, row, start, k.inside(start, width))
    else:
        left = k.smaller(k.word("sub", width, start), k.lanes)
        k.memory.store_part(k.kind, value.ref, k.at(row, start, k.item), left, "")


@cache
def _kernel(dtype: np.dtype[Any], tile: int, vectors: int, relu: bool) -> Callable[..., None]:
    kind = storage(dtype)
    text = _write(kind, tile, vectors, relu)
    return make_unit_kernel("shifted", text, 2, [kind, _BYTE, kind, kind, _INT64, kind], len(_SCALARS))


def _bands(rows: int, wide: int, tile: int, step: int, item: int) -> tuple[int, int]:
    """(number of bands, rows of each): as few places computed as can be, of bands that stay in the cache."""
    best = (1, rows)
    least = 0
    for bands in range(1, rows + 1):
        band = -(-rows // bands)
        size = -(-band * wide // step) * step
        if size * tile * item > _BAND and band > 1:
            continue
        computed = -(-rows // band) * size
        if not least or computed < least:
            best, least = (-(-rows // band), band), computed
        if bands > 8 and least:
            break
    return best


def shifted_sums(
    x: Array,
    w: Array,
    groups: int,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    bias: Array | None = None,
    relu: bool = False,
) -> Array:
    """The convolution of images (N, C, *size) with weights (O, C / groups, *kernel), and a bias (O,).

    Raises: UnsupportedError for dtypes other than float32 and float64, more than three dims, strides above 4.

    >>> import numpy as np
    >>> from flambeau.compiler.shifted_conv import shifted_sums
    >>> shifted_sums(np.arange(4.0).reshape(1, 1, 4), np.ones((1, 1, 2)), 1, (1,), (0,), (1,))
    array([[[1., 3., 5.]]])
    """
    _check(x, w)
    out = tuple(
        [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(x.shape[2:], w.shape[2:], stride, padding, dilation)
        ]
    )
    grouped = w.reshape(groups, -1, *w.shape[1:])
    return _sums(x, grouped, stride, padding, dilation, out, bias, relu)


def shifted_input(
    g: Array, w: Array, groups: int, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    """The gradient in the input, of spatial sizes `size`, from the output's gradient (N, O, *out).

    Places of the input with one remainder by the stride are met by the same taps: their gradients are a convolution of
    stride 1 with those taps, turned round.

    Raises: as `shifted_sums`.

    >>> import numpy as np
    >>> from flambeau.compiler.shifted_conv import shifted_input
    >>> shifted_input(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2)), 1, (4,), (2,), (0,), (1,))
    array([[[1., 1., 2., 2.]]])
    """
    _check(g, w)
    grouped = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)
    own = [_remainders(*v) for v in zip(size, w.shape[2:], stride, padding, dilation)]
    result: Any = None
    y: Any = None
    for parts in itertools.product(*own):
        taps, places = [p.taps for p in parts], tuple([p.places for p in parts])
        count = tuple([p.many for p in parts])
        if 0 in count:
            continue
        tapped: Any = (..., *taps)
        placed: Any = (..., *places)
        if any(len(range(*t.indices(n))) == 0 for t, n in zip(taps, w.shape[2:])):
            y = 0
        else:
            turned = np.flip(grouped[tapped], tuple(range(3, grouped.ndim)))
            inner = tuple([p.padding for p in parts]), tuple([p.dilation for p in parts])
            y = _sums(g, turned, (1,) * len(size), *inner, count, None, False)
            if count == tuple(size):
                break
        if result is None:
            result = empty((g.shape[0], w.shape[1] * groups, *size), g.dtype)
        result[placed] = y
    found: Array = y if result is None else result
    return found


class _Part(NamedTuple):
    """Places of one dim of the input with one remainder."""

    taps: slice  # that meet them
    places: slice
    many: int
    padding: int  # of the convolution that gives them
    dilation: int


def _remainders(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[_Part]:
    """Place i is met by tap t of output o if ``i + padding = o * stride + t * dilation``."""
    common = math.gcd(stride, dilation)
    found = []
    for remainder in range(stride):
        low = max(
            0, -((remainder - padding) // stride)
        )  # i = low * stride + remainder - padding is the first
        start = low * stride + remainder - padding
        count = len(range(start, size, stride))
        first = next((t for t in range(kernel) if t * dilation % stride == remainder), kernel)
        taps = slice(first, None, stride // common)
        last = len(range(first, kernel, stride // common)) - 1
        inner = first * dilation // stride + last * (dilation // common) - low
        found.append(_Part(taps, slice(start, None, stride), count, inner, dilation // common))
    return found


def _check(x: Array, w: Array) -> None:
    if x.dtype not in FLOATS or w.dtype != x.dtype:
        raise UnsupportedError(f"no convolution of {x.dtype} and {w.dtype} here")


class _Plan(NamedTuple):
    """What is known from shapes."""

    planes: Planes
    slack: int  # elements to be read behind the planes
    tile: int
    vectors: int
    blocks: int
    units: int
    work: int
    slot: int
    words: tuple[int, ...]  # `_SCALARS` from `slot` on


@lru_cache(maxsize=256)
def _plan(
    shape: Sizes, weights: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, out: Sizes, item: int
) -> _Plan:
    n, groups, each, channels = shape[0], *weights[:3]
    lanes = engine.host().vector_bits // (8 * item)
    q = planes(shape[2:], weights[3:], stride, padding, dilation, out, lanes)
    taps = math.prod(q.kernel)
    tile, vectors = _shape(each)
    step = lanes * vectors
    blocks = -(-each // tile)
    rows = (q.out[0] - 1) * q.rows[1] + q.out[1]
    bands, band = _bands(rows, q.rows[2], tile, step, item)
    size = -(-band * q.rows[2] // step) * step
    slot = (tile * size + lanes) * item
    work = (channels * taps + 4) * size * tile // (8 * lanes)
    words = (slot, blocks, groups, bands, band, rows, channels, taps, q.pitch, *q.rows[1:], each, *q.out)
    return _Plan(q, 2 * step, tile, vectors, blocks, n * groups * bands * blocks, work, slot, words)


def _sums(
    x: Array,
    w: Array,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    out: Sizes,
    bias: Array | None,
    relu: bool,
) -> Array:
    """The same for weights (groups, O / groups, C / groups, *kernel) and any padding and result's size."""
    p = _plan(x.shape, w.shape, stride, padding, dilation, out, x.itemsize)
    memory = lay_out(x, p.planes, p.slack)
    grain = share_with_room(p.units, p.work)
    room = empty((-(-p.units // grain) * p.slot,), _BYTE)
    channels = w.shape[0] * w.shape[1]
    result: Array = empty((x.shape[0], channels, *out), x.dtype)
    if bias is None:
        bias = np.zeros(channels, x.dtype)
    _kernel(x.dtype, p.tile, p.vectors, relu)(
        result,
        room,
        memory,
        _tiles(w, p.blocks, p.tile),
        p.planes.shifts,
        bias,
        p.units,
        p.work,
        grain,
        *p.words,
    )
    return result


def _tiles(w: Array, blocks: int, tile: int) -> Array:
    """Weights (groups, each, channels, *kernel) as (groups, blocks, channels, *kernel, tile), zero beyond the last."""
    groups, each, channels, *kernel = w.shape
    result: Array = empty((groups, blocks, channels, *kernel, tile), w.dtype)
    whole = each // tile
    if whole:
        parts = np.moveaxis(w[:, : whole * tile].reshape(groups, whole, tile, channels, *kernel), 2, -1)
        # weights with the channels outside, as those of an adjoint, are read a few channels at a time: as they lie
        step = _AT_A_TIME if w.strides[2] > w.strides[1] and w.nbytes > _LARGE else channels
        for first in range(0, channels, step):
            result[:, :whole, first : first + step] = parts[:, :, first : first + step]
    if whole < blocks:
        rest = w[:, whole * tile :]
        result[:, whole, ..., : rest.shape[1]] = np.moveaxis(rest, 1, -1)
        result[:, whole, ..., rest.shape[1] :] = 0
    return result
