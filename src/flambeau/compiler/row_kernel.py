"""Kernels over the rows of matrices: several passes over a row while it is in the cache."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.threads import get_num_threads
from . import engine, launch, native
from .dialect import Dialect, Value
from .types import COMPUTE, Compute, Storage
from .vector_loop import Memory, attributes, load_scalar

__all__ = ["Combine", "RowKernel", "RowWriter", "add", "larger", "maximum"]

Combine = Callable[[Value, Value], Value]
_BLOCK = 4096  # columns summed by themselves before they are added to the total: keeps rounding errors small
_FIRST_EXTRA = 3  # scalars before a kernel's own: rows, columns, rows of a chunk


def add(a: Value, b: Value) -> Value:
    """Combines partial sums."""
    return a + b


def maximum(a: Value, b: Value) -> Value:
    """Combines partial maxima; NaN wins."""
    return a.k.max(a, b)


def larger(a: Value, b: Value) -> Value:
    """Combines partial maxima of which `b` is not NaN."""
    return a.k.select(a > b, a, b)


@dataclass(frozen=True)
class Column:
    """An array of a kernel.

    `kind`: ``matrix`` (a row of it for each row), ``shared`` (one row for all), ``chunk`` (a row for each
    chunk), ``scalar`` (an element for each row), ``fixed`` (just memory).
    """

    storage: Storage
    kind: str


class RowWriter:
    """Writes what is done with one row."""

    def __init__(self, k: Dialect, compute: Compute, arrays: Sequence[Column]) -> None:
        self.k, self.compute, self.arrays = k, compute, arrays
        self.memory = Memory(k)
        self.columns = k.load("i64", "%scalars", 1)
        self.bases = [k.load("ptr", "%arrays", i) for i in range(len(arrays))]
        self.row = ""
        self.addresses: list[str] = []

    def place(self, row: str) -> None:
        """Compute the arrays' addresses for `row`."""
        k, self.row = self.k, row
        self.addresses = []
        for array, base in zip(self.arrays, self.bases, strict=True):
            if array.kind == "scalar":
                self.addresses.append(k.at(base, row, array.storage.itemsize))
            elif array.kind == "matrix":
                start = k.word("mul", row, self.columns)
                self.addresses.append(k.at(base, start, array.storage.itemsize))
            else:
                self.addresses.append(base)

    def offset_chunks(self) -> None:
        """Point arrays of kind ``chunk`` at the row of this chunk; before the first row."""
        k = self.k
        if any(a.kind == "chunk" for a in self.arrays):
            number = k.word("udiv", "%lo", k.load("i64", "%scalars", 2))
            start = k.word("mul", number, self.columns)
            self.bases = [
                k.at(b, start, a.storage.itemsize) if a.kind == "chunk" else b
                for a, b in zip(self.arrays, self.bases, strict=True)
            ]

    # ---- elements ----

    def scalar(self, array: int) -> Value:
        """This row's element of a ``scalar`` array, in all lanes."""
        kind = self.arrays[array].storage
        return self._spread(kind, self.k.load(kind.llvm, self.addresses[array]))

    def _spread(self, kind: Storage, ref: str) -> Value:
        raw = self.k.splat(ref, Compute(kind.name, kind.llvm, "i", 8 * kind.itemsize))
        return self.k.decode(raw.ref, kind)

    def set_scalar(self, array: int, value: Value, index: str = "") -> None:
        """Store lane 0 of `value`: this row's element, or element `index` of its row of a ``matrix``."""
        k, kind = self.k, self.arrays[array].storage
        lane = k.emit(f"extractelement {k.vector(kind.llvm)} {k.encode(value, kind)}, i32 0")
        address = k.at(self.addresses[array], index, kind.itemsize) if index else self.addresses[array]
        k.line(f"store {kind.llvm} {lane}, ptr {address}, align {kind.itemsize}")

    def word(self, array: int) -> str:
        """This row's element of a ``scalar`` int64 array, as a word."""
        return self.k.load("i64", self.addresses[array])

    def element(self, array: int, index: str) -> Value:
        """Element `index` of this row, in all lanes."""
        kind = self.arrays[array].storage
        return self._spread(kind, self.k.load(kind.llvm, self.addresses[array], index, kind.itemsize))

    def count(self) -> Value:
        """The number of columns."""
        k = self.k
        number = k.emit(f"uitofp i64 {self.columns} to {self.compute.llvm}")
        return k.splat(number, self.compute)

    # ---- passes ----

    def sweep(
        self,
        reads: Sequence[int],
        body: Callable[[list[Value], list[Value]], tuple[list[Value], list[Value]]],
        writes: Sequence[int] = (),
        totals: Sequence[tuple[float, Combine]] = (),
        unroll: int = 2,
        ahead: Sequence[int] = (),
    ) -> list[Value]:
        """Go once over the row.

        ``body(values, accumulators)`` gets a vector of each array of `reads` and returns those to store into
        `writes` and the new accumulators. Accumulators begin with a neutral element; the results, combined
        over all columns in a fixed order, are in all lanes. Of the arrays of `ahead` the next row is brought
        into the cache meanwhile.
        """
        k = self.k
        results = [
            k.variable(k.vector(self.compute), k.const(neutral, self.compute).ref) for neutral, _ in totals
        ]
        with k.loop(0, self.columns, _BLOCK) as start:
            end = k.smaller(k.word("add", start, _BLOCK), self.columns)
            parts = [
                [k.variable(r.type, k.const(n, self.compute).ref) for _ in range(unroll)]
                for r, (n, _) in zip(results, totals, strict=True)
            ]
            step = k.lanes * unroll
            whole = k.word("and", k.word("sub", end, start), -step)
            middle = k.word("add", start, whole)
            with k.loop(start, middle, step) as i:
                for u in range(unroll):
                    for a in ahead:
                        self._prefetch(a, self.lane(a, i, u))
                    values = [
                        k.decode(
                            self.memory.load(self.arrays[a].storage, self.lane(a, i, u)),
                            self.arrays[a].storage,
                        )
                        for a in reads
                    ]
                    old = [Value(k, p[u].get(), self.compute) for p in parts]
                    stores, new = body(values, old)
                    for a, value in zip(writes, stores, strict=True):
                        kind = self.arrays[a].storage
                        self.memory.store(kind, k.encode(value, kind), self.lane(a, i, u))
                    for p, value in zip(parts, new, strict=True):
                        p[u].set(value.ref)
            with k.loop(middle, end, k.lanes) as i:
                count = k.smaller(k.word("sub", end, i), k.lanes)
                mask = Value(k, self.memory.mask(count), COMPUTE["bool"])
                values = [
                    k.decode(
                        self.memory.load_part(self.arrays[a].storage, self.lane(a, i, 0), count, mask.ref),
                        self.arrays[a].storage,
                    )
                    for a in reads
                ]
                old = [Value(k, p[0].get(), self.compute) for p in parts]
                stores, new = body(values, old)
                for a, value in zip(writes, stores, strict=True):
                    kind = self.arrays[a].storage
                    self.memory.store_part(kind, k.encode(value, kind), self.lane(a, i, 0), count, mask.ref)
                for p, before, value in zip(parts, old, new, strict=True):
                    p[0].set(k.select(mask, value, before).ref)
            for r, p, (_, combine) in zip(results, parts, totals, strict=True):
                values = [Value(k, part.get(), self.compute) for part in p]
                while len(values) > 1:
                    half = len(values) // 2
                    values = [combine(a, b) for a, b in zip(values[:half], values[half:], strict=True)]
                r.set(combine(Value(k, r.get(), self.compute), k.fold(values[0], combine)).ref)
        return [Value(k, r.get(), self.compute) for r in results]

    def _prefetch(self, array: int, address: str) -> None:
        """Ask for the same columns of the next row; past the last row this does nothing."""
        following = self.k.at(address, self.columns, self.arrays[array].storage.itemsize)
        self.k.call("void", "llvm.prefetch.p0", f"ptr {following}", "i32 0", "i32 3", "i32 1")

    def lane(self, array: int, index: str, u: int = 0) -> str:
        """The address of column `index` of this row, `u` vectors further."""
        size = self.arrays[array].storage.itemsize
        return self.k.at(self.k.at(self.addresses[array], index, size), u * self.k.lanes, size)


class RowKernel:
    """A compiled kernel over rows; `fn` takes arrays, outputs first, then `shape` and the kernel's scalars.

    `write` gets a `RowWriter` for a row and the values of the extra scalars. `cost` is in nanoseconds per
    element, `compute` the type of the arithmetic (by default the first matrix's). Callers check shapes; types and
    contiguity are checked at each call.
    """

    def __init__(
        self,
        arrays: Sequence[tuple[Storage, str]],
        outputs: int,
        write: Callable[..., None],
        extras: Sequence[Compute] = (),
        cost: float = 0.4,
        compute: Compute | None = None,
    ) -> None:
        columns = [Column(s, kind) for s, kind in arrays]
        compute = compute or next(c.storage.compute for c in columns if c.kind == "matrix")
        host = engine.host()
        k = Dialect(host, host.vector_bits // compute.bits)
        writer = RowWriter(k, compute, columns)
        values = [load_scalar(k, _FIRST_EXTRA + i, type) for i, type in enumerate(extras)]
        writer.offset_chunks()
        with k.loop("%lo", "%hi") as row:
            writer.place(row)
            write(writer, *values)
        k.line("ret void")
        function = k.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")
        text = "\n".join(k.declarations.values()) + "\n" + function + attributes(host)
        imports = {name: native.libm_address(name) for name in k.libm}
        self._storages, self._outputs = [c.storage for c in columns], outputs
        self._kernel = engine.build(text, ["kernel"], imports)["kernel"]
        self._integers = [True] * _FIRST_EXTRA + [e.kind != "f" for e in extras]
        self.cost = cost * 16 / k.lanes
        descriptor = launch.Descriptor(
            self._kernel,
            outputs,
            tuple(id(s.numpy) for s in self._storages),
            tuple(s.itemsize for s in self._storages),
            tuple(self._integers),
            self.cost,
        )
        words = np.array(descriptor.words(), np.int64)
        entry = launch.launcher("rows")
        self._run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)
        self.fn: Callable[..., None] = self._slowly
        if entry.builtin:
            self.fn = native.make_function("rows", entry.builtin, (words, self._slowly))

    def shape(self, rows: int, columns: int, factor: float = 1.0) -> tuple[int, int, int]:
        """The leading scalars: rows, columns, and how many rows make a chunk.

        They are shared out to threads as if an element took `factor` times as long as it is expected to.
        """
        cost = self.cost * factor
        if rows * columns * cost <= 12_000:
            return rows, columns, max(rows, 1)
        grain = max(int(5_000 / cost) // columns, -(-rows // (get_num_threads() * 8)), 1)
        return rows, columns, grain

    def _slowly(self, *arguments: Any) -> None:
        count = len(self._storages)
        if len(arguments) != count + len(self._integers):
            raise TypeError(f"expected {count + len(self._integers)} arguments, got {len(arguments)}")
        arrays = arguments[:count]
        for i, (a, s) in enumerate(zip(arrays, self._storages, strict=True)):
            if not isinstance(a, np.ndarray):
                raise TypeError(f"argument {i} must be a numpy.ndarray, got {type(a).__name__}")
            if a.dtype != s.numpy or not a.dtype.isnative:
                raise TypeError(f"argument {i} must have dtype {s.name}, got {a.dtype}")
            if not (a.flags.c_contiguous and a.flags.aligned):
                raise ValueError(f"argument {i} of shape {a.shape} and strides {a.strides} is not contiguous")
            if i < self._outputs and not a.flags.writeable:
                raise ValueError(f"output {i} of shape {a.shape} is read-only")
        scalars: npt.NDArray[np.int64] = np.zeros(len(self._integers), np.int64)
        for i, (value, integer) in enumerate(zip(arguments[count:], self._integers, strict=True)):
            if integer:
                scalars[i] = int(value)
            else:
                scalars[i : i + 1].view(np.float64)[0] = float(value)
        pointers = np.array([a.ctypes.data for a in arrays], np.uint64)
        rows, _, grain = (int(s) for s in scalars[:3])
        self._run(self._kernel, pointers.ctypes.data, scalars.ctypes.data, rows, grain)
