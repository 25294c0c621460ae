"""Machine code for groups.

A kernel is found by its *text*: operations, dtypes and how arguments broadcast, without any size.  So another batch
size, another model with the same layers, or the next call finds the code that exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compiler.dialect import Dialect
from ...compiler.pointwise import PointwiseKernel, pointwise_kernel
from ...compiler.row_kernel import Combine, RowKernel, RowWriter, add, larger
from ...compiler.types import COMPUTE, storage
from ..graph import Instr, Scalar, Value
from .elements import BOOL, element, scalar_type, text
from .groups import REDUCTIONS, Group, inlined

__all__ = ["COMBINE", "COUNTS", "Interface", "points_kernel", "rows_kernel"]

COUNTS = {"kernels": 0, "found": 0}
_points: dict[str, PointwiseKernel] = {}
_rows: dict[str, tuple[RowKernel, list[Any]]] = {}


def largest(a: Any, b: Any) -> Any:
    """NaN wins."""
    return a.k.max(a, b)


def smallest(a: Any, b: Any) -> Any:
    """NaN wins."""
    return a.k.min(a, b)


def product(a: Any, b: Any) -> Any:
    """Combines partial products."""
    return a * b


TOTALS: dict[str, tuple[float, Combine]] = {
    "sum": (0.0, add),
    "amax": (-math.inf, largest),
    "amin": (math.inf, smallest),
    "prod": (1.0, product),
    "any": (0.0, larger),  # of ones and zeros
    "all": (1.0, smallest),
}
COMBINE: dict[str, np.ufunc] = {  # the same for the results of chunks
    **{"sum": np.add, "amax": np.maximum, "amin": np.minimum, "prod": np.multiply},
    **{"any": np.logical_or, "all": np.logical_and},
}
VIEWS = ("reshape", "reshape_copy", "expand")
# Operations that take longer than writing a value and reading it back from the cache.
COSTLY = frozenset(
    "exp expm1 log log1p sin cos tanh sigmoid erf silu silu_slope gelu_erf gelu_erf_slope gelu_tanh gelu_tanh_slope "
    "elu_expm1 pow xlogy".split()
)


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


def points_kernel(face: Interface, unroll: int = 0) -> PointwiseKernel:
    """The kernel of elementwise operations; `unroll`: vectors in a step of the loop, 0 for what suits its weight."""
    name = face.name([""] * len(face.inputs)) + (f"|{unroll}" if unroll else "")
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
        body, [v.dtype for v in inputs], [v.dtype for v in outputs], [t for t in face.types], unroll
    )
    _points[name] = kernel
    return kernel


def lane(k: Dialect, env: dict[Any, Any], a: Any) -> Any:
    """An argument as the body sees it: a kernel value, or a number that is part of the code."""
    if type(a) is Value and a not in env:
        env[a] = constant(k, a)
    return env[a] if type(a) in (Value, Scalar) else a


@dataclass(frozen=True)
class Sweep:
    """One pass over a row: what is reduced, stored and added to the sums over the rows in it."""

    reductions: list[Instr]
    stores: list[Value]
    sums: list[Instr]

    def targets(self) -> list[Value]:
        return [*[i.values()[0] for i in (*self.reductions, *self.sums)], *self.stores]


class Rows:
    """Writes the passes over a row."""

    def __init__(self, face: Interface, kinds: list[str], unroll: int = 0) -> None:
        self.face, self.kinds, self.unroll = face, kinds, unroll
        self.group = face.group
        self.stage: dict[Value, int] = {}
        self.inside = {i.out: i for i in self.group.instrs}
        for instr in self.group.instrs:
            before = max([self.stage.get(v, 0) for v in instr.values()], default=0)
            self.stage[instr.out] = before + (instr.op.name in REDUCTIONS)
        self.matrix = {v for v, i in self.inside.items() if self.is_matrix(i)}
        self.across = self.group.across
        self.sweeps = [self.at_stage(stage) for stage in range(max(self.stage.values()) + 1)]
        self.kept: list[Value] = []
        self.keep()
        self.scratch = [v for v in self.kept if v not in face.outputs]

    def is_matrix(self, instr: Instr) -> bool:
        return (
            instr.op.name not in REDUCTIONS
            and instr.op.name not in VIEWS
            and instr.out.shape == self.group.shape
        )

    def at_stage(self, stage: int) -> Sweep:
        """What can be done once the reductions of the stages before are known."""
        reductions: list[Instr] = []
        sums: list[Instr] = []
        for i in self.group.instrs:
            if i.op.name in REDUCTIONS and self.stage[i.out] == stage + 1:
                (sums if i.out in self.across else reductions).append(i)
        stores = [v for v in self.face.outputs if v in self.matrix and self.stage[v] == stage]
        return Sweep(reductions, stores, sums)

    def keep(self) -> None:
        """Choose the values that are costly and needed in several passes: the first one keeps them for the others."""
        for instr in reversed(self.group.instrs):
            if instr.op.name in COSTLY and instr.out in self.matrix and instr.out.dtype != BOOL:
                uses = [s for s in range(len(self.sweeps)) if instr.out in self.needed(s)]
                if len(uses) > 1:
                    self.kept.append(instr.out)

    def known(self, sweep: int) -> set[Value]:
        """What earlier passes have kept."""
        return {v for v in self.kept for s in range(sweep) if v in self.needed(s)}

    def needed(self, sweep: int) -> set[Value]:
        """The full-size values that a pass reads or computes."""
        known = self.known(sweep)
        found: set[Value] = set()
        todo = self.sweeps[sweep].targets()
        while todo:
            v = todo.pop()
            if v in found:
                continue
            found.add(v)
            if v in self.matrix and v not in known:
                todo += [a for a in self.inside[v].values() if not inlined(a)]
        return found

    def write(self, r: RowWriter, *numbers: Any) -> None:
        """One row: for each stage the values of the row, then one pass that reduces and stores."""
        face, k = self.face, r.k
        env: dict[Any, Any] = dict(zip(face.scalars, numbers))
        places = {v: i for i, v in enumerate((*face.outputs, *self.scratch, *face.inputs))}
        for v, kind in zip(face.inputs, self.kinds):
            if kind in ("row", "one"):
                env[v] = r.scalar(places[v])
        for stage, sweep in enumerate(self.sweeps):
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
            if sweep.targets():
                self.write_sweep(r, env, places, stage)
        for v in face.outputs:
            if v not in self.matrix and v not in self.across:
                r.set_scalar(places[v], env[v])

    def write_sweep(self, r: RowWriter, env: dict[Any, Any], places: dict[Value, int], number: int) -> None:
        k, sweep = r.k, self.sweeps[number]
        needed, known = self.needed(number), self.known(number)
        reads = [
            v
            for v in places
            if v in needed
            and v not in env
            and (v in known or (v not in self.matrix and v not in self.across))
        ]
        order = [
            i for i in self.group.instrs if i.out in needed and i.out in self.matrix and i.out not in known
        ]
        kept = [v for v in self.scratch if v in needed and v not in known]

        def body(loaded: list[Any], totals: list[Any]) -> tuple[list[Any], list[Any]]:
            local = {**env, **dict(zip(reads, loaded))}
            for instr in order:
                local[instr.out] = element(k, instr, [lane(k, local, a) for a in instr.args])
            new = []
            for instr, total in zip(sweep.reductions, totals):
                x = lane(k, local, instr.values()[0])
                if instr.op.name in ("any", "all"):
                    x = k.select(x, k.const(1.0, r.compute), k.const(0.0, r.compute))
                new.append(TOTALS[instr.op.name][1](total, x))
            sums = loaded[len(reads) :]
            grown = [old + lane(k, local, i.values()[0]) for i, old in zip(sweep.sums, sums)]
            return [*[lane(k, local, v) for v in (*sweep.stores, *kept)], *grown], new

        weight = len(order)
        chunks = [places[i.out] for i in sweep.sums]
        results = r.sweep(
            [*[places[v] for v in reads], *chunks],
            body,
            [*[places[v] for v in (*sweep.stores, *kept)], *chunks],
            [TOTALS[i.op.name] for i in sweep.reductions],
            self.unroll or (4 if weight <= 4 else 2 if weight <= 12 else 1),
        )
        for instr, result in zip(sweep.reductions, results):
            env[instr.out] = result > 0.5 if instr.op.name in ("any", "all") else result


def rows_kernel(face: Interface, kinds: list[str], unroll: int = 0) -> tuple[RowKernel, list[Any]]:
    """The kernel of a group of rows, or of the chunks of an ``all`` group; `kinds` are those of the inputs.

    `unroll`: vectors in a step of each pass, 0 for what suits its weight.

    With it the dtypes of the rows that each chunk needs for itself; these arrays follow the outputs.
    """
    name = face.name(kinds) + (f"|{unroll}" if unroll else "")
    found = _rows.get(name)
    if found is not None:
        COUNTS["found"] += 1
        return found
    rows = Rows(face, kinds, unroll)
    memory = {"matrix": "matrix", "shared": "shared", "row": "scalar", "one": "fixed"}
    levels = [
        "matrix" if v in rows.matrix else "chunk" if v in rows.across else "scalar" for v in face.outputs
    ]
    arrays = [(storage(v.dtype), level) for v, level in zip(face.outputs, levels)]
    arrays += [(storage(v.dtype), "chunk") for v in rows.scratch]
    arrays += [(storage(v.dtype), memory[kind]) for v, kind in zip(face.inputs, kinds)]
    compute = COMPUTE[face.group.float_type().name]
    write: Callable[..., None] = rows.write
    kernel = RowKernel(
        arrays,
        len(face.outputs) + len(rows.scratch),
        write,
        [COMPUTE[t] for t in face.types],
        cost=0.1 + 0.08 * len(face.group.instrs),
        compute=compute,
    )
    COUNTS["kernels"] += 1
    _rows[name] = kernel, [v.dtype for v in rows.scratch]
    return _rows[name]
