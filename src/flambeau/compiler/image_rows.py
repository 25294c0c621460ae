"""Reading and writing the rows of images by vectors, with places before and after them, and with strides along them."""

from __future__ import annotations

from typing import Any

from . import engine
from .dialect import Dialect, Value
from .types import COMPUTE, Storage
from .vector_loop import Memory

__all__ = ["ImageRows"]

_SUFFIX = {"float": "f32", "double": "f64", "i8": "i8"}


class ImageRows(Dialect):
    """Code for rows of floats of one kind. Without masks (`masked`), whole vectors are read and written."""

    def __init__(self, kind: Storage) -> None:
        host = engine.host()
        super().__init__(host, host.vector_bits // kind.compute.bits)
        self.kind, self.item = kind, kind.itemsize
        self.memory = Memory(self)
        self.masked = self.memory.masked
        self.number = COMPUTE["int32" if kind.itemsize == 4 else "int64"]
        steps = ", ".join(f"{self.number.llvm} {i}" for i in range(self.lanes))
        self.iota = Value(self, f"<{steps}>", self.number)

    def splat_word(self, word: str) -> Value:
        """A word as a number in all lanes."""
        if self.number.bits < 64:
            word = self.emit(f"trunc i64 {word} to {self.number.llvm}")
        return self.splat(word, self.number)

    def inside(self, start: str, width: str) -> str:
        """Which of the places from `start` on, which may be negative, are below `width`; "" without masks."""
        if not self.masked:
            return ""
        places = self.splat_word(start) + self.iota
        limit = self.splat_word(width)
        return self.emit(f"icmp ult {self.vector(self.number)} {places.ref}, {limit.ref}")

    def fetch(self, kind: Storage, row: str, start: str, mask: str, beside: str) -> Value:
        """A vector of a row; `beside` where the mask does not hold."""
        place = self.at(row, start, kind.itemsize)
        if not self.masked:
            return Value(self, self.memory.load(kind, place), kind.compute)
        vector, masks = self.vector(kind.llvm), self.vector("i1")
        name = f"llvm.masked.load.v{self.lanes}{_SUFFIX[kind.llvm]}.p0"
        self.declare(name, f"declare {vector} @{name}(ptr, i32, {masks}, {vector})")
        text = f"call {vector} @{name}(ptr {place}, i32 {kind.itemsize}, {masks} {mask}, {vector} {beside})"
        return Value(self, self.emit(text), kind.compute)

    def put(self, kind: Storage, ref: str, row: str, start: str, mask: str) -> None:
        """Store a vector where the mask holds."""
        place = self.at(row, start, kind.itemsize)
        if not self.masked:
            self.memory.store(kind, ref, place)
            return
        vector, masks = self.vector(kind.llvm), self.vector("i1")
        name = f"llvm.masked.store.v{self.lanes}{_SUFFIX[kind.llvm]}.p0"
        self.declare(name, f"declare void @{name}({vector}, ptr, i32, {masks})")
        self.line(f"call void @{name}({vector} {ref}, ptr {place}, i32 {kind.itemsize}, {masks} {mask})")

    def phase(self, parts: list[Value], first: int) -> Value:
        """Each n-th element of n vectors one behind the other, from `first` on."""
        n = len(parts)
        return parts[0] if n == 1 else self._pick(parts, [first + i * n for i in range(self.lanes)])

    def together(self, phases: list[Value]) -> list[Value]:
        """The first elements of all, then the second ones ...; as many vectors."""
        n = len(phases)
        if n == 1:
            return phases
        order = [(i % n) * self.lanes + i // n for i in range(n * self.lanes)]
        return [self._pick(phases, order[m * self.lanes : (m + 1) * self.lanes]) for m in range(n)]

    def _pick(self, parts: list[Value], order: list[int]) -> Value:
        """Elements of vectors one behind the other."""
        llvm, size, whole = self.kind.llvm, self.lanes, parts[0].ref
        for part in parts[1:]:  # widened, to be a second operand
            wider = [i if i < self.lanes else None for i in range(size)]
            other = self._shuffle(f"<{self.lanes} x {llvm}>", part.ref, "poison", wider)
            whole = self._shuffle(f"<{size} x {llvm}>", whole, other, list(range(size + self.lanes)))
            size += self.lanes
        return Value(
            self, self._shuffle(f"<{size} x {llvm}>", whole, "poison", list(order)), self.kind.compute
        )

    def _shuffle(self, vector: str, a: str, b: str, order: Any) -> str:
        places = ", ".join("i32 poison" if i is None else f"i32 {i}" for i in order)
        return self.emit(f"shufflevector {vector} {a}, {vector} {b}, <{len(order)} x i32> <{places}>")
