"""What a pass over a graph is, and what it gives: `PassBase`, `PassResult`."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

__all__ = ["PassBase", "PassResult"]


class PassResult(NamedTuple):
    """A graph module, and whether the pass changed it."""

    graph_module: Any
    modified: bool


class PassBase(abc.ABC):
    """A pass: `call` changes a graph module; `requires` and `ensures` raise for one that is not as it has to be."""

    def __call__(self, graph_module: Any) -> PassResult | None:
        self.requires(graph_module)
        result = self.call(graph_module)
        self.ensures(graph_module)
        return result

    @abc.abstractmethod
    def call(self, graph_module: Any) -> PassResult | None:
        """Run the pass."""

    def requires(self, graph_module: Any) -> None:  # noqa: B027
        """Look at the graph module before the pass."""

    def ensures(self, graph_module: Any) -> None:  # noqa: B027
        """Look at the graph module after the pass."""
