"""The loop of pointwise kernels: vectors from memory, through the body, back to memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import engine
from .dialect import Dialect, Value
from .engine import Host
from .types import COMPUTE, Compute, Storage, storage

__all__ = ["MASKS", "Body", "Memory", "Source", "attributes", "load_scalar", "results", "write_kernel"]

Body = Callable[..., Any]
MASKS = (
    "avx512bw",
    "avx512vl",
)  # features with which parts of vectors of all element sizes are read and written


@dataclass(frozen=True)
class Source:
    """A generated kernel.

    The function ``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)`` computes the elements ``lo <= i < hi``;
    `arrays` holds the data pointers, outputs first, `scalars` eight bytes each. `cost` estimates nanoseconds
    per element.
    """

    text: str
    libm: frozenset[str]
    scalars: tuple[Compute, ...]
    cost: float


def attributes(host: Host) -> str:
    """The attribute group of generated functions: registers of full width."""
    width = f'"min-legal-vector-width"="{host.vector_bits}" "prefer-vector-width"="{host.vector_bits}"'
    return f"attributes #0 = {{ nounwind {width} }}\n"


class Memory:
    """Reads and writes whole vectors, and the part of a vector at the end of an array."""

    def __init__(self, k: Dialect) -> None:
        self.k = k
        # Masked instructions for all element sizes; elsewhere LLVM would write a branch for every lane.
        self.masked = k.host.has(*MASKS)
        self.buffers: dict[str, str] = {}

    def mask(self, count: str) -> str:
        """Lanes below `count`."""
        k = self.k
        vector = k.vector("i32")
        iota = ", ".join(f"i32 {i}" for i in range(k.lanes))
        limit = k.splat(k.emit(f"trunc i64 {count} to i32"), COMPUTE["int32"])
        return k.emit(f"icmp ult {vector} <{iota}>, {limit.ref}")

    def load(self, kind: Storage, address: str) -> str:
        k = self.k
        return k.emit(f"load {k.vector(kind.llvm)}, ptr {address}, align {kind.itemsize}")

    def store(self, kind: Storage, ref: str, address: str) -> None:
        k = self.k
        k.line(f"store {k.vector(kind.llvm)} {ref}, ptr {address}, align {kind.itemsize}")

    def _masked_name(self, operation: str, kind: Storage) -> str:
        suffix = {"float": "f32", "double": "f64"}.get(kind.llvm, kind.llvm)
        return f"llvm.masked.{operation}.v{self.k.lanes}{suffix}.p0"

    def load_part(self, kind: Storage, address: str, count: str, mask: str) -> str:
        k = self.k
        vector = k.vector(kind.llvm)
        if self.masked:
            name = self._masked_name("load", kind)
            k.declare(name, f"declare {vector} @{name}(ptr, i32, {k.vector('i1')}, {vector})")
            return k.emit(
                f"call {vector} @{name}(ptr {address}, i32 {kind.itemsize}, {k.vector('i1')} {mask}, "
                f"{vector} zeroinitializer)"
            )
        buffer = self._buffer(vector)
        k.line(f"store {vector} zeroinitializer, ptr {buffer}, align 64")
        self._copy(buffer, address, k.word("mul", count, kind.itemsize))
        return k.emit(f"load {vector}, ptr {buffer}, align 64")

    def store_part(self, kind: Storage, ref: str, address: str, count: str, mask: str) -> None:
        k = self.k
        vector = k.vector(kind.llvm)
        if self.masked:
            name = self._masked_name("store", kind)
            k.declare(name, f"declare void @{name}({vector}, ptr, i32, {k.vector('i1')})")
            k.line(
                f"call void @{name}({vector} {ref}, ptr {address}, i32 {kind.itemsize}, "
                f"{k.vector('i1')} {mask})"
            )
            return
        buffer = self._buffer(vector)
        k.line(f"store {vector} {ref}, ptr {buffer}, align 64")
        self._copy(address, buffer, k.word("mul", count, kind.itemsize))

    def _buffer(self, vector: str) -> str:
        if vector not in self.buffers:
            self.buffers[vector] = self.k.slot(vector)
        return self.buffers[vector]

    def _copy(self, target: str, origin: str, size: str) -> None:
        self.k.call(
            "void", "llvm.memcpy.p0.p0.i64", f"ptr {target}", f"ptr {origin}", f"i64 {size}", "i1 false"
        )


def results(body: Body, k: Dialect, arguments: Sequence[Value], outputs: Sequence[Storage]) -> list[Value]:
    """What the body makes of its arguments, as values that the outputs can keep."""
    found = body(k, *arguments)
    values = list(found) if isinstance(found, tuple) else [found]
    if len(values) != len(outputs):
        raise ValueError(f"the body returned {len(values)} values for {len(outputs)} outputs")
    checked = []
    for value, kind in zip(values, outputs, strict=True):
        if not isinstance(value, Value):
            value = k.const(value, kind.compute)
        if value.type is not kind.compute and not (value.type.kind == "f" and kind.compute.kind == "f"):
            raise TypeError(f"the body returned {value.type.name} for a {kind.name} output; use k.cast")
        checked.append(value)
    return checked


def write_kernel(
    body: Body,
    in_dtypes: Sequence[Any],
    out_dtypes: Sequence[Any],
    scalar_types: Sequence[Compute],
    uniform: Sequence[bool] | None = None,
    host: Host | None = None,
    unroll: int = 0,
) -> Source:
    """Generate the kernel of `body` for arrays of the given dtypes.

    `uniform` marks inputs of which one element serves all indices; `unroll` is how many vectors a step of the loop
    computes, 0 for a number that suits the body's weight.

    Raises: UnsupportedError for dtypes without kernels; TypeError or ValueError for a body that mixes types
    or returns the wrong number of values.
    """
    host = host or engine.host()
    inputs, outputs = [storage(d) for d in in_dtypes], [storage(d) for d in out_dtypes]
    uniform = list(uniform or [False] * len(inputs))
    if not outputs:
        raise ValueError("a kernel needs at least one output")
    # As many lanes as fill a register with the widest type in memory; narrower values use part of one.
    lanes = host.vector_bits // max(max(s.compute.bits, 8) for s in inputs + outputs)
    k = Dialect(host, lanes)
    memory = Memory(k)
    pointers = [k.load("ptr", "%arrays", i) for i in range(len(outputs) + len(inputs))]
    scalars = [load_scalar(k, i, type) for i, type in enumerate(scalar_types)]
    fixed: list[Value | None] = []
    for kind, pointer, same in zip(inputs, pointers[len(outputs) :], uniform, strict=True):
        if not same:
            fixed.append(None)
            continue
        one = k.emit(f"load {kind.llvm}, ptr {pointer}, align {kind.itemsize}")
        raw = k.splat(one, Compute(kind.name, kind.llvm, "i", 8 * kind.itemsize))
        fixed.append(k.decode(raw.ref, kind))

    # The body is written once into a scratch copy to learn its weight, which decides how far to unroll.
    unroll = unroll or _choose_unroll(body, k, inputs, outputs, scalars)
    step = lanes * unroll
    cost = 0.0
    with k.loop("%lo", "%hi", step) as index:
        rest = k.word("sub", "%hi", index)
        full = k.compare("uge", rest, step)
        whole, part, compute = (k.new_label(s) for s in ("whole", "part", "compute"))
        moving = [j for j, value in enumerate(fixed) if value is None]
        addresses = [
            [
                k.at(
                    k.at(pointers[len(outputs) + j], index, inputs[j].itemsize), u * lanes, inputs[j].itemsize
                )
                for u in range(unroll)
            ]
            for j in moving
        ]
        k.branch_if(full, whole, part)
        k.label(whole)
        loaded = [[memory.load(inputs[j], a) for a in row] for j, row in zip(moving, addresses, strict=True)]
        k.branch(compute)
        k.label(part)
        counts, masks = _part_counts(k, memory, rest, unroll)
        parts = [
            [memory.load_part(inputs[j], a, c, m) for a, c, m in zip(row, counts, masks, strict=True)]
            for j, row in zip(moving, addresses, strict=True)
        ]
        k.branch(compute)
        k.label(compute)
        joined = [
            [
                k.emit(f"phi {k.vector(inputs[j].llvm)} [{a}, %{whole}], [{b}, %{part}]")
                for a, b in zip(loaded[i], parts[i], strict=True)
            ]
            for i, j in enumerate(moving)
        ]
        stored: list[list[str]] = []
        before = k.weight
        for u in range(unroll):
            values = list(fixed)
            for i, j in enumerate(moving):
                values[j] = k.decode(joined[i][u], inputs[j])
            arguments = [v for v in values if v is not None] + scalars
            found = results(body, k, arguments, outputs)
            stored.append([k.encode(v, kind) for v, kind in zip(found, outputs, strict=True)])
        cost = (k.weight - before) / unroll
        store, store_part, after = (k.new_label(s) for s in ("store", "storepart", "stored"))
        targets = [
            [k.at(k.at(pointers[o], index, kind.itemsize), u * lanes, kind.itemsize) for u in range(unroll)]
            for o, kind in enumerate(outputs)
        ]
        k.branch_if(full, store, store_part)
        k.label(store)
        for o, kind in enumerate(outputs):
            for u in range(unroll):
                memory.store(kind, stored[u][o], targets[o][u])
        k.branch(after)
        k.label(store_part)
        counts, masks = _part_counts(k, memory, rest, unroll)
        for o, kind in enumerate(outputs):
            for u in range(unroll):
                memory.store_part(kind, stored[u][o], targets[o][u], counts[u], masks[u])
        k.branch(after)
        k.label(after)
    k.line("ret void")
    function = k.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")
    text = "\n".join(k.declarations.values()) + "\n" + function + attributes(host)
    moved = sum(s.itemsize for s in outputs) + sum(inputs[j].itemsize for j in moving)
    return Source(text, frozenset(k.libm), tuple(scalar_types), 0.3 * cost / lanes + 0.01 * moved)


def load_scalar(k: Dialect, index: int, type: Compute) -> Value:
    if type.kind == "f":
        ref = k.load("double", "%scalars", index)
        if type.bits == 32:
            ref = k.emit(f"fptrunc double {ref} to float")
    else:
        ref = k.load("i64", "%scalars", index)
        if type.bits < 64:
            ref = k.emit(f"trunc i64 {ref} to {type.llvm}")
    return k.splat(ref, type)


def _part_counts(k: Dialect, memory: Memory, rest: str, unroll: int) -> tuple[list[str], list[str]]:
    """How many lanes of each unrolled vector exist, when `rest` elements are left in all."""
    counts, masks = [], []
    for u in range(unroll):
        left = k.call("i64", "llvm.usub.sat.i64", f"i64 {rest}", f"i64 {u * k.lanes}")
        count = k.smaller(left, k.lanes)
        counts.append(count)
        masks.append(memory.mask(count) if memory.masked else "")
    return counts, masks


def _choose_unroll(
    body: Body, k: Dialect, inputs: Sequence[Storage], outputs: Sequence[Storage], scalars: Sequence[Value]
) -> int:
    trial = Dialect(k.host, k.lanes)
    arguments = [trial.decode("zeroinitializer", kind) for kind in inputs]
    arguments += [Value(trial, v.ref, v.type) for v in scalars]
    for value, kind in zip(results(body, trial, arguments, outputs), outputs, strict=True):
        trial.encode(value, kind)
    if trial.block != "entry":  # it branches
        return 1
    return 4 if trial.weight <= 8 else 2 if trial.weight <= 32 else 1
