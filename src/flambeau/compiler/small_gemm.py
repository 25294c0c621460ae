"""Products of matrices that fit in the cache, without packing.

`write_product`: a block of the result, some rows by one or two vectors of columns, stays in registers while
the loop runs over the inner dimension (K. Goto and R. van de Geijn, *Anatomy of High-Performance Matrix
Multiplication*, 2008, section 4, without the packing, which pays for large matrices only).
`write_transposed_product`: both operands are contiguous along the inner dimension, so vectors run along it
and are summed at the end.  Both can be finished (`product_finish`) before the result leaves the cache.
"""

from __future__ import annotations

from collections.abc import Callable

from . import engine
from .dialect import Dialect, Value
from .product_finish import call_block
from .types import storage
from .vector_loop import Memory, attributes

__all__ = ["LONGEST", "NOTHING_ELSE", "product_function", "write_product", "write_transposed_product"]

# The last ones are for a function that is told of parts of the result before they are written, if it is not null
# (`product_finish`), and for its block: its arrays and numbers, and the number of the first row; then the same for a
# function that computes rows of the first factor.
_PARAMETERS = (
    "ptr %a, ptr %b, ptr %o, i64 %m, i64 %n, i64 %k, i64 %arow, i64 %acol, i64 %brow, "
    "ptr %finish, ptr %arrays, ptr %scalars, i64 %first, "
    "ptr %prepare, ptr %start.arrays, ptr %start.numbers, i64 %start.first"
)
NOTHING_ELSE = ", ".join(2 * ["ptr null, ptr null, ptr null, i64 0"])  # the same for a mere product
LONGEST = 1024  # inner indices of a first factor that is computed
_FINISHED = 512  # columns that are finished together: with the rows of a block half of the first-level cache


def write_product(name: str) -> str:
    """LLVM assembly of a module with the function ``small`` (`product_function`)."""
    declarations, function = product_function(name)
    return "\n".join(declarations.values()) + "\n" + function + attributes(engine.host())


def product_function(name: str, apart: bool = False) -> tuple[dict[str, str], str]:
    """The function ``small``, o = a b for matrices of the dtype `name`, and the declarations that it needs.

    Its parameters are pointers, the sizes (m, k) @ (k, n), and distances in bytes between the rows and
    columns of `a` and the rows of `b`. The rows of `b`, and `o` as a whole, are contiguous; with
    `apart`, a last parameter is the distance between the rows of `o`.  What is finished is not written to `o`.
    """
    host, kind = engine.host(), storage(name)
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    memory = Memory(k)
    orow = "%orow" if apart else k.word("mul", "%n", kind.itemsize)
    rows = 8 if host.vector_bits == 512 else 4  # what the registers hold
    tall = k.word("and", "%m", -rows)

    stage = k.slot(f"[{rows * _FINISHED} x {kind.llvm}]")
    finishing = k.compare("ne", "%finish", "null", "ptr")
    row_bytes = k.emit(f"select i1 {finishing}, i64 {_FINISHED * kind.itemsize}, i64 {orow}")

    left_stage = k.slot(f"[{rows * LONGEST} x {kind.llvm}]")
    preparing = k.compare("ne", "%prepare", "null", "ptr")
    a_row = k.emit(f"select i1 {preparing}, i64 {LONGEST * kind.itemsize}, i64 %arow")
    a_column = k.emit(f"select i1 {preparing}, i64 {kind.itemsize}, i64 %acol")

    def columns(start: str | int, end: str, body: Callable[[str, int, str, str], None]) -> None:
        most = 2 * k.lanes
        full = k.word("add", start, k.word("and", k.word("sub", end, start), -most))
        with k.loop(start, full, most) as j:
            body(j, 2, "", "")
        with k.loop(full, end, k.lanes) as j:
            count = k.smaller(k.word("sub", end, j), k.lanes)
            body(j, 1, count, memory.mask(count))

    def block(
        i: str, height: int, base: str, start: str, j: str, vectors: int, count: str, mask: str
    ) -> None:
        """Rows ``i`` to ``i + height``, whole vectors of columns from ``j``, or one with `count` lanes.

        Column ``start`` of the first of these rows belongs at `base`.
        """
        zero = k.const(0.0, kind.compute).ref
        sums = [[k.variable(k.vector(kind.compute), zero) for _ in range(vectors)] for _ in range(height)]
        a_base = k.at("%a", k.word("mul", i, "%arow"))
        a_base = k.emit(f"select i1 {preparing}, ptr {left_stage}, ptr {a_base}")
        a_rows = [k.at(a_base, k.word("mul", a_row, r)) for r in range(height)]
        with k.loop(0, "%k") as p:
            b_row = k.at(k.at("%b", k.word("mul", p, "%brow")), j, kind.itemsize)
            if count:
                right = [Value(k, memory.load_part(kind, b_row, count, mask), kind.compute)]
            else:
                right = [
                    Value(k, memory.load(kind, k.at(b_row, v * k.lanes, kind.itemsize)), kind.compute)
                    for v in range(vectors)
                ]
            offset = k.word("mul", p, a_column)
            for r in range(height):
                left = k.splat(k.load(kind.llvm, k.at(a_rows[r], offset)), kind.compute)
                for v in range(vectors):
                    old = Value(k, sums[r][v].get(), kind.compute)
                    sums[r][v].set(k.fma(left, right[v], old).ref)
        for r in range(height):
            o_row = k.at(k.at(base, k.word("mul", row_bytes, r)), k.word("sub", j, start), kind.itemsize)
            for v in range(vectors):
                if count:
                    memory.store_part(kind, sums[r][v].get(), o_row, count, mask)
                else:
                    memory.store(kind, sums[r][v].get(), k.at(o_row, v * k.lanes, kind.itemsize))

    def some_rows(i: str, height: int) -> None:
        with k.when(preparing):
            some = (
                "%start.arrays",
                "%start.numbers",
                "%k",
                k.word("add", "%start.first", i),
                str(height),
                "0",
                "%k",
            )
            call_block(k, "%prepare", some, left_stage, a_row)
        with k.loop(0, "%n", _FINISHED) as start:
            end = k.smaller(k.word("add", start, _FINISHED), "%n")
            place = k.at(k.at("%o", k.word("mul", i, orow)), start, kind.itemsize)
            base = k.emit(f"select i1 {finishing}, ptr {stage}, ptr {place}")
            columns(start, end, lambda j, *part: block(i, height, base, start, j, *part))
            with k.when(finishing):
                number, size = k.word("add", "%first", i), k.word("sub", end, start)
                part = ("%arrays", "%scalars", "%n", number, str(height), start, size)
                call_block(k, "%finish", part, stage, row_bytes)

    with k.loop(0, tall, rows) as i:
        some_rows(i, rows)
    with k.loop(tall, "%m") as i:
        some_rows(i, 1)
    k.line("ret void")
    return k.declarations, k.function("small", _PARAMETERS + ", i64 %orow" * apart, linkage="internal")


def write_transposed_product(name: str) -> str:
    """As `write_product` for o = a transpose(b): `a` and `b` have contiguous rows; `acol` is not used.

    What is finished is written to `o`, too.
    """
    host, kind = engine.host(), storage(name)
    k = Dialect(host, host.vector_bits // kind.compute.bits)
    memory = Memory(k)
    orow = k.word("mul", "%n", kind.itemsize)
    height, width = (4, 4) if host.vector_bits == 512 else (4, 2)  # what the registers hold
    tall, wide = (k.word("and", x, -size) for x, size in (("%m", height), ("%n", width)))
    whole = k.word("and", "%k", -k.lanes)
    zero = k.const(0.0, kind.compute).ref

    def block(i: str, rows: int, j: str, columns: int) -> None:
        sums = [[k.variable(k.vector(kind.compute), zero) for _ in range(columns)] for _ in range(rows)]
        starts = [
            [k.at(base, k.word("mul", k.word("add", first, r), step)) for r in range(count)]
            for base, first, step, count in (("%a", i, "%arow", rows), ("%b", j, "%brow", columns))
        ]

        def accumulate(load: Callable[[str], str]) -> None:
            left, right = ([Value(k, load(s), kind.compute) for s in part] for part in starts)
            for r, x in enumerate(left):
                for c, y in enumerate(right):
                    old = Value(k, sums[r][c].get(), kind.compute)
                    sums[r][c].set(k.fma(x, y, old).ref)

        with k.loop(0, whole, k.lanes) as p:
            accumulate(lambda start: memory.load(kind, k.at(start, p, kind.itemsize)))
        with k.loop(whole, "%k", k.lanes) as p:
            count = k.word("sub", "%k", p)
            mask = memory.mask(count)
            accumulate(lambda start: memory.load_part(kind, k.at(start, p, kind.itemsize), count, mask))
        for r in range(rows):
            o_row = k.at(k.at("%o", k.word("mul", k.word("add", i, r), orow)), j, kind.itemsize)
            for c in range(columns):
                total = k.fold(Value(k, sums[r][c].get(), kind.compute), lambda x, y: x + y)
                lane = k.emit(f"extractelement {k.vector(kind.compute)} {total.ref}, i32 0")
                k.store(kind.llvm, lane, o_row, c, kind.itemsize)

    def columns_of(i: str, rows: int) -> None:
        with k.loop(0, wide, width) as j:
            block(i, rows, j, width)
        with k.loop(wide, "%n") as j:
            block(i, rows, j, 1)

    with k.loop(0, tall, height) as i:
        columns_of(i, height)
    with k.loop(tall, "%m") as i:
        columns_of(i, 1)
    with k.when(k.compare("ne", "%finish", "null", "ptr")):  # these have few rows: all of it is in the cache
        whole_block = ("%arrays", "%scalars", "%n", "%first", "%m", "0", "%n")
        call_block(k, "%finish", whole_block, "%o", orow)
    k.line("ret void")
    function = k.function("small", _PARAMETERS, linkage="internal")
    return "\n".join(k.declarations.values()) + "\n" + function + attributes(host)
