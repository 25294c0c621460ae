"""What is computed from a matrix product, element by element, while its tiles are in the cache.

A bias, an activation, a residual, or only another dtype: the result is written once, by the product's kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import engine
from .dialect import Dialect, Value
from .types import Compute, Storage
from .vector_loop import Memory, load_scalar, results

__all__ = ["PARAMETERS", "Finish", "write_announce", "write_finish"]

# A block of `rows` rows, the first of which is number `row` of all, of `count` columns from `col` on, of a product with
# `n` columns.  It is read at ``from``, with ``fromrow`` bytes between its rows.
PARAMETERS = (
    "ptr %arrays, ptr %scalars, i64 %n, ptr %from, i64 %fromrow, i64 %row, i64 %rows, i64 %col, i64 %count"
)


@dataclass(frozen=True, eq=False)  # one object for each: kernels are found by it
class Finish:
    """``body(k, product, *inputs, *numbers)`` gives a value for each output, C-contiguous and of the product's shape.

    `inputs` are C-contiguous, too, and have a ``matrix`` of numbers, one for each ``row`` (of all products of a batch),
    one for each column (``shared``), or ``one`` alone.
    """

    body: Callable[..., Any]
    outputs: tuple[Storage, ...]
    inputs: tuple[tuple[Storage, str], ...] = ()
    scalars: tuple[Compute, ...] = ()


def write_finish(kind: Storage, finish: Finish, first_input: int, first_scalar: int) -> tuple[Dialect, str]:
    """The function ``finish``: its dialect and its text.

    The outputs are the first of ``arrays``; the inputs and numbers begin at the given places.
    """
    host = engine.host()
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    memory, vectors = Memory(k), 2
    outs = [k.load("ptr", "%arrays", i) for i in range(len(finish.outputs))]
    ins = [k.load("ptr", "%arrays", first_input + i) for i in range(len(finish.inputs))]
    numbers = [load_scalar(k, first_scalar + i, t) for i, t in enumerate(finish.scalars)]

    def spread(storage: Storage, place: str) -> Value:
        one = k.emit(f"load {storage.llvm}, ptr {place}, align {storage.itemsize}")
        raw = k.splat(one, Compute(storage.name, storage.llvm, "i", 8 * storage.itemsize))
        return k.decode(raw.ref, storage)

    def step(row: str, first: str, column: str, vectors: int, count: str, mask: str) -> None:
        """Some vectors from the block's `column` on, of a row whose elements begin with number `first`."""

        def load(storage: Storage, place: str, v: int) -> str:
            place = k.at(place, v * k.lanes, storage.itemsize)
            return memory.load_part(storage, place, count, mask) if count else memory.load(storage, place)

        product = k.at(k.at("%from", k.word("mul", row, "%fromrow")), column, kind.itemsize)
        element = k.word("add", first, column)
        for v in range(vectors):
            loaded = []
            for (storage, level), base in zip(finish.inputs, ins, strict=True):
                if level in ("row", "one"):
                    index = k.word("add", "%row", row) if level == "row" else 0
                    loaded.append(spread(storage, k.at(base, index, storage.itemsize)))
                else:
                    index = element if level == "matrix" else k.word("add", "%col", column)
                    place = k.at(base, index, storage.itemsize)
                    loaded.append(k.decode(load(storage, place, v), storage))
            x = Value(k, load(kind, product, v), kind.compute)
            values = results(finish.body, k, [x, *loaded, *numbers], finish.outputs)
            for storage, base, value in zip(finish.outputs, outs, values, strict=True):
                place = k.at(k.at(base, element, storage.itemsize), v * k.lanes, storage.itemsize)
                ref = k.encode(value, storage)
                if count:
                    memory.store_part(storage, ref, place, count, mask)
                else:
                    memory.store(storage, ref, place)

    whole = k.word("and", "%count", -vectors * k.lanes)
    with k.loop(0, "%rows") as row:
        first = k.word("add", k.word("mul", k.word("add", "%row", row), "%n"), "%col")
        with k.loop(0, whole, vectors * k.lanes) as column:
            step(row, first, column, vectors, "", "")
        with k.loop(whole, "%count", k.lanes) as column:
            count = k.smaller(k.word("sub", "%count", column), k.lanes)
            step(row, first, column, 1, count, memory.mask(count))
    k.line("ret void")
    return k, k.function("finish", PARAMETERS, linkage="internal")


def write_announce(kind: Storage, finish: Finish, first_input: int) -> tuple[Dialect, str]:
    """The function ``announce``: asks for the memory of a block before its product is computed.

    Rows of a block are far from each other, so the processor would not guess them.
    """
    host = engine.host()
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    k.declare("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    matrices = [(i + first_input, s, 0) for i, (s, level) in enumerate(finish.inputs) if level == "matrix"]
    matrices += [(i, s, 1) for i, s in enumerate(finish.outputs)]
    bases = [k.load("ptr", "%arrays", i) for i, _, _ in matrices]
    with k.loop(0, "%rows") as r:
        row = k.word("add", k.word("mul", k.word("add", "%row", r), "%n"), "%col")
        for base, (_, storage, write) in zip(bases, matrices, strict=True):
            size = k.word("mul", "%count", storage.itemsize)
            with k.loop(0, size, 64) as byte:
                place = k.at(k.at(base, row, storage.itemsize), byte)
                k.line(
                    f"call void @llvm.prefetch.p0(ptr {place}, i32 {write}, i32 {3 if write else 2}, i32 1)"
                )
    k.line("ret void")
    return k, k.function(
        "announce", "ptr %arrays, i64 %n, i64 %row, i64 %rows, i64 %col, i64 %count", linkage="internal"
    )
