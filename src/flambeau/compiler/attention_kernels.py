"""Machine code of attention and its gradients.

``softmax(q k^T * scale) v`` by blocks of keys, with a running maximum and sum for each query (M. Milakov and N.
Gimelshein, *Online normalizer calculation for softmax*, 2018; T. Dao et al., *FlashAttention*, 2022).  The gradients
compute the weights again from each query's log-sum.

The blocks are transposed, keys down and queries across the lanes of vectors: maxima and sums over keys are then
elementwise, and a block of weights is laid out as the products' second factor has to be (`packed_gemm`), so nothing
is packed between the two products.  Blocks of a mask, and of what dropout keeps, are turned the same way.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import engine, launch, native
from .dialect import Value, float_literal
from .packed_gemm import PanelWriter, panel_sizes, write_parts
from .types import COMPUTE, Storage, storage
from .vector_loop import attributes, load_scalar

__all__ = ["ROOMLESS", "Variant", "block_keys", "kernel"]

Array = npt.NDArray[Any]

# What a kernel reads: arrays, then sizes and places from a table of words.  Distances are in bytes, three for each
# array of (batch, heads, length, size): of batches, heads and rows; and of keys, of those that have them.  `shift` is the
# place of the first query among the keys, for causal masks; `kept` the bits of what dropout multiplies by.
_SIZES = ("heads", "parts", "part", "queries", "keys", "size", "vsize", "causal", "shift", "kept")
_FORWARD_PLACES = ("kpanels", "vpanels", "qpanel", "s", "sum", "m", "d")
_BACKWARD_PLACES = (
    *("kpanels", "vpanels", "kturned", "qpanel", "gpanel", "opanel", "qturned", "gturned"),
    *("s", "t", "turned", "sum", "ksums", "vsums", "m", "d"),
)
ROOMLESS = ("lse", "room", "table")
_KEYED = ("mask", "drop", "dmask")


class Variant(NamedTuple):
    """Which of the kernels: for a dtype, with a mask ("bool", "float" or ""), dropout, a gradient for the mask."""

    name: str
    backward: bool
    mask: str
    drop: bool
    bias: bool

    @property
    def arrays(self) -> tuple[str, ...]:
        """What the kernel reads and writes, outputs first."""
        more = (*(("mask",) if self.mask else ()), *(("drop",) if self.drop else ()), "table")
        if not self.backward:
            return ("o", "lse", "room", "q", "k", "v", *more)
        made = ("dq", "dk", "dv", *(("dmask",) if self.bias else ()))
        return (*made, "room", "g", "q", "k", "v", "o", "lse", *more)

    @property
    def outputs(self) -> int:
        return 3 + self.bias if self.backward else 2

    @property
    def places(self) -> tuple[str, ...]:
        return _BACKWARD_PLACES if self.backward else _FORWARD_PLACES

    def dtype(self, array: str) -> Any:
        """The NumPy dtype of one of the arrays."""
        if array == "table":
            return np.dtype(np.int64)
        return np.dtype(bool if array == "drop" or (array, self.mask) == ("mask", "bool") else self.name)

    def fields(self) -> list[str]:
        """The names of the table's words."""
        steps = [f"{a}.{step}" for a in self.arrays if a not in ROOMLESS for step in ("batch", "head", "row")]
        return [*_SIZES, *steps, *[f"{a}.key" for a in self.arrays if a in _KEYED], *self.places]


@cache
def block_keys(name: str) -> int:
    """Keys of a block: whole panels in both roles."""
    height, width, _ = panel_sizes(name)
    return math.lcm(height, width)


class _Kernel(PanelWriter):
    """Writes one of the two kernels: ``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)``."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(storage(variant.name))
        self.variant, self.block_keys = variant, block_keys(variant.name)
        self.pointers = {a: self.load("ptr", "%arrays", i) for i, a in enumerate(variant.arrays)}
        fields = variant.fields()
        self.words = {f: self.load("i64", self.pointers["table"], i) for i, f in enumerate(fields)}
        grain, slot = self.load("i64", "%scalars", 2), self.load("i64", "%scalars", 3)
        self.factor = load_scalar(self, 4, self.kind.compute)
        room = self.at(self.pointers["room"], self.word("mul", self.word("udiv", "%lo", grain), slot))
        address = self.emit(f"ptrtoint ptr {room} to i64")
        room = self.at(room, self.word("and", self.word("sub", 0, address), 63))
        self.places = {p: self.at(room, self.words[p]) for p in variant.places}
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

    def turn_block(self, which: str, base: str, first: str, count: str, start: str, rows: str) -> None:
        """A block of the mask (as what is to be added), or of what dropout multiplies by."""
        w, to = self.words, self.places["m" if which == "mask" else "d"]
        across, along = w[f"{which}.row"], w[f"{which}.key"]
        origin = self.at(
            base, self.word("add", self.word("mul", first, across), self.word("mul", start, along))
        )
        if which == "mask" and self.variant.mask == "float":
            self.pack("b", origin, across, along, count, rows, to)
            return
        if which == "mask":
            yes, no = (float_literal(x, COMPUTE["float64"]) for x in (0.0, -math.inf))
        else:
            yes, no = self.emit(f"bitcast i64 {w['kept']} to double"), "0.0"
        arguments = f"i64 {across}, i64 {along}, i64 {count}, i64 {rows}, ptr {to}"
        self.line(f"call void @pack.bits(ptr {origin}, {arguments}, double {yes}, double {no})")

    def reach(self, first: str) -> str:
        """The place of a query among the keys."""
        return self.word("add", first, self.words["shift"])

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
        self, block: str, base: str, step: str, dims: str, count: str, factors: list[Value] | None
    ) -> None:
        """Turn a block of (dims, queries or keys) into rows of the result, times a factor for each.

        Without factors the rows are added to what is there.
        """
        with self.loop(0, dims, self.lanes) as r:
            part = self.rest(dims, r, self.lanes)
            mask = self.memory.mask(part)
            done = self.new_label("written")
            for v in range(2):
                columns = []
                for x in range(self.lanes):
                    _, value = self.vectors(block, self.word("add", r, x))[v]
                    columns.append((value if factors is None else value * factors[v]).ref)
                for x, ref in enumerate(self.transposed(columns)):
                    number = v * self.lanes + x
                    if number:
                        self.leave_if(self.compare("ule", count, number), done)
                    place = self.at(self.at(base, self.word("mul", step, number)), r, self.item)
                    if factors is None:
                        old = self.memory.load_part(self.kind, place, part, mask)
                        ref = (Value(self, old, self.kind.compute) + Value(self, ref, self.kind.compute)).ref
                    self.memory.store_part(self.kind, ref, place, part, mask)
            self.branch(done)
            self.label(done)

    def text(self) -> str:
        self.line("ret void")
        function = self.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")
        declarations, parts = write_parts(self.kind)
        if self.variant.mask == "bool" or self.variant.drop:
            bits, function_of_bits = _write_pack_bits(self.kind)
            declarations |= bits.declarations
            parts.append(function_of_bits)
        declarations |= self.declarations
        return "\n".join([*declarations.values(), *parts, function]) + attributes(engine.host())


def _spread(k: PanelWriter, number: str) -> Value:
    """A double in all lanes."""
    if k.kind.compute.bits == 32:
        number = k.emit(f"fptrunc double {number} to float")
    return k.splat(number, k.kind.compute)


def _write_pack_bits(kind: Storage) -> tuple[PanelWriter, str]:
    """Pack a panel of numbers from one of bools: `yes` where they hold, else `no`; otherwise as ``pack.b``."""
    k = PanelWriter(kind)
    memory, bools, side = k.memory, storage("uint8"), k.width
    yes, no = (_spread(k, f"%{x}") for x in ("yes", "no"))

    def chosen(ref: str) -> str:
        holds = k.emit(f"icmp ne {k.vector('i8')} {ref}, zeroinitializer")
        return k.select(Value(k, holds, COMPUTE["bool"]), yes, no).ref

    turned, straight, done = (k.new_label(x) for x in ("turned", "straight", "done"))
    k.branch_if(k.compare("eq", "%across", 1), straight, turned)
    k.label(straight)
    counts = [
        k.smaller(k.call("i64", "llvm.usub.sat.i64", "i64 %size", f"i64 {v * k.lanes}"), k.lanes)
        for v in range(2)
    ]
    masks = [memory.mask(c) for c in counts]
    with k.loop(0, "%deep") as p:
        origin, target = (
            k.at("%from", k.word("mul", p, "%along")),
            k.at("%to", k.word("mul", p, side * k.item)),
        )
        for v, (count, mask) in enumerate(zip(counts, masks, strict=True)):
            ref = memory.load_part(bools, k.at(origin, v * k.lanes), count, mask)
            memory.store(kind, chosen(ref), k.at(target, v * k.lanes, k.item))
    k.branch(done)
    k.label(turned)
    last = k.word("sub", "%size", 1)
    starts = [k.at("%from", k.word("mul", k.smaller(r, last), "%across")) for r in range(side)]
    with k.loop(0, "%deep", k.lanes) as p:
        left = k.rest("%deep", p, k.lanes)
        mask = memory.mask(left)
        target = k.at("%to", k.word("mul", p, side * k.item))
        for v in range(2):
            rows = [
                chosen(memory.load_part(bools, k.at(start, p), left, mask))
                for start in starts[v * k.lanes : (v + 1) * k.lanes]
            ]
            for u, ref in enumerate(k.transposed(rows)):
                memory.store(kind, ref, k.at(target, u * side + v * k.lanes, k.item))
    k.branch(done)
    k.label(done)
    k.line("ret void")
    parameters = "ptr %from, i64 %across, i64 %along, i64 %size, i64 %deep, ptr %to, double %yes, double %no"
    return k, k.function("pack.bits", parameters, linkage="internal")


def _write_forward(variant: Variant) -> _Kernel:
    k = _Kernel(variant)
    w, places, kind = k.words, k.places, k.kind
    masked, dropped = bool(variant.mask), variant.drop
    arrays = ("q", "k", "v", "o", *(("mask",) if masked else ()), *(("drop",) if dropped else ()))
    minus = k.const(-math.inf, kind.compute)
    with k.loop("%lo", "%hi") as unit:
        head, part, base = k.unit(unit, arrays)
        first = k.word("mul", part, w["part"])
        end = k.word("add", first, k.rest(w["queries"], first, w["part"]))
        causal = k.compare("ne", w["causal"], 0)
        # Keys that no query of this part may see are not packed.
        seen = k.emit(f"select i1 {causal}, i64 {k.smaller(k.reach(end), w['keys'])}, i64 {w['keys']}")
        k.pack_rows(base["k"], w["k.row"], seen, w["size"], places["kpanels"])
        k.pack_columns(base["v"], w["v.row"], w["vsize"], seen, places["vpanels"], w["keys"])
        with k.loop(first, end, k.width) as i:
            count = k.rest(end, i, k.width)
            q = k.at(base["q"], k.word("mul", i, w["q.row"]))
            k.pack("b", q, w["q.row"], k.item, count, w["size"], places["qpanel"])
            reach = k.smaller(k.reach(k.word("add", i, k.width)), seen)
            last = k.emit(f"select i1 {causal}, i64 {reach}, i64 {seen}")
            limits = k.last_keys(k.reach(i))
            tops = [k.variable(k.vector(kind.compute), minus.ref) for _ in range(2)]
            sums = [k.variable(k.vector(kind.compute), "zeroinitializer") for _ in range(2)]
            for v in range(2):  # a variable's first value is set once in a function, not in a loop
                tops[v].set(minus.ref)
                sums[v].set("zeroinitializer")
            with k.loop(0, last, k.block_keys) as start:
                rows = k.rest(last, start, k.block_keys)
                k.scores(places["kpanels"], w["size"], places["qpanel"], start, rows, places["s"])
                for which in arrays[4:]:
                    k.turn_block(which, base[which], i, count, start, rows)
                old = [Value(k, t.get(), kind.compute) for t in tops]
                with k.loop(0, rows) as j:
                    key = k.word("add", start, j)
                    more_of = [x for _, x in k.vectors(places["m"], j)] if masked else []
                    for v, (place, x) in enumerate(k.vectors(places["s"], j)):
                        x = x * k.factor + more_of[v] if masked else x * k.factor
                        x = k.seen(x, key, limits[v], -math.inf)
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
                        sums[v].set((Value(k, sums[v].get(), kind.compute) + x).ref)
                        k.put(x * k.vectors(places["d"], j)[v][1] if dropped else x, place)
                k.combine(
                    places["vpanels"], w["keys"], start, rows, places["s"], w["vsize"], places["sum"], more
                )
            totals = [Value(k, s.get(), kind.compute) for s in sums]
            target = k.at(base["o"], k.word("mul", i, w["o.row"]))
            shares = [1.0 / total for total in totals]
            if masked:  # a query that sees nothing gets zeros, as PyTorch has it
                shares = [
                    k.select(total == 0.0, 0.0, share) for total, share in zip(totals, shares, strict=True)
                ]
            k.write_out(places["sum"], target, w["o.row"], w["vsize"], count, shares)
            number = k.word("add", k.word("mul", head, w["queries"]), i)
            for v in range(2):
                value = Value(k, tops[v].get(), kind.compute) + k.log(totals[v])
                if masked:  # from which the weights come out as zeros
                    value = k.select(totals[v] == 0.0, math.inf, value)
                left = k.call("i64", "llvm.usub.sat.i64", f"i64 {count}", f"i64 {v * k.lanes}")
                here = k.smaller(left, k.lanes)
                place = k.at(k.at(k.pointers["lse"], number, k.item), v * k.lanes, k.item)
                k.memory.store_part(kind, value.ref, place, here, k.memory.mask(here))
    return k


def _write_backward(variant: Variant) -> _Kernel:
    k = _Kernel(variant)
    masked, dropped = bool(variant.mask), variant.drop
    more_arrays = (*(("mask",) if masked else ()), *(("drop",) if dropped else ()))
    arrays = ("dq", "dk", "dv", "g", "q", "k", "v", "o", *more_arrays, *(("dmask",) if variant.bias else ()))
    w, places, kind = k.words, k.places, k.kind
    dims = {"k": w["size"], "v": w["vsize"]}
    zero, one = k.const(0.0, kind.compute), k.const(1.0, kind.compute)
    tall = {
        x: k.word("mul", k.quotient_up(n, k.height * k.lanes), k.height * k.lanes * k.row)
        for x, n in dims.items()
    }
    with k.loop("%lo", "%hi") as unit:
        head, _, base = k.unit(unit, arrays)
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
            # Whole groups of keys: what a part of a group would leave in its other sums is not zero.
            groups_seen = k.quotient_up(k.reach(k.word("add", i, k.width)), k.width)
            reach = k.smaller(k.word("mul", groups_seen, k.width), w["keys"])
            last = k.emit(f"select i1 {causal}, i64 {reach}, i64 {w['keys']}")
            limits = k.last_keys(k.reach(i))
            with k.loop(0, last, k.block_keys) as start:
                rows = k.rest(last, start, k.block_keys)
                k.scores(places["kpanels"], w["size"], places["qpanel"], start, rows, places["s"])
                k.scores(places["vpanels"], w["vsize"], places["gpanel"], start, rows, places["t"])
                for which in more_arrays:
                    k.turn_block(which, base[which], i, count, start, rows)
                with k.loop(0, rows) as j:
                    key = k.word("add", start, j)
                    pairs = zip(k.vectors(places["s"], j), k.vectors(places["t"], j), strict=True)
                    more_of = [x for _, x in k.vectors(places["m"], j)] if masked else []
                    kept = [x for _, x in k.vectors(places["d"], j)] if dropped else []
                    for v, ((at_s, s), (at_t, t)) in enumerate(pairs):
                        score = s * k.factor + more_of[v] if masked else s * k.factor
                        p = k.seen(k.exp(score - levels[v]), key, limits[v], 0.0)
                        k.put(p * kept[v] if dropped else p, at_s)
                        k.put(p * ((t * kept[v] if dropped else t) - deltas[v]), at_t)
                if variant.bias:
                    target = k.at(base["dmask"], k.word("mul", i, w["dmask.row"]))
                    k.write_out(places["t"], k.at(target, start, k.item), w["dmask.row"], rows, count, None)
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
def kernel(variant: Variant) -> Callable[..., None]:
    """``kernel(arrays..., units, work, grain, slot, scale)`` for arrays that were checked."""
    arrays = variant.arrays
    k = (_write_backward if variant.backward else _write_forward)(variant)
    imports = {f: native.libm_address(f) for f in k.libm}
    address, entry = engine.build(k.text(), ["kernel"], imports)["kernel"], launch.launcher("units")
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)

    def through_ctypes(*arguments: Any) -> None:
        pointers = np.array([a.ctypes.data for a in arguments[: len(arrays)]], np.uint64)
        words = np.array(arguments[len(arrays) : -1] + (0,), np.int64)
        words[-1:].view(np.float64)[0] = arguments[-1]
        run(address, pointers.ctypes.data, words.ctypes.data, int(words[0]), int(words[2]))

    if not entry.builtin:
        return through_ctypes
    types = [variant.dtype(a) for a in arrays]
    descriptor = launch.Descriptor(
        address,
        variant.outputs,
        tuple(id(t) for t in types),
        tuple(t.itemsize for t in types),
        (True, True, True, True, False),
        cost=0.01,
    )
    words = np.array(descriptor.words(), np.int64)
    made: Callable[..., None] = native.make_function("attention", entry.builtin, (words, through_ctypes))
    return made
