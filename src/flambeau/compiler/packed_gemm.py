"""Matrix products of any size: both factors are packed into panels, blocks of the result stay in registers.

The method of K. Goto and R. van de Geijn, *Anatomy of High-Performance Matrix Multiplication* (2008), in the
form of F. Van Zee and R. van de Geijn, *BLIS* (2015).  The inner dimension is cut into stretches that keep a
panel of the second factor in the first-level cache and a block of the first in the second-level one.  For
each stretch the pool packs the panels of both factors in one region, and multiplies in a second one, whose
chunks are tiles of the result.  Transposed factors are turned while they are packed.  What is computed from
the product element by element can be done with each part of a tile while it is in the cache (`product_finish`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import engine, pair_panels
from .dialect import Dialect, Value
from .product_finish import call_block
from .types import Storage, storage
from .vector_loop import Memory, attributes

__all__ = ["ARRAYS", "SCALARS", "PanelWriter", "panel_sizes", "write_packed_product", "write_parts"]

# What the driver reads. The first three scalars are the launcher's: units, work of a unit, units of a chunk.
# Distances are in bytes; `kc`, `mc`, `nc` are the sizes of the stretches that are packed, `mb` and `nb` those
# of a tile, `pa` and `pb` panels that a chunk packs.  `bias`: a row of them is the last array, to be added;
# `keep`: the result is added to what is in the output.  A unit is one product of the batch; each chunk of units
# packs into a room of its own, of `slot` bytes.  One chunk alone runs in the caller, and shares its regions
# out to the pool; chunks that the pool runs compute theirs by themselves.  `inner` is the inner dimension in
# numbers, where the elements of panels are pairs of them (`k` counts these).  `finish` and `announce` are the
# addresses of functions that are told of each part of the last sums, or 0 (`product_finish`): their arrays and
# numbers follow, and ``o`` is then for the sums between the stretches.  `prepare` is that of one which computes rows of
# the first factor, or 0: its arrays and numbers begin `start_array` and `start_number` words later.
ARRAYS = ("o", "a", "b", "room", "bias_row")
SCALARS = (
    *("units", "work", "grain", "slot", "sa", "sb", "so", "m", "n", "k"),
    *("arow", "acol", "brow", "bcol", "orow"),
    *("kc", "mc", "nc", "mb", "nb", "pa", "pb", "bias", "keep", "inner"),
    *("finish", "announce", "prepare", "start_array", "start_number"),
)
# Further words of the context that the chunks read: pointers, the present stretch, and numbers of chunks.
_STATE = (
    *(*ARRAYS, *SCALARS[3:], "pack_a", "pack_b", "jc", "pc", "ic", "cols", "deep", "rows"),
    *("chunks_a", "chunks_b", "tiles_down", "arrays", "scalars", "unit"),
    *("start_arrays", "start_numbers", "unit_row"),
)
_POINTERS = (
    *(*ARRAYS, "pack_a", "pack_b", "arrays", "scalars", "start_arrays", "start_numbers"),
    *("finish", "announce", "prepare"),
)
LONGEST = 512  # inner indices in a stretch of a first factor that is computed
# What is finished together, where the inner dimension is short (a panel of the first factor by some of the second, long
# rows of the result) and where it is not: then a panel of the second factor stays in the first-level cache.
_SHORT, _LONG_ROWS, _MANY_ROWS = 160, 4, 1  # inner indices; panels of columns; panels of rows


def panel_sizes(name: str) -> tuple[int, int, int]:
    """(rows of a panel of the first factor, columns of one of the second, elements of a vector)."""
    host, kind = engine.host(), storage(name)
    lanes = host.vector_bits // kind.compute.bits
    many = host.vector_bits == 512 or "neon" in host.names  # 32 registers
    return (12 if many else 6), 2 * lanes, lanes


class PanelWriter(Dialect):
    """One of the functions, over the vectors of one dtype."""

    def __init__(self, kind: Storage) -> None:
        host = engine.host()
        super().__init__(host, host.vector_bits // kind.compute.bits)
        self.kind, self.memory = kind, Memory(self)
        self.height, self.width, _ = panel_sizes(kind.name)
        self.item = kind.itemsize
        self.fused = host.has("fma") or host.has("neon")

    def state(self, *names: str) -> list[str]:
        """Words of the context; pointers for the arrays and the packed panels."""
        return [
            self.load("ptr" if name in _POINTERS else "i64", "%context", _STATE.index(name)) for name in names
        ]

    def set_state(self, context: str, **values: str) -> None:
        for name, value in values.items():
            kind = "ptr" if name in _POINTERS else "i64"
            self.store(kind, value, context, _STATE.index(name))

    def quotient_up(self, a: str | int, b: str | int) -> str:
        """a / b, rounded up."""
        return self.word("udiv", self.word("sub", self.word("add", a, b), 1), b)

    def rest(self, total: str, start: str, most: str | int) -> str:
        """How much of `total` a part that begins at `start` has, `most` at most."""
        return self.smaller(self.word("sub", total, start), most)

    def transposed(self, rows: Sequence[str]) -> list[str]:
        """The square of vectors, transposed by butterflies."""
        now, vector = list(rows), self.vector(self.kind.llvm)
        step = self.lanes // 2
        while step:
            after = list(now)
            for i in range(self.lanes):
                if i & step:
                    continue
                for target, lanes in (
                    (i, [x if not x & step else self.lanes + (x ^ step) for x in range(self.lanes)]),
                    (i | step, [x | step if not x & step else self.lanes + x for x in range(self.lanes)]),
                ):
                    mask = ", ".join(f"i32 {x}" for x in lanes)
                    after[target] = self.emit(
                        f"shufflevector {vector} {now[i]}, {vector} {now[i | step]}, "
                        f"<{self.lanes} x i32> <{mask}>"
                    )
            now, step = after, step // 2
        return now


def _declare(k: Dialect) -> str:
    return "\n".join(k.declarations.values())


def _write_micro(kind: Storage, part: bool, pairs: bool = False) -> tuple[PanelWriter, str]:
    """A block of the result: a panel of the first factor by a panel of the second.

    ``add`` points at what is added, with ``addrow`` bytes between rows, or is null.  The `part` at an edge
    has `height` rows and `count` columns.
    """
    k = PanelWriter(kind)
    memory, vectors = k.memory, 2
    zero = k.const(0.0, kind.compute).ref
    sums = [[k.variable(k.vector(kind.compute), zero) for _ in range(vectors)] for _ in range(k.height)]

    def steps(first: str | int, end: str, unroll: int) -> None:
        with k.loop(first, end, unroll) as p:
            left = k.at("%a", k.word("mul", p, k.height * k.item))
            right = k.at("%b", k.word("mul", p, k.width * k.item))
            for u in range(unroll):
                columns = []
                for v in range(vectors):
                    place = k.at(right, u * k.width + v * k.lanes, k.item)
                    ref = k.emit(f"load {k.vector(kind.llvm)}, ptr {place}, align {k.lanes * k.item}")
                    columns.append(Value(k, ref, kind.compute))
                for r in range(k.height):
                    one = k.emit(
                        f"load {kind.llvm}, ptr {k.at(left, u * k.height + r, k.item)}, align {k.item}"
                    )
                    x = k.splat(one, kind.compute)
                    for v in range(vectors):
                        old = Value(k, sums[r][v].get(), kind.compute)
                        if pairs:
                            new = pair_panels.multiply_pairs(k, x, columns[v], old)
                        else:
                            new = k.fma(x, columns[v], old) if k.fused else x * columns[v] + old
                        sums[r][v].set(new.ref)

    whole = k.word("and", "%deep", -2)
    steps(0, whole, 2)  # of more, LLVM loads all columns first, and sums go to the stack in between
    steps(whole, "%deep", 1)

    counts = masks = [""] * vectors
    if part:
        counts = [
            k.smaller(k.call("i64", "llvm.usub.sat.i64", "i64 %count", f"i64 {v * k.lanes}"), k.lanes)
            for v in range(vectors)
        ]
        masks = [memory.mask(c) for c in counts]

    def each(body: Callable[[int, int], None]) -> None:
        done = k.new_label("rows")
        for r in range(k.height):
            if part and r:
                k.leave_if(k.compare("ule", "%height", r), done)
            for v in range(vectors):
                body(r, v)
        k.branch(done)
        k.label(done)

    def increase(r: int, v: int) -> None:
        place = k.at(k.at("%add", k.word("mul", "%addrow", r)), v * k.lanes, k.item)
        if part:
            ref = memory.load_part(kind, place, counts[v], masks[v])
        else:
            ref = memory.load(kind, place)
        total = Value(k, sums[r][v].get(), kind.compute) + Value(k, ref, kind.compute)
        sums[r][v].set(total.ref)

    def put(r: int, v: int) -> None:
        place = k.at(k.at("%o", k.word("mul", "%orow", r)), v * k.lanes, k.item)
        if part:
            memory.store_part(kind, sums[r][v].get(), place, counts[v], masks[v])
        else:
            memory.store(kind, sums[r][v].get(), place)

    with k.when(k.compare("ne", "%add", "null", "ptr")):
        each(increase)
    each(put)
    k.line("ret void")
    parameters = "i64 %deep, ptr %a, ptr %b, ptr %o, i64 %orow, ptr %add, i64 %addrow"
    name = "edge" if part else "micro"
    if part:
        parameters += ", i64 %height, i64 %count"
    return k, k.function(name, parameters, linkage="internal")


def _write_pack(kind: Storage, which: str, pairs: bool = False) -> tuple[PanelWriter, str]:
    """Pack one panel: its `size` rows (columns, of `b`) side by side, for each inner index.

    `across` and `along` are the distances of neighbours across the panel and along the inner dimension; one
    of the two is the size of an element.  Places beyond `size` get anything: their results are dropped.
    """
    k = PanelWriter(kind)
    if pairs:
        return k, pair_panels.write_pack_pairs(k, kind, which)
    memory, item = k.memory, k.item
    side = k.height if which == "a" else k.width
    turned, straight, done = (k.new_label(x) for x in ("turned", "straight", "done"))
    k.branch_if(k.compare("eq", "%across", item), straight, turned)

    k.label(straight)  # neighbours across the panel are neighbours in memory
    filled = k.new_label("filled")
    partly = k.new_label("partly")
    whole_vectors, odd = divmod(side, k.lanes)
    k.branch_if(k.compare("eq", "%size", side), filled, partly)
    for label, full in ((filled, True), (partly, False)):
        k.label(label)
        counts = [
            k.smaller(k.call("i64", "llvm.usub.sat.i64", "i64 %size", f"i64 {v * k.lanes}"), k.lanes)
            for v in range(whole_vectors + bool(odd))
        ]
        masks = [memory.mask(c) for c in counts]
        with k.loop(0, "%deep") as p:
            origin = k.at("%from", k.word("mul", p, "%along"))
            target = k.at("%to", k.word("mul", p, side * item))
            for v, (count, mask) in enumerate(zip(counts, masks, strict=True)):
                place = k.at(origin, v * k.lanes, item)
                if full and v < whole_vectors:
                    ref = memory.load(kind, place)
                else:
                    ref = memory.load_part(kind, place, count, mask)
                memory.store(kind, ref, k.at(target, v * k.lanes, item))
        k.branch(done)

    k.label(turned)  # squares of vectors are transposed
    last = k.word("sub", "%size", 1)
    starts = [k.at("%from", k.word("mul", k.smaller(r, last), "%across")) for r in range(side)]
    tall = k.word("and", "%deep", -k.lanes)
    with k.loop(0, tall, k.lanes) as p:
        offset = k.word("mul", p, item)
        target = k.at("%to", k.word("mul", p, side * item))
        groups = []

        def write(u: int, g: int, ref: str) -> None:
            memory.store(kind, ref, k.at(target, u * side + g * k.lanes, item))

        for first in range(0, side, k.lanes):
            rows = [
                memory.load(kind, k.at(starts[r], offset)) if r < side else "poison"
                for r in range(first, first + k.lanes)
            ]
            groups.append(k.transposed(rows))
            if not odd:
                for u, ref in enumerate(groups.pop()):
                    write(u, first // k.lanes, ref)
        for u in range(k.lanes):
            for g, group in enumerate(groups):  # what is written too far, the next one writes over
                write(u, g, group[u])
    with k.loop(tall, "%deep") as p:
        offset = k.word("mul", p, item)
        target = k.at("%to", k.word("mul", p, side * item))
        for r in range(side):
            one = k.emit(f"load {kind.llvm}, ptr {k.at(starts[r], offset)}, align {item}")
            k.line(f"store {kind.llvm} {one}, ptr {k.at(target, r, item)}, align {item}")
    k.branch(done)
    k.label(done)
    k.line("ret void")
    parameters = "ptr %from, i64 %across, i64 %along, i64 %size, i64 %deep, ptr %to"
    return k, k.function(f"pack.{which}", parameters, linkage="internal")


def _write_pack_chunk(kind: Storage, pairs: bool) -> tuple[PanelWriter, str]:
    """Chunk ``index``: some panels of the second factor, or, from ``chunks_b`` on, of the first."""
    k = PanelWriter(kind)
    deep, pc, chunks_b, inner = k.state("deep", "pc", "chunks_b", "inner")
    first_inner, length = pc, deep
    if pairs:
        first_inner = k.word("mul", pc, 2)
        length = k.rest(inner, first_inner, k.word("mul", deep, 2))
    prepare, arrays, numbers, unit_row = k.state("prepare", "start_arrays", "start_numbers", "unit_row")
    preparing, stage_row = k.compare("ne", prepare, "null", "ptr"), LONGEST * k.item
    stage = "" if pairs else k.slot(f"[{k.height * LONGEST} x {kind.llvm}]")
    first, second, done = (k.new_label(x) for x in ("first", "second", "done"))
    k.branch_if(k.compare("ult", "%index", chunks_b), second, first)

    def panels(which: str, index: str, side: int, fields: tuple[str, ...], slack: int) -> None:
        base, start, size, per, across, along, target = k.state(*fields)
        if which == "a" and not pairs:
            across = k.emit(f"select i1 {preparing}, i64 {stage_row}, i64 {across}")
            along = k.emit(f"select i1 {preparing}, i64 {k.item}, i64 {along}")
        low = k.word("mul", index, per)
        high = k.smaller(k.word("add", low, per), k.quotient_up(size, side))
        stride = k.word("mul", k.word("add", k.word("mul", deep, side), slack), k.item)
        with k.loop(low, high) as q:
            at = k.word("mul", q, side)
            origin = k.at(base, k.word("mul", k.word("add", start, at), across))
            origin = k.at(origin, k.word("mul", first_inner, along))
            if which == "a" and not pairs:
                with k.when(preparing):
                    row = k.word("add", k.word("add", unit_row, start), at)
                    block = (arrays, numbers, inner, row, k.rest(size, at, side), pc, deep)
                    call_block(k, prepare, block, stage, str(stage_row))
                origin = k.emit(f"select i1 {preparing}, ptr {stage}, ptr {origin}")
            k.line(
                f"call void @pack.{which}(ptr {origin}, i64 {across}, i64 {along}, "
                f"i64 {k.rest(size, at, side)}, i64 {length}, ptr {k.at(target, k.word('mul', q, stride))})"
            )

    k.label(second)
    panels("b", "%index", k.width, ("b", "jc", "cols", "pb", "bcol", "brow", "pack_b"), 0)
    k.branch(done)
    k.label(first)
    own = k.word("sub", "%index", chunks_b)
    panels("a", own, k.height, ("a", "ic", "rows", "pa", "arow", "acol", "pack_a"), k.lanes)
    k.branch(done)
    k.label(done)
    k.line("ret void")
    return k, k.function("pack.chunk", "i64 %index, ptr %context", linkage="internal")


def _write_tile_chunk(kind: Storage) -> tuple[PanelWriter, str]:
    """Chunk ``index``: a tile of the result, of ``mb`` rows and ``nb`` columns at most."""
    k = PanelWriter(kind)
    o, orow, bias_row, bias, keep = k.state("o", "orow", "bias_row", "bias", "keep")
    pack_a, pack_b, ic, jc, pc = k.state("pack_a", "pack_b", "ic", "jc", "pc")
    rows, cols, deep, mb, nb, down = k.state("rows", "cols", "deep", "mb", "nb", "tiles_down")
    m, n, inner, unit, arrays, scalars = k.state("m", "n", "k", "unit", "arrays", "scalars")
    finish, announce = k.state("finish", "announce")
    top = k.word("mul", k.word("urem", "%index", down), mb)
    left = k.word("mul", k.word("udiv", "%index", down), nb)
    bottom, right = (
        k.smaller(k.word("add", start, size), end) for start, size, end in ((top, mb, rows), (left, nb, cols))
    )
    later = k.compare("ne", k.word("or", pc, keep), 0)
    last = k.compare("uge", k.word("add", pc, deep), inner)
    biased = k.compare("ne", bias, 0)
    panel_a = k.word("add", k.word("mul", deep, k.height), k.lanes)
    short = k.compare("ule", deep, _SHORT)
    bands = k.emit(f"select i1 {short}, i64 {k.height}, i64 {_MANY_ROWS * k.height}")
    wide = k.emit(f"select i1 {short}, i64 {_LONG_ROWS * k.width}, i64 {k.width}")
    wide_bytes = k.word("mul", wide, k.item)
    most = max(_LONG_ROWS, _MANY_ROWS) * k.height * k.width
    # The last sums go here, not into the result: rows of many sizes would fight for one place in the cache.
    stage = k.slot(f"[{most} x {kind.llvm}]")

    def block(i: str, j: str, target: str, target_row: str | int) -> None:
        """A panel by a panel, into `target` or into the result."""
        column = k.word("mul", k.word("add", jc, j), k.item)
        before = k.at(k.at(o, k.word("mul", k.word("add", ic, i), orow)), column)
        first_add = k.emit(f"select i1 {biased}, ptr {k.at(bias_row, column)}, ptr null")
        add = k.emit(f"select i1 {later}, ptr {before}, ptr {first_add}")
        add_row = k.emit(f"select i1 {later}, i64 {orow}, i64 0")
        panel = k.word("mul", k.word("udiv", i, k.height), panel_a)
        first = k.at(pack_a, k.word("mul", panel, k.item))
        second = k.at(pack_b, k.word("mul", k.word("mul", j, deep), k.item))
        height, count = k.rest(bottom, i, k.height), k.rest(right, j, k.width)
        full = [k.compare("eq", size, most) for size, most in ((height, k.height), (count, k.width))]
        whole, part, after = (k.new_label(x) for x in ("whole", "part", "after"))
        k.branch_if(k.emit(f"and i1 {full[0]}, {full[1]}"), whole, part)
        arguments = (
            f"i64 {deep}, ptr {first}, ptr {second}, ptr {target or before}, i64 {target_row}, "
            f"ptr {add}, i64 {add_row}"
        )
        k.label(whole)
        k.line(f"call void @micro({arguments})")
        k.branch(after)
        k.label(part)
        k.line(f"call void @edge({arguments}, i64 {height}, i64 {count})")
        k.branch(after)
        k.label(after)

    def sums() -> None:
        """Panels of the second factor stay in the first-level cache for all rows."""
        with k.loop(left, right, k.width) as j, k.loop(top, bottom, k.height) as i:
            block(i, j, "", orow)

    def results() -> None:
        """A part of the tile at a time, which is finished in the first-level cache."""
        with k.loop(left, right, wide) as start, k.loop(top, bottom, bands) as row:
            end, bound = (
                k.smaller(k.word("add", x, size), stop)
                for x, size, stop in ((start, wide, right), (row, bands, bottom))
            )
            number = k.word("add", k.word("mul", unit, m), k.word("add", ic, row))
            size = k.word("sub", bound, row), k.word("add", jc, start), k.word("sub", end, start)
            place = (arrays, scalars, n, number, *size)
            call_block(k, announce, place)
            with k.loop(start, end, k.width) as j, k.loop(row, bound, k.height) as i:
                target = k.at(stage, k.word("mul", k.word("sub", i, row), wide_bytes))
                block(i, j, k.at(target, k.word("sub", j, start), k.item), wide_bytes)
            call_block(k, finish, place, stage, wide_bytes)

    between, final, done = (k.new_label(x) for x in ("between", "final", "done"))
    finishing = k.emit(f"and i1 {last}, {k.compare('ne', finish, 'null', 'ptr')}")
    k.branch_if(finishing, final, between)
    k.label(between)
    sums()
    k.branch(done)
    k.label(final)
    results()
    k.branch(done)
    k.label(done)
    k.line("ret void")
    return k, k.function("tile.chunk", "i64 %index, ptr %context", linkage="internal")


def _write_driver(kind: Storage) -> tuple[PanelWriter, str]:
    """``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)``: products `lo` to `hi` of the batch."""
    k = PanelWriter(kind)
    context = k.slot(f"[{len(_STATE)} x i64]")
    arrays = {name: k.load("ptr", "%arrays", i) for i, name in enumerate(ARRAYS)}
    s = {name: k.load("ptr" if name in _POINTERS else "i64", "%scalars", i) for i, name in enumerate(SCALARS)}
    k.set_state(context, **arrays, **{name: s[name] for name in SCALARS[3:]})
    own_arrays, own_scalars = k.at("%arrays", len(ARRAYS), 8), k.at("%scalars", len(SCALARS), 8)
    k.set_state(context, arrays=own_arrays, scalars=own_scalars)
    k.set_state(
        context,
        start_arrays=k.at(own_arrays, s["start_array"], 8),
        start_numbers=k.at(own_scalars, s["start_number"], 8),
    )
    single = k.compare("eq", s["sa"], 0)  # one first factor for all products
    # The room, aligned: panels of the second factor first.
    room = k.at(arrays["room"], k.word("mul", k.word("udiv", "%lo", s["grain"]), s["slot"]))
    address = k.emit(f"ptrtoint ptr {room} to i64")
    pack_b = k.at(room, k.word("and", k.word("sub", 0, address), 63))
    columns = k.word("mul", k.quotient_up(k.smaller(s["nc"], s["n"]), k.width), k.width)
    pack_a = k.at(pack_b, k.word("mul", k.word("mul", columns, s["kc"]), k.item))
    k.set_state(context, pack_a=pack_a, pack_b=pack_b)
    with k.loop("%lo", "%hi") as index:
        k.set_state(
            context,
            unit=index,
            unit_row=k.emit(f"select i1 {single}, i64 0, i64 {k.word('mul', index, s['m'])}"),
            a=k.at(arrays["a"], k.word("mul", index, s["sa"])),
            b=k.at(arrays["b"], k.word("mul", index, s["sb"])),
            o=k.at(arrays["o"], k.word("mul", index, s["so"])),
        )
        with k.loop(0, s["n"], s["nc"]) as jc, k.loop(0, s["k"], s["kc"]) as pc:
            cols, deep = k.rest(s["n"], jc, s["nc"]), k.rest(s["k"], pc, s["kc"])
            panels_b = k.quotient_up(cols, k.width)
            k.set_state(context, jc=jc, pc=pc, cols=cols, deep=deep)
            with k.loop(0, s["m"], s["mc"]) as ic:
                rows = k.rest(s["m"], ic, s["mc"])
                again = k.compare("ne", ic, 0)
                all_b = k.quotient_up(panels_b, s["pb"])
                chunks_b = k.emit(f"select i1 {again}, i64 0, i64 {all_b}")
                chunks_a = k.quotient_up(k.quotient_up(rows, k.height), s["pa"])
                down, across = k.quotient_up(rows, s["mb"]), k.quotient_up(cols, s["nb"])
                k.set_state(context, ic=ic, rows=rows, chunks_b=chunks_b, chunks_a=chunks_a, tiles_down=down)
                for chunk, count in (
                    ("pack.chunk", k.word("add", chunks_a, chunks_b)),
                    ("tile.chunk", k.word("mul", down, across)),
                ):
                    k.line(f"call void @pool.run(ptr @{chunk}, ptr {context}, i64 {count})")
    k.line("ret void")
    return k, k.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")


def write_parts(kind: Storage) -> tuple[dict[str, str], list[str]]:
    """Declarations, and functions for kernels that multiply blocks by themselves.

    ``micro(deep, a, b, o, orow, add, addrow)`` multiplies a panel by a panel, ``pack.a`` and ``pack.b`` make panels.
    """
    written = [_write_micro(kind, False), *(_write_pack(kind, which) for which in "ab")]
    declarations: dict[str, str] = {}
    for k, _ in written:
        declarations |= k.declarations
    return declarations, [text for _, text in written]


def write_packed_product(name: str, pairs: bool = False) -> str:
    """LLVM assembly of ``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)``, o = a b for sums of the dtype `name`.

    `ARRAYS` and `SCALARS` say what it reads; it calls the imported ``pool.run``.  Rows of `o` are contiguous,
    and of each factor the rows or the columns.  With `pairs` the factors are bfloat16, for processors with instructions
    for their products (AVX512-BF16), and summed in float32.
    """
    kind = storage(name)
    written = [
        *(_write_micro(kind, part, pairs) for part in (False, True)),
        *(_write_pack(kind, which, pairs) for which in "ab"),
        *(_write_pack_chunk(kind, pairs), _write_tile_chunk(kind), _write_driver(kind)),
    ]
    declarations: dict[str, str] = {}
    for k, _ in written:
        declarations |= k.declarations
    return (
        "\n".join([*declarations.values(), "declare void @pool.run(ptr, ptr, i64)"])
        + "\n"
        + "\n".join(text for _, text in written)
        + attributes(engine.host())
    )
