"""Parts of graphs that could become one node: `validate_partition`, `topo_sort`."""

from __future__ import annotations

from collections.abc import Iterable

from ...node import Node

__all__ = ["topo_sort", "validate_partition"]


def topo_sort(nodes: Iterable[Node]) -> list[Node]:
    """The nodes in an order in which each comes after those of them that it uses."""
    wanted = list(nodes)
    left = {n: sum(used in wanted for used in n.all_input_nodes) for n in wanted}
    ready = [n for n in wanted if left[n] == 0]
    for node in ready:  # grows while it is gone through
        for user in node.users:
            if user in left:
                left[user] -= 1
                if left[user] == 0:
                    ready.append(user)
    if len(ready) != len(wanted):
        raise AssertionError("topological sorted nodes doesn't have same length as input nodes")
    return ready


def validate_partition(partition: Iterable[Node]) -> bool:
    """Whether the nodes could become one: no way leads from them out and back in."""
    own = set(partition)
    seen: set[Node] = set()
    todo = [user for n in own for user in n.users if user not in own]
    while todo:
        node = todo.pop()
        if node in own:
            return False
        if node not in seen:
            seen.add(node)
            todo.extend(node.users)
    return True
