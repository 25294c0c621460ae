"""Putting a graph's nodes in order: `legalize_graph`, `stable_topological_sort`."""

from __future__ import annotations

import heapq
from typing import Any

from ..graph import Graph
from ..node import Node

__all__ = ["get_node_target", "legalize_graph", "stable_topological_sort"]


def get_node_target(submodules: Any, node: Node) -> str:
    """What a node calls, as text: the name of a function or method, the class of a module."""
    if node.op == "call_module":
        return type(submodules[node.target]).__name__
    return str(Node._pretty_print_target(node.target))


def legalize_graph(gm: Any) -> Any:
    """`gm` with its nodes in an order in which each comes after what it uses; as far as possible the order that they have.

    Raises: RuntimeError when nodes use each other.
    """
    nodes = list(gm.graph.nodes)
    place = {node: i for i, node in enumerate(nodes)}
    left = {node: len(node.all_input_nodes) for node in nodes}
    # What is asked of outside comes first, so that the program's parameters stay together.
    rank = {"placeholder": 0, "get_attr": 1}
    ready = [(rank.get(n.op, 2), place[n]) for n in nodes if left[n] == 0]
    heapq.heapify(ready)
    graph = Graph(tracer_cls=gm.graph._tracer_cls)
    made: dict[Node, Node] = {}
    while ready:
        node = nodes[heapq.heappop(ready)[1]]
        made[node] = graph.node_copy(node, lambda n: made[n])
        for user in node.users:
            left[user] -= 1
            if left[user] == 0:
                heapq.heappush(ready, (rank.get(user.op, 2), place[user]))
    if len(made) < len(nodes):
        raise RuntimeError(f"Input graph has cycles, unable to add {[n for n in nodes if n not in made]}")
    graph._codegen = gm.graph._codegen
    gm.graph = graph
    return gm


stable_topological_sort = legalize_graph
