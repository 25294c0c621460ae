"""A recurrent layer over a whole sequence, forward and back, as one kernel each.

A unit of work is a row of the batch: rows do not meet, so each thread takes its rows through all steps, and there is no
waiting between the steps.  A step is a product (`small_gemm`, the weights stay in the second-level cache) and the
elementwise rest (`recurrent_steps`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy.typing as npt

from ..runtime.pool import empty
from ..runtime.threads import get_num_threads
from . import engine
from .dialect import Value
from .image_rows import ImageRows
from .recurrent_steps import GATES, backward_step, forward_step, keeps_gates
from .small_gemm import NOTHING_ELSE, product_function
from .types import storage
from .unit_kernel import ENOUGH, make_unit_kernel
from .vector_loop import attributes

__all__ = ["panels", "run_back", "run_forward"]

Array = npt.NDArray[Any]
_SCALARS = ("units", "work", "grain", "steps", "batch", "size")
_FORWARD = ("gates", "out", "kept", "room", "weights", "bias", "h0", "c0")
_BACK = ("dx", "dh", "room", "carry", "grad", "gates", "out", "kept", "weights", "h0", "c0")
_OUTPUTS = {"forward": 4, "back": 4}


class _Rows(ImageRows):
    """Code for rows of arrays (steps, batch, some times size)."""

    def __init__(self, kind: Any, arrays: tuple[str, ...]) -> None:
        super().__init__(kind)
        self.p = {name: self.load("ptr", "%arrays", i) for i, name in enumerate(arrays)}
        self.s = {name: self.load("i64", "%scalars", i) for i, name in enumerate(_SCALARS)}
        self.plane = self.word("mul", self.s["batch"], self.s["size"])

    def time(self, step: str, backwards: bool) -> str:
        """The place in the arrays of the step that comes as number `step`."""
        return self.word("sub", self.word("sub", self.s["steps"], 1), step) if backwards else step

    def of_time(self, array: str, time: str, times: int = 1) -> str:
        """Where the rows of a time begin."""
        return self.at(self.p[array], self.word("mul", time, self.word("mul", self.plane, times)), self.item)

    def before(self, array: str, first: str, is_first: str, time: str, reverse: bool) -> str:
        """Where the rows of the state before `time` begin: in the array, or in that of the first state."""
        place = self.of_time(array, self.word("add" if reverse else "sub", time, 1))
        return self.emit(f"select i1 {is_first}, ptr {self.p[first]}, ptr {place}")

    def product(self, a: str, b: str, out: str, n: str, inner: str) -> None:
        """The rows of this thread times a matrix in `panels`; the rows are contiguous."""
        first, rows = "%lo", self.word("sub", "%hi", "%lo")
        wide, narrow = (self.word("mul", x, self.item) for x in (n, inner))
        a = self.at(a, self.word("mul", first, narrow))
        out = self.at(out, self.word("mul", first, wide))
        # Columns by panel: it stays in the first-level cache while all rows meet it.
        with self.loop(0, n, 2 * self.lanes) as j:
            width = self.smaller(self.word("sub", n, j), 2 * self.lanes)
            panel = self.at(b, self.word("mul", j, narrow))
            self.line(
                f"call void @small(ptr {a}, ptr {panel}, ptr {self.at(out, j, self.item)}, i64 {rows}, i64 {width}, "
                f"i64 {inner}, i64 {narrow}, i64 {self.item}, i64 {self.word('mul', width, self.item)}, "
                f"{NOTHING_ELSE}, i64 {wide})"
            )

    def each(self, body: Callable[[str, Callable[..., Value], Callable[..., None]], None]) -> None:
        """``body(row, get, put)`` for each vector of each row; `get` and `put` take a base and a gate's number."""
        size = self.s["size"]
        whole = self.word("and", size, -self.lanes)

        def vector(row: str, j: str, count: str, mask: str) -> None:
            def place(base: str, gate: int, gates: int) -> str:
                start = self.word("mul", self.word("add", self.word("mul", row, gates), gate), size)
                return self.at(base, self.word("add", start, j), self.item)

            def get(base: str, gate: int = 0, gates: int = 1, alone: bool = False) -> Value:
                address = self.at(base, j, self.item) if alone else place(base, gate, gates)
                if count:
                    ref = self.memory.load_part(self.kind, address, count, mask)
                else:
                    ref = self.memory.load(self.kind, address)
                return Value(self, ref, self.kind.compute)

            def put(value: Value, base: str, gate: int = 0, gates: int = 1) -> None:
                if count:
                    self.memory.store_part(self.kind, value.ref, place(base, gate, gates), count, mask)
                else:
                    self.memory.store(self.kind, value.ref, place(base, gate, gates))

            body(row, get, put)

        with self.loop("%lo", "%hi") as row:
            with self.loop(0, whole, self.lanes) as j:
                vector(row, j, "", "")
            with self.loop(whole, size, self.lanes) as j:
                count = self.word("sub", size, j)
                vector(row, j, count, self.memory.mask(count))

    def finish(self) -> str:
        self.line("ret void")
        function = self.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")
        declarations, product = product_function(self.kind.name, apart=True)
        return "\n".join([*(declarations | self.declarations).values(), product, function]) + attributes(
            self.host
        )


def _write_forward(mode: str, name: str, reverse: bool) -> str:
    k = _Rows(storage(name), _FORWARD)
    n = GATES[mode]
    wide = k.word("mul", k.s["size"], n)
    with k.loop(0, k.s["steps"]) as step:
        time = k.time(step, reverse)
        is_first = k.compare("eq", step, 0)
        h = k.before("out", "h0", is_first, time, reverse)
        c = k.before("kept", "c0", is_first, time, reverse) if mode == "LSTM" else ""
        k.product(h, k.p["weights"], k.p["room"], wide, k.s["size"])
        gates, out = k.of_time("gates", time, n), k.of_time("out", time)
        kept = k.of_time("kept", time) if keeps_gates(mode) else ""

        def write(row: str, get: Any, put: Any) -> None:
            x = [get(gates, i, n) for i in range(n)]
            r = [get(k.p["room"], i, n) for i in range(n)]
            bias = get(k.p["bias"], alone=True) if mode == "GRU" else None
            found, beside, y = forward_step(
                mode, k, x, r, bias, get(h) if mode == "GRU" else None, get(c) if c else None
            )
            for i, gate in enumerate(found):
                put(gate, gates, i, n)
            if kept:
                put(beside, kept)
            put(y, out)

        k.each(write)
    return k.finish()


def _write_back(mode: str, name: str, reverse: bool) -> str:
    k = _Rows(storage(name), _BACK)
    n = GATES[mode]
    wide = k.word("mul", k.s["size"], n)
    last = k.word("sub", k.s["steps"], 1)
    with k.loop(0, k.s["steps"]) as step:
        time = k.time(step, not reverse)
        is_first = k.compare("eq", step, last)  # of the forward steps
        h = k.before("out", "h0", is_first, time, reverse)
        c = k.before("kept", "c0", is_first, time, reverse) if mode == "LSTM" else ""
        gates, dx, dh = (k.of_time(a, time, n) for a in ("gates", "dx", "dh"))
        out, kept, grad = (k.of_time(a, time) for a in ("out", "kept", "grad"))

        def write(row: str, get: Any, put: Any) -> None:
            more = keeps_gates(mode)
            g = get(grad) + get(k.p["room"])
            carry = get(k.p["carry"]) if more else None
            if mode == "GRU":
                g = g + carry
            parts, others, carry = backward_step(
                mode,
                k,
                [get(gates, i, n) for i in range(n)] if more else [],
                get(kept) if more else None,
                None if more else get(out),
                get(h) if mode == "GRU" else None,
                get(c) if c else None,
                g,
                carry,
            )
            for i, part in enumerate(parts):
                put(part, dx, i, n)
            if mode == "GRU":
                for i, part in enumerate(others):
                    put(part, dh, i, n)
            if more:
                put(carry, k.p["carry"])

        k.each(write)
        k.product(dh if mode == "GRU" else dx, k.p["weights"], k.p["room"], k.s["size"], wide)
    return k.finish()


@cache
def _kernel(way: str, mode: str, name: str, reverse: bool) -> Callable[..., None]:
    text = (_write_forward if way == "forward" else _write_back)(mode, name, reverse)
    arrays = _FORWARD if way == "forward" else _BACK
    return make_unit_kernel(
        f"{mode.lower()}_{way}", text, _OUTPUTS[way], [storage(name)] * len(arrays), len(_SCALARS)
    )


def panels(weights: Array) -> Array:
    """A matrix (inner, columns) as the kernels read it: columns in groups of two vectors, each row by row."""
    kind = storage(weights.dtype.name)
    width = 2 * engine.host().vector_bits // kind.compute.bits
    inner, columns = weights.shape
    whole = columns - columns % width
    out = empty((weights.size,), weights.dtype)
    front = out[: inner * whole].reshape(whole // width, inner, width)
    front[...] = weights[:, :whole].reshape(inner, whole // width, width).swapaxes(0, 1)
    out[inner * whole :].reshape(inner, columns - whole)[...] = weights[:, whole:]
    return out


def _share(rows: int, work: int) -> int:
    """Rows that a thread takes at a time: whole blocks of the product, the same number for each thread."""
    if rows * work < 2 * ENOUGH:
        return rows
    return min(rows, -(-rows // (8 * get_num_threads())) * 8)


def _run(way: str, mode: str, reverse: bool, arrays: tuple[Array, ...], shape: tuple[int, ...]) -> None:
    steps, batch, size = shape
    work = max(1, steps * GATES[mode] * size * (size + 40) // 25)
    name = arrays[0].dtype.name
    _kernel(way, mode, name, reverse)(*arrays, batch, work, _share(batch, work), steps, batch, size)


def run_forward(
    mode: str,
    gates: Array,
    weights: Array,
    bias: Array,
    h0: Array,
    c0: Array,
    out: Array,
    kept: Array,
    reverse: bool,
) -> None:
    """All steps of a layer; everything is contiguous and of one dtype, float32 or float64.

    `gates` (steps, batch, gates · size) holds the input's share, with biases, and becomes the gates; `weights` are the
    `panels` of a matrix (size, gates · size); `bias` (size,) is added to a GRU's third share of the state. `out` and `kept` (cells of an
    LSTM; of a GRU the third share of the state) are written, (steps, batch, size).
    """
    room = empty((out.shape[1], gates.shape[2]), gates.dtype)
    _run("forward", mode, reverse, (gates, out, kept, room, weights, bias, h0, c0), out.shape)


def run_back(
    mode: str,
    grad: Array,
    gates: Array,
    out: Array,
    kept: Array,
    weights: Array,
    h0: Array,
    c0: Array,
    dx: Array,
    dh: Array,
    state: Array,
    carry: Array,
    reverse: bool,
) -> None:
    """All steps back: `dx` and, of a GRU, `dh`, like `gates`, are written: gradients in both shares of the gates.

    `weights` are the `panels` of a matrix (gates · size, size). `state` and `carry` hold the gradients of the last state, and become those of
    the first one: h (without `carry`, for a GRU), and c.
    """
    _run("back", mode, reverse, (dx, dh, state, carry, grad, gates, out, kept, weights, h0, c0), out.shape)
