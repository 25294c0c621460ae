"""Panels of bfloat16 factors, for processors that multiply two neighbours along the inner dimension at a time.

An element of a panel is such a pair, in the 32 bits of a float.  They are put together while the panel is packed,
so factors are read as they lie; of an odd inner dimension the last number has a zero beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dialect import Dialect, Value
from .types import Storage, storage

if TYPE_CHECKING:
    from .packed_gemm import PanelWriter

__all__ = ["ITEM", "PARAMETERS", "multiply_pairs", "write_pack_pairs"]

ITEM = 2  # bytes of a number
PARAMETERS = "ptr %from, i64 %across, i64 %along, i64 %size, i64 %inner, ptr %to"


def multiply_pairs(k: Dialect, x: Value, y: Value, total: Value) -> Value:
    """The sum of the products of both halves of each lane, as bfloat16, added to `total`."""
    single, half = k.vector(total.type), f"<{2 * k.lanes} x bfloat>"
    name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * k.lanes}"
    k.declare(name, f"declare {single} @{name}({single}, {half}, {half})")
    left, right = (k.emit(f"bitcast {single} {v.ref} to {half}") for v in (x, y))
    ref = k.emit(f"call {single} @{name}({single} {total.ref}, {half} {left}, {half} {right})")
    return Value(k, ref, total.type)


def write_pack_pairs(k: PanelWriter, kind: Storage, which: str) -> str:
    """Pack one panel: its `size` rows (columns, of `b`) side by side, for each pair of inner indices.

    `across` and `along` are the distances of neighbours across the panel and along the inner dimension, of which
    there are `inner`; one of the two is the size of a number.  Places beyond `size` get anything.
    """
    memory, whole_kind = k.memory, storage("int16")
    side = k.height if which == "a" else k.width
    vector = k.vector("i32")
    pairs = k.word("lshr", "%inner", 1)
    single = k.compare("ne", k.word("and", "%inner", 1), 0)
    turned, straight, done = (k.new_label(x) for x in ("turned", "straight", "done"))
    k.branch_if(k.compare("eq", "%across", ITEM), straight, turned)

    k.label(straight)  # neighbours across the panel are neighbours in memory
    filled, partly = k.new_label("filled"), k.new_label("partly")
    whole_vectors, odd = divmod(side, k.lanes)
    k.branch_if(k.compare("eq", "%size", side), filled, partly)
    for label, full in ((filled, True), (partly, False)):
        k.label(label)
        counts = [
            k.smaller(k.call("i64", "llvm.usub.sat.i64", "i64 %size", f"i64 {v * k.lanes}"), k.lanes)
            for v in range(whole_vectors + bool(odd))
        ]
        masks = [memory.mask(c) for c in counts]

        def numbers(
            row: str, v: int, full: bool = full, counts: list[str] = counts, masks: list[str] = masks
        ) -> str:
            """A vector of numbers across the panel, each in the lower half of a lane."""
            place = k.at(row, v * k.lanes, ITEM)
            if full and v < whole_vectors:
                ref = memory.load(whole_kind, place)
            else:
                ref = memory.load_part(whole_kind, place, counts[v], masks[v])
            return k.emit(f"zext {k.vector('i16')} {ref} to {vector}")

        def put(p: str, v: int, ref: str) -> None:
            place = k.at(k.at("%to", k.word("mul", p, side * k.item)), v * k.lanes, k.item)
            k.line(f"store {vector} {ref}, ptr {place}, align {k.item}")

        sixteen = "<" + ", ".join(["i32 16"] * k.lanes) + ">"
        with k.loop(0, pairs) as p:
            low = k.at("%from", k.word("mul", k.word("mul", p, 2), "%along"))
            high = k.at(low, "%along")
            for v in range(len(counts)):
                upper = k.emit(f"shl {vector} {numbers(high, v)}, {sixteen}")
                put(p, v, k.emit(f"or {vector} {upper}, {numbers(low, v)}"))
        with k.when(single):
            low = k.at("%from", k.word("mul", k.word("mul", pairs, 2), "%along"))
            for v in range(len(counts)):
                put(pairs, v, numbers(low, v))
        k.branch(done)

    k.label(turned)  # squares of vectors of pairs are transposed
    last = k.word("sub", "%size", 1)
    starts = [k.at("%from", k.word("mul", k.smaller(r, last), "%across")) for r in range(side)]
    tall = k.word("and", pairs, -k.lanes)
    with k.loop(0, tall, k.lanes) as p:
        offset = k.word("mul", p, 2 * ITEM)
        target = k.at("%to", k.word("mul", p, side * k.item))
        groups = []
        for first in range(0, side, k.lanes):
            rows = [
                k.emit(f"load {k.vector(kind.llvm)}, ptr {k.at(starts[r], offset)}, align {ITEM}")
                if r < side
                else "poison"
                for r in range(first, first + k.lanes)
            ]
            groups.append(k.transposed(rows))
        for u in range(k.lanes):
            for g, group in enumerate(groups):  # what is written too far, the next one writes over
                memory.store(kind, group[u], k.at(target, u * side + g * k.lanes, k.item))
    with k.loop(tall, pairs) as p:
        offset = k.word("mul", p, 2 * ITEM)
        target = k.at("%to", k.word("mul", p, side * k.item))
        for r in range(side):
            one = k.emit(f"load i32, ptr {k.at(starts[r], offset)}, align {ITEM}")
            k.line(f"store i32 {one}, ptr {k.at(target, r, k.item)}, align {k.item}")
    with k.when(single):
        target = k.at("%to", k.word("mul", pairs, side * k.item))
        for r in range(side):
            half = k.emit(f"load i16, ptr {k.at(starts[r], k.word('mul', pairs, 2 * ITEM))}, align {ITEM}")
            one = k.emit(f"zext i16 {half} to i32")
            k.line(f"store i32 {one}, ptr {k.at(target, r, k.item)}, align {k.item}")
    k.branch(done)
    k.label(done)
    k.line("ret void")
    return k.function(f"pack.{which}", PARAMETERS, linkage="internal")
