"""What is computed from a matrix product, and before it for its first factor, element by element, in the cache.

A bias, an activation, a residual, or only another dtype: the result is written once.  The kernels of products are the
same for all; they call the functions made here through pointers, for some thousand elements at a time.  A first
factor that an activation or a mask gives is computed when its rows are packed, and is never written as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from . import engine, native
from .code import Code
from .dialect import Dialect, Value
from .types import Compute, Storage, storage
from .vector_loop import Memory, attributes, load_scalar, results

__all__ = ["Finish", "Start", "address", "call_block", "start_address"]

# A block of `rows` rows, the first of which is number `row` of all, of `count` columns from `col` on, of a product with
# `n` columns; the pointers in `arrays` begin with the outputs, then the inputs.
_BLOCK = "ptr %arrays, ptr %scalars, i64 %n, i64 %row, i64 %rows, i64 %col, i64 %count"
_PARAMETERS = (
    f"{_BLOCK}, ptr %near, i64 %nearrow"  # it is in the cache here, with ``nearrow`` bytes between its rows
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


@dataclass(frozen=True, eq=False)
class Start:
    """``body(k, *inputs, *numbers)`` gives an element of the first factor; `inputs` are as those of a `Finish`."""

    body: Callable[..., Any]
    inputs: tuple[tuple[Storage, str], ...]
    scalars: tuple[Compute, ...] = ()


def _write(kind: Storage, work: Finish | Start) -> tuple[Dialect, str]:
    """The function ``finish`` or ``prepare``: its dialect and its text."""
    finish = work if isinstance(work, Finish) else None
    outputs = work.outputs if isinstance(work, Finish) else (kind,)
    host = engine.host()
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    memory, vectors = Memory(k), 2
    outs = [k.load("ptr", "%arrays", i) for i in range(len(finish.outputs))] if finish is not None else []
    ins = [k.load("ptr", "%arrays", len(outs) + i) for i in range(len(work.inputs))]
    numbers = [load_scalar(k, i, t) for i, t in enumerate(work.scalars)]

    def spread(kept: Storage, place: str) -> Value:
        one = k.emit(f"load {kept.llvm}, ptr {place}, align {kept.itemsize}")
        raw = k.splat(one, Compute(kept.name, kept.llvm, "i", 8 * kept.itemsize))
        return k.decode(raw.ref, kept)

    def step(row: str, first: str, column: str, vectors: int, count: str, mask: str) -> None:
        """Some vectors from the block's `column` on, of a row whose elements begin with number `first`."""

        def load(kept: Storage, place: str, v: int) -> str:
            place = k.at(place, v * k.lanes, kept.itemsize)
            return memory.load_part(kept, place, count, mask) if count else memory.load(kept, place)

        near = k.at(k.at("%near", k.word("mul", row, "%nearrow")), column, kind.itemsize)
        element = k.word("add", first, column)
        for v in range(vectors):
            loaded = []
            for (kept, level), base in zip(work.inputs, ins, strict=True):
                if level in ("row", "one"):
                    index = k.word("add", "%row", row) if level == "row" else 0
                    loaded.append(spread(kept, k.at(base, index, kept.itemsize)))
                else:
                    index = element if level == "matrix" else k.word("add", "%col", column)
                    place = k.at(base, index, kept.itemsize)
                    loaded.append(k.decode(load(kept, place, v), kept))
            if finish is not None:
                loaded.insert(0, Value(k, load(kind, near, v), kind.compute))
            values = results(work.body, k, [*loaded, *numbers], outputs)
            places = [k.at(base, element, kept.itemsize) for base, kept in zip(outs, outputs)] or [near]
            for kept, place, value in zip(outputs, places, values, strict=True):
                place = k.at(place, v * k.lanes, kept.itemsize)
                ref = k.encode(value, kept)
                if count:
                    memory.store_part(kept, ref, place, count, mask)
                else:
                    memory.store(kept, ref, place)

    whole = k.word("and", "%count", -vectors * k.lanes)
    with k.loop(0, "%rows") as row:
        first = k.word("add", k.word("mul", k.word("add", "%row", row), "%n"), "%col")
        with k.loop(0, whole, vectors * k.lanes) as column:
            step(row, first, column, vectors, "", "")
        with k.loop(whole, "%count", k.lanes) as column:
            count = k.smaller(k.word("sub", "%count", column), k.lanes)
            step(row, first, column, 1, count, memory.mask(count))
    k.line("ret void")
    return k, k.function("prepare" if finish is None else "finish", _PARAMETERS)


def _write_announce(kind: Storage, finish: Finish) -> tuple[Dialect, str]:
    """The function ``announce``: asks for the memory of a block before its product is computed.

    Rows of a block are far from each other, so the processor would not guess them.
    """
    host = engine.host()
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    k.declare("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    matrices = [(i, s, 1) for i, s in enumerate(finish.outputs)]
    for i, (kept, of) in enumerate(finish.inputs):
        if of == "matrix":
            matrices.append((len(finish.outputs) + i, kept, 0))
    bases = [k.load("ptr", "%arrays", i) for i, _, _ in matrices]
    with k.loop(0, "%rows") as r:
        row = k.word("add", k.word("mul", k.word("add", "%row", r), "%n"), "%col")
        for base, (_, kept, write) in zip(bases, matrices, strict=True):
            with k.loop(0, k.word("mul", "%count", kept.itemsize), 64) as byte:
                place = k.at(k.at(base, row, kept.itemsize), byte)
                level = 3 if write else 2  # what is read waits in the second-level cache
                k.line(f"call void @llvm.prefetch.p0(ptr {place}, i32 {write}, i32 {level}, i32 1)")
    k.line("ret void")
    return k, k.function("announce", _BLOCK)


def _build(written: list[tuple[Dialect, str]], names: list[str]) -> dict[str, int]:
    declarations: dict[str, str] = {}
    for k, _ in written:
        declarations |= k.declarations
    text = "\n".join([*declarations.values(), *(t for _, t in written)]) + attributes(engine.host())
    imports = {f: native.libm_address(f) for k, _ in written for f in k.libm}
    built = engine.build(text, names, imports)
    return {name: built[name] for name in names}


@lru_cache(maxsize=4096)
def address(name: str, finish: Finish) -> tuple[int, int]:
    """Machine code for products with sums of the dtype `name`: the functions that are told of a block after and before."""
    kind = storage(name)
    built = _build([_write(kind, finish), _write_announce(kind, finish)], ["finish", "announce"])
    return built["finish"], built["announce"]


@lru_cache(maxsize=4096)
def start_address(name: str, start: Start) -> int:
    """Machine code that computes a block of the first factor."""
    return _build([_write(storage(name), start)], ["prepare"])["prepare"]


def call_block(k: Code, function: str, block: tuple[str, ...], origin: str = "", row_bytes: str = "") -> None:
    """Write a call: `block` are the values of a block; except before a product `origin` and `row_bytes` say where it is."""
    arguments = [f"{t} {v}" for t, v in zip(("ptr", "ptr", *("i64",) * 5), block, strict=True)]
    if origin:
        arguments += [f"ptr {origin}", f"i64 {row_bytes}"]
    k.line(f"call void {function}({', '.join(arguments)})")
