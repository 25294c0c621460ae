"""Attention without the matrix of weights, and its gradients.

``softmax(q k^T * scale) v`` by blocks of keys, with a running maximum and sum for each query (M. Milakov and N.
Gimelshein, *Online normalizer calculation for softmax*, 2018; T. Dao et al., *FlashAttention*, 2022).  The gradients
compute the weights again from each query's log-sum.

The blocks are transposed, keys down and queries across the lanes of vectors: maxima and sums over keys are then
elementwise, and a block of weights is laid out as the products' second factor has to be (`packed_gemm`), so nothing
is packed between the two products.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from ..runtime.threads import get_num_threads
from . import engine, launch, native
from .dialect import Value
from .packed_gemm import PanelWriter, panel_sizes, write_parts
from .types import storage
from .vector_loop import attributes, load_scalar

__all__ = ["attention", "attention_backward"]

Array = npt.NDArray[Any]
_ENOUGH = 96  # queries of a part at least: each part packs the keys for itself

# What a kernel reads: arrays, then sizes and places from a table of words.  Distances are in bytes, three for each
# array of (batch, heads, length, size): of batches, heads and rows.
_SIZES = ("heads", "parts", "part", "queries", "keys", "size", "vsize", "causal")
_FORWARD = ("o", "lse", "room", "q", "k", "v", "table")
_BACKWARD = ("dq", "dk", "dv", "room", "g", "q", "k", "v", "o", "lse", "table")
_FORWARD_PLACES = ("kpanels", "vpanels", "qpanel", "s", "sum")
_BACKWARD_PLACES = (
    *("kpanels", "vpanels", "kturned", "qpanel", "gpanel", "opanel", "qturned", "gturned"),
    *("s", "t", "turned", "sum", "ksums", "vsums"),
)
_ROOMLESS = ("lse", "room", "table")


def _fields(arrays: Sequence[str], places: Sequence[str]) -> list[str]:
    """The names of the table's words."""
    steps = [f"{a}.{step}" for a in arrays if a not in _ROOMLESS for step in ("batch", "head", "row")]
    return [*_SIZES, *steps, *places]


@cache
def _block(name: str) -> int:
    """Keys of a block: whole panels in both roles."""
    height, width, _ = panel_sizes(name)
    return math.lcm(height, width)


class _Kernel(PanelWriter):
    """Writes one of the two kernels: ``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)``."""

    def __init__(self, name: str, arrays: Sequence[str], places: Sequence[str]) -> None:
        super().__init__(storage(name))
        self.block_keys = _block(name)
        self.pointers = {a: self.load("ptr", "%arrays", i) for i, a in enumerate(arrays)}
        fields = _fields(arrays, places)
        self.words = {f: self.load("i64", self.pointers["table"], i) for i, f in enumerate(fields)}
        grain, slot = self.load("i64", "%scalars", 2), self.load("i64", "%scalars", 3)
        self.factor = load_scalar(self, 4, self.kind.compute)
        room = self.at(self.pointers["room"], self.word("mul", self.word("udiv", "%lo", grain), slot))
        address = self.emit(f"ptrtoint ptr {room} to i64")
        room = self.at(room, self.word("and", self.word("sub", 0, address), 63))
        self.places = {p: self.at(room, self.words[p]) for p in places}
        self.row = self.width * self.item  # bytes of a row of a block

    def unit(self, index: str, arrays: Sequence[str]) -> tuple[str, str, dict[str, str]]:
        """The number of the head, that of its part, and the head's address in each array."""
        w = self.words
        head, part = self.word("udiv", index, w["parts"]), self.word("urem", index, w["parts"])
        b, h = self.word("udiv", head, w["heads"]), self.word("urem", head, w["heads"])
        found = {}
        for a in arrays:
            offset = self.word(
                "add", self.word("mul", b, w[f"{a}.batch"]), self.word("mul", h, w[f"{a}.head"])
            )
            found[a] = self.at(self.pointers[a], offset)
        return head, part, found

    # ---- packing and products ----

    def pack(
        self, which: str, base: str, across: str | int, along: str | int, size: str, deep: str, to: str
    ) -> None:
        self.line(
            f"call void @pack.{which}(ptr {base}, i64 {across}, i64 {along}, i64 {size}, i64 {deep}, ptr {to})"
        )

    def panel(self, deep: str) -> str:
        """Bytes of a panel of the first factor."""
        return self.word("mul", self.word("add", self.word("mul", deep, self.height), self.lanes), self.item)

    def pack_rows(self, base: str, step: str, rows: str, deep: str, to: str) -> None:
        """Panels of rows: `deep` elements of each."""
        with self.loop(0, rows, self.height) as j:
            target = self.at(to, self.word("mul", self.word("udiv", j, self.height), self.panel(deep)))
            size = self.rest(rows, j, self.height)
            self.pack("a", self.at(base, self.word("mul", j, step)), step, self.item, size, deep, target)

    def pack_columns(self, base: str, step: str, columns: str, deep: str, to: str, room: str | int) -> None:
        """Panels of columns: `deep` rows of each, in panels that have room for `room` rows."""
        with self.loop(0, columns, self.height) as r:
            target = self.at(to, self.word("mul", self.word("udiv", r, self.height), self.panel(str(room))))
            size = self.rest(columns, r, self.height)
            self.pack("a", self.at(base, r, self.item), self.item, step, size, deep, target)

    def multiply(self, deep: str, a: str, b: str, o: str, add: str) -> None:
        self.line(
            f"call void @micro(i64 {deep}, ptr {a}, ptr {b}, ptr {o}, i64 {self.row}, ptr {add}, i64 {self.row})"
        )

    def scores(self, panels: str, deep: str, right: str, start: str, rows: str, to: str) -> None:
        """A block of rows of (packed rows) times (a panel), from row `start` on."""
        with self.loop(0, rows, self.height) as j:
            number = self.word("udiv", self.word("add", start, j), self.height)
            left = self.at(panels, self.word("mul", number, self.panel(deep)))
            self.multiply(deep, left, right, self.at(to, self.word("mul", j, self.row)), "null")

    def combine(
        self,
        panels: str,
        room: str | int,
        start: str | int,
        deep: str,
        block: str,
        dims: str,
        to: str,
        more: str,
    ) -> None:
        """Add (packed columns, `deep` of them from `start` on) times a block; where not `more`, begin with it."""
        offset = self.word("mul", start, self.height * self.item)
        with self.loop(0, dims, self.height) as r:
            number = self.word("udiv", r, self.height)
            left = self.at(self.at(panels, self.word("mul", number, self.panel(str(room)))), offset)
            place = self.at(to, self.word("mul", r, self.row))
            add = self.emit(f"select i1 {more}, ptr {place}, ptr null")
            self.multiply(deep, left, block, place, add)

    # ---- elements ----

    def vectors(self, base: str, index: str) -> list[tuple[str, Value]]:
        """The two vectors of a row of a block, with their addresses."""
        row = self.at(base, self.word("mul", index, self.row))
        found = []
        for v in range(2):
            place = self.at(row, v * self.lanes, self.item)
            found.append((place, Value(self, self.memory.load(self.kind, place), self.kind.compute)))
        return found

    def put(self, value: Value, place: str) -> None:
        self.memory.store(self.kind, value.ref, place)

    def last_keys(self, first: str) -> list[str]:
        """For each lane the last key that its query may see, where the queries begin at `first`."""
        vector = self.vector("i32")
        causal = self.compare("ne", self.words["causal"], 0)
        low = self.emit(f"trunc i64 {first} to i32")
        found = []
        for v in range(2):
            iota = ", ".join(f"i32 {v * self.lanes + i}" for i in range(self.lanes))
            start = self.spread(low)
            reach = self.emit(f"add {vector} {start}, <{iota}>")
            most = ", ".join(["i32 2147483647"] * self.lanes)
            found.append(self.emit(f"select i1 {causal}, {vector} {reach}, {vector} <{most}>"))
        return found

    def spread(self, word: str) -> str:
        """An i32 in all lanes."""
        vector = self.vector("i32")
        one = self.emit(f"insertelement {vector} poison, i32 {word}, i32 0")
        return self.emit(
            f"shufflevector {vector} {one}, {vector} poison, <{self.lanes} x i32> zeroinitializer"
        )

    def seen(self, value: Value, key: str, last: str, otherwise: float) -> Value:
        """The value where the key may be seen."""
        vector = self.vector("i32")
        mask = self.emit(f"icmp sle {vector} {self.spread(self.emit(f'trunc i64 {key} to i32'))}, {last}")
        kind = self.vector(self.kind.compute)
        other = self.const(otherwise, self.kind.compute)
        ref = self.emit(f"select {self.vector('i1')} {mask}, {kind} {value.ref}, {kind} {other.ref}")
        return Value(self, ref, self.kind.compute)

    def write_out(
        self, block: str, base: str, step: str, dims: str, count: str, factors: list[Value]
    ) -> None:
        """Turn a block of (dims, queries or keys) into rows of the result, times a factor for each."""
        with self.loop(0, dims, self.lanes) as r:
            part = self.rest(dims, r, self.lanes)
            mask = self.memory.mask(part)
            done = self.new_label("written")
            for v in range(2):
                columns = []
                for x in range(self.lanes):
                    _, value = self.vectors(block, self.word("add", r, x))[v]
                    columns.append((value * factors[v]).ref)
                for x, ref in enumerate(self.transposed(columns)):
                    number = v * self.lanes + x
                    if number:
                        self.leave_if(self.compare("ule", count, number), done)
                    place = self.at(self.at(base, self.word("mul", step, number)), r, self.item)
                    self.memory.store_part(self.kind, ref, place, part, mask)
            self.branch(done)
            self.label(done)

    def text(self) -> str:
        self.line("ret void")
        function = self.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")
        declarations, parts = write_parts(self.kind)
        declarations |= self.declarations
        return "\n".join([*declarations.values(), *parts, function]) + attributes(engine.host())


def _write_forward(name: str) -> _Kernel:
    k = _Kernel(name, _FORWARD, _FORWARD_PLACES)
    w, places, kind = k.words, k.places, k.kind
    minus = k.const(-math.inf, kind.compute)
    with k.loop("%lo", "%hi") as unit:
        head, part, base = k.unit(unit, "qkvo")
        first = k.word("mul", part, w["part"])
        end = k.word("add", first, k.rest(w["queries"], first, w["part"]))
        causal = k.compare("ne", w["causal"], 0)
        # Keys that no query of this part may see are not packed.
        seen = k.emit(f"select i1 {causal}, i64 {k.smaller(end, w['keys'])}, i64 {w['keys']}")
        k.pack_rows(base["k"], w["k.row"], seen, w["size"], places["kpanels"])
        k.pack_columns(base["v"], w["v.row"], w["vsize"], seen, places["vpanels"], w["keys"])
        with k.loop(first, end, k.width) as i:
            count = k.rest(end, i, k.width)
            q = k.at(base["q"], k.word("mul", i, w["q.row"]))
            k.pack("b", q, w["q.row"], k.item, count, w["size"], places["qpanel"])
            reach = k.smaller(k.word("add", i, k.width), seen)
            last = k.emit(f"select i1 {causal}, i64 {reach}, i64 {seen}")
            limits = k.last_keys(i)
            tops = [k.variable(k.vector(kind.compute), minus.ref) for _ in range(2)]
            sums = [k.variable(k.vector(kind.compute), "zeroinitializer") for _ in range(2)]
            for v in range(2):  # a variable's first value is set once in a function, not in a loop
                tops[v].set(minus.ref)
                sums[v].set("zeroinitializer")
            with k.loop(0, last, k.block_keys) as start:
                rows = k.rest(last, start, k.block_keys)
                k.scores(places["kpanels"], w["size"], places["qpanel"], start, rows, places["s"])
                old = [Value(k, t.get(), kind.compute) for t in tops]
                with k.loop(0, rows) as j:
                    key = k.word("add", start, j)
                    for v, (place, x) in enumerate(k.vectors(places["s"], j)):
                        x = k.seen(x * k.factor, key, limits[v], -math.inf)
                        k.put(x, place)
                        top = Value(k, tops[v].get(), kind.compute)
                        tops[v].set(k.select(x > top, x, top).ref)
                # Subtracting minus infinity from itself would give NaN where only nothing was seen so far.
                tall = [Value(k, t.get(), kind.compute) for t in tops]
                shifts = [k.select(t == -math.inf, 0.0, t) for t in tall]
                scales = [k.exp(o - s) for o, s in zip(old, shifts, strict=True)]
                for v in range(2):
                    sums[v].set((Value(k, sums[v].get(), kind.compute) * scales[v]).ref)
                more = k.compare("ne", start, 0)
                with k.when(more), k.loop(0, w["vsize"]) as r:
                    for v, (place, x) in enumerate(k.vectors(places["sum"], r)):
                        k.put(x * scales[v], place)
                with k.loop(0, rows) as j:
                    for v, (place, x) in enumerate(k.vectors(places["s"], j)):
                        x = k.exp(x - shifts[v])
                        k.put(x, place)
                        sums[v].set((Value(k, sums[v].get(), kind.compute) + x).ref)
                k.combine(
                    places["vpanels"], w["keys"], start, rows, places["s"], w["vsize"], places["sum"], more
                )
            totals = [Value(k, s.get(), kind.compute) for s in sums]
            target = k.at(base["o"], k.word("mul", i, w["o.row"]))
            k.write_out(
                places["sum"], target, w["o.row"], w["vsize"], count, [1.0 / total for total in totals]
            )
            number = k.word("add", k.word("mul", head, w["queries"]), i)
            for v in range(2):
                value = Value(k, tops[v].get(), kind.compute) + k.log(totals[v])
                left = k.call("i64", "llvm.usub.sat.i64", f"i64 {count}", f"i64 {v * k.lanes}")
                here = k.smaller(left, k.lanes)
                place = k.at(k.at(k.pointers["lse"], number, k.item), v * k.lanes, k.item)
                k.memory.store_part(kind, value.ref, place, here, k.memory.mask(here))
    return k


def _write_backward(name: str) -> _Kernel:
    k = _Kernel(name, _BACKWARD, _BACKWARD_PLACES)
    w, places, kind = k.words, k.places, k.kind
    dims = {"k": w["size"], "v": w["vsize"]}
    zero, one = k.const(0.0, kind.compute), k.const(1.0, kind.compute)
    tall = {
        x: k.word("mul", k.quotient_up(n, k.height * k.lanes), k.height * k.lanes * k.row)
        for x, n in dims.items()
    }
    with k.loop("%lo", "%hi") as unit:
        head, _, base = k.unit(unit, ("dq", "dk", "dv", "g", "q", "k", "v", "o"))
        causal = k.compare("ne", w["causal"], 0)
        k.pack_rows(base["k"], w["k.row"], w["keys"], w["size"], places["kpanels"])
        k.pack_rows(base["v"], w["v.row"], w["keys"], w["vsize"], places["vpanels"])
        k.pack_columns(base["k"], w["k.row"], w["size"], w["keys"], places["kturned"], w["keys"])
        groups = k.quotient_up(w["keys"], k.width)
        for x in "kv":
            size = k.word("mul", groups, tall[x])
            k.call(
                "void", "llvm.memset.p0.i64", f"ptr {places[f'{x}sums']}", "i8 0", f"i64 {size}", "i1 false"
            )
        with k.loop(0, w["queries"], k.width) as i:
            count = k.rest(w["queries"], i, k.width)
            rows_of = {x: k.at(base[x], k.word("mul", i, w[f"{x}.row"])) for x in "qgo"}
            for x, n in (("q", w["size"]), ("g", w["vsize"]), ("o", w["vsize"])):
                k.pack("b", rows_of[x], w[f"{x}.row"], k.item, count, n, places[f"{x}panel"])
            for x, n in (("q", w["size"]), ("g", w["vsize"])):
                k.pack_columns(rows_of[x], w[f"{x}.row"], n, count, places[f"{x}turned"], k.width)
            products = [k.variable(k.vector(kind.compute), zero.ref) for _ in range(2)]
            for product in products:
                product.set(zero.ref)
            with k.loop(0, w["vsize"]) as r:
                pairs = zip(k.vectors(places["gpanel"], r), k.vectors(places["opanel"], r), strict=True)
                for v, ((_, g), (_, o)) in enumerate(pairs):
                    products[v].set((Value(k, products[v].get(), kind.compute) + g * o).ref)
            deltas = [Value(k, p.get(), kind.compute) for p in products]
            number = k.word("add", k.word("mul", head, w["queries"]), i)
            levels = []
            for v in range(2):
                left = k.call("i64", "llvm.usub.sat.i64", f"i64 {count}", f"i64 {v * k.lanes}")
                here = k.smaller(left, k.lanes)
                place = k.at(k.at(k.pointers["lse"], number, k.item), v * k.lanes, k.item)
                ref = k.memory.load_part(kind, place, here, k.memory.mask(here))
                levels.append(Value(k, ref, kind.compute))
            reach = k.smaller(k.word("add", i, k.width), w["keys"])
            last = k.emit(f"select i1 {causal}, i64 {reach}, i64 {w['keys']}")
            limits = k.last_keys(i)
            with k.loop(0, last, k.block_keys) as start:
                rows = k.rest(last, start, k.block_keys)
                k.scores(places["kpanels"], w["size"], places["qpanel"], start, rows, places["s"])
                k.scores(places["vpanels"], w["vsize"], places["gpanel"], start, rows, places["t"])
                with k.loop(0, rows) as j:
                    key = k.word("add", start, j)
                    pairs = zip(k.vectors(places["s"], j), k.vectors(places["t"], j), strict=True)
                    for v, ((at_s, s), (at_t, t)) in enumerate(pairs):
                        p = k.seen(k.exp(s * k.factor - levels[v]), key, limits[v], 0.0)
                        k.put(p, at_s)
                        k.put(p * (t - deltas[v]), at_t)
                more = k.compare("ne", start, 0)
                k.combine(
                    places["kturned"], w["keys"], start, rows, places["t"], w["size"], places["sum"], more
                )
                with k.loop(0, rows, k.width) as j:
                    n = k.rest(rows, j, k.width)
                    group = k.word("udiv", k.word("add", start, j), k.width)
                    for block, panels, x in (("s", "gturned", "v"), ("t", "qturned", "k")):
                        origin = k.at(places[block], k.word("mul", j, k.row))
                        k.pack("b", origin, k.row, k.item, n, count, places["turned"])
                        into = k.at(places[f"{x}sums"], k.word("mul", group, tall[x]))
                        k.combine(places[panels], k.width, 0, count, places["turned"], dims[x], into, "true")
            target = k.at(base["dq"], k.word("mul", i, w["dq.row"]))
            k.write_out(places["sum"], target, w["dq.row"], w["size"], count, [k.factor] * 2)
        with k.loop(0, w["keys"], k.width) as j:
            count = k.rest(w["keys"], j, k.width)
            for x, factor in (("k", k.factor), ("v", one)):
                block = k.at(places[f"{x}sums"], k.word("mul", k.word("udiv", j, k.width), tall[x]))
                step = w[f"d{x}.row"]
                k.write_out(
                    block, k.at(base[f"d{x}"], k.word("mul", j, step)), step, dims[x], count, [factor] * 2
                )
    return k


@cache
def _kernel(name: str, backward: bool) -> Callable[..., None]:
    """``kernel(arrays..., units, work, grain, slot, scale)`` for arrays that were checked."""
    arrays = _BACKWARD if backward else _FORWARD
    k = (_write_backward if backward else _write_forward)(name)
    imports = {f: native.libm_address(f) for f in k.libm}
    address, entry = engine.build(k.text(), ["kernel"], imports)["kernel"], launch.launcher()
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)

    def through_ctypes(*arguments: Any) -> None:
        pointers = np.array([a.ctypes.data for a in arguments[: len(arrays)]], np.uint64)
        words = np.array(arguments[len(arrays) : -1] + (0,), np.int64)
        words[-1:].view(np.float64)[0] = arguments[-1]
        run(address, pointers.ctypes.data, words.ctypes.data, int(words[0]), int(words[2]))

    if not entry.units:
        return through_ctypes
    types = [np.dtype(np.int64) if a == "table" else np.dtype(name) for a in arrays]
    descriptor = launch.Descriptor(
        address,
        3 if backward else 2,
        tuple(id(t) for t in types),
        tuple(t.itemsize for t in types),
        (True, True, True, True, False),
        cost=0.01,
    )
    words = np.array(descriptor.words(), np.int64)
    made: Callable[..., None] = native.make_function("attention", entry.units, (words, through_ctypes))
    return made


def _launch(
    name: str, arrays: dict[str, Array], sizes: dict[str, int], rooms: dict[str, int], scale: float
) -> None:
    backward = "dq" in arrays
    order, places = (_BACKWARD, _BACKWARD_PLACES) if backward else (_FORWARD, _FORWARD_PLACES)
    item = np.dtype(name).itemsize
    values, offset = dict(sizes), 0
    for a, x in arrays.items():
        if a not in _ROOMLESS:
            values |= {f"{a}.batch": x.strides[0], f"{a}.head": x.strides[1], f"{a}.row": x.strides[2]}
    for place in places:
        values[place] = offset
        offset += -(-rooms[place] * item // 64) * 64
    slot = offset + 64
    units = sizes["batch"] * sizes["heads"] * sizes["parts"]
    work = sizes["part"] * sizes["keys"] * (sizes["size"] + sizes["vsize"])
    grain = max(1, units // (8 * get_num_threads()), min(units, 100_000 // max(work, 1)))
    table = np.array([values[f] for f in _fields(order, places)], np.int64)
    room = empty((slot // item * -(-units // grain),), np.dtype(name))
    given = {**arrays, "room": room, "table": table}
    _kernel(name, backward)(*[given[a] for a in order], units, work, grain, slot, scale)


def _up(a: int, unit: int) -> int:
    return -(-a // unit) * unit


def _rows(x: Array) -> Array:
    """With contiguous rows."""
    good = x.strides[3] == x.itemsize and x.flags.aligned and all(s >= 0 for s in x.strides)
    return x if good else np.ascontiguousarray(x)


def _outputs(x: Array, size: int) -> Array:
    """Memory for a result of the shape (batch, heads, length, size), with the heads of a place side by side."""
    batch, heads, length, _ = x.shape
    return empty((batch, length, heads, size), x.dtype).transpose(0, 2, 1, 3)


def _check(q: Array, k: Array, v: Array) -> str:
    name: str = q.dtype.name
    if name not in ("float32", "float64") or k.dtype != q.dtype or v.dtype != q.dtype:
        raise TypeError(
            f"q, k and v must be float32 or float64 alike, got {q.dtype}, {k.dtype} and {v.dtype}"
        )
    if (
        not q.ndim == k.ndim == v.ndim == 4
        or k.shape[:3] != v.shape[:3]
        or q.shape[:2] != k.shape[:2]
        or q.shape[3] != k.shape[3]
        or 0 in (*q.shape, *v.shape)
    ):
        raise ValueError(
            "q, k and v must have shapes (batch, heads, length, size), not empty, with equal sizes where they meet; got "
            f"{q.shape}, {k.shape} and {v.shape}"
        )
    return name


def attention(q: Array, k: Array, v: Array, scale: float, causal: bool = False) -> tuple[Array, Array]:
    """``softmax(q k^T * scale) v`` and the logarithm of each query's sum of exponentials.

    Args:
        q: (batch, heads, queries, size), float32 or float64.
        k: (batch, heads, keys, size).
        v: (batch, heads, keys, values); all with any strides.
        causal: query i sees the keys up to i.

    Returns the result, (batch, heads, queries, values), laid out as (batch, queries, heads, values), and (batch,
    heads, queries).

    Raises: TypeError for other dtypes; ValueError for shapes that do not belong together, or an empty array.

    >>> import numpy as np
    >>> from flambeau.compiler.attention import attention
    >>> q = k = v = np.eye(2)[None, None]
    >>> attention(q, k, v, 1.0, causal=True)[0][0, 0].round(3)
    array([[1.   , 0.   ],
           [0.269, 0.731]])
    """
    name = _check(q, k, v)
    q, k, v = _rows(q), _rows(k), _rows(v)
    batch, heads, queries, size = q.shape
    keys, vsize = k.shape[2], v.shape[3]
    height, width, lanes = panel_sizes(name)
    # Parts of the queries of a head, where the heads alone are too few for all threads.
    parts = max(1, min(queries // _ENOUGH, -(-4 * get_num_threads() // (batch * heads))))
    part = _up(-(-queries // parts), width)
    sizes = {
        **{"batch": batch, "heads": heads, "parts": -(-queries // part), "part": part, "queries": queries},
        **{"keys": keys, "size": size, "vsize": vsize, "causal": int(causal)},
    }
    rooms = {
        "kpanels": -(-keys // height) * (size * height + lanes),
        "vpanels": -(-vsize // height) * (keys * height + lanes),
        "qpanel": size * width + lanes,
        "s": (_block(name) + height) * width,
        "sum": _up(_up(vsize, height), lanes) * width,
    }
    o = _outputs(q, vsize)
    lse: Array = np.empty((batch, heads, queries), q.dtype)
    _launch(name, {"o": o, "lse": lse, "q": q, "k": k, "v": v}, sizes, rooms, scale)
    return o, lse


def attention_backward(
    g: Array, q: Array, k: Array, v: Array, o: Array, lse: Array, scale: float, causal: bool = False
) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v, from that of the result and what `attention` returned.

    Raises: as `attention`; ValueError for `g`, `o` and `lse` that do not fit.
    """
    name = _check(q, k, v)
    shape = (*q.shape[:3], v.shape[3])
    if (
        g.shape != shape
        or o.shape != shape
        or lse.shape != shape[:3]
        or not g.dtype == o.dtype == lse.dtype == q.dtype
    ):
        raise ValueError(
            f"the result and its gradient must have shape {shape}, the log-sums {shape[:3]}, all of {q.dtype}; got "
            f"{o.shape} {o.dtype}, {g.shape} {g.dtype} and {lse.shape} {lse.dtype}"
        )
    g, q, k, v, o = (_rows(x) for x in (g, q, k, v, o))
    batch, heads, queries, size = q.shape
    keys, vsize = k.shape[2], v.shape[3]
    height, width, lanes = panel_sizes(name)
    sizes = {
        **{"batch": batch, "heads": heads, "parts": 1, "part": queries, "queries": queries},
        **{"keys": keys, "size": size, "vsize": vsize, "causal": int(causal)},
    }
    panels, groups = -(-keys // height), -(-keys // width)
    tall, vtall = (_up(n, height * lanes) for n in (size, vsize))
    rooms = {
        "kpanels": panels * (size * height + lanes),
        "vpanels": panels * (vsize * height + lanes),
        "kturned": -(-size // height) * (keys * height + lanes),
        "qpanel": size * width + lanes,
        "gpanel": vsize * width + lanes,
        "opanel": vsize * width + lanes,
        "qturned": -(-size // height) * (width * height + lanes),
        "gturned": -(-vsize // height) * (width * height + lanes),
        "s": (_block(name) + height) * width,
        "t": (_block(name) + height) * width,
        "turned": width * width + lanes,
        "sum": tall * width,
        "ksums": groups * tall * width,
        "vsums": groups * vtall * width,
    }
    found = _outputs(q, size), _outputs(k, size), _outputs(v, vsize)
    arrays = {**dict(zip(("dq", "dk", "dv"), found, strict=True)), "g": g, "q": q, "k": k, "v": v, "o": o}
    _launch(name, {**arrays, "lse": np.ascontiguousarray(lse)}, sizes, rooms, scale)
    return found
