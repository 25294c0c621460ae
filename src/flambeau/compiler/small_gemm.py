"""Products of small matrices, for which a BLAS call costs more than the arithmetic.

A block of the result, some rows by one or two vectors of columns, stays in registers while the loop runs over
the inner dimension; nothing is packed (K. Goto and R. van de Geijn, *Anatomy of High-Performance Matrix
Multiplication*, 2008, section 4, without the packing that pays for large matrices only).
"""

from __future__ import annotations

from collections.abc import Callable

from . import engine
from .dialect import Dialect, Value
from .types import storage
from .vector_loop import Memory, attributes

__all__ = ["PARAMETERS", "write_small_product"]

PARAMETERS = "ptr %a, ptr %b, ptr %o, i64 %m, i64 %n, i64 %k, i64 %arow, i64 %acol, i64 %brow"


def write_small_product(name: str) -> str:
    """LLVM assembly of ``void small(PARAMETERS)``: o = a b for matrices of the dtype `name`.

    `o` is contiguous, the rows of `b` are; `arow`, `acol` and `brow` are distances in bytes.
    """
    host, kind = engine.host(), storage(name)
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    memory = Memory(k)
    orow = k.word("mul", "%n", kind.itemsize)
    rows = 8 if host.vector_bits == 512 else 4  # what the registers hold
    tall = k.word("and", "%m", -rows)
    wide = k.word("and", "%n", -2 * k.lanes)

    def columns(body: Callable[[str, int, str, str], None]) -> None:
        with k.loop(0, wide, 2 * k.lanes) as j:
            body(j, 2, "", "")
        with k.loop(wide, "%n", k.lanes) as j:
            count = k.smaller(k.word("sub", "%n", j), k.lanes)
            body(j, 1, count, memory.mask(count))

    def block(i: str, height: int, j: str, vectors: int, count: str, mask: str) -> None:
        """Rows ``i`` to ``i + height``, whole vectors of columns from ``j``, or one with `count` lanes."""
        zero = k.const(0.0, kind.compute).ref
        sums = [[k.variable(k.vector(kind.compute), zero) for _ in range(vectors)] for _ in range(height)]
        a_rows = [k.at("%a", k.word("mul", k.word("add", i, r), "%arow")) for r in range(height)]
        with k.loop(0, "%k") as p:
            b_row = k.at(k.at("%b", k.word("mul", p, "%brow")), j, kind.itemsize)
            if count:
                right = [Value(k, memory.load_part(kind, b_row, count, mask), kind.compute)]
            else:
                right = [
                    Value(k, memory.load(kind, k.at(b_row, v * k.lanes, kind.itemsize)), kind.compute)
                    for v in range(vectors)
                ]
            offset = k.word("mul", p, "%acol")
            for r in range(height):
                left = k.splat(k.load(kind.llvm, k.at(a_rows[r], offset)), kind.compute)
                for v in range(vectors):
                    old = Value(k, sums[r][v].get(), kind.compute)
                    sums[r][v].set(k.fma(left, right[v], old).ref)
        for r in range(height):
            o_row = k.at(k.at("%o", k.word("mul", k.word("add", i, r), orow)), j, kind.itemsize)
            for v in range(vectors):
                if count:
                    memory.store_part(kind, sums[r][v].get(), o_row, count, mask)
                else:
                    memory.store(kind, sums[r][v].get(), k.at(o_row, v * k.lanes, kind.itemsize))

    with k.loop(0, tall, rows) as i:
        columns(lambda j, vectors, count, mask: block(i, rows, j, vectors, count, mask))
    with k.loop(tall, "%m") as i:
        columns(lambda j, vectors, count, mask: block(i, 1, j, vectors, count, mask))
    k.line("ret void")
    function = k.function("small", PARAMETERS, linkage="internal")
    return "\n".join(k.declarations.values()) + "\n" + function + attributes(host)
