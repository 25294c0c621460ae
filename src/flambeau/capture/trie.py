"""The memory of captured sequences: a trie with one step for each operation.

A step is told from its siblings by the operation, its static parameters, the types of its numbers, and where each
array comes from: an earlier result of the segment, an input seen before, or a new input, then with shape, dtype and
strides.  So arriving at a step again means that the results have the shapes, dtypes and strides noted there, and the
way from the root is the graph.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.op import Op
from ..core.where import Place
from .graph import Graph

__all__ = ["NEW", "Root", "Step", "freeze"]

# What an argument is, as Step.refs has it: (kind, number).
RESULT, INPUT, NEW, NUMBER, NONE, CONSTANT = range(6)


class Step:
    """One operation in a sequence."""

    __slots__ = ("parent", "children", "op", "refs", "params", "metas", "place", "programs", "depth", "large")

    def __init__(
        self,
        parent: Step | None,
        op: Op | None,
        refs: tuple[Any, ...],
        params: dict[str, Any],
        metas: tuple[Any, ...],
        place: Place,
    ) -> None:
        self.parent = parent
        self.children: dict[Any, Step] = {}
        self.op = op
        self.refs = refs
        self.params = params
        self.metas = metas  # (shape, dtype, strides) of each result
        self.place = place
        self.programs: dict[Any, Any] = {}  # which results are wanted -> the program that computes them
        self.large: list[int] | None = (
            None  # the large ones of all results up to here, once somebody has asked
        )
        self.depth: int = 0 if parent is None else parent.depth + 1

    def path(self) -> list[Step]:
        """The steps from the first operation to this one."""
        found: list[Step] = []
        step: Step | None = self
        while step is not None and step.op is not None:
            found.append(step)
            step = step.parent
        return found[::-1]

    def large_results(self, least: int) -> list[int]:
        """The numbers of the results up to here that have `least` bytes."""
        if self.large is None:
            metas = [meta for step in self.path() for meta in step.metas]
            self.large = [
                i for i, (shape, dtype, _) in enumerate(metas) if math.prod(shape) * dtype.itemsize >= least
            ]
        return self.large

    def graph(self, wanted: tuple[int, ...]) -> Graph:
        """The sequence up to here as a graph whose outputs are the wanted results."""
        graph = Graph()
        results: list[Any] = []
        inputs: list[Any] = []
        for step in self.path():
            args: list[Any] = []
            for kind, what in step.refs:
                if kind == RESULT:
                    args.append(results[what])
                elif kind == INPUT:
                    args.append(inputs[what])
                elif kind == NEW:
                    inputs.append(graph.input(*what))
                    args.append(inputs[-1])
                elif kind == NUMBER:
                    args.append(graph.scalar(what))
                else:
                    args.append(what)
            assert step.op is not None
            results.extend(graph.add(step.op, args, step.params, step.metas, step.place).outs)
        graph.outputs = [v for v, w in zip(results, wanted) if w]
        return graph


class Root(Step):
    """Where sequences begin; counts steps, to be emptied when a program never repeats itself."""

    __slots__ = ("steps", "__weakref__")
    LIMIT = 100_000

    def __init__(self) -> None:
        super().__init__(None, None, (), {}, (), None)
        self.steps = 0

    def grown(self) -> None:
        """Count a new step."""
        self.steps += 1

    def prune(self) -> None:
        """Forget everything once there is too much; sequences still in use are learnt again."""
        if self.steps > self.LIMIT:
            self.clear()

    def clear(self) -> None:
        """Forget all sequences and programs."""
        self.children = {}
        self.programs = {}
        self.steps = 0


_PLAIN = (int, str, type(None))


def freeze(v: Any) -> Any:
    """A hashable that is equal only for parameters that mean the same (so 0.0 is not -0.0, nor 1 True).

    Raises: TypeError for parameters that cannot be part of a sequence: arrays, generators.
    """
    cls = type(v)
    if cls in _PLAIN:
        return v
    if cls is tuple or isinstance(v, tuple):
        return tuple([x if type(x) is int else freeze(x) for x in v])
    if cls is float:
        return "float", v.hex()
    if cls is bool:
        return "bool", v
    if cls is slice:
        return "slice", freeze(v.start), freeze(v.stop), freeze(v.step)
    if cls is complex:
        return "complex", v.real.hex(), v.imag.hex()
    if isinstance(v, list):
        return ("list", *[freeze(x) for x in v])
    if isinstance(v, np.dtype):
        return "dtype", v
    if isinstance(v, type) or cls is type(Ellipsis):
        return v
    raise TypeError(f"{cls.__name__} parameters are not captured")
