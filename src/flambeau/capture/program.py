"""What runs a captured graph: one program for each segment and set of wanted results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graph import Graph

__all__ = ["WATCHERS", "Program", "generate", "generate_fixed", "generate_tuned", "interpret"]


class Program:
    """A graph with the code that runs it; `run(arrays, numbers)` gives the graph's outputs.

    `keeping` says which results are left out and computed again in a backward pass (`recompute.Keeping`).
    """

    __slots__ = ("graph", "run", "lowered", "watched", "keeping")

    def __init__(self, graph: Graph, lowered: Any = None) -> None:
        self.graph = graph
        self.lowered = lowered
        self.run = graph.run if lowered is None else lowered.run
        self.watched: Any = None
        self.keeping: Any = None

    def run_watched(
        self, enter: Callable[[str], Any], leave: Callable[[Any], None], arrays: Any, numbers: Any
    ) -> Any:
        """`run`, with a span for the program and one for each line of it: kernels, operations, allocations."""
        span = enter(f"flambeau::program ({len(self.graph.instrs)} operations)")
        try:
            if self.lowered is None:
                return self.run(arrays, numbers)
            if self.watched is None:
                self.watched = with_spans(self.lowered.source, self.run)
            return self.watched(arrays, numbers, enter, leave)
        finally:
            leave(span)


def with_spans(source: str, run: Callable[..., Any]) -> Callable[..., Any]:
    """A generated function again, with a span around each of its lines."""
    head, *lines = source.rstrip().splitlines()
    scope = dict(getattr(run, "__globals__", {}))
    written = [head.replace("(arrays, numbers)", "(arrays, numbers, enter, leave)")]
    for number, line in enumerate(lines):
        text = line.strip()
        target, _, value = text.rpartition(" = ")
        if text.startswith(("return", "del", "if ")) or "*_" in target:
            written.append(line)
            continue
        called = value.partition("(")[0].partition(".")[0]
        if called in ("empty", "pooled", "ndarray"):
            name = "flambeau::allocate"
        elif called.startswith("f") and hasattr(scope.get(called), "__name__"):
            name = f"flambeau::{scope[called].__name__.strip('_')}"
        else:
            name = "flambeau::kernel"
        written += [f"    span{number} = enter({f'{name} {text}'!r})", line, f"    leave(span{number})"]
    exec(compile("\n".join(written), "<watched program>", "exec"), scope)
    return scope["run"]  # type: ignore[no-any-return]


# (enter, leave) of the profilers that are running: `enter` begins a span with a name, `leave` ends it.
WATCHERS: list[tuple[Callable[[str], Any], Callable[[Any], None]]] = []


def interpret(graph: Graph) -> Program:
    """The program that runs the operations one by one with NumPy, as eager mode does: ``backend="eager"``."""
    return Program(graph)


def generate(graph: Graph) -> Program:
    """The program of generated kernels."""
    from .lower import compile_graph

    return Program(graph, compile_graph(graph))


def generate_tuned(graph: Graph) -> Program:
    """The same, with the fastest of several ways for each part: ``mode="max-autotune"``."""
    from .lower import compile_graph
    from .tune import Tuner

    tuner = Tuner()
    try:
        return Program(graph, compile_graph(graph, tuner))
    finally:
        tuner.finish()


def generate_fixed(graph: Graph) -> Program:
    """The program for a replay, whose sizes never change: one function if its arrays are small."""
    from ..compiler.engine import CompileError
    from ..compiler.types import UnsupportedError
    from .lower import Lowered
    from .lower.small import compile_small

    try:
        run, source, notes = compile_small(graph)
    except (UnsupportedError, CompileError, TypeError, ValueError, OverflowError):
        return generate(graph)
    return Program(graph, Lowered(graph, source, run, notes))
