"""Programs over small arrays as one function: sizes are part of its code, and nothing is launched in between.

For a gradient or a Hessian of a few dozen numbers the work is nothing and the calls are everything.  So all values live
in one piece of stack memory, and each is a table of where its elements lie there.  Operations that only move elements
(views, slices, padding, concatenation, their adjoints) change the table when the function is written and cost nothing
when it runs; what they do is found out by running them on numbered elements.  The others become loops over vectors:
elementwise operations of one shape share a loop, reductions run over columns, products of matrices over rows.

As sizes are in the code, only replays use this: they are made for one set of shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...compiler import engine, native
from ...compiler.dialect import Dialect
from ...compiler.dialect import Value as Lane
from ...compiler.types import COMPUTE, Storage, UnsupportedError, storage
from ...compiler.vector_loop import attributes
from ..graph import Graph, Instr, Scalar, Value
from .elements import element, is_elementwise, kernel_dtype, scalar_type
from .groups import REDUCTIONS
from .kernels import TOTALS
from .simplify import simplify

__all__ = ["compile_small"]

ELEMENTS = 4096  # of one value
SCRATCH = 192 << 10  # bytes
WORK = 1 << 17  # elements that are computed in all; of products vectors
CASTS = {"float32": "float64"}  # what sums are kept in
MOVES = ("view", "linear")  # families whose operations may be mere movement

Table = np.ndarray[Any, Any]  # for each element of a value, in C order, its byte in the scratch memory


class Writer:
    """Writes the function of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        values = [*graph.inputs, *[v for i in graph.instrs for v in i.outs]]
        for v in values:
            if not 0 < v.size <= ELEMENTS or not kernel_dtype(v.dtype):
                raise UnsupportedError(f"{v.annotation} is not small, or of no kernel's dtype")
        if any(s.kind is complex for s in graph.scalars):
            raise UnsupportedError("a complex number")
        wide = any(v.dtype == np.float64 for v in values)
        host = engine.host()
        self.k = Dialect(host, host.vector_bits // (64 if wide else 32))
        self.lanes = self.k.lanes
        self.registers = 20 if host.vector_bits == 512 else 10  # for the sums of a tile
        self.where: dict[Value, Table] = {}
        self.used = 64  # the first bytes are zero: what padding reads
        self.copies: dict[tuple[bytes, str], int] = {}
        self.tables: list[str] = []
        self.scalars: dict[tuple[Scalar, str], Lane] = {}
        self.work = 0
        self.scratch = "%scratch"

    # ---- memory ----

    def reserve(self, n: int, kind: Storage) -> int:
        """A place for `n` elements, and for the lanes of the last vector beyond them."""
        at = self.used
        size = (n + self.lanes) * kind.itemsize
        self.used += -(-size // 64) * 64
        if self.used > SCRATCH:
            raise UnsupportedError("too much memory for a small program")
        return at

    def new(self, v: Value) -> int:
        """A dense place for a value."""
        kind = storage(v.dtype)
        at = self.reserve(v.size, kind)
        self.where[v] = at + kind.itemsize * np.arange(v.size).reshape(v.shape)
        return at

    def address(self, at: int) -> str:
        return self.k.at(self.scratch, at)

    def constant_table(self, words: Any) -> str:
        """A table of i32 in the code."""
        name = f"@table{len(self.tables)}"
        body = ", ".join(f"i32 {w}" for w in words)
        self.tables.append(f"{name} = private constant [{len(words)} x i32] [{body}]")
        return name

    def gather(self, table: Table, kind: Storage, base: str, target: str, stride: int = 0) -> None:
        """Copy elements, one by one: from ``base + table[i]`` to ``target + i``."""
        k = self.k
        name = self.constant_table(table.reshape(-1).tolist())
        self.work += table.size
        with k.loop(0, table.size) as i:
            offset = k.emit(f"sext i32 {k.load('i32', name, i, 4)} to i64")
            one = k.emit(f"load {kind.llvm}, ptr {k.at(base, offset)}, align 1")
            k.line(f"store {kind.llvm} {one}, ptr {k.at(target, i, kind.itemsize)}, align 1")

    def dense(self, table: Table, kind: Storage) -> int:
        """Where elements lie one after the other, copied there if need be."""
        flat = table.reshape(-1)
        if flat.size == 1 or (np.diff(flat) == kind.itemsize).all():
            return int(flat[0])
        key = flat.tobytes(), kind.name
        found = self.copies.get(key)
        if found is None:
            found = self.copies[key] = self.reserve(flat.size, kind)
            self.gather(flat, kind, self.scratch, self.address(found))
        return found

    def vector(self, at: int, index: Any, kind: Storage) -> Lane:
        """The lanes that begin at element `index` of a dense place."""
        k = self.k
        address = k.at(self.address(at), index, kind.itemsize)
        return k.decode(k.emit(f"load {k.vector(kind.llvm)}, ptr {address}, align {kind.itemsize}"), kind)

    def keep(self, value: Lane, at: int, index: Any, kind: Storage) -> None:
        """Store lanes from element `index` of a place on."""
        k = self.k
        address = k.at(self.address(at), index, kind.itemsize)
        k.line(f"store {k.vector(kind.llvm)} {k.encode(value, kind)}, ptr {address}, align {kind.itemsize}")

    def splat(self, at: int, kind: Storage) -> Lane:
        """One element in all lanes."""
        k = self.k
        one = k.emit(f"load {kind.llvm}, ptr {self.address(at)}, align {kind.itemsize}")
        if kind.name == "bool":
            return k.splat(k.emit(f"icmp ne i8 {one}, 0"), COMPUTE["bool"])
        return k.splat(one, kind.compute)

    def number(self, s: Scalar, type: str) -> Lane:
        """A run-time number in all lanes."""
        found = self.scalars.get((s, type))
        if found is None:
            k = self.k
            value = k.load("double", "%numbers", s.index)
            if COMPUTE[type].bits == 32:
                value = k.emit(f"fptrunc double {value} to float")
            found = self.scalars[s, type] = k.splat(value, COMPUTE[type])
        return found

    # ---- operations ----

    def program(self) -> None:
        """All instructions."""
        k = self.k
        for i, v in enumerate(self.graph.inputs):
            kind = storage(v.dtype)
            data = k.load("ptr", "%inputs", i)
            at = self.new(v)
            if v.contiguous:
                size = v.size * kind.itemsize
                k.call(
                    "void",
                    "llvm.memcpy.p0.p0.i64",
                    f"ptr {self.address(at)}",
                    f"ptr {data}",
                    f"i64 {size}",
                    "i1 false",
                )
            else:
                bytes_ = sum(
                    (
                        np.arange(n).reshape([-1 if d == e else 1 for e in range(len(v.shape))]) * s
                        for d, (n, s) in enumerate(zip(v.shape, v.strides))
                    ),
                    np.zeros(v.shape, np.int64),
                )
                self.gather(bytes_, kind, data, self.address(at))
        group: list[Instr] = []
        for instr in self.graph.instrs:
            if is_elementwise(instr, any_layout=True):
                if group and group[0].out.shape != instr.out.shape:
                    self.pointwise(group)
                    group = []
                made = {i.out for i in group}
                if any(v in made and v.shape != instr.out.shape for v in instr.values()):
                    self.pointwise(group)
                    group = []
                group.append(instr)
                continue
            if any(v in {i.out for i in group} for v in instr.values()):
                self.pointwise(group)
                group = []
            self.other(instr)
        self.pointwise(group)

    def pointwise(self, group: list[Instr]) -> None:
        """Elementwise operations of one shape, in one loop."""
        if not group:
            return
        k, n = self.k, group[0].out.size
        shape = group[0].out.shape
        made = {i.out for i in group}
        later = set(self.graph.outputs)
        for i in self.graph.instrs:
            if i not in group:
                later.update(i.values())
        places: dict[Value, int] = {}
        env: dict[Any, Any] = {}
        for instr in group:
            for v in instr.values():
                if v in made or v in places or v in env:
                    continue
                kind = storage(v.dtype)
                table = np.broadcast_to(self.where[v], shape)
                if (table == table.reshape(-1)[0]).all():
                    env[v] = self.splat(int(table.reshape(-1)[0]), kind)
                else:
                    places[v] = self.dense(table, kind)
            for a in instr.args:
                if type(a) is Scalar:
                    self.number(a, scalar_type(instr))
        stored = {v: self.new(v) for v in made if v in later}
        self.work += n * len(group)

        def body(index: Any) -> None:
            local = dict(env)
            for v, at in places.items():
                local[v] = self.vector(at, index, storage(v.dtype))
            for instr in group:
                args = [
                    local[a]
                    if type(a) is Value
                    else self.number(a, scalar_type(instr))
                    if type(a) is Scalar
                    else a
                    for a in instr.args
                ]
                local[instr.out] = element(k, instr, args)
            for v, at in stored.items():
                value = local[v]
                kind = storage(v.dtype)
                if not isinstance(value, Lane):
                    value = k.const(value, kind.compute)
                self.keep(value, at, index, kind)

        if n <= self.lanes:
            body(0)
        else:
            with k.loop(0, n, self.lanes) as index:
                body(index)

    def other(self, instr: Instr) -> None:
        """Anything that is not elementwise."""
        name = instr.op.name
        if name in REDUCTIONS and name in TOTALS:
            self.reduction(instr)
        elif name == "matmul":
            self.product(instr)
        elif instr.op.family in MOVES and len(instr.outs) == 1 and instr.values():
            self.movement(instr)
        else:
            raise UnsupportedError(f"{name} is not written for small programs")

    def movement(self, instr: Instr) -> None:
        """An operation each of whose results is one element of its arguments, or zero."""
        values = instr.values()
        tables = [self.where[v].reshape(-1) for v in values]
        sources = np.concatenate([[0], *tables])  # number 0: the zero
        numbered, start = [], 1
        for v in values:
            numbered.append(np.arange(start, start + v.size, dtype=np.float64).reshape(v.shape))
            start += v.size
        codes = run_on(instr, numbered)
        found = codes.astype(np.int64)
        if (
            codes.shape != instr.out.shape
            or not (found == codes).all()
            or found.min(initial=0) < 0
            or found.max(initial=0) >= start
        ):
            raise UnsupportedError(f"{instr.op.name} does more than move elements")
        rng = np.random.default_rng(0)
        for _ in range(2):
            probes = [rng.standard_normal(v.shape) for v in values]
            everything = np.concatenate([[0.0], *[p.reshape(-1) for p in probes]])
            if not np.array_equal(run_on(instr, probes), everything[found]):
                raise UnsupportedError(f"{instr.op.name} does more than move elements")
        if instr.out.dtype != values[0].dtype:
            raise UnsupportedError(f"{instr.op.name} changes the dtype")
        self.where[instr.out] = sources[found].reshape(instr.out.shape)

    def reduction(self, instr: Instr) -> None:
        """Columns side by side in the lanes, rows one after the other."""
        k = self.k
        (v,) = instr.values()
        if v.dtype not in (np.float32, np.float64) or instr.out.dtype != v.dtype:
            raise UnsupportedError(f"{instr.op.name} of {v.dtype}")
        dims = tuple(instr.params["dims"])
        kept = [d for d in range(len(v.shape)) if d not in dims]
        table = self.where[v].transpose([*dims, *kept])
        rows, columns = math.prod(v.shape[d] for d in dims), math.prod(v.shape[d] for d in kept)
        if not rows:
            raise UnsupportedError("an empty reduction")
        kind = storage(v.dtype)
        source = self.dense(table, kind)
        target = self.new(instr.out)
        start, combine = TOTALS[instr.op.name]
        wide = CASTS.get(kind.name, kind.name) if instr.op.name == "sum" else kind.name
        self.work += rows * columns
        total_type = k.vector(COMPUTE[wide])
        slot = k.slot(total_type)

        def column(index: Any) -> None:
            first = k.const(start, wide)
            k.line(f"store {total_type} {first.ref}, ptr {slot}, align 64")
            with k.loop(0, rows) as row:
                at = k.word("add", k.word("mul", row, columns), index)
                total = Lane(k, k.emit(f"load {total_type}, ptr {slot}, align 64"), COMPUTE[wide])
                x = self.vector(source, at, kind)
                total = combine(total, k.cast(x, wide))
                k.line(f"store {total_type} {total.ref}, ptr {slot}, align 64")
            total = Lane(k, k.emit(f"load {total_type}, ptr {slot}, align 64"), COMPUTE[wide])
            self.keep(k.cast(total, kind.compute.name), target, index, kind)

        if columns <= self.lanes:
            column(0)
        else:
            with k.loop(0, columns, self.lanes) as index:
                column(index)

    def product(self, instr: Instr) -> None:
        """A product of matrices: for each row of the result, rows of the second one times numbers of the first."""
        k = self.k
        a, b = instr.values()
        if (
            len(a.shape) < 2
            or len(b.shape) < 2
            or a.dtype != b.dtype
            or a.dtype not in (np.float32, np.float64)
        ):
            raise UnsupportedError("this product")
        *batch, m, n = instr.out.shape
        inner = a.shape[-1]
        count = math.prod(batch)
        if not inner:
            raise UnsupportedError("an empty product")
        kind = storage(a.dtype)
        left = self.dense(np.broadcast_to(self.where[a], (*batch, m, inner)), kind)
        right = self.dense(np.broadcast_to(self.where[b], (*batch, inner, n)), kind)
        vectors = -(-n // self.lanes)
        width = vectors * self.lanes  # rows of the result are padded: a tile may end beyond a row
        target = self.reserve(count * m * width, kind)
        numbers = np.arange(count * m)[:, None] * width + np.arange(n)
        self.where[instr.out] = (target + kind.itemsize * numbers).reshape(instr.out.shape)
        self.work += count * m * inner * vectors
        across = next(c for c in (4, 3, 2, 1) if vectors % c == 0)
        down = next(r for r in (6, 5, 4, 3, 2, 1) if m % r == 0 and r * across <= self.registers)
        type = k.vector(kind.compute)
        slots = [[k.slot(type) for _ in range(across)] for _ in range(down)]
        step = across * self.lanes
        with k.loop(0, count * m, down) as row, k.loop(0, width, step) as column:
            first = k.word("mul", k.word("udiv", row, m), inner * n)
            for slot in sum(slots, []):
                k.line(f"store {type} zeroinitializer, ptr {slot}, align 64")
            with k.loop(0, inner) as j:
                start = k.word("add", k.word("add", first, k.word("mul", j, n)), column)
                line = [self.vector(right, k.word("add", start, c * self.lanes), kind) for c in range(across)]
                for r, places in enumerate(slots):
                    at = k.word("add", k.word("mul", k.word("add", row, r), inner), j)
                    x = k.at(self.address(left), at, kind.itemsize)
                    one = k.splat(k.emit(f"load {kind.llvm}, ptr {x}, align {kind.itemsize}"), kind.compute)
                    for place, y in zip(places, line):
                        total = Lane(k, k.emit(f"load {type}, ptr {place}, align 64"), kind.compute)
                        k.line(f"store {type} {k.fma(one, y, total).ref}, ptr {place}, align 64")
            for r, places in enumerate(slots):
                at = k.word("add", k.word("mul", k.word("add", row, r), width), column)
                for c, place in enumerate(places):
                    total = Lane(k, k.emit(f"load {type}, ptr {place}, align 64"), kind.compute)
                    self.keep(total, target, k.word("add", at, c * self.lanes), kind)

    # ---- the whole ----

    def results(self) -> list[tuple[int, ...]]:
        """Copy the outputs out; for each the order of its dims in memory."""
        k = self.k
        orders = []
        for i, v in enumerate(self.graph.outputs):
            order = memory_order(v)
            kind = storage(v.dtype)
            table = self.where[v].transpose(order).reshape(-1)
            data = k.load("ptr", "%outputs", i)
            if v.size and (v.size == 1 or (np.diff(table) == kind.itemsize).all()):
                size = v.size * kind.itemsize
                k.call(
                    "void",
                    "llvm.memcpy.p0.p0.i64",
                    f"ptr {data}",
                    f"ptr {self.address(int(table[0]))}",
                    f"i64 {size}",
                    "i1 false",
                )
            elif v.size:
                self.gather(table, kind, self.scratch, data)
            orders.append(order)
        if self.work > WORK:
            raise UnsupportedError("too much work for a small program")
        return orders

    def text(self) -> str:
        """The module: the computation, and the built-in function that takes pointers and calls it."""
        k = self.k
        k.line("ret void")
        body = k.function(
            "compute", "ptr %inputs, ptr %outputs, ptr %numbers, ptr noalias %scratch", linkage="internal"
        )
        c = entry(len(self.graph.inputs), len(self.graph.outputs), len(self.graph.scalars), self.used)
        external = "@none = external global i8\n"
        declarations = {**k.declarations, **c.declarations}
        return "\n".join(
            [
                external,
                *self.tables,
                *declarations.values(),
                body,
                c.function("program", "ptr %self, ptr %args, i64 %count", "ptr"),
            ]
        ) + attributes(k.host)


def entry(inputs: int, outputs: int, numbers: int, scratch: int) -> Any:
    """``program(*outputs, *inputs, *numbers)``, whose arguments the replay has checked."""
    from ...compiler.code import Code

    c = Code()
    memory = c.slot(f"[{scratch} x i8]")
    places = [c.slot(f"[{max(n, 1)} x i64]") for n in (outputs, inputs, numbers)]
    c.call("void", "llvm.memset.p0.i64", f"ptr {memory}", "i8 0", "i64 64", "i1 false")
    for j in range(outputs + inputs):
        item = c.load("ptr", "%args", j)
        data = c.load("ptr", item, native.ARRAY_DATA, 1)
        c.store("ptr", data, places[j >= outputs], j if j < outputs else j - outputs)
    for j in range(numbers):
        item = c.load("ptr", "%args", outputs + inputs + j)
        c.store("double", c.call("double", "PyFloat_AsDouble", f"ptr {item}"), places[2], j)
    c.line(f"call void @compute(ptr {places[1]}, ptr {places[0]}, ptr {places[2]}, ptr {memory})")
    c.call("void", "Py_IncRef", "ptr @none")
    c.line("ret ptr @none")
    return c


def run_on(instr: Instr, arrays: Sequence[Any]) -> Any:
    """The operation on other arrays of the same shapes."""
    rest = iter(arrays)
    args = [next(rest) if type(a) is Value else a for a in instr.args]
    if any(type(a) is Scalar for a in args):
        raise UnsupportedError(f"{instr.op.name} with a number")
    return np.asarray(instr.op.impl(*args, **instr.params))


def memory_order(v: Value) -> tuple[int, ...]:
    """The dims from the slowest to the fastest, of a value without gaps."""
    if v.contiguous:
        return tuple(range(len(v.shape)))
    order = tuple(sorted(range(len(v.shape)), key=lambda d: (-v.strides[d], d)))
    expected = v.dtype.itemsize
    for d in reversed(order):
        if v.shape[d] != 1 and v.strides[d] != expected:
            raise UnsupportedError("an output with gaps")
        expected *= v.shape[d]
    return order


def compile_small(graph: Graph) -> tuple[Any, str, list[str]]:
    """(run, its source, notes) of a program over small arrays.

    Raises: UnsupportedError, CompileError for programs that are not small or have operations that are not written here.
    """
    if not native.usable():
        raise UnsupportedError("Python's objects cannot be read")
    graph = simplify(graph)
    writer = Writer(graph)
    writer.program()
    orders = writer.results()
    symbols = native.symbols()
    imports = {n: symbols[n] for n in ("PyFloat_AsDouble", "Py_IncRef", "none")}
    imports |= {n: native.libm_address(n) for n in writer.k.libm}
    library = engine.build(writer.text(), ["program"], imports)
    fn = native.make_function("program", library["program"], ())
    scope: dict[str, Any] = {"fn": fn, "empty": np.empty}
    names, lines = [], []
    for i, (v, order) in enumerate(zip(graph.outputs, orders)):
        scope[f"s{i}"], scope[f"d{i}"] = tuple([v.shape[d] for d in order]), v.dtype
        made = f"empty(s{i}, d{i})"
        if order != tuple(range(len(v.shape))):
            scope[f"p{i}"] = tuple(int(d) for d in np.argsort(order))
            made += f".transpose(p{i})"
        if eval(made, scope).strides != v.strides:  # dims of size 1: eager's strides may be seen
            scope |= {"ndarray": np.ndarray, f"n{i}_": v.size, f"s{i}": v.shape, f"t{i}": v.strides}
            made = f"ndarray(s{i}, d{i}, empty(n{i}_, d{i}), 0, t{i})"
        lines.append(f"    o{i} = {made}")
        names.append(f"o{i}")
    inputs = [f"a{i}" for i in range(len(graph.inputs))]
    numbers = [f"n{i}" for i in range(len(graph.scalars))]
    for given, variable in ((inputs, "arrays"), (numbers, "numbers")):
        if given:
            lines.insert(0, f"    {', '.join(given)}, *_ = {variable}")
    lines.append(f"    fn({', '.join([*names, *inputs, *numbers])})")
    source = "def run(arrays, numbers):\n" + "\n".join(lines) + f"\n    return [{', '.join(names)}]\n"
    exec(compile(source, "<small program>", "exec"), scope)
    note = f"one function for {len(graph.instrs)} operations over small arrays, {writer.used} bytes of memory"
    return scope["run"], source, [note]
