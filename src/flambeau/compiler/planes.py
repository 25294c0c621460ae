"""Images laid out so that a convolution is a sum over taps of stretches of memory.

A plane holds an image's channel with the zeros around it. With a stride it is taken apart first: places with one
remainder, in each dim, lie beside each other, as far as taps meet them. Then the place that a tap reads for the output
at flat place p is ``p + shift``, with one shift for each tap, whatever the stride, dilation and padding.
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
from .image_rows import ImageRows
from .types import Storage, UnsupportedError, storage
from .unit_kernel import finish, make_unit_kernel, share
from .vector_loop import MASKS

__all__ = ["Planes", "lay_out", "planes"]

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]
_LONGEST_STRIDE = 4
_SCALARS = (
    *("units", "work", "grain", "pitch", "block", "sizez", "sizey", "sizex", "rowsz", "rowsy", "rowsx"),
    *("phasesz", "phasesy", "stridez", "stridey", "paddingz", "paddingy", "paddingx"),
)
_INT64 = np.dtype(np.int64)


def three(values: Sizes, missing: int) -> Sizes:
    """Numbers for three dims; images of fewer have one plane, and one row."""
    return (missing,) * (3 - len(values)) + tuple(values)


class Planes:
    """Where things lie. `rows` are the sizes of one part of a plane, and of the planes of results with what is no result.

    `block` is the distance of the parts with one remainder along the row, `pitch` that of planes, `used` counts the
    places up to the last result.
    """

    def __init__(
        self,
        size: Sizes,
        kernel: Sizes,
        stride: Sizes,
        padding: Sizes,
        dilation: Sizes,
        out: Sizes,
        lanes: int,
    ) -> None:
        if not 0 < len(size) <= 3:
            raise UnsupportedError(f"no convolution over {len(size)} dims here")
        self.size, self.kernel, self.stride = three(size, 1), three(kernel, 1), three(stride, 1)
        self.padding, dilation = three(padding, 0), three(dilation, 1)
        if self.stride[2] > _LONGEST_STRIDE:
            raise UnsupportedError(f"no convolution with stride {self.stride[2]} along rows here")
        self.out = three(out, 1)
        places = [[t * d for t in range(k)] for k, d in zip(self.kernel, dilation)]
        self.phases = tuple([tuple(sorted({a % s for a in each})) for each, s in zip(places, self.stride)])
        self.rows = tuple([o + each[-1] // s for o, each, s in zip(self.out, places, self.stride)])
        self.used = ((self.out[0] - 1) * self.rows[1] + self.out[1] - 1) * self.rows[2] + self.out[2]
        part = math.prod(self.rows)
        self.block = len(self.phases[0]) * len(self.phases[1]) * part + lanes
        self.pitch = len(self.phases[2]) * self.block
        shifts: Array = np.zeros((), np.int64)
        steps = (len(self.phases[1]) * part, part, self.block)  # between parts
        inner = (self.rows[1] * self.rows[2], self.rows[2], 1)
        for each, s, found, step, distance in zip(places, self.stride, self.phases, steps, inner):
            moves = [found.index(a % s) * step + a // s * distance for a in each]
            shifts = np.add.outer(shifts, np.array(moves, np.int64))
        self.shifts: Array = np.ascontiguousarray(shifts.reshape(-1))
        self.results: Planes | None = None
        self.words = (
            *self.size,
            *self.rows,
            len(self.phases[0]),
            len(self.phases[1]),
            *self.stride[:2],
            *self.padding,
        )
        self.table: Array = np.array([*self.phases[0], *self.phases[1]], np.int64)

    def of_results(self, lanes: int) -> Planes:
        """Planes of results at the same places, zero where there is no result; a whole number of vectors each."""
        if self.results is not None:
            return self.results
        q = self.results = object.__new__(Planes)
        q.size, q.kernel, q.stride, q.padding, q.out = self.out, (1, 1, 1), (1, 1, 1), (0, 0, 0), self.out
        q.phases, q.rows, q.used = ((0,), (0,), (0,)), (self.out[0], *self.rows[1:]), self.used
        q.block = q.pitch = -(-math.prod(q.rows) // lanes) * lanes + lanes
        q.words, q.results = (*q.size, *q.rows, 1, 1, 1, 1, *q.padding), None
        q.shifts, q.table = np.zeros(1, np.int64), np.zeros(2, np.int64)
        return q


@lru_cache(maxsize=256)
def planes(
    size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, out: Sizes, lanes: int
) -> Planes:
    """The one of these settings: `padding` may be negative, and `out` anything; what is not there is zero.

    Raises: UnsupportedError for more than three dims and for long strides.
    """
    return Planes(size, kernel, stride, padding, dilation, out, lanes)


def _write(kind: Storage, stride: int, phases: Sizes) -> str:
    """A unit is a plane. Arrays: the planes laid out, the images, remainders of planes and rows."""
    k = ImageRows(kind)
    lanes = k.lanes
    out, x, table = (k.load("ptr", "%arrays", i) for i in range(3))
    s = {field: k.load("i64", "%scalars", i) for i, field in enumerate(_SCALARS)}
    beyond = k.at(table, s["phasesz"], 8)
    plane_rows = k.word("mul", s["sizez"], s["sizey"])
    filled = k.word("mul", s["phasesz"], s["phasesy"])
    for d in "zyx":
        filled = k.word("mul", filled, s[f"rows{d}"])
    with k.loop("%lo", "%hi") as unit:
        source = k.at(x, k.word("mul", unit, k.word("mul", plane_rows, s["sizex"])), k.item)
        target = k.at(out, k.word("mul", unit, s["pitch"]), k.item)
        with k.loop(filled, s["block"], lanes) as at:  # what is read beyond a part must be a number
            at = k.smaller(at, k.word("sub", s["block"], lanes))
            for i in range(len(phases)):
                end = k.word("add", k.word("mul", s["block"], i), at)
                k.memory.store(kind, "zeroinitializer", k.at(target, end, k.item))
        line = k.variable("i64", 0)
        with (
            k.loop(0, s["phasesz"]) as iz,
            k.loop(0, s["phasesy"]) as iy,
            k.loop(0, s["rowsz"]) as qz,
            k.loop(0, s["rowsy"]) as qy,
        ):
            z = k.word("add", k.word("mul", qz, s["stridez"]), k.load("i64", table, iz))
            z = k.word("sub", z, s["paddingz"])
            y = k.word("add", k.word("mul", qy, s["stridey"]), k.load("i64", beyond, iy))
            y = k.word("sub", y, s["paddingy"])
            is_row = k.emit(f"and i1 {k.compare('ult', z, s['sizez'])}, {k.compare('ult', y, s['sizey'])}")
            # a row that does not exist has no places
            width = k.emit(f"select i1 {is_row}, i64 {s['sizex']}, i64 0")
            row = k.word("add", k.word("mul", z, s["sizey"]), y)
            own = k.at(source, k.word("mul", row, s["sizex"]), k.item)
            start = k.at(target, line.get(), k.item)
            with k.loop(0, s["rowsx"], lanes) as q:
                first = k.word("sub", k.word("mul", q, stride), s["paddingx"])
                parts = []
                for m in range(stride):
                    place = k.word("add", first, m * lanes)
                    parts.append(k.fetch(kind, own, place, k.inside(place, width), "zeroinitializer"))
                for i, phase in enumerate(phases):
                    place = k.word("add", k.word("mul", s["block"], i), q)
                    k.memory.store(kind, k.phase(parts, phase).ref, k.at(start, place, k.item))
            line.set(k.word("add", line.get(), s["rowsx"]))
    return finish(k)


@cache
def _kernel(dtype: np.dtype[Any], stride: int, phases: Sizes) -> Callable[..., None]:
    kind = storage(dtype)
    text = _write(kind, stride, phases)
    return make_unit_kernel("planes", text, 1, [kind, kind, _INT64], len(_SCALARS))


def lay_out(x: Array, q: Planes, slack: int) -> Array:
    """Images (N, C, *size) as planes (N * C, pitch), in one vector with `slack` readable elements behind."""
    count = x.shape[0] * x.shape[1]
    memory: Array = empty((count * q.pitch + slack,), x.dtype)
    if not engine.host().has(*MASKS):
        _lay_out_by_numpy(x, q, memory[: count * q.pitch])
        return memory
    lanes = engine.host().vector_bits // (8 * x.itemsize)
    work = q.pitch // (2 * lanes) + 8
    _kernel(x.dtype, q.stride[2], q.phases[2])(
        memory, np.ascontiguousarray(x), q.table, count, work, share(count, work), q.pitch, q.block, *q.words
    )
    return memory


def _lay_out_by_numpy(x: Array, q: Planes, memory: Array) -> None:
    """The same without generated code."""
    count, part = x.shape[0] * x.shape[1], math.prod(q.rows)
    memory[...] = 0
    images, target = x.reshape(count, *q.size), memory.reshape(count, len(q.phases[2]), q.block)
    for iz, pz in enumerate(q.phases[0]):
        for iy, py in enumerate(q.phases[1]):
            first = (iz * len(q.phases[1]) + iy) * part
            for ix, px in enumerate(q.phases[2]):
                own = target[:, ix, first : first + part].reshape(count, *q.rows)
                pairs = [_met(*v) for v in zip(q.size, q.rows, q.stride, (pz, py, px), q.padding)]
                to, at = ((slice(None), *p) for p in zip(*pairs))
                own[to] = images[at]


def _met(size: int, count: int, stride: int, phase: int, padding: int) -> tuple[slice, slice]:
    """(which of `count` places ``i * stride + phase - padding`` are inside, where those are)."""
    low = max(0, -((phase - padding) // stride))
    high = max(low, min(count, (size - 1 - phase + padding) // stride + 1))
    start = low * stride + phase - padding
    return slice(low, high), slice(
        start, start + (high - low - 1) * stride + 1, stride
    ) if high > low else slice(0, 0)
