"""Drawing a graph: `FxGraphDrawer`, for which the package pydot is needed."""

from __future__ import annotations

import itertools
from typing import Any

from ..graph_module import GraphModule, _get_attr
from ..node import Node, _format_arg

__all__ = ["FxGraphDrawer"]

_FILL = {
    "placeholder": "AliceBlue",
    "get_attr": "LightGrey",
    "output": "PowderBlue",
    "call_module": "LemonChiffon1",
}


class FxGraphDrawer:
    """A drawing of a graph module: ``FxGraphDrawer(gm, "name").get_dot_graph().write_svg("file.svg")``.

    Raises: RuntimeError without pydot.
    """

    def __init__(
        self,
        graph_module: GraphModule,
        name: str,
        ignore_getattr: bool = False,
        ignore_parameters_and_buffers: bool = False,
        skip_node_names_in_args: bool = True,
        parse_stack_trace: bool = False,
        dot_graph_shape: str | None = None,
        normalize_args: bool = False,
    ) -> None:
        try:
            import pydot  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            raise RuntimeError(
                "FXGraphDrawer requires the pydot package to be installed (pip install pydot)"
            ) from None
        self._pydot: Any = pydot
        self._shape = dot_graph_shape or "record"
        self._ignored = {"get_attr"} if ignore_getattr else set()
        self._parameters = not ignore_parameters_and_buffers
        self._dot_graphs = {name: self._drawn(graph_module, name)}
        for child_name, child in graph_module.named_children():
            if isinstance(child, GraphModule):
                self._dot_graphs[f"{name}_{child_name}"] = self._drawn(child, f"{name}_{child_name}")
        self._name = name

    def get_dot_graph(self, submod_name: str | None = None) -> Any:
        """The drawing as a ``pydot.Dot``, of the whole or of a sub-module that has a graph."""
        return self._dot_graphs[self._name if submod_name is None else f"{self._name}_{submod_name}"]

    def get_main_dot_graph(self) -> Any:
        """The drawing of the whole."""
        return self._dot_graphs[self._name]

    def get_submod_dot_graph(self, submod_name: str) -> Any:
        """The drawing of a sub-module."""
        return self._dot_graphs[f"{self._name}_{submod_name}"]

    def get_all_dot_graphs(self) -> dict[str, Any]:
        """All drawings by name."""
        return self._dot_graphs

    def _label(self, gm: GraphModule, node: Node) -> str:
        lines = [f"name=%{node.name}", f"op_code={node.op}"]
        if node.op == "call_module":
            module = _get_attr(gm, node.target)
            lines.append(type(module).__name__)
            lines.extend(f"{name}: {getattr(module, name)}" for name in getattr(module, "__constants__", ()))
        elif node.op not in ("placeholder", "output"):
            lines.append(f"target={Node._pretty_print_target(node.target)}")
        given = [x for x in (*node.args, *node.kwargs.values()) if not isinstance(x, Node)]
        if given and node.op not in ("placeholder", "output"):
            lines.append(f"args={_format_arg(tuple(given), 8)}")
        meta = node.meta.get("tensor_meta")
        if hasattr(meta, "dtype"):
            lines.append(f"dtype={meta.dtype}, shape={tuple(meta.shape)}")
        plain = "\n".join([*lines, f"num_users={len(node.users)}"])
        escaped = "".join(f"\\{c}" if c in "{}<>|" else c for c in plain)
        return "{" + escaped.replace("\n", "\\n") + "\\n}" if self._shape == "record" else plain

    def _drawn(self, gm: GraphModule, name: str) -> Any:
        dot = self._pydot.Dot(name, rankdir="TB")
        shown = {n for n in gm.graph.nodes if n.op not in self._ignored}
        for node in gm.graph.nodes:
            if node not in shown:
                continue
            style = {"shape": self._shape, "style": '"filled,rounded"', "fontcolor": "#000000"}
            colour = _FILL.get(node.op, "CadetBlue1")
            dot.add_node(self._pydot.Node(node.name, label=self._label(gm, node), fillcolor=colour, **style))
            if node.op == "call_module" and self._parameters:
                module = _get_attr(gm, node.target)
                kept = itertools.chain(module.named_parameters(), module.named_buffers())
                for own, tensor in kept:
                    label = f"{node.name}.{own}"
                    text = f"{own}: {tuple(tensor.shape)}"
                    dot.add_node(self._pydot.Node(label, label=text, shape="box"))
                    dot.add_edge(self._pydot.Edge(label, node.name))
        for node in shown:
            for user in node.users:
                dot.add_edge(self._pydot.Edge(node.name, user.name))
        return dot
