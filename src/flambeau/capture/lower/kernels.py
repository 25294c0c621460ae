"""Machine code for groups.

A kernel is found by its *text*: operations, dtypes and how arguments broadcast, without any size.  So another batch
size, another model with the same layers, or the next call finds the code that exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...compiler.dialect import Dialect
from ...compiler.pointwise import PointwiseKernel, pointwise_kernel
from ...compiler.row_kernel import Combine, RowKernel, RowWriter, add
from ...compiler.types import COMPUTE, storage
from ..graph import Instr, Scalar, Value
from .elements import element, scalar_type, text
from .groups import REDUCTIONS, Group, inlined

__all__ = ["COUNTS", "Interface", "points_kernel", "rows_kernel"]

COUNTS = {"kernels": 0, "found": 0}
_points: dict[str, PointwiseKernel] = {}
_rows: dict[str, RowKernel] = {}


def largest(a: Any, b: Any) -> Any:
    """NaN wins."""
    return a.k.max(a, b)


def smallest(a: Any, b: Any) -> Any:
    """NaN wins."""
    return a.k.min(a, b)


TOTALS: dict[str, tuple[float, Combine]] = {
    "sum": (0.0, add),
    "amax": (-math.inf, largest),
    "amin": (math.inf, smallest),
}
VIEWS = ("reshape", "reshape_copy", "expand")


class Interface:
    """What a group reads and writes: arrays from outside, numbers, and results that are wanted outside."""

    def __init__(self, group: Group, wanted: set[Value]) -> None:
        self.group = group
        inside = {v for i in group.instrs for v in i.outs}
        self.inputs: list[Value] = []
        self.scalars: list[Scalar] = []
        self.types: list[str] = []
        for instr in group.instrs:
            for a in instr.args:
                if type(a) is Value and a not in inside and a not in self.inputs and not inlined(a):
                    self.inputs.append(a)
                elif type(a) is Scalar and a not in self.scalars:
                    self.scalars.append(a)
                    self.types.append(scalar_type(instr))
        # views inside a group of rows are made afterwards, from what they are views of
        self.views = [i for i in group.instrs if i.op.name in VIEWS]
        roots = {i.out: i for i in self.views}
        self.late = []
        needed = {v for v in inside if v in wanted}
        for instr in reversed(self.views):
            if instr.out in needed:
                needed.discard(instr.out)
                self.late.append(instr)
                needed.update(v for v in instr.values() if v in inside)
        self.late.reverse()
        self.outputs = [i.out for i in group.instrs if i.out in needed and i.out not in roots]

    def kinds(self) -> list[str] | None:
        """How each input of a group of rows is read; None if one is read in two ways."""
        found: dict[Value, str] = {}
        for instr in self.group.instrs:
            for v in instr.values():
                if v in self.inputs:
                    kind = self.group.source(instr.out.shape, v.shape)
                    if instr.op.name in REDUCTIONS:
                        kind = "matrix"
                    elif instr.op.name in VIEWS:
                        kind = "row" if v.size > 1 else "one"
                    if kind is None or found.setdefault(v, kind) != kind:
                        return None
        return [found[v] for v in self.inputs]

    def name(self, kinds: list[str]) -> str:
        """The text that the kernel is found by."""
        names: dict[Any, str] = {}
        for i, v in enumerate(self.inputs):
            names[v] = f"i{i}{v.dtype.char}{kinds[i]}"
        for i, s in enumerate(self.scalars):
            names[s] = f"s{i}{self.types[i]}"
        lines = []
        across = self.group.across
        for n, instr in enumerate(self.group.instrs):
            for a in instr.values():
                if a not in names:
                    names[a] = f"full({a.producer.params['value']!r}){a.dtype.char}" if a.producer else "?"
            level = "across" if instr.out in across else self.group.level(instr.out.shape) or "total"
            names[instr.out] = f"t{n}"
            lines.append(f"{names[instr.out]}={text(instr, names)}@{level}")
        outs = ",".join(names[v] for v in self.outputs)
        return f"{self.group.kind}|{';'.join(lines)}|{outs}"


def constant(k: Dialect, v: Value) -> Any:
    """The value of a `full` in all lanes."""
    assert v.producer is not None
    return element(k, v.producer, [])


def points_kernel(face: Interface) -> PointwiseKernel:
    """The kernel of elementwise operations."""
    name = face.name([""] * len(face.inputs))
    found = _points.get(name)
    if found is not None:
        COUNTS["found"] += 1
        return found
    group, inputs, scalars, outputs = face.group, face.inputs, face.scalars, face.outputs

    def body(k: Dialect, *lanes: Any) -> Any:
        env: dict[Any, Any] = dict(zip([*inputs, *scalars], lanes))
        for instr in group.instrs:
            args = [lane(k, env, a) for a in instr.args]
            env[instr.out] = element(k, instr, args)
        return tuple([env[v] for v in outputs])

    COUNTS["kernels"] += 1
    kernel = pointwise_kernel(
        body, [v.dtype for v in inputs], [v.dtype for v in outputs], [t for t in face.types]
    )
    _points[name] = kernel
    return kernel


def lane(k: Dialect, env: dict[Any, Any], a: Any) -> Any:
    """An argument as the body sees it: a kernel value, or a number that is part of the code."""
    if type(a) is Value and a not in env:
        env[a] = constant(k, a)
    return env[a] if type(a) in (Value, Scalar) else a


class Rows:
    """Writes the passes over a row."""

    def __init__(self, face: Interface, kinds: list[str]) -> None:
        self.face, self.kinds = face, kinds
        self.group = face.group
        self.stage: dict[Value, int] = {}
        self.inside = {i.out: i for i in self.group.instrs}
        for instr in self.group.instrs:
            before = max([self.stage.get(v, 0) for v in instr.values()], default=0)
            self.stage[instr.out] = before + (instr.op.name in REDUCTIONS)
        self.matrix = {v for v, i in self.inside.items() if self.is_matrix(i)}
        self.across = self.group.across

    def is_matrix(self, instr: Instr) -> bool:
        return (
            instr.op.name not in REDUCTIONS
            and instr.op.name not in VIEWS
            and instr.out.shape == self.group.shape
        )

    def write(self, r: RowWriter, *numbers: Any) -> None:
        """One row: for each stage the values of the row, then one pass that reduces and stores."""
        face, k = self.face, r.k
        first = len(face.outputs)
        env: dict[Any, Any] = dict(zip(face.scalars, numbers))
        for i, (v, kind) in enumerate(zip(face.inputs, self.kinds)):
            if kind in ("row", "one"):
                env[v] = r.scalar(first + i)
        places = {v: first + i for i, v in enumerate(face.inputs) if self.kinds[i] in ("matrix", "shared")}
        last = max(self.stage.values())
        for stage in range(last + 1):
            for instr in self.group.instrs:
                if (
                    self.stage[instr.out] <= stage
                    and instr.op.name not in REDUCTIONS
                    and instr.out not in self.matrix
                    and instr.out not in env
                ):
                    if instr.op.name in VIEWS:
                        env[instr.out] = env[instr.values()[0]]
                    else:
                        env[instr.out] = element(k, instr, [lane(k, env, a) for a in instr.args])
            reductions, sums = [], []
            for i in self.group.instrs:
                if i.op.name in REDUCTIONS and self.stage[i.out] == stage + 1:
                    (sums if i.out in self.across else reductions).append(i)
            stores = [v for v in face.outputs if v in self.matrix and self.stage[v] == stage]
            if reductions or stores or sums:
                self.sweep(r, env, places, reductions, stores, sums)
        for i, v in enumerate(face.outputs):
            if v not in self.matrix and v not in self.across:
                r.set_scalar(i, env[v])

    def sweep(
        self,
        r: RowWriter,
        env: dict[Any, Any],
        places: dict[Value, int],
        reductions: list[Instr],
        stores: list[Value],
        sums: list[Instr],
    ) -> None:
        k = r.k
        outputs = self.face.outputs
        targets = [*[i.values()[0] for i in (*reductions, *sums)], *stores]
        needed: set[Value] = set()
        todo = list(targets)
        while todo:
            v = todo.pop()
            if v in needed or v in env:
                continue
            needed.add(v)
            if v in self.matrix:
                todo += [a for a in self.inside[v].values() if not inlined(a)]
        reads = [v for v in places if v in needed]
        order = [i for i in self.group.instrs if i.out in needed and i.out in self.matrix]

        def body(loaded: list[Any], totals: list[Any]) -> tuple[list[Any], list[Any]]:
            local = {**env, **dict(zip(reads, loaded))}
            for instr in order:
                local[instr.out] = element(k, instr, [lane(k, local, a) for a in instr.args])
            new = []
            for instr, total in zip(reductions, totals):
                x = lane(k, local, instr.values()[0])
                new.append(TOTALS[instr.op.name][1](total, x))
            grown = [old + lane(k, local, i.values()[0]) for i, old in zip(sums, loaded[len(reads) :])]
            return [*[lane(k, local, v) for v in stores], *grown], new

        weight = len(order)
        chunks = [outputs.index(i.out) for i in sums]
        results = r.sweep(
            [*[places[v] for v in reads], *chunks],
            body,
            [*[outputs.index(v) for v in stores], *chunks],
            [TOTALS[i.op.name] for i in reductions],
            4 if weight <= 4 else 2 if weight <= 12 else 1,
        )
        env.update(zip([i.out for i in reductions], results))


def rows_kernel(face: Interface, kinds: list[str]) -> RowKernel:
    """The kernel of a group of rows, or of the chunks of an ``all`` group; `kinds` are those of the inputs."""
    name = face.name(kinds)
    found = _rows.get(name)
    if found is not None:
        COUNTS["found"] += 1
        return found
    rows = Rows(face, kinds)
    memory = {"matrix": "matrix", "shared": "shared", "row": "scalar", "one": "fixed"}
    levels = ["matrix" if v in rows.matrix else "chunk" if v in rows.across else "scalar" for v in face.outputs]
    arrays = [(storage(v.dtype), level) for v, level in zip(face.outputs, levels)]
    arrays += [(storage(v.dtype), memory[kind]) for v, kind in zip(face.inputs, kinds)]
    compute = COMPUTE[face.group.float_type().name]
    write: Callable[..., None] = rows.write
    kernel = RowKernel(
        arrays,
        len(face.outputs),
        write,
        [COMPUTE[t] for t in face.types],
        cost=0.1 + 0.08 * len(face.group.instrs),
        compute=compute,
    )
    COUNTS["kernels"] += 1
    _rows[name] = kernel
    return kernel
