"""Names that libraries make graph modules with: here their text is always generated at once."""

from __future__ import annotations

import contextlib
from typing import Any

from .graph_module import GraphModule

__all__ = ["_LazyGraphModule", "_make_graph_module", "_use_lazy_graph_module"]


def _make_graph_module(*args: Any, graph_module_cls: Any = None, **kwargs: Any) -> Any:
    """A `GraphModule`, or an instance of `graph_module_cls`."""
    return (graph_module_cls or GraphModule)(*args, **kwargs)


def _use_lazy_graph_module(should_use: bool) -> contextlib.AbstractContextManager[None]:
    """Changes nothing."""
    return contextlib.nullcontext()


class _LazyGraphModule(GraphModule):
    """A `GraphModule`: what PyTorch's puts off has been done."""

    @classmethod
    def from_graphmodule(cls, gm: GraphModule) -> GraphModule:
        """`gm` as an instance of this class."""
        return gm if isinstance(gm, cls) else cls(gm, gm.graph)

    @staticmethod
    def force_recompile(gm: Any) -> None:
        """Nothing is left to be done."""

    def real_recompile(self) -> None:
        """Nothing is left to be done."""
