"""What runs a captured graph: one program for each segment and set of wanted results."""

from __future__ import annotations

from typing import Any

from .graph import Graph

__all__ = ["Program", "generate", "generate_fixed", "interpret"]


class Program:
    """A graph with the code that runs it; `run(arrays, numbers)` gives the graph's outputs."""

    __slots__ = ("graph", "run", "lowered")

    def __init__(self, graph: Graph, lowered: Any = None) -> None:
        self.graph = graph
        self.lowered = lowered
        self.run = graph.run if lowered is None else lowered.run


def interpret(graph: Graph) -> Program:
    """The program that runs the operations one by one with NumPy, as eager mode does: ``backend="eager"``."""
    return Program(graph)


def generate(graph: Graph) -> Program:
    """The program of generated kernels."""
    from .lower import compile_graph

    return Program(graph, compile_graph(graph))


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
