"""Launching kernels: built-in functions, made of generated code, that check, take pointers and run.

Five functions serve all kernels.  Each finds the facts about its kernel in a descriptor, an array of words
that is the first item of the function's `self`; whatever it does not handle it passes on, unchanged, to the
Python callable that is the second item, which raises the exception.

`contiguous(outs..., ins..., scalars...)` runs over arrays of one size, `table` over lists of such arrays,
`strided` over what a `flambeau.compiler.broadcast` plan describes, `rows` over the rows of matrices; `units`
is `rows` for arrays of any strides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..runtime.threads import Pool
from . import engine, native
from .code import Code, Word

__all__ = ["BLOCK", "MAX_ARRAYS", "MAX_SCALARS", "Descriptor", "Launcher", "launcher", "pool"]

MAX_ARRAYS, MAX_SCALARS = 62, 80
BLOCK = 4096  # elements: the unit in which the arrays of a table are shared out

_Part = tuple[Code, str]  # what was written, and the text of the function

# Words of a descriptor; three per array and one per scalar follow.
KERNEL, N_OUT, N_ARRAYS, N_SCALARS, SERIAL, GRAIN, UNLOCK, HEAD = range(8)


@dataclass(frozen=True)
class Descriptor:
    """A kernel as launchers see it: see `words`."""

    kernel: int
    outputs: int
    descrs: tuple[int, ...]
    itemsizes: tuple[int, ...]
    integer_scalars: tuple[bool, ...]
    cost: float

    def words(self) -> list[int]:
        """Kernel address, counts, sizes (elements) up to which one thread works, of a chunk, and from which
        Python's lock is released; then the arrays' dtype objects, then their item sizes, then 1 for each
        integer scalar."""
        serial = int(12_000 / self.cost)
        grain = -(-int(5_000 / self.cost) // 1024) * 1024
        head = [self.kernel, self.outputs, len(self.descrs), len(self.integer_scalars)]
        head += [max(serial, 1), grain, max(serial, 1)]
        return [*head, *self.descrs, *self.itemsizes, *(int(i) for i in self.integer_scalars)]


@cache
def pool() -> Pool:
    """The process's thread pool."""
    return Pool.get(lambda text, names: engine.build(text, names).addresses)


@dataclass(frozen=True)
class Launcher:
    """Addresses of a built-in function (0 if Python's objects cannot be read) and of its plain entry point.

    `run` is ``void run(ptr kernel, ptr arrays, ptr scalars, i64 n, i64 grain)``; of "table" it is
    ``void run(ptr kernel, ptr rows, ptr scalars, i64 row words, i64 count, i64 blocks, i64 grain)`` and of "strided"
    ``void run(ptr plan, ptr arrays, ptr scalars)``.
    """

    builtin: int
    run: int


class _Writer(Code):
    """A launcher's code; `call_slowly` is where everything unusual goes."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = "slowly"

    def api(self, result: str, name: str, *arguments: str) -> str:
        return self.call(result, name, *arguments)

    def begin(self) -> str:
        """The descriptor."""
        array = self.api("ptr", "PyTuple_GetItem", "ptr %self", "i64 0")
        return self.load("ptr", array, native.ARRAY_DATA, 1)

    def end(self) -> None:
        """Return None."""
        self.api("void", "Py_IncRef", "ptr @none")
        self.line("ret ptr @none")
        self.ways_out()

    def ways_out(self) -> None:
        """The blocks ``slowly`` and ``raised``."""
        self.label("slowly")
        slow = self.api("ptr", "PyTuple_GetItem", "ptr %self", "i64 1")
        result = self.api(
            "ptr", "PyObject_VectorcallDict", f"ptr {slow}", "ptr %args", "i64 %count", "ptr null"
        )
        self.line(f"ret ptr {result}")
        self.label("raised")
        self.line("ret ptr null")

    def check_array(self, item: str, descriptor: str, arrays: str, j: str, flags: int) -> None:
        """Leave unless `item` is an exact ndarray of the dtype expected of array `j`, with `flags`."""
        kind = self.load("ptr", item, native.OBJECT_TYPE, 1)
        self.leave_if(self.compare("ne", kind, "@type.ndarray", "ptr"), self.failed)
        expected = self.load("ptr", descriptor, self.word("add", j, HEAD))
        descr = self.load("ptr", item, native.ARRAY_DESCR, 1)
        self.leave_if(self.compare("ne", descr, expected, "ptr"), self.failed)
        present = self.load("i32", item, native.ARRAY_FLAGS, 1)
        outputs = self.load("i64", descriptor, N_OUT)
        is_output = self.compare("ult", j, outputs)
        need = self.emit(f"select i1 {is_output}, i32 {flags | native.WRITEABLE}, i32 {flags}")
        found = self.emit(f"and i32 {present}, {need}")
        self.leave_if(self.compare("ne", found, need, "i32"), self.failed)
        self.store("ptr", self.load("ptr", item, native.ARRAY_DATA, 1), arrays, j)

    def size(self, item: str) -> str:
        """The number of elements of an array."""
        ndim = self.emit(f"zext i32 {self.load('i32', item, native.ARRAY_NDIM, 1)} to i64")
        dims = self.load("ptr", item, native.ARRAY_DIMS, 1)
        product = self.variable("i64", 1)
        with self.loop(0, ndim) as d:
            product.set(self.word("mul", product.get(), self.load("i64", dims, d)))
        return product.get()

    def check_overlap(self, descriptor: str, arrays: str, n: str) -> None:
        """Leave if an output shares memory with another array, unless that is an input at the same place."""
        outputs, count = self.load("i64", descriptor, N_OUT), self.load("i64", descriptor, N_ARRAYS)
        sizes = self.at(descriptor, self.word("add", count, HEAD), 8)
        with self.loop(0, outputs) as i:
            start_i, size_i = self.load("i64", arrays, i), self.load("i64", sizes, i)
            end_i = self.word("add", start_i, self.word("mul", n, size_i))
            with self.loop(self.word("add", i, 1), count) as j:
                start_j, size_j = self.load("i64", arrays, j), self.load("i64", sizes, j)
                end_j = self.word("add", start_j, self.word("mul", n, size_j))
                before, after = self.compare("ult", start_i, end_j), self.compare("ult", start_j, end_i)
                overlap = self.emit(f"and i1 {before}, {after}")
                with self.when(overlap):
                    self.leave_if(self.compare("ult", j, outputs), self.failed)
                    self.leave_if(self.compare("ne", start_i, start_j), self.failed)
                    self.leave_if(self.compare("ne", size_i, size_j), self.failed)

    def take_scalars(self, descriptor: str, first: Word, scalars: str) -> None:
        """Convert the arguments from `first` on, which may raise."""
        count, number = self.load("i64", descriptor, N_ARRAYS), self.load("i64", descriptor, N_SCALARS)
        kinds = self.at(descriptor, self.word("add", self.word("mul", count, 2), HEAD), 8)
        with self.loop(0, number) as s:
            item = self.load("ptr", "%args", self.word("add", s, first))
            integer = self.compare("ne", self.load("i64", kinds, s), 0)
            whole, real, done = (self.new_label(x) for x in ("whole", "real", "taken"))
            self.branch_if(integer, whole, real)
            self.label(whole)
            value = self.api("i64", "PyLong_AsLongLong", f"ptr {item}")
            self.store("i64", value, scalars, s)
            suspicious = self.compare("eq", value, -1)
            with self.when(suspicious):
                self._leave_if_raised()
            self.branch(done)
            self.label(real)
            number_ref = self.api("double", "PyFloat_AsDouble", f"ptr {item}")
            self.store("double", number_ref, scalars, s)
            odd = self.emit(f"fcmp oeq double {number_ref}, -1.0")
            with self.when(odd):
                self._leave_if_raised()
            self.branch(done)
            self.label(done)

    def _leave_if_raised(self) -> None:
        error = self.api("ptr", "PyErr_Occurred")
        self.leave_if(self.compare("ne", error, "null", "ptr"), "raised")

    def unlocked(self, descriptor: str, n: str, function: str, *arguments: str) -> None:
        """Call, without Python's lock if `n` elements take long enough to be worth it."""
        large = self.compare("uge", n, self.load("i64", descriptor, UNLOCK))
        free, held, after = (self.new_label(x) for x in ("free", "held", "after"))
        self.branch_if(large, free, held)
        self.label(free)
        state = self.api("ptr", "PyEval_SaveThread")
        self.line(f"call void @{function}({', '.join(arguments)})")
        self.api("void", "PyEval_RestoreThread", f"ptr {state}")
        self.branch(after)
        self.label(held)
        self.line(f"call void @{function}({', '.join(arguments)})")
        self.branch(after)
        self.label(after)


_BUILTIN = "ptr %self, ptr %args, i64 %count"


def _run() -> list[_Part]:
    """``run``: chunks of `grain` elements; rows, for kernels over rows."""
    chunk = Code()
    kernel, arrays, scalars = (chunk.load("ptr", "%context", i) for i in range(3))
    n, grain = chunk.load("i64", "%context", 3), chunk.load("i64", "%context", 4)
    low = chunk.word("mul", "%index", grain)
    high = chunk.smaller(chunk.word("add", low, grain), n)
    chunk.line(f"call void {kernel}(ptr {arrays}, ptr {scalars}, i64 {low}, i64 {high})")
    chunk.line("ret void")

    c = Code()
    c.leave_if(c.compare("ule", "%n", "%grain"), "serial")
    context = c.slot("[5 x i64]")
    for i, (type, value) in enumerate(
        (("ptr", "%kernel"), ("ptr", "%arrays"), ("ptr", "%scalars"), ("i64", "%n"), ("i64", "%grain"))
    ):
        c.store(type, value, context, i)
    chunks = c.word("udiv", c.word("sub", c.word("add", "%n", "%grain"), 1), "%grain")
    c.line(f"call void @pool.run(ptr @launch.chunk, ptr {context}, i64 {chunks})")
    c.line("ret void")
    c.label("serial")
    c.line("call void %kernel(ptr %arrays, ptr %scalars, i64 0, i64 %n)")
    c.line("ret void")
    return [
        (chunk, chunk.function("launch.chunk", "i64 %index, ptr %context", linkage="internal")),
        (c, c.function("launch.run", "ptr %kernel, ptr %arrays, ptr %scalars, i64 %n, i64 %grain")),
    ]


def _contiguous() -> _Part:
    c = _Writer()
    descriptor = c.begin()
    count, scalar_count = c.load("i64", descriptor, N_ARRAYS), c.load("i64", descriptor, N_SCALARS)
    total = c.word("add", count, scalar_count)
    c.leave_if(c.compare("ne", total, "%count"), c.failed)
    arrays, scalars = c.slot(f"[{MAX_ARRAYS} x ptr]"), c.slot(f"[{MAX_SCALARS} x i64]")
    c.take_scalars(descriptor, count, scalars)  # first: it may run Python code, which could move arrays
    n = c.variable("i64", 0)
    with c.loop(0, count) as j:
        item = c.load("ptr", "%args", j)
        c.check_array(item, descriptor, arrays, j, native.C_CONTIGUOUS | native.ALIGNED)
        size = c.size(item)
        different = c.compare("ne", size, n.get())
        later = c.compare("ne", j, 0)
        c.leave_if(c.emit(f"and i1 {different}, {later}"), c.failed)
        n.set(size)
    elements = n.get()
    c.check_overlap(descriptor, arrays, elements)
    kernel = c.load("ptr", descriptor, KERNEL)
    small = c.compare("ule", elements, c.load("i64", descriptor, SERIAL))
    # Not more chunks than eight for each thread: a larger grain keeps stretches of memory together.
    threads = c.emit(f"zext i32 {c.emit('load i32, ptr @pool.wanted')} to i64")
    share = c.word("udiv", elements, c.word("mul", threads, 8))
    share = c.word("and", c.word("add", share, 1023), -1024)
    grain = c.larger(share, c.load("i64", descriptor, GRAIN))
    limit = c.emit(f"select i1 {small}, i64 {elements}, i64 {grain}")
    c.unlocked(
        descriptor,
        elements,
        "launch.run",
        *(f"ptr {kernel}", f"ptr {arrays}", f"ptr {scalars}", f"i64 {elements}", f"i64 {limit}"),
    )
    c.end()
    return c, c.function("launch.contiguous", _BUILTIN, "ptr")


def _rows(name: str, flags: int) -> _Part:
    """``rows(arrays..., rows, columns, rows of a chunk, more scalars...)``; shapes were checked in Python.

    The arrays must have `flags`.
    """
    c = _Writer()
    descriptor = c.begin()
    count, scalar_count = c.load("i64", descriptor, N_ARRAYS), c.load("i64", descriptor, N_SCALARS)
    c.leave_if(c.compare("ne", c.word("add", count, scalar_count), "%count"), c.failed)
    arrays, scalars = c.slot(f"[{MAX_ARRAYS} x ptr]"), c.slot(f"[{MAX_SCALARS} x i64]")
    c.take_scalars(descriptor, count, scalars)
    with c.loop(0, count) as j:
        item = c.load("ptr", "%args", j)
        c.check_array(item, descriptor, arrays, j, flags)
    rows, columns, grain = (c.load("i64", scalars, i) for i in range(3))
    c.unlocked(
        descriptor,
        c.word("mul", rows, columns),
        "launch.run",
        *(f"ptr {c.load('ptr', descriptor, KERNEL)}", f"ptr {arrays}", f"ptr {scalars}"),
        *(f"i64 {rows}", f"i64 {grain}"),
    )
    c.end()
    return c, c.function(name, _BUILTIN, "ptr")


def _run_table() -> list[_Part]:
    """``run_table``. A row is: number of elements, number of its first block, then the data pointers."""
    chunk = Code()
    kernel, rows, scalars = (chunk.load("ptr", "%context", i) for i in range(3))
    words, count, blocks, grain = (chunk.load("i64", "%context", 3 + i) for i in range(4))
    stride = chunk.word("mul", words, 8)
    low = chunk.word("mul", "%index", grain)
    high = chunk.smaller(chunk.word("add", low, grain), blocks)
    # The last row that begins at or before block `low`, by halving.
    left, right = chunk.variable("i64", 0), chunk.variable("i64", count)
    with chunk.forever() as found:
        a, b = left.get(), right.get()
        chunk.leave_if(chunk.compare("ule", chunk.word("sub", b, a), 1), found)
        middle = chunk.word("lshr", chunk.word("add", a, b), 1)
        first = chunk.load("i64", chunk.at(rows, chunk.word("mul", middle, stride)), 1)
        before = chunk.compare("ule", first, low)
        left.set(chunk.emit(f"select i1 {before}, i64 {middle}, i64 {a}"))
        right.set(chunk.emit(f"select i1 {before}, i64 {b}, i64 {middle}"))
    with chunk.loop(left.get(), count) as r:
        row = chunk.at(rows, chunk.word("mul", r, stride))
        n, first = chunk.load("i64", row, 0), chunk.load("i64", row, 1)
        chunk.leave_if(chunk.compare("uge", first, high), "finished")
        skip = chunk.call("i64", "llvm.usub.sat.i64", f"i64 {low}", f"i64 {first}")
        start = chunk.word("mul", skip, BLOCK)
        end = chunk.smaller(chunk.word("mul", chunk.word("sub", high, first), BLOCK), n)
        with chunk.when(chunk.compare("ult", start, end)):
            chunk.line(f"call void {kernel}(ptr {chunk.at(row, 16)}, ptr {scalars}, i64 {start}, i64 {end})")
    chunk.branch("finished")
    chunk.label("finished")
    chunk.line("ret void")

    c = Code()
    context = c.slot("[7 x i64]")
    fields = (
        "ptr %kernel",
        "ptr %rows",
        "ptr %scalars",
        "i64 %words",
        "i64 %count",
        "i64 %blocks",
        "i64 %grain",
    )
    for i, field in enumerate(fields):
        type, value = field.split()
        c.store(type, value, context, i)
    with c.when(c.compare("ne", "%blocks", 0)):
        chunks = c.word("udiv", c.word("sub", c.word("add", "%blocks", "%grain"), 1), "%grain")
        c.line(f"call void @pool.run(ptr @launch.table.chunk, ptr {context}, i64 {chunks})")
    c.line("ret void")
    return [
        (chunk, chunk.function("launch.table.chunk", "i64 %index, ptr %context", linkage="internal")),
        (c, c.function("launch.run_table", ", ".join(fields))),
    ]


def _table() -> _Part:
    c = _Writer()
    descriptor = c.begin()
    count, scalar_count = c.load("i64", descriptor, N_ARRAYS), c.load("i64", descriptor, N_SCALARS)
    c.leave_if(c.compare("ne", c.word("add", count, scalar_count), "%count"), c.failed)
    scalars, columns = c.slot(f"[{MAX_SCALARS} x i64]"), c.slot(f"[{MAX_ARRAYS} x ptr]")
    c.take_scalars(descriptor, count, scalars)
    # All columns must be lists or tuples of one length. Tuples keep the arrays alive while the lock is
    # released.
    with c.loop(0, count) as j:
        kind = c.load("ptr", c.load("ptr", "%args", j), native.OBJECT_TYPE, 1)
        other_list, other_tuple = (c.compare("ne", kind, f"@type.{t}", "ptr") for t in ("list", "tuple"))
        c.leave_if(c.emit(f"and i1 {other_list}, {other_tuple}"), c.failed)
    length, memory, taken = c.variable("i64", 0), c.variable("ptr", "null"), c.variable("i64", 0)
    result = c.variable("ptr", "null")
    c.failed = "discard"
    with c.loop(0, count) as j:
        column = c.api("ptr", "PySequence_Tuple", f"ptr {c.load('ptr', '%args', j)}")
        c.leave_if(c.compare("eq", column, "null", "ptr"), "clean")
        c.store("ptr", column, columns, j)
        taken.set(c.word("add", j, 1))
        size = c.api("i64", "PyTuple_Size", f"ptr {column}")
        different = c.compare("ne", size, length.get())
        later = c.compare("ne", j, 0)
        c.leave_if(c.emit(f"and i1 {different}, {later}"), c.failed)
        length.set(size)
    rows_count = length.get()
    words = c.word("add", count, 2)
    stride = c.word("mul", words, 8)
    rows = c.api("ptr", "PyMem_RawMalloc", f"i64 {c.word('add', c.word('mul', rows_count, stride), 8)}")
    memory.set(rows)
    c.leave_if(c.compare("eq", rows, "null", "ptr"), "exhausted")
    blocks, elements = c.variable("i64", 0), c.variable("i64", 0)
    with c.loop(0, rows_count) as r:
        row = c.at(rows, c.word("mul", r, stride))
        pointers = c.at(row, 16)
        n = c.variable("i64", 0)
        with c.loop(0, count) as j:
            item = c.api("ptr", "PyTuple_GetItem", f"ptr {c.load('ptr', columns, j)}", f"i64 {r}")
            c.check_array(item, descriptor, pointers, j, native.C_CONTIGUOUS | native.ALIGNED)
            size = c.size(item)
            different = c.compare("ne", size, n.get())
            later = c.compare("ne", j, 0)
            c.leave_if(c.emit(f"and i1 {different}, {later}"), c.failed)
            n.set(size)
        size = n.get()
        c.check_overlap(descriptor, pointers, size)
        c.store("i64", size, row, 0)
        c.store("i64", blocks.get(), row, 1)
        own = c.word("udiv", c.word("add", size, BLOCK - 1), BLOCK)
        blocks.set(c.word("add", blocks.get(), own))
        elements.set(c.word("add", elements.get(), size))
    grain = c.larger(c.word("udiv", c.load("i64", descriptor, GRAIN), BLOCK), 1)
    all_blocks = blocks.get()
    # Many small arrays have many blocks but little work: chunks have the elements that the grain asks for.
    average = c.larger(c.word("udiv", elements.get(), c.larger(all_blocks, 1)), 1)
    enough = c.word("udiv", c.load("i64", descriptor, GRAIN), average)
    serial = c.compare("ule", elements.get(), c.load("i64", descriptor, SERIAL))
    grain = c.larger(grain, enough)
    grain = c.emit(f"select i1 {serial}, i64 {c.larger(all_blocks, 1)}, i64 {grain}")
    kernel = c.load("ptr", descriptor, KERNEL)
    c.unlocked(
        descriptor,
        elements.get(),
        "launch.run_table",
        *(f"ptr {kernel}", f"ptr {rows}", f"ptr {scalars}", f"i64 {words}", f"i64 {rows_count}"),
        *(f"i64 {all_blocks}", f"i64 {grain}"),
    )
    c.api("void", "Py_IncRef", "ptr @none")
    result.set("@none")
    c.branch("clean")
    c.label("exhausted")
    result.set(c.api("ptr", "PyErr_NoMemory"))
    c.branch("clean")
    c.label("discard")
    slow = c.api("ptr", "PyTuple_GetItem", "ptr %self", "i64 1")
    result.set(c.api("ptr", "PyObject_VectorcallDict", f"ptr {slow}", "ptr %args", "i64 %count", "ptr null"))
    c.branch("clean")
    c.label("clean")
    c.api("void", "PyMem_RawFree", f"ptr {memory.get()}")
    with c.loop(0, taken.get()) as j:
        c.api("void", "Py_DecRef", f"ptr {c.load('ptr', columns, j)}")
    c.line(f"ret ptr {result.get()}")
    c.ways_out()
    return c, c.function("launch.table", _BUILTIN, "ptr")


# Words of a plan for strided arrays. There follow: the sizes of the outer dimensions; array by array the
# strides along them; for each array how many bytes it reaches below and above its pointer; for each output a
# bit mask of the arrays that may lie at the same place, because their elements do.
P_KERNEL, P_ROWS, P_COLUMNS, P_NDIM, P_PARTS, P_PART, P_GRAIN, P_ARRAYS, P_HEAD = range(9)


def _run_strided() -> list[_Part]:
    """``run_strided``: units of part of a row; the kernel sees a row as a contiguous array."""
    unit = Code()
    plan, base, scalars = (unit.load("ptr", "%context", i) for i in range(3))
    kernel = unit.load("ptr", plan, P_KERNEL)
    rows, columns, ndim, parts, part, grain, count = (
        unit.load("i64", plan, i) for i in range(P_ROWS, P_ARRAYS + 1)
    )
    dims = unit.at(plan, P_HEAD, 8)
    strides = unit.at(dims, ndim, 8)
    pointers = unit.slot(f"[{MAX_ARRAYS} x i64]")
    units = unit.word("mul", rows, parts)
    low = unit.word("mul", "%index", grain)
    high = unit.smaller(unit.word("add", low, grain), units)
    with unit.loop(low, high) as u:
        row, piece = unit.word("udiv", u, parts), unit.word("urem", u, parts)
        with unit.loop(0, count) as j:
            unit.store("i64", unit.load("i64", base, j), pointers, j)
        rest = unit.variable("i64", row)
        with unit.loop(0, ndim) as back:
            d = unit.word("sub", unit.word("sub", ndim, back), 1)
            left, size = rest.get(), unit.load("i64", dims, d)
            index = unit.word("urem", left, size)
            rest.set(unit.word("udiv", left, size))
            with unit.loop(0, count) as j:
                stride = unit.load("i64", strides, unit.word("add", unit.word("mul", j, ndim), d))
                moved = unit.word("add", unit.load("i64", pointers, j), unit.word("mul", stride, index))
                unit.store("i64", moved, pointers, j)
        start = unit.word("mul", piece, part)
        end = unit.smaller(unit.word("add", start, part), columns)
        unit.line(f"call void {kernel}(ptr {pointers}, ptr {scalars}, i64 {start}, i64 {end})")
    unit.line("ret void")

    c = Code()
    context = c.slot("[3 x i64]")
    for i, value in enumerate(("%plan", "%arrays", "%scalars")):
        c.store("ptr", value, context, i)
    units = c.word("mul", c.load("i64", "%plan", P_ROWS), c.load("i64", "%plan", P_PARTS))
    grain = c.load("i64", "%plan", P_GRAIN)
    chunks = c.word("udiv", c.word("sub", c.word("add", units, grain), 1), grain)
    c.line(f"call void @pool.run(ptr @launch.strided.chunk, ptr {context}, i64 {chunks})")
    c.line("ret void")
    return [
        (unit, unit.function("launch.strided.chunk", "i64 %index, ptr %context", linkage="internal")),
        (c, c.function("launch.run_strided", "ptr %plan, ptr %arrays, ptr %scalars")),
    ]


def _extent(c: Code, extents: str, j: str, start: str) -> tuple[str, str]:
    below = c.load("i64", extents, c.word("mul", j, 2))
    above = c.load("i64", extents, c.word("add", c.word("mul", j, 2), 1))
    return c.word("sub", start, below), c.word("add", start, above)


def _strided() -> _Part:
    """``strided(plan, outs..., ins..., scalars...)``; the plan is for the arrays' shapes and strides."""
    c = _Writer()
    descriptor = c.begin()
    count, scalar_count = c.load("i64", descriptor, N_ARRAYS), c.load("i64", descriptor, N_SCALARS)
    total = c.word("add", c.word("add", count, scalar_count), 1)
    c.leave_if(c.compare("ne", total, "%count"), c.failed)
    arrays, scalars = c.slot(f"[{MAX_ARRAYS} x ptr]"), c.slot(f"[{MAX_SCALARS} x i64]")
    plan = c.load("ptr", c.load("ptr", "%args", 0), native.ARRAY_DATA, 1)
    c.take_scalars(descriptor, c.word("add", count, 1), scalars)
    with c.loop(0, count) as j:
        item = c.load("ptr", "%args", c.word("add", j, 1))
        c.check_array(item, descriptor, arrays, j, native.ALIGNED)
    outputs, ndim = c.load("i64", descriptor, N_OUT), c.load("i64", plan, P_NDIM)
    strides = c.word("mul", count, ndim)
    extents = c.at(plan, c.word("add", c.word("add", strides, ndim), P_HEAD), 8)
    with c.loop(0, outputs) as i:
        start_i = c.load("i64", arrays, i)
        low_i, high_i = _extent(c, extents, i, start_i)
        alike = c.load("i64", extents, c.word("add", c.word("mul", count, 2), i))
        with c.loop(c.word("add", i, 1), count) as j:
            start_j = c.load("i64", arrays, j)
            low_j, high_j = _extent(c, extents, j, start_j)
            before, after = c.compare("ult", low_i, high_j), c.compare("ult", low_j, high_i)
            with c.when(c.emit(f"and i1 {before}, {after}")):
                c.leave_if(c.compare("ult", j, outputs), c.failed)
                c.leave_if(c.compare("ne", start_i, start_j), c.failed)
                bit = c.word("and", c.word("lshr", alike, j), 1)
                c.leave_if(c.compare("eq", bit, 0), c.failed)
    rows, columns = c.load("i64", plan, P_ROWS), c.load("i64", plan, P_COLUMNS)
    elements = c.word("mul", rows, columns)
    c.unlocked(descriptor, elements, "launch.run_strided", f"ptr {plan}", f"ptr {arrays}", f"ptr {scalars}")
    c.end()
    return c, c.function("launch.strided", _BUILTIN, "ptr")


# Each is a module of its own: to generate one takes 5 to 10 ms, and few programs need all.
_PARTS: dict[str, tuple[str, Callable[[], list[_Part]], Callable[[], _Part]]] = {
    "contiguous": ("launch.run", _run, _contiguous),
    "table": ("launch.run_table", _run_table, _table),
    "strided": ("launch.run_strided", _run_strided, _strided),
    "rows": ("launch.run", _run, lambda: _rows("launch.rows", native.C_CONTIGUOUS | native.ALIGNED)),
    "units": ("launch.run", _run, lambda: _rows("launch.units", native.ALIGNED)),
}


def _text(kind: str, builtin: bool) -> str:
    _, plain, whole = _PARTS[kind]
    parts = [*plain(), whole()] if builtin else plain()
    declarations: dict[str, str] = {}
    for code, _ in parts:
        declarations |= code.declarations
    text = "\n".join(declarations.values()) + "\n" + "\n".join(function for _, function in parts)
    text += "declare void @pool.run(ptr, ptr, i64)\n@pool.wanted = external global i32\n"
    if builtin:
        for name in ("none", "type.ndarray", "type.list", "type.tuple"):
            text += f"@{name} = external global i8\n"
    return text + "attributes #0 = { nounwind }\n"


@cache
def launcher(kind: str) -> Launcher:
    """The process's launcher of a kind: "contiguous", "table", "strided", "rows" or "units"."""
    threads = pool()
    builtin = native.usable()
    imports = {"pool.run": threads.run_address, "pool.wanted": threads.wanted_address}
    if builtin:
        imports |= native.symbols()
    run, name = _PARTS[kind][0], f"launch.{kind}"
    library = engine.build(_text(kind, builtin), [run, name] if builtin else [run], imports)
    return Launcher(library[name] if builtin else 0, library[run])
