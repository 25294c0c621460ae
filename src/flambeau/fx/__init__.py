"""Graphs of programs: absent (`flambeau.compile` compiles functions directly), but for the names in type checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..runtime.absent import WHERE
from ..runtime.absent import names_of as _names_of

__all__ = ["Graph", "GraphModule", "Node", "Proxy", "Tracer", "symbolic_trace", "wrap"]

F = TypeVar("F", bound=Callable[..., Any] | str)


class Graph:
    """A program as a graph.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"torch.fx.{type(self).__name__} is absent ({WHERE})")


class GraphModule(Graph):
    """A module that runs a `Graph`.  Nothing is an instance."""


class Node(Graph):
    """An operation in a `Graph`.  Nothing is an instance."""


class Proxy(Graph):
    """A value in a program that is being traced.  Nothing is an instance."""


class Tracer(Graph):
    """What would make a `Graph` of a program."""


def symbolic_trace(root: Any, concrete_args: Any = None) -> Any:
    """Raises RuntimeError: programs are not turned into graphs."""
    raise RuntimeError(f"torch.fx.symbolic_trace is absent ({WHERE})")


def wrap(fn_or_name: F) -> F:
    """What it is given: without tracing no function needs to be left out of it."""
    return fn_or_name


__getattr__ = _names_of(__name__)
