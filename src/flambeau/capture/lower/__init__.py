"""From a captured graph to a program: simplify, group, generate kernels, and one Python function that runs them.

The function is generated too, so that running a program costs its kernels' launches and little else.  What has no
kernel runs as the operation's own implementation in its place.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...compiler.engine import CompileError
from ...compiler.types import UnsupportedError
from ...core.acceleration import load
from ...runtime import pool
from ..graph import Graph, Instr, Scalar, Value
from ..tune import USUAL, Choice, Tuner
from . import choices, kernels
from .channels import join_channels
from .expand import expand
from .finished import PRODUCTS, parts
from .groups import Group, inlined, make_groups
from .kernels import Interface, points_kernel, rows_kernel
from .pieces import Assembly
from .products import emit_finished, emit_product, is_generated
from .simplify import simplify

__all__ = ["Lowered", "compile_graph"]

BIG = 1 << 20  # bytes from which memory comes from the pool
ALONE = 1 << 14  # elements from which a single operation is worth a kernel of its own
FORGET = 1 << 14  # bytes from which an array is forgotten before the function ends
MOST_ROWS = 4096  # that are summed one after another: keeps rounding errors small
LITTLE = "a single small operation"  # why there is no kernel
VARIABLE = re.compile(r"\bv\d+\b")
LOG = frozenset(os.environ.get("FLAMBEAU_LOG", "").split(","))


class Lowered:
    """A program: `run(arrays, numbers)` gives the graph's outputs."""

    def __init__(self, graph: Graph, source: str, run: Callable[..., Any], notes: list[str]) -> None:
        self.graph = graph
        self.source = source
        self.run = run
        self.notes = notes

    def explain(self) -> str:
        """The kernels with what is fused in them and the bytes they move, and the function that runs them."""
        return "\n".join(self.notes) + "\n\n" + self.source


def group_of(names: list[str]) -> str:
    """The text of a tuple."""
    return "(" + "".join(f"{n}, " for n in names) + ")"


class Emitter:
    """Writes the function."""

    def __init__(self, graph: Graph, tuner: Tuner | None = None, choice: Choice = USUAL) -> None:
        self.graph = graph
        self.tuner, self.choice = tuner, choice
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {
            "empty": np.empty,
            "zeros": np.zeros,
            "together": together,
            "pooled": pool.empty,
            "asarray": np.asarray,
            "ndarray": np.ndarray,
        }
        self.notes: list[str] = []
        self.made: set[Value] = set(graph.inputs)
        self.names: dict[Any, str] = {}
        for i, v in enumerate(graph.inputs):
            self.names[v] = f"a{i}"
        for i, s in enumerate(graph.scalars):
            self.names[s] = f"n{i}" if s.value is None else self.constant("w", s.value)

    def name(self, v: Any) -> str:
        """The variable of a value."""
        found = self.names.get(v)
        if found is None:
            found = self.names[v] = f"v{v.index}"
        return found

    def constant(self, stem: str, value: Any) -> str:
        """A name for an object that the function uses."""
        name = f"{stem}{len(self.scope)}"
        self.scope[name] = value
        return name

    # ---- parts ----

    def call(self, instr: Instr) -> None:
        """The operation's own implementation."""
        if self.choice == USUAL and instr.op.name in PRODUCTS and is_generated(instr):
            mark = len(self.lines)
            try:
                emit_product(self, instr)
                return
            except (UnsupportedError, CompileError):
                del self.lines[mark:]
        args = []
        for a in instr.args:
            if type(a) is Value:
                self.need(a)
                args.append(self.name(a))
            elif type(a) is Scalar:
                args.append(self.name(a))
            else:
                args.append(self.constant("c", a))
        args += [f"{k}={self.constant('p', v)}" for k, v in instr.params.items()]
        outs = ", ".join(self.name(v) for v in instr.outs)
        comma = "," if len(instr.outs) == 1 and instr.op.n_out != 1 else ""
        impl = instr.op.impl if self.choice == USUAL else choices.implementation(instr, self.choice)
        self.lines.append(f"{outs}{comma} = {self.constant('f', impl)}({', '.join(args)})")
        for v in instr.outs:
            if not v.shape:  # a scalar of NumPy's, perhaps
                self.lines.append(
                    f"if type({self.name(v)}) is not ndarray: {self.name(v)} = asarray({self.name(v)})"
                )
        self.made.update(instr.outs)

    def need(self, v: Value) -> None:
        """Make sure that a value is in memory: constants are only written when something else than a kernel reads them."""
        if v not in self.made:
            assert v.producer is not None and inlined(v), f"{v} is not made yet"
            self.call(v.producer)

    def allocate(self, v: Value) -> str:
        """An expression for memory for a result."""
        make = "pooled" if v.nbytes >= BIG else "empty"
        return f"{make}({self.constant('s', v.shape)}, {self.constant('d', v.dtype)})"

    def outputs(self, face: Interface, parts: dict[Value, str] | None = None) -> list[str]:
        """Memory for what a kernel writes; zeros for sums of which it makes `parts`, of the named shape."""
        for v in face.outputs:
            if parts and v in parts:
                self.lines.append(f"{self.name(v)} = zeros({parts[v]}, {self.constant('d', v.dtype)})")
            else:
                self.lines.append(f"{self.name(v)} = {self.allocate(v)}")
            self.made.add(v)
        return [self.name(v) for v in face.outputs]

    def points(self, face: Interface) -> None:
        group = face.group
        kernel = points_kernel(face, self.choice.unroll)
        if self.choice.factor != 1.0:
            kernel = kernel.as_if(self.choice.factor)
        inputs = [self.name(v) for v in face.inputs]
        outs = self.outputs(face)
        numbers = [self.name(s) for s in face.scalars]
        if all(v.shape == group.shape and v.contiguous for v in face.inputs):
            fn = self.constant("k", kernel.fn)
            self.lines.append(f"{fn}({', '.join([*outs, *inputs, *numbers])})")
        else:
            fn = self.constant("k", kernel.broadcast)
            arguments = [group_of(outs), group_of(inputs), *numbers]
            self.lines.append(f"{fn}({', '.join(arguments)})")

    def rows(self, face: Interface, kinds: list[str]) -> None:
        group = face.group
        kernel, scratch = rows_kernel(face, kinds, self.choice.unroll)
        inputs = []
        for v in face.inputs:
            if v.contiguous:
                inputs.append(self.name(v))
            else:
                dense = self.constant("x", np.ascontiguousarray)
                inputs.append(f"{dense}({self.name(v)})")
        rows, columns, grain = kernel.shape(group.rows, group.columns, self.choice.factor)
        across = group.across
        if across:
            grain = min(grain, MOST_ROWS)
        chunks = self.constant("t", (-(-rows // grain), columns))
        parts = {v: chunks for v in face.outputs if v in across}
        outs = self.outputs(face, parts)
        outs += [f"empty({chunks}, {self.constant('d', dtype)})" for dtype in scratch]
        numbers = [self.name(s) for s in face.scalars]
        fn = self.constant("k", kernel.fn)
        self.lines.append(
            f"{fn}({', '.join([*outs, *inputs, str(rows), str(columns), str(grain), *numbers])})"
        )
        for v in parts:
            self.lines.append(f"{self.name(v)} = together({self.name(v)}, {self.constant('s', v.shape)})")
        for instr in face.late:
            self.call(instr)

    def everything(self, face: Interface, kinds: list[str]) -> None:
        """Reductions over all elements: in chunks, then over the chunks' results."""
        kernel, _ = rows_kernel(face, kinds, self.choice.unroll)
        columns = self.choice.columns
        size = face.group.columns
        run = Chunks(kernel, face, kinds, size, columns, self.choice.factor)
        outs = self.outputs(face)
        inputs = [self.name(v) for v in face.inputs]
        numbers = [self.name(s) for s in face.scalars]
        arguments = [group_of(x) for x in (outs, inputs, numbers)]
        self.lines.append(f"{self.constant('k', run)}({', '.join(arguments)})")

    def pieces(self, face: Interface) -> None:
        """Parts written into one array."""
        instrs = face.group.instrs
        assembly = Assembly(instrs)
        parts = [self.name(i.values()[0]) for i in assembly.parts]
        out = instrs[-1].out
        self.lines.append(f"{self.name(out)} = {self.constant('k', assembly)}({', '.join(parts)})")
        self.made.add(out)

    def product(self, group: Group, wanted: set[Value]) -> None:
        """A product with what is computed from it; if need be one after the other."""
        reason = "a pass of its own is faster" if self.choice.way == "apart" else ""
        mark = len(self.lines), set(self.made)
        if not reason:
            try:
                emit_finished(self, group, wanted)
                return
            except (UnsupportedError, CompileError, TypeError, ValueError, OverflowError) as e:
                reason = f"{type(e).__name__}: {e}"
                del self.lines[mark[0] :]
                self.made = mark[1]
        p = parts(group)
        self.notes.append(f"{p.product.op.name} {list(p.product.out.shape)} alone: {reason}")
        choice, self.choice = self.choice, USUAL
        if p.starts:
            first = Group("points", p.first.shape, group.index)
            first.instrs = p.starts
            self.emit(first, {p.first})
        for instr in (*p.start_views, p.product, *p.views):
            self.call(instr)
        if p.points:
            kernel = Group("points", group.shape, group.index)
            kernel.instrs = p.points
            self.emit(kernel, wanted)
        self.choice = choice

    def freed(self) -> list[str]:
        """The lines, with large arrays forgotten after their last use: the next result gets their memory."""
        large = {self.name(v): v for v in self.made if v.producer is not None and v.nbytes >= FORGET}
        for v in self.graph.outputs:
            large.pop(self.name(v), None)
        last: dict[str, int] = {}
        for i, line in enumerate(self.lines):
            for name in VARIABLE.findall(line):
                if name in large:
                    last[name] = i
        dead: dict[int, list[str]] = {}
        for name, i in last.items():
            dead.setdefault(i, []).append(name)
        lines = []
        for i, line in enumerate(self.lines):
            lines.append(line)
            if i in dead:
                lines.append(f"del {', '.join(dead[i])}")
        return lines

    # ---- the whole ----

    def trial(self, group: Group, wanted: set[Value], choice: Choice) -> Callable[..., Any]:
        """A function of what a group reads that runs it alone, in the chosen way, and gives what is wanted of it."""
        part = Graph()
        part.inputs, part.scalars, part.outputs = choices.surface(group, wanted)
        emitter = Emitter(part, None, choice)
        emitter.group(group, wanted)
        emitter.finish()
        run: Callable[..., Any] = emitter.scope["run"]
        return run

    def group(self, group: Group, wanted: set[Value]) -> None:
        """One group, in the way that is found to be best if there is somebody to find it."""
        if self.tuner is not None:
            self.choice = choices.choose(self.tuner, group, wanted, lambda c: self.trial(group, wanted, c))
        self.emit(group, wanted)

    def emit(self, group: Group, wanted: set[Value]) -> None:
        """One group: a kernel where there is one, else its operations one by one."""
        if group.kind == "call":
            (instr,) = group.instrs
            if group.reason:
                self.notes.append(f"{instr.op.name} {list(instr.out.shape)} alone: {group.reason}")
            if not (instr.op.name == "full" and inlined(instr.out)) or instr.out in self.graph.outputs:
                self.call(instr)
            return
        if group.kind == "product":
            self.product(group, wanted)
            return
        face = Interface(group, wanted)
        reason = self.refuse(group, face)
        if self.choice.way == "calls":
            reason = reason or "its operations are faster one by one"
        elif self.choice.way == "kernel" and reason == LITTLE:
            reason = ""
        mark = len(self.lines), set(self.made)
        if not reason:
            try:
                self.kernel(group, face)
                self.note(group, face)
                return
            except (UnsupportedError, CompileError, TypeError, ValueError, OverflowError) as e:
                reason = f"{type(e).__name__}: {e}"
                del self.lines[mark[0] :]
                self.made = mark[1]
        for instr in group.instrs:
            self.call(instr)
        names = " ".join(i.op.name for i in group.instrs)
        self.notes.append(f"no kernel for {names} {list(group.shape)}: {reason}")

    def kernel(self, group: Group, face: Interface) -> None:
        for v in face.inputs:
            self.need(v)
        if group.kind == "points":
            self.points(face)
            return
        if group.kind == "pieces":
            self.pieces(face)
            return
        kinds = face.kinds()
        if kinds is None:
            raise UnsupportedError("an input is read in two ways")
        if group.kind == "rows":
            self.rows(face, kinds)
        else:
            self.everything(face, kinds)

    def refuse(self, group: Group, face: Interface) -> str:
        """Why a group should not become a kernel, or ""."""
        if not face.outputs:
            return "nothing of it is wanted"
        if not face.inputs:
            return "it reads no array"
        if math.prod(group.shape) == 0:
            return "it is empty"
        if len(group.instrs) == 1 and math.prod(group.shape) < ALONE:
            return LITTLE
        if group.kind == "all" and any(not v.contiguous for v in face.inputs):
            return "its inputs are not contiguous"
        return ""

    def note(self, group: Group, face: Interface) -> None:
        names = " ".join(i.op.name for i in group.instrs)
        moved = sum(v.nbytes for v in (*face.inputs, *face.outputs))
        self.notes.append(
            f"{group.kind} kernel {list(group.shape)}: {names}; reads {len(face.inputs)} arrays, writes "
            f"{len(face.outputs)}, {moved} bytes"
        )

    def program(self) -> Lowered:
        groups = make_groups(self.graph)
        home = {v: g for g in groups for i in g.instrs for v in i.outs}
        wanted = set(self.graph.outputs)
        for g in groups:
            for i in g.instrs:
                wanted.update(v for v in i.values() if home.get(v) is not g)
        for g in groups:
            self.group(g, wanted)
        if self.tuner is not None:
            self.notes += self.tuner.notes
        source = self.finish()
        lowered = Lowered(self.graph, source, self.scope["run"], self.notes)
        if "fusion" in LOG:
            print("\n".join(self.notes))
        if "code" in LOG:
            print(source)
        return lowered

    def finish(self) -> str:
        """Make the function ``run`` of what was written; its source."""
        for v in self.graph.outputs:
            self.need(v)
        head = ["def run(arrays, numbers):"]
        for names, variable in (
            ([self.names[v] for v in self.graph.inputs], "arrays"),
            ([self.names[s] for s in self.graph.scalars if s.value is None], "numbers"),
        ):
            if names:
                # the segment may have gone on: what came after the graph was taken is left over
                head.append(f"    {', '.join(names)}, *_ = {variable}")
        body = [f"    {line}" for line in self.freed()]
        returned = f"    return [{', '.join(self.name(v) for v in self.graph.outputs)}]"
        source = "\n".join([*head, *body, returned]) + "\n"
        exec(compile(source, "<compiled program>", "exec"), self.scope)
        return source


def together(parts: Any, shape: tuple[int, ...]) -> Any:
    """The sums of the chunks' sums."""
    return (parts if len(parts) == 1 else np.add.reduce(parts, axis=0)).reshape(shape)


class Chunks:
    """Runs the kernel of an ``all`` group over chunks of arrays in C order."""

    def __init__(
        self, kernel: Any, face: Interface, kinds: list[str], size: int, columns: int, factor: float
    ) -> None:
        self.fn = kernel.fn
        self.totals = [v.shape != face.group.shape for v in face.outputs]
        self.combine = {
            v: kernels.COMBINE[i.op.name]
            for i in face.group.instrs
            for v in i.outs
            if i.op.name in kernels.COMBINE
        }
        self.outputs = face.outputs
        self.flat = [kind == "matrix" for kind in kinds]
        self.size, self.columns = size, columns
        self.rows, self.rest = divmod(size, columns)
        self.main = kernel.shape(self.rows, columns, factor)
        self.tail = kernel.shape(1, self.rest)

    def __call__(self, outs: Sequence[Any], ins: Sequence[Any], numbers: Sequence[Any]) -> None:
        parts = self.rows + bool(self.rest)
        filled = [np.empty(parts, o.dtype) if t else o for o, t in zip(outs, self.totals)]
        if self.rows:  # the kernel goes by its scalars, not by the arrays' shapes
            self.fn(*filled, *ins, *self.main, *numbers)
        if self.rest:
            cut = self.rows * self.columns
            last = [p[self.rows :] if t else p.reshape(-1)[cut:] for p, t in zip(filled, self.totals)]
            self.fn(
                *last,
                *[x.reshape(-1)[cut:] if f else x for x, f in zip(ins, self.flat)],
                *self.tail,
                *numbers,
            )
        for p, o, v in zip(filled, outs, self.outputs):
            if p is not o:
                self.combine[v].reduce(p, out=o)


def compile_graph(graph: Graph, tuner: Tuner | None = None) -> Lowered:
    """The program of a graph; see `Graph.run` for what it must compute.  A `tuner` searches for faster ways."""
    load()
    if "graph" in LOG:
        print(graph)
    return Emitter(join_channels(simplify(expand(simplify(graph.copy())))), tuner).program()
