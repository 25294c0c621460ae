"""The cheapest cut of a flow network, by Dinic's algorithm (Soviet Math. Doklady 11, 1970)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["minimum_cut"]


def minimum_cut(nodes: int, edges: Sequence[tuple[int, int, float]], source: int, sink: int) -> set[int]:
    """The nodes on the source's side of the cheapest cut; `edges` are (from, to, capacity), which may be infinite.

    Of several cheapest cuts it is the one nearest to the sink.

    Raises: ValueError if no cut is finite.

    >>> sorted(minimum_cut(4, [(0, 1, 3.0), (1, 2, 1.0), (2, 3, 5.0)], 0, 3))
    [0, 1]
    """
    network = _Network(nodes)
    for edge in edges:
        network.add(*edge)
    while (level := network.distances(source))[sink] >= 0:
        network.saturate(level, source, sink)
    to_sink = network.distances(sink, backwards=True)
    return {n for n in range(nodes) if to_sink[n] < 0}


class _Network:
    """Edges with the capacity that is left: edge 2k is the k-th that was added, edge 2k + 1 its reverse."""

    def __init__(self, nodes: int) -> None:
        self.heads: list[int] = []
        self.left: list[float] = []
        self.leaving: list[list[int]] = [[] for _ in range(nodes)]

    def add(self, u: int, v: int, capacity: float) -> None:
        self.leaving[u].append(len(self.heads))
        self.leaving[v].append(len(self.heads) + 1)
        self.heads += (v, u)
        self.left += (capacity, 0.0)

    def distances(self, start: int, backwards: bool = False) -> list[int]:
        """How many edges with capacity left lie between `start` and each node, -1 if no way leads there."""
        found = [-1] * len(self.leaving)
        found[start] = 0
        todo = [start]
        for u in todo:  # grows while it is read
            for e in self.leaving[u]:
                v = self.heads[e]
                if found[v] < 0 and self.left[e ^ backwards] > 0:
                    found[v] = found[u] + 1
                    todo.append(v)
        return found

    def saturate(self, level: list[int], source: int, sink: int) -> None:
        """Send along shortest paths what they can carry, until none is left."""
        heads, left = self.heads, self.left
        untried = [list(edges) for edges in self.leaving]
        path: list[int] = []
        while True:
            at = heads[path[-1]] if path else source
            if at == sink:
                amount = min([left[e] for e in path])
                if amount == float("inf"):
                    raise ValueError("the source and the sink are joined by edges of infinite capacity")
                for e in path:
                    left[e] -= amount
                    left[e ^ 1] += amount
                full = next(i for i, e in enumerate(path) if left[e] <= 0)
                del path[full:]
                continue
            edges = untried[at]
            while edges and not (left[edges[-1]] > 0 and level[heads[edges[-1]]] == level[at] + 1):
                edges.pop()
            if edges:
                path.append(edges[-1])
            elif path:
                path.pop()
                tail = heads[path[-1]] if path else source
                untried[tail].pop()
            else:
                return
