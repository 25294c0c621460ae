"""Finding a pattern, itself a graph, in another graph: `SubgraphMatcher`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ....core.tensor import Tensor
from ...graph import Graph
from ...graph_module import _get_attr
from ...node import Node

__all__ = ["InternalMatch", "SubgraphMatcher"]


@dataclass
class InternalMatch:
    """One place where a pattern was found.

    `anchors` are the nodes of the pattern that it was looked for from, `nodes_map` has the graph's node (or argument) for
    each node of the pattern, `placeholder_nodes` what stands for its parameters, `returning_nodes` for its results.
    """

    anchors: list[Node]
    nodes_map: dict[Node, Any] = field(default_factory=dict)
    placeholder_nodes: list[Any] = field(default_factory=list)
    returning_nodes: list[Node] = field(default_factory=list)
    name_node_map: dict[str, Node] = field(default_factory=dict)

    def __copy__(self) -> InternalMatch:
        return InternalMatch(
            self.anchors, dict(self.nodes_map), list(self.placeholder_nodes), list(self.returning_nodes)
        )


class SubgraphMatcher:
    """Finds the places where a graph does what `pattern` does.

    A parameter of the pattern stands for anything, unless `match_placeholder`; with `ignore_literals` numbers may differ.

    Raises: ValueError for an empty pattern, AssertionError for one that computes what it does not use.
    """

    def __init__(
        self,
        pattern: Graph,
        match_output: bool = False,
        match_placeholder: bool = False,
        remove_overlapping_matches: bool = True,
        ignore_literals: bool = False,
    ) -> None:
        if len(pattern.nodes) == 0:
            raise ValueError("SubgraphMatcher cannot be initialized with an empty pattern")
        for node in pattern.nodes:
            if node.op != "output" and not node.is_impure() and not node.users:
                raise AssertionError("SubgraphMatcher cannot be initialized with an pattern with dead code")
        self.pattern = pattern
        self.match_output, self.match_placeholder = match_output, match_placeholder
        self.remove_overlapping_matches, self.ignore_literals = remove_overlapping_matches, ignore_literals
        self.pattern_placeholder_nodes = [n for n in pattern.nodes if n.op == "placeholder"]
        output = next(iter(reversed(pattern.nodes)))
        self.pattern_returning_nodes = output.all_input_nodes
        self.pattern_anchors = (
            [output] if match_output else [n for n in output.all_input_nodes if len(n.users) == 1]
        )

    def _match_attributes(self, pn: Node, gn: Node) -> bool:
        mine = _get_attr(pn.graph.owning_module, pn.target)
        other = _get_attr(gn.graph.owning_module, gn.target)
        if type(mine) is not type(other):
            return False
        if not isinstance(mine, Tensor):
            raise RuntimeError(f"Unsupported type {mine} when matching attributes")
        return True

    def _nodes_are_equal(self, pn: Node, gn: Node, node_name_match: str = "") -> bool:
        if not self.match_placeholder and pn.op == "placeholder":
            return True
        if node_name_match and node_name_match in gn.name:
            return True
        if pn.op != gn.op:
            return False
        if pn.op == "get_attr":
            return self._match_attributes(pn, gn)
        return pn.op in ("placeholder", "output") or pn.target == gn.target

    # Each of these gives the map of nodes with more in it, or None; a map that was given is never changed, so that a way
    # that leads nowhere leaves nothing behind.

    def _with_node(
        self, pn: Node, gn: Node, found: dict[Node, Any], name: str = ""
    ) -> dict[Node, Any] | None:
        if pn in found:
            return found if found[pn] is gn else None
        if any(gn is other for other in found.values()) or not self._nodes_are_equal(pn, gn, name):
            return None
        found = {**found, pn: gn}
        if pn.op == "placeholder":
            return found
        mine, other = _all_arguments(pn, gn)
        return None if mine is None else self._with_arguments(mine, other, found)

    def _with_arguments(self, mine: Any, other: Any, found: Any) -> dict[Node, Any] | None:
        if len(mine) != len(other):
            return None
        for a, b in zip(mine, other):
            if isinstance(a, Node) and isinstance(b, Node):
                more = self._with_node(a, b, found)
            elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
                more = self._with_arguments(a, b, found)
            else:
                more = self._with_literal(a, b, found)
                if more is None and self.ignore_literals:
                    more = found
            if more is None:
                return None
            found = more
        return found  # type: ignore[no-any-return]

    def _with_literal(self, a: Any, b: Any, found: dict[Node, Any]) -> dict[Node, Any] | None:
        if isinstance(a, Node):
            if a.op != "placeholder":
                return None
            if a in found:
                return found if type(found[a]) is type(b) and found[a] == b else None
            return {**found, a: b}
        return found if not isinstance(b, Node) and type(a) is type(b) and a == b else None

    def _all(self, anchors: list[tuple[Node, list[Node]]], found: Any, name: str) -> Iterator[Any]:
        if not anchors:
            yield found
            return
        (anchor, candidates), *rest = anchors
        for node in candidates:
            more = self._with_node(anchor, node, found, name)
            if more is not None:
                yield from self._all(rest, more, name)

    def _is_contained(self, found: dict[Node, Any]) -> bool:
        """Whether nobody outside uses what is inside of the pattern."""
        inside = {gn: pn for pn, gn in found.items() if pn.op != "placeholder"}
        return all(
            user in inside
            for gn, pn in inside.items()
            if pn not in self.pattern_returning_nodes
            for user in gn.users
        )

    def match(self, graph: Graph, node_name_match: str = "") -> list[InternalMatch]:
        """The places in `graph`, in its order."""
        from .fuser_utils import validate_partition

        anchors = []
        for anchor in self.pattern_anchors:
            candidates = [n for n in graph.nodes if self._nodes_are_equal(anchor, n, node_name_match)]
            if candidates:
                anchors.append((anchor, candidates))
        matches: list[InternalMatch] = []
        taken: set[Node] = set()
        for found in self._all(anchors, {}, node_name_match) if anchors else ():
            if any(n not in found for n in (*self.pattern_placeholder_nodes, *self.pattern_returning_nodes)):
                continue
            own = [gn for pn, gn in found.items() if pn.op not in ("placeholder", "output")]
            if not self._is_contained(found) or not validate_partition(own):
                continue
            if self.remove_overlapping_matches:
                if any(n in taken for n in own):
                    continue
                taken.update(own)
            matches.append(
                InternalMatch(
                    self.pattern_anchors,
                    found,
                    [found[n] for n in self.pattern_placeholder_nodes],
                    [found[n] for n in self.pattern_returning_nodes],
                )
            )
        return matches


def _all_arguments(pn: Node, gn: Node) -> tuple[list[Any] | None, list[Any]]:
    """The arguments of two nodes, side by side; None where they are given in different ways."""
    if len(pn.args) != len(gn.args) or list(pn.kwargs) != list(gn.kwargs):
        return None, []
    return [*pn.args, *pn.kwargs.values()], [*gn.args, *gn.kwargs.values()]
