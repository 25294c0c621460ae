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

__all__ = ["PARAMETERS", "Finish", "write_finish"]

# A block of `rows` rows, the first of which is number `row` of all, of `count` columns from `col` on, of a product with
# `n` columns.  It is read at ``from``, with ``fromrow`` bytes between its rows.
PARAMETERS = (
    "ptr %arrays, ptr %scalars, i64 %n, ptr %from, i64 %fromrow, i64 %row, i64 %rows, i64 %col, i64 %count"
)


@dataclass(frozen=True)
class Finish:
    """``body(k, product, *inputs, *numbers)`` gives a value for each output, C-contiguous and of the product's shape.

    `inputs` are C-contiguous, too, and have a ``matrix`` of numbers, one for each ``row``, one for each column
    (``shared``), or ``one`` alone.  `home`: the output in which the product may be kept on the way, since it has the
    dtype of the sums; -1 for none.
    """

    body: Callable[..., Any]
    outputs: tuple[Storage, ...]
    inputs: tuple[tuple[Storage, str], ...] = ()
    scalars: tuple[Compute, ...] = ()
    home: int = -1


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
    whole, part, done = (k.new_label(x) for x in ("whole", "part", "done"))

    def spread(storage: Storage, place: str) -> Value:
        one = k.emit(f"load {storage.llvm}, ptr {place}, align {storage.itemsize}")
        raw = k.splat(one, Compute(storage.name, storage.llvm, "i", 8 * storage.itemsize))
        return k.decode(raw.ref, storage)

    def block(counts: list[str], masks: list[str]) -> None:
        """The loop over the rows."""

        def load(storage: Storage, place: str, v: int) -> str:
            place = k.at(place, v * k.lanes, storage.itemsize)
            if counts:
                return memory.load_part(storage, place, counts[v], masks[v])
            return memory.load(storage, place)

        with k.loop(0, "%rows") as r:
            row = k.word("add", "%row", r)
            element = k.word("add", k.word("mul", row, "%n"), "%col")
            product = k.at("%from", k.word("mul", r, "%fromrow"))
            for v in range(vectors):
                loaded = []
                for (storage, level), base in zip(finish.inputs, ins, strict=True):
                    if level in ("row", "one"):
                        place = k.at(base, row if level == "row" else 0, storage.itemsize)
                        loaded.append(spread(storage, place))
                    else:
                        place = k.at(base, element if level == "matrix" else "%col", storage.itemsize)
                        loaded.append(k.decode(load(storage, place, v), storage))
                x = Value(k, load(kind, product, v), kind.compute)
                values = results(finish.body, k, [x, *loaded, *numbers], finish.outputs)
                for storage, base, value in zip(finish.outputs, outs, values, strict=True):
                    place = k.at(k.at(base, element, storage.itemsize), v * k.lanes, storage.itemsize)
                    ref = k.encode(value, storage)
                    if counts:
                        memory.store_part(storage, ref, place, counts[v], masks[v])
                    else:
                        memory.store(storage, ref, place)

    k.branch_if(k.compare("eq", "%count", vectors * k.lanes), whole, part)
    k.label(whole)
    block([], [])
    k.branch(done)
    k.label(part)
    counts = [
        k.smaller(k.call("i64", "llvm.usub.sat.i64", "i64 %count", f"i64 {v * k.lanes}"), k.lanes)
        for v in range(vectors)
    ]
    block(counts, [memory.mask(c) for c in counts])
    k.branch(done)
    k.label(done)
    k.line("ret void")
    return k, k.function("finish", PARAMETERS, linkage="internal")
