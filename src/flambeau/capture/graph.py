"""The graph: operations in single assignment form, over values of known shape, dtype and strides.

A graph is what capture hands to a compiler: inputs (arrays), scalars (Python numbers, passed at run time, so that a
changing learning rate is not a new graph), instructions in program order, and outputs.  `Graph.run` executes it with
the operations' own NumPy implementations: it is the reference that compiled programs are compared with.
`str(graph)` is Python source that runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.op import REGISTRY, Op
from ..core.where import Place, describe

__all__ = ["Graph", "GraphError", "Instr", "Scalar", "Value", "operation"]


class GraphError(AssertionError):
    """A graph that breaks its own rules: a defect of a pass, never of the user's program."""


class Value:
    """An array: an input of the graph, or a result of an instruction.

    `strides` are in bytes, as NumPy's: the layout that eager execution gives, which the user may have seen.
    `layout` of an input is part of what the graph was captured for; `producer` is None for inputs.
    """

    __slots__ = ("index", "shape", "dtype", "strides", "producer")

    def __init__(
        self, index: int, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...], producer: Instr | None
    ) -> None:
        self.index = index
        self.shape = shape
        self.dtype = dtype
        self.strides = strides
        self.producer = producer

    @property
    def size(self) -> int:
        """How many elements."""
        n = 1
        for s in self.shape:
            n *= s
        return n

    @property
    def nbytes(self) -> int:
        """The bytes of a dense array of this shape."""
        return int(self.size * self.dtype.itemsize)

    @property
    def contiguous(self) -> bool:
        """Whether the layout is C-contiguous."""
        expected = self.dtype.itemsize
        for n, stride in zip(reversed(self.shape), reversed(self.strides)):
            if n == 0:
                return True
            if n != 1:
                if stride != expected:
                    return False
                expected *= n
        return True

    def __repr__(self) -> str:
        return f"v{self.index}"

    @property
    def annotation(self) -> str:
        """`float32[2, 3]`, with strides where they are not C order."""
        text = f"{self.dtype.name}{list(self.shape)}"
        return text if self.contiguous else f"{text} strides {list(self.strides)}"


class Scalar:
    """A Python number; `kind` is its type (bool, int, float or complex).

    It is given at run time, unless a pass wrote it: then it has a `value`.
    """

    __slots__ = ("index", "kind", "value")

    def __init__(self, index: int, kind: type, value: float | None = None) -> None:
        self.index = index
        self.kind = kind
        self.value = value

    def __repr__(self) -> str:
        return f"s{self.index}"


class Instr:
    """One operation: `args` are Values, Scalars, constants or None; `params` are the operation's static parameters."""

    __slots__ = ("op", "args", "params", "outs", "place")

    def __init__(self, op: Op, args: tuple[Any, ...], params: dict[str, Any], place: Place) -> None:
        self.op = op
        self.args = args
        self.params = params
        self.outs: tuple[Value, ...] = ()
        self.place = place

    @property
    def out(self) -> Value:
        """The only result."""
        return self.outs[0]

    def values(self) -> list[Value]:
        """The arguments that are arrays."""
        return [a for a in self.args if type(a) is Value]

    def replaced(self, args: tuple[Any, ...], params: dict[str, Any] | None = None) -> Instr:
        """The same operation of other arguments; it makes the results from now on."""
        copy = Instr(self.op, args, self.params if params is None else params, self.place)
        copy.outs = self.outs
        for v in copy.outs:
            v.producer = copy
        return copy

    def __repr__(self) -> str:
        args = [repr(a) for a in self.args]
        args += [f"{k}={_literal(v)}" for k, v in self.params.items()]
        return f"{', '.join(map(repr, self.outs))} = operation({self.op.name!r}).impl({', '.join(args)})"


class Graph:
    """Inputs, scalars, instructions and outputs of one segment of a program."""

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.scalars: list[Scalar] = []
        self.instrs: list[Instr] = []
        self.outputs: list[Value] = []
        self.count = 0

    # ---- building ----

    def value(
        self, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...], producer: Instr | None
    ) -> Value:
        """A new value."""
        v = Value(self.count, tuple(shape), dtype, tuple(strides), producer)
        self.count += 1
        return v

    def input(self, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...]) -> Value:
        """A new input array."""
        v = self.value(shape, dtype, strides, None)
        self.inputs.append(v)
        return v

    def scalar(self, kind: type, value: float | None = None) -> Scalar:
        """A new number, known if `value` is given; those of run time come first."""
        s = Scalar(len(self.scalars), kind, value)
        self.scalars.append(s)
        return s

    def add(
        self,
        op: Op,
        args: Sequence[Any],
        params: dict[str, Any],
        metas: Sequence[tuple[tuple[int, ...], Any, tuple[int, ...]]],
        place: Place = None,
    ) -> Instr:
        """Append an instruction whose results have the given (shape, dtype, strides)."""
        instr = Instr(op, tuple(args), params, place)
        instr.outs = tuple([self.value(*meta, instr) for meta in metas])
        self.instrs.append(instr)
        return instr

    def copy(self) -> Graph:
        """An equal graph of its own instructions and values, for passes to change."""
        result = Graph()
        result.scalars = self.scalars
        same: dict[Value, Value] = {v: result.input(v.shape, v.dtype, v.strides) for v in self.inputs}
        for instr in self.instrs:
            args = [same[a] if type(a) is Value else a for a in instr.args]
            metas = [(v.shape, v.dtype, v.strides) for v in instr.outs]
            same.update(zip(instr.outs, result.add(instr.op, args, instr.params, metas, instr.place).outs))
        result.outputs = [same[v] for v in self.outputs]
        return result

    # ---- reading ----

    def users(self) -> dict[Value, list[Instr]]:
        """Which instructions read each value."""
        found: dict[Value, list[Instr]] = {v: [] for v in self.inputs}
        for instr in self.instrs:
            for v in dict.fromkeys(instr.values()):
                found[v].append(instr)
            for v in instr.outs:
                found[v] = []
        return found

    def verify(self) -> None:
        """Raises: GraphError when a value is used before it is made or made twice, or an operation's arity is wrong."""
        known = set(self.inputs)
        for instr in self.instrs:
            for a in instr.args:
                if type(a) is Value and a not in known:
                    raise GraphError(f"{instr}: {a} is used before it is made")
                if type(a) is Scalar and a not in self.scalars:
                    raise GraphError(f"{instr}: {a} is not a scalar of this graph")
            if len(instr.outs) != instr.op.n_out:
                raise GraphError(
                    f"{instr}: {instr.op.name} has {instr.op.n_out} results, not {len(instr.outs)}"
                )
            for v in instr.outs:
                if v in known:
                    raise GraphError(f"{instr}: {v} is made twice")
                if v.producer is not instr:
                    raise GraphError(f"{instr}: {v} names another producer")
                if len(v.shape) != len(v.strides):
                    raise GraphError(f"{instr}: {v} has {len(v.shape)} dims and {len(v.strides)} strides")
                known.add(v)
        for v in self.outputs:
            if v not in known:
                raise GraphError(f"output {v} is never made")

    def run(self, arrays: Sequence[Any], numbers: Sequence[Any] = ()) -> list[Any]:
        """The outputs, computed one operation at a time by NumPy."""
        env: dict[Any, Any] = dict(zip(self.inputs, arrays))
        env.update(zip(self.scalars, numbers))
        env.update((s, s.value) for s in self.scalars if s.value is not None)
        last: dict[Value, Instr] = {}
        for instr in self.instrs:
            for v in instr.values():
                last[v] = instr
        keep = set(self.outputs)
        for instr in self.instrs:
            args = [env[a] if type(a) is Value or type(a) is Scalar else a for a in instr.args]
            result = instr.op.impl(*args, **instr.params)
            for v, r in zip(instr.outs, (result,) if instr.op.n_out == 1 else result):
                env[v] = r if type(r) is np.ndarray else np.asarray(r)
            del args, result
            for v in dict.fromkeys(instr.values()):
                if last[v] is instr and v not in keep:
                    del env[v]
        return [env[v] for v in self.outputs]

    def __str__(self) -> str:
        head = [f"{v}: '{v.annotation}'" for v in self.inputs] + [
            f"{s}: {s.kind.__name__}" for s in self.scalars if s.value is None
        ]
        lines = [
            "import numpy",
            "import flambeau",
            "from flambeau.capture.graph import operation",
            "",
            f"def program({', '.join(head)}):",
        ]
        lines += [f"    {s} = {s.value!r}" for s in self.scalars if s.value is not None]
        for instr in self.instrs:
            notes = ", ".join(v.annotation for v in instr.outs)
            where = f"; {describe(instr.place)}" if instr.place is not None else ""
            lines.append(f"    {instr}  # {notes}{where}")
        lines.append(f"    return [{', '.join(map(repr, self.outputs))}]")
        return "\n".join(lines) + "\n"


def operation(name: str) -> Op:
    """The operation of this name; of those that choose between several, the one that graphs have."""
    found: Any = REGISTRY[name]
    return found if isinstance(found, Op) else found.op


def _literal(v: Any) -> str:
    if isinstance(v, np.dtype):
        return f"numpy.dtype({v.name!r})"
    if isinstance(v, tuple):
        return "(" + "".join(f"{_literal(x)}, " for x in v) + ")"
    return repr(v)
