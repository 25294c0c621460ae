"""Maxima over windows, the taps where they lie, and their gradient, in one pass over memory each.

A unit of work is a row. What a vector of windows sees beside the input is masked out while it is loaded; where the
processor has no such loads, the rows are first copied into a little memory with room on both sides. What has a stride
along the row is taken apart, or put together, by shuffling registers. The gradient is gathered: a row of the input asks
the windows over it whether one of its places was their maximum, so that no two threads write to one place and sums
have a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from . import engine
from .dialect import Value
from .image_rows import ImageRows
from .types import COMPUTE, FLOATS, Storage, UnsupportedError, storage
from .unit_kernel import finish, make_unit_kernel, share_with_room
from .vector_loop import MASKS

__all__ = ["max_taps", "max_values", "spread_taps"]

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]
_BYTE = storage("uint8")
_NOTHING = 255  # the tap beside a row of taps: no tap has this number
_MOST_TAPS, _MOST_ALONG, _LONGEST_STRIDE = 254, 16, 4
# One word for each dim, planes, rows and along a row, where that is not part of the kernel.
_DIMS = tuple(f"{name}{d}" for name in ("size", "out") for d in "zyx")
_MOVES = tuple(f"{name}{d}" for name in ("kernel", "stride", "padding", "dilation") for d in "zy")
_SCALARS = ("units", "work", "grain", "slot", *_DIMS, *_MOVES, "padding", "pitch")


class _Rows(ImageRows):
    """What both kernels share: sizes, and reading and writing rows with places beside them."""

    def __init__(self, kind: Storage) -> None:
        super().__init__(kind)
        self.s = {name: self.load("i64", "%scalars", i) for i, name in enumerate(_SCALARS)}
        base = self.load("ptr", "%arrays", 1)
        self.room = self.at(base, self.word("mul", self.word("udiv", "%lo", self.s["grain"]), self.s["slot"]))
        self.most = self.word("mul", self.s["kernelz"], self.s["kernely"])
        self.first = self.slot(
            f"[{_MOST_TAPS} x i64]"
        )  # the number of the first tap in each row that is read

    # ---- places ----

    def each_unit(self, name: str) -> Any:
        """A loop over rows of the sizes `name`: (image, plane, row) of each as variables, and what goes on to the next."""
        y, z = self.s[f"{name}y"], self.s[f"{name}z"]
        rest = self.word("udiv", "%lo", y)
        start = (self.word("udiv", rest, z), self.word("urem", rest, z), self.word("urem", "%lo", y))
        image, plane, row = (self.variable("i64", v) for v in start)

        def advance() -> None:
            row.set(self.word("add", row.get(), 1))
            with self.when(self.compare("eq", row.get(), y)):
                row.set(0)
                plane.set(self.word("add", plane.get(), 1))
                with self.when(self.compare("eq", plane.get(), z)):
                    plane.set(0)
                    image.set(self.word("add", image.get(), 1))

        return (image, plane, row), advance

    def row(self, base: str, kind: Storage, name: str, image: str, plane: str, row: str) -> str:
        """The address of a row."""
        s = self.s
        planes = self.word("add", self.word("mul", image, s[f"{name}z"]), plane)
        rows = self.word("add", self.word("mul", planes, s[f"{name}y"]), row)
        return self.at(base, self.word("mul", rows, s[f"{name}x"]), kind.itemsize)

    # ---- rows ----

    def copy(self, kind: Storage, source: str, target: str, width: str) -> None:
        """Copy a row of `width` elements and nothing beside it."""
        whole = self.word("and", width, -self.lanes)
        with self.loop(0, whole, self.lanes) as c:
            ref = self.memory.load(kind, self.at(source, c, kind.itemsize))
            self.memory.store(kind, ref, self.at(target, c, kind.itemsize))
        rest = self.word("sub", width, whole)
        with self.when(self.compare("ne", rest, 0)):
            ref = self.memory.load_part(kind, self.at(source, whole, kind.itemsize), rest, "")
            self.memory.store_part(kind, ref, self.at(target, whole, kind.itemsize), rest, "")


def _write_maxima(kind: Storage, taps: int, stride: int, dilation: int, places: bool) -> str:
    """A unit is a row of the result. Arrays: the result (values, or numbers of taps as bytes), room, the input."""
    k = _Rows(kind)
    s, lanes, item = k.s, k.lanes, k.item
    out, x = k.load("ptr", "%arrays", 0), k.load("ptr", "%arrays", 2)
    lowest = k.const(-math.inf, kind.compute)
    rows = k.slot(f"[{_MOST_TAPS} x ptr]")
    step = k.word("mul", s["pitch"], item)
    if not k.masked:
        with k.loop(0, k.word("mul", k.most, s["pitch"]), lanes) as at:
            k.memory.store(kind, lowest.ref, k.at(k.room, at, item))
    (image, plane, row), advance = k.each_unit("out")
    with k.loop("%lo", "%hi"):
        seen = k.variable("i64", 0)
        k.store("i64", 0, k.first)
        first_z = k.word("sub", k.word("mul", plane.get(), s["stridez"]), s["paddingz"])
        first_y = k.word("sub", k.word("mul", row.get(), s["stridey"]), s["paddingy"])
        with k.loop(0, s["kernelz"]) as a:
            z = k.word("add", first_z, k.word("mul", a, s["dilationz"]))
            with k.when(k.compare("ult", z, s["sizez"])), k.loop(0, s["kernely"]) as b:
                y = k.word("add", first_y, k.word("mul", b, s["dilationy"]))
                with k.when(k.compare("ult", y, s["sizey"])):
                    number = k.word("add", k.word("mul", a, s["kernely"]), b)
                    k.store("i64", k.word("mul", number, taps), k.first, seen.get())
                    source = k.row(x, kind, "size", image.get(), z, y)
                    if not k.masked:
                        buffer = k.at(k.room, k.word("mul", seen.get(), step))
                        buffer = k.at(buffer, s["padding"], item)
                        k.copy(kind, source, buffer, s["sizex"])
                        source = buffer
                    k.store("ptr", source, rows, seen.get())
                    seen.set(k.word("add", seen.get(), 1))
        count = seen.get()
        own = _BYTE if places else kind
        target = k.row(out, own, "out", image.get(), plane.get(), row.get())
        with k.loop(0, s["outx"], lanes) as j:
            column = k.word("sub", k.word("mul", j, stride), s["padding"])
            starts = {
                (t * dilation // stride, m): k.word(
                    "add", column, t * dilation // stride * stride + m * lanes
                )
                for t in range(taps)
                for m in range(stride)
            }
            masks = {at: k.inside(start, s["sizex"]) for at, start in starts.items()}
            best = k.variable(k.vector(kind.compute), lowest.ref)
            tap = k.variable(k.vector(k.number), "zeroinitializer")
            # NaN is looked for beside, so that the chain from maximum to maximum is one instruction long
            if places:
                undefined = k.variable(k.vector(k.number), k.const(-1, k.number).ref)
            else:
                undefined = k.variable(k.vector("i1"), "zeroinitializer")
            if places:
                # where all is minus infinity, the first tap inside of the input counts
                before = k.const(0, k.number)
                for t in range(taps - 1):
                    place = k.splat_word(k.word("add", column, t * dilation)) + k.iota * stride
                    before = before + k.select(place < 0, k.const(1, k.number), k.const(0, k.number))
                tap.set((k.splat_word(k.load("i64", k.first)) + before).ref)
            with k.loop(0, count) as r:
                source = k.load("ptr", rows, r)
                base = k.splat_word(k.load("i64", k.first, r)) if places else None
                parts = {at: k.fetch(kind, source, starts[at], masks[at], lowest.ref) for at in starts}
                for t in range(taps):
                    whole, phase = divmod(t * dilation, stride)
                    part = k.phase([parts[whole, m] for m in range(stride)], phase)
                    old = Value(k, best.get(), kind.compute)
                    better = part > old
                    best.set(k.select(better, part, old).ref)
                    if base is None:
                        found = Value(k, undefined.get(), COMPUTE["bool"]) | k.isnan(part)
                        undefined.set(found.ref)
                        continue
                    tap.set(k.select(better, base + t, Value(k, tap.get(), k.number)).ref)
                    found = k.select(k.isnan(part), base + t, Value(k, undefined.get(), k.number))
                    undefined.set(found.ref)
            if places:
                last = Value(k, undefined.get(), k.number)
                chosen = k.select(last < 0, Value(k, tap.get(), k.number), last)
                result = k.convert("trunc", chosen, COMPUTE["uint8"]).ref
            else:
                mask = Value(k, undefined.get(), COMPUTE["bool"])
                result = k.select(mask, math.nan, Value(k, best.get(), kind.compute)).ref
            if k.masked:
                k.put(own, result, target, j, k.inside(j, s["outx"]))
            else:
                left = k.smaller(k.word("sub", s["outx"], j), lanes)
                k.memory.store_part(own, result, k.at(target, j, own.itemsize), left, "")
        advance()
    return finish(k)


def _write_spread(kind: Storage, taps: int, strides: Sizes, dilation: int) -> str:
    """A unit is a row of the input. Arrays: its gradient, room, the result's gradient, the numbers of the taps.

    Column c of a row, counted from its padding on, is met by tap t of window q if ``c = q * stride + t * dilation``:
    so columns with one remainder see the same taps, each moved by a whole number of windows.
    """
    k = _Rows(kind)
    s, lanes, item, stride = k.s, k.lanes, k.item, strides[2]
    x, g, chosen = (k.load("ptr", "%arrays", i) for i in (0, 2, 3))
    back = (taps - 1) * dilation // stride  # how far the taps reach
    rows = {own: k.slot(f"[{_MOST_TAPS} x ptr]") for own in (kind, _BYTE)}
    nothing = k.const(_NOTHING, COMPUTE["uint8"])
    steps = k.word("sub", s["pitch"], back + lanes)
    assembled = k.room
    values = k.at(assembled, k.word("mul", steps, stride), item)
    numbers = k.at(values, k.word("mul", k.most, s["pitch"]), item)
    if not k.masked:
        with k.loop(0, k.word("mul", k.most, s["pitch"]), lanes) as at:  # there is a vector's room behind
            k.memory.store(_BYTE, nothing.ref, k.at(numbers, at))
    (image, plane, row), advance = k.each_unit("size")
    with k.loop("%lo", "%hi"):
        seen = k.variable("i64", 0)
        from_z = k.word("add", plane.get(), s["paddingz"])
        from_y = k.word("add", row.get(), s["paddingy"])
        with k.loop(0, s["kernelz"]) as a:
            z, inside_z = _window(k, "z", strides[0], from_z, a)
            with k.when(inside_z), k.loop(0, s["kernely"]) as b:
                y, inside_y = _window(k, "y", strides[1], from_y, b)
                with k.when(inside_y):
                    number = k.word("add", k.word("mul", a, s["kernely"]), b)
                    k.store("i64", k.word("mul", number, taps), k.first, seen.get())
                    line = k.word("add", k.word("mul", seen.get(), s["pitch"]), back)
                    for base, own, to in ((g, kind, values), (chosen, _BYTE, numbers)):
                        source = k.row(base, own, "out", image.get(), z, y)
                        if not k.masked:
                            buffer = k.at(to, line, own.itemsize)
                            k.copy(own, source, buffer, s["outx"])
                            source = buffer
                        k.store("ptr", source, rows[own], seen.get())
                    seen.set(k.word("add", seen.get(), 1))
        count = seen.get()
        target = k.row(x, kind, "size", image.get(), plane.get(), row.get())
        with k.loop(0, steps, lanes) as q:
            moves = sorted({t * dilation // stride for t in range(taps)})
            starts = {m: k.word("sub", q, m) for m in moves}
            masks = {m: k.inside(starts[m], s["outx"]) for m in moves}
            sums = [k.variable(k.vector(kind.compute), "zeroinitializer") for _ in range(stride)]
            with k.loop(0, count) as r:
                number = k.emit(f"trunc i64 {k.load('i64', k.first, r)} to i8")
                first = k.splat(number, COMPUTE["uint8"])
                lines = {own: k.load("ptr", rows[own], r) for own in rows}
                for t in range(taps):
                    moved, phase = divmod(t * dilation, stride)
                    part = k.fetch(kind, lines[kind], starts[moved], masks[moved], "zeroinitializer")
                    tap = k.fetch(_BYTE, lines[_BYTE], starts[moved], masks[moved], nothing.ref)
                    old = Value(k, sums[phase].get(), kind.compute)
                    sums[phase].set((old + k.select(tap == first + t, part, 0.0)).ref)
            column = k.word("mul", q, stride)
            row_start = target if k.masked else assembled
            if k.masked:
                column = k.word("sub", column, s["padding"])
            for m, part in enumerate(k.together([Value(k, v.get(), kind.compute) for v in sums])):
                start = k.word("add", column, m * lanes)
                k.put(kind, part.ref, row_start, start, k.inside(start, s["sizex"]))
        if not k.masked:
            k.copy(kind, k.at(assembled, s["padding"], item), target, s["sizex"])
        advance()
    return finish(k)


def _window(k: _Rows, dim: str, stride: int, place: str, tap: str) -> tuple[str, str]:
    """The window whose `tap` is at a place of the padded input, and whether there is one."""
    first = k.word("sub", place, k.word("mul", tap, k.s[f"dilation{dim}"]))
    window = k.word("udiv", first, stride)  # of what is negative: a number too large
    whole = k.compare("eq", k.word("urem", first, stride), 0)
    return window, k.emit(f"and i1 {whole}, {k.compare('ult', window, k.s[f'out{dim}'])}")


@cache
def _maxima(dtype: np.dtype[Any], taps: int, stride: int, dilation: int, places: bool) -> Callable[..., None]:
    kind = storage(dtype)
    text = _write_maxima(kind, taps, stride, dilation, places)
    kinds = [_BYTE if places else kind, _BYTE, kind]
    return make_unit_kernel("maxima", text, 2, kinds, len(_SCALARS))


@cache
def _spread(dtype: np.dtype[Any], taps: int, strides: Sizes, dilation: int) -> Callable[..., None]:
    kind = storage(dtype)
    text = _write_spread(kind, taps, strides, dilation)
    return make_unit_kernel("spread", text, 2, [kind, _BYTE, kind, _BYTE], len(_SCALARS))


def _three(values: Sizes, missing: int) -> Sizes:
    return (missing,) * (3 - len(values)) + tuple(values)


class _Setting:
    """The windows' numbers in three dims."""

    def __init__(
        self,
        size: Sizes,
        out: Sizes,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        dilation: Sizes,
        dtype: np.dtype[Any],
    ) -> None:
        if dtype not in FLOATS:
            raise UnsupportedError(f"no windows of {dtype} here")
        if not 0 < len(size) <= 3:
            raise UnsupportedError(f"no windows over {len(size)} dims here")
        self.size, self.out, self.kernel = (_three(v, 1) for v in (size, out, kernel))
        self.stride, self.padding, self.dilation = (
            _three(v, n) for v, n in ((stride, 1), (padding, 0), (dilation, 1))
        )
        self.taps = math.prod(self.kernel)
        if self.taps > _MOST_TAPS or self.kernel[2] > _MOST_ALONG or self.stride[2] > _LONGEST_STRIDE:
            raise UnsupportedError(f"no windows of {kernel} with stride {stride} here")
        self.lanes = engine.host().vector_bits // (8 * dtype.itemsize)
        self.rows = self.kernel[0] * self.kernel[1]
        moves = [v[d] for v in (self.kernel, self.stride, self.padding, self.dilation) for d in (0, 1)]
        self.words = (*self.size, *self.out, *moves, self.padding[2])

    def up(self, n: int) -> int:
        """Rounded up to whole vectors."""
        return -(-n // self.lanes) * self.lanes


@lru_cache(maxsize=256)
def _known(*settings: Any) -> _Setting:
    return _Setting(*settings)


def _setting(size: Sizes, out: Sizes, w: Any, dtype: np.dtype[Any]) -> _Setting:
    """Raises: UnsupportedError where there is no kernel."""
    return _known(size, out, w.kernel, w.stride, w.padding, w.dilation, dtype)


def _room(units: int, grain: int, slot: int) -> Array:
    """Memory for each part of the work, where there are no masks."""
    slots = 0 if engine.host().has(*MASKS) else -(-units // grain) * slot
    return empty((slots,), _BYTE.numpy)


def _run_maxima(x: Array, w: Any, places: bool) -> Array:
    n = len(w.kernel)
    q = _setting(x.shape[x.ndim - n :], tuple(w.out), w, x.dtype)
    shape = (*x.shape[: x.ndim - n], *w.out)
    result: Array = empty(shape, _BYTE.numpy if places else x.dtype)
    if not result.size:
        return result
    x = np.ascontiguousarray(x)
    stride, taps, along = q.stride[2], q.kernel[2], (q.kernel[2] - 1) * q.dilation[2]
    # what vectors of windows read, and what is copied
    pitch = q.up(max(q.up(q.out[2]) * stride + along, q.size[2] + q.padding[2]))
    slot = (q.rows * pitch + q.lanes) * x.itemsize
    units = math.prod(shape[:-1])
    work = q.rows * (4 + (q.size[2] + taps * stride * q.up(q.out[2])) // (2 * q.lanes))
    grain = share_with_room(units, work)
    _maxima(x.dtype, taps, stride, q.dilation[2], places)(
        result, _room(units, grain, slot), x, units, work, grain, slot, *q.words, pitch
    )
    return result


def max_values(x: Array, w: Any) -> Array:
    """The largest element of each window over the last dims; NaN where there is one.

    `w` has `kernel`, `stride`, `padding`, `dilation` and `out`, the result's size, with a number for each dim.
    Raises: UnsupportedError for other dtypes than float32 and float64, more than three dims, long strides or windows.

    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from flambeau.compiler.pooling import max_values
    >>> w = SimpleNamespace(kernel=(3,), stride=(2,), padding=(1,), dilation=(1,), out=(3,))
    >>> max_values(np.array([[5.0, 1.0, 2.0, 4.0, 3.0]]), w)
    array([[5., 4., 4.]])
    """
    return _run_maxima(x, w, False)


def max_taps(x: Array, w: Any) -> Array:
    """Where in its window each maximum lies, in row-major order: the first of several, the last NaN. Bytes.

    Raises: as `max_values`.
    """
    return _run_maxima(x, w, True)


def spread_taps(g: Array, taps: Array, w: Any) -> Array:
    """The gradient in the input, of the last dims ``w.size``, from the result's and `max_taps`.

    Raises: as `max_values`.

    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from flambeau.compiler.pooling import spread_taps
    >>> w = SimpleNamespace(kernel=(3,), stride=(2,), padding=(1,), dilation=(1,), out=(3,), size=(5,))
    >>> spread_taps(np.array([[1.0, 2.0, 3.0]]), np.array([[1, 2, 0]], np.uint8), w)
    array([[1., 0., 0., 5., 0.]])
    """
    if taps.dtype != np.uint8:
        raise UnsupportedError(f"no taps of {taps.dtype} here")
    n = len(w.kernel)
    q = _setting(tuple(w.size), g.shape[g.ndim - n :], w, g.dtype)
    result: Array = empty((*g.shape[: g.ndim - n], *w.size), g.dtype)
    if not result.size:
        return result
    if not g.size:
        result[...] = 0
        return result
    g, taps = np.ascontiguousarray(g), np.ascontiguousarray(taps)
    stride, along, dilation = q.stride[2], q.kernel[2], q.dilation[2]
    steps = q.up((q.size[2] + q.padding[2] - 1) // stride + 1)
    pitch = steps + (along - 1) * dilation // stride + q.lanes
    slot = steps * stride * g.itemsize + q.rows * pitch * (g.itemsize + 1) + q.lanes
    units = result.size // q.size[2]
    met = -(-q.kernel[0] // q.stride[0]) * -(-q.kernel[1] // q.stride[1])
    work = 4 + met * (4 + (q.out[2] + along * steps) // (2 * q.lanes)) + q.size[2] // q.lanes
    grain = share_with_room(units, work)
    _spread(g.dtype, along, q.stride, dilation)(
        result, _room(units, grain, slot), g, taps, units, work, grain, slot, *q.words, pitch
    )
    return result
