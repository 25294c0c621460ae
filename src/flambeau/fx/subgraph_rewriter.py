"""Replacing what a graph does in many places: `replace_pattern`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..nn import Module
from ._symbolic_trace import symbolic_trace
from .graph import Graph
from .graph_module import GraphModule, _assign_attr, _get_attr, _has_attr
from .node import Node

if TYPE_CHECKING:
    from .passes.utils.matcher_utils import InternalMatch

__all__ = ["Match", "ReplacedPatterns", "replace_pattern", "replace_pattern_with_filters"]


class Match(NamedTuple):
    """A place where the pattern was: the node that it was found from, and the graph's node for each of the pattern's."""

    anchor: Node
    nodes_map: dict[Node, Node]


@dataclass
class ReplacedPatterns:
    """A `Match`, and the nodes that are there now."""

    anchor: Node
    nodes_map: dict[Node, Node]
    replacements: list[Node]


def replace_pattern(gm: GraphModule, pattern: Any, replacement: Any) -> list[Match]:
    """Put `replacement` wherever the graph of `gm` does what `pattern` does; the places.

    Both are functions (or modules) with the same parameters and as many results. Places do not overlap, and nobody else
    uses what is inside of them.

    >>> import flambeau as torch
    >>> gm = torch.fx.symbolic_trace(lambda x: torch.relu(x) + torch.relu(x + 1))
    >>> len(torch.fx.replace_pattern(gm, lambda x: torch.relu(x), lambda x: x.clamp(min=0)))
    2
    >>> gm(torch.tensor([-0.5, 2.0]))
    tensor([0.5000, 5.0000])
    """
    found = _replace_pattern(gm, pattern, replacement)
    return [Match(anchor=m.anchor, nodes_map=m.nodes_map) for m in found]


def replace_pattern_with_filters(
    gm: GraphModule,
    pattern: Any,
    replacement: Any = None,
    match_filters: Sequence[Callable[[InternalMatch, Graph, Graph], bool]] | None = None,
    ignore_literals: bool = False,
    replacement_callback: Callable[[InternalMatch, Graph, Graph], Graph] | None = None,
    node_name_match: str = "",
) -> list[ReplacedPatterns]:
    """`replace_pattern` where all `match_filters` hold; `replacement_callback` makes a graph for each place."""
    return _replace_pattern(
        gm, pattern, replacement, match_filters, ignore_literals, replacement_callback, node_name_match
    )


def _graph_of(program: Any) -> Graph:
    if isinstance(program, GraphModule):
        return program.graph
    return program if isinstance(program, Graph) else symbolic_trace(program).graph


def _replace_pattern(
    gm: GraphModule,
    pattern: Any,
    replacement: Any = None,
    match_filters: Any = None,
    ignore_literals: bool = False,
    replacement_callback: Any = None,
    node_name_match: str = "",
) -> list[ReplacedPatterns]:
    from .passes.utils.matcher_utils import SubgraphMatcher

    graph, wanted = gm.graph, _graph_of(pattern)
    matcher = SubgraphMatcher(wanted, ignore_literals=ignore_literals)
    matches = [
        m
        for m in matcher.match(graph, node_name_match=node_name_match)
        if all(holds(m, graph, wanted) for holds in match_filters or ())
    ]
    common: Any = _graph_of(replacement) if replacement is not None else None
    if common is None and replacement_callback is None:
        raise AssertionError("Must provide either a replacement GraphModule or a replacement callback")
    now: dict[Node, Node] = {}  # what stands for a node that was replaced before
    done = []
    for match in matches:
        other = replacement_callback(match, graph, wanted) if replacement_callback is not None else common
        done.append(_replace_one(graph, match, wanted, other, now))
    gm.recompile()
    if isinstance(replacement, Module):
        _add_attributes(gm, replacement)
    return done


def _replace_one(
    graph: Graph, match: InternalMatch, pattern: Graph, replacement: Graph, now: dict[Node, Node]
) -> ReplacedPatterns:
    parameters = [n for n in replacement.nodes if n.op == "placeholder"]
    if len(parameters) != len(match.placeholder_nodes):
        raise AssertionError(
            f"Placeholder count mismatch: {len(match.placeholder_nodes)} vs {len(parameters)}"
        )
    for pn, gn in match.nodes_map.items():
        if pn.op == "placeholder" and isinstance(gn, Node):
            match.nodes_map[pn] = now.get(gn, gn)
    match.placeholder_nodes = [now.get(g, g) if isinstance(g, Node) else g for g in match.placeholder_nodes]
    copies: dict[Node, Any] = dict(zip(parameters, match.placeholder_nodes))
    users = {user for n in match.returning_nodes for user in n.users}
    if users:
        at = min(users)
    else:
        last = max(n for n in match.returning_nodes)
        at = last.next
    with graph.inserting_before(at):
        results = graph.graph_copy(replacement, copies)
    if not isinstance(results, (list, tuple)):
        results = (results,)
    if len(match.returning_nodes) != len(results):
        raise AssertionError(
            f"Returning nodes count mismatch: {len(match.returning_nodes)} vs {len(results)}"
        )
    made = [v for v in copies.values() if isinstance(v, Node) and v not in match.placeholder_nodes]
    for old, new in zip(match.returning_nodes, results):
        old.replace_all_uses_with(new)
        now[old] = new
    for node in reversed(pattern.nodes):
        if node.op not in ("placeholder", "output"):
            graph.erase_node(match.nodes_map[node])
    return ReplacedPatterns(anchor=match.anchors[0], nodes_map=match.nodes_map, replacements=made)


def _add_attributes(gm: GraphModule, replacement: Any) -> None:
    """What the replacement's nodes name, copied into the module where it is not there yet.

    Raises: RuntimeError when neither has it.
    """
    gm.delete_all_unused_submodules()
    if isinstance(replacement, GraphModule):
        replacement.graph.lint()
    for node in gm.graph.nodes:
        if node.op not in ("call_module", "get_attr") or _has_attr(gm, node.target):
            continue
        if not _has_attr(replacement, node.target):
            raise RuntimeError(
                f'Attempted to create a "{node.op}" node during subgraph rewriting with target {node.target}, but the '
                "referenced attribute does not exist in the replacement GraphModule"
            )
        value = copy.deepcopy(_get_attr(replacement, node.target))
        if isinstance(value, Module):
            gm.add_submodule(node.target, value)
        else:
            _assign_attr(value, gm, node.target)
    gm.graph.lint()
