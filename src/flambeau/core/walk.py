"""The engine: walks the tape backwards, calls hooks, and hands leaves their gradients."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any

from .state import tls
from .tape import AccumulateGrad, BaseNode, OutNode, helpers
from .tensor import Tensor
from .where import user_place

__all__ = ["accumulate_leaf", "reachable_to", "run_backward"]


def reachable_to(roots: Iterable[BaseNode], targets: set[BaseNode]) -> set[BaseNode]:
    """The nodes that lie on a path from a root to a target, both included (iterative: graphs are deep)."""
    parents: dict[BaseNode, list[BaseNode]] = {}
    seen = set(roots)
    todo = list(seen)
    while todo:
        node = todo.pop()
        if node in targets and not node.next:
            continue
        for child in node.next:
            if child is not None:
                parents.setdefault(child, []).append(node)
                if child not in seen:
                    seen.add(child)
                    todo.append(child)
    needed = {t for t in targets if t in seen}
    todo = list(needed)
    while todo:
        for parent in parents.get(todo.pop(), ()):
            if parent not in needed:
                needed.add(parent)
                todo.append(parent)
    return needed


class Walk:
    """One backward, as its hooks see it."""

    __slots__ = ("roots", "needed", "__weakref__")

    def __init__(self, roots: Sequence[BaseNode], needed: set[BaseNode] | None) -> None:
        self.roots = roots
        self.needed = needed

    def visits(self) -> set[BaseNode]:
        """The nodes that run."""
        if self.needed is not None:
            return self.needed
        seen = set(self.roots)
        todo = list(seen)
        while todo:
            for child in todo.pop().next:
                if child is not None and child not in seen:
                    seen.add(child)
                    todo.append(child)
        return seen


def run_backward(
    roots: Sequence[tuple[BaseNode, Tensor]],
    *,
    keep_graph: bool,
    targets: Sequence[BaseNode] | None = None,
    accumulate: bool = True,
    create_graph: bool = False,
) -> dict[BaseNode, Tensor]:
    """Propagate cotangents from the roots.

    Nodes run in the order of their sequence numbers, largest first: every consumer of a tensor was recorded after
    it, so a node runs when all contributions to its cotangent have arrived.  `targets` limits the walk to paths
    that lead to them and returns their cotangents; leaves accumulate into ``.grad`` when `accumulate` is set.
    """
    add = helpers["add"]
    tls.backwards = number = tls.backwards + 1
    target_set = set(targets) if targets is not None else None
    needed = reachable_to([n for n, _ in roots], target_set) if target_set is not None else None
    found: dict[BaseNode, Tensor] = {}
    pending: dict[BaseNode, Any] = {}
    heap: list[tuple[int, BaseNode]] = []
    place = user_place(4)
    anomaly = tls.anomaly
    walk: Walk | None = None
    early: EarlyLeaves | None = None
    if AccumulateGrad.hooked and accumulate and targets is None:
        counts = hooked_leaves([n for n, _ in roots])
        if counts:
            walk = Walk([n for n, _ in roots], None)
            early = EarlyLeaves(counts, walk, create_graph)
    for root, ct in roots:
        if needed is not None and root not in needed:
            continue
        if root in pending:
            pending[root] = add(pending[root], ct)
        else:
            pending[root] = ct
            heappush(heap, (-root.seq, root))
    only: BaseNode | None = None  # the next node when it is the only one: chains need no queue
    while heap or only is not None:
        if only is not None:
            node, only = only, None
        else:
            node = heappop(heap)[1]
        g = pending.pop(node)
        kind = type(node)
        if node.extra is not None:
            tls.refresh()  # hooks see the grad mode of backward
            walk = walk or Walk([n for n, _ in roots], needed)
            tls.walk = weakref.ref(walk)
            g = run_tensor_hooks(node, g)
        if target_set is not None and node in target_set:
            found[node] = g
            if not accumulate and not any(n is not None and n in needed for n in node.next):  # type: ignore[operator]
                continue  # the node does not run, and so neither do its hooks
        if node.extra is not None and node.extra.pre_hooks:
            g = run_pre_hooks(node, g)
        if kind is AccumulateGrad:
            if accumulate:
                accumulate_leaf(node, g, create_graph)  # type: ignore[arg-type]
            continue
        if kind is OutNode:
            parent: BaseNode = node.parent  # type: ignore[attr-defined]
            cts = pending.get(parent)
            if cts is None:
                cts = pending[parent] = [None] * parent.n_out  # type: ignore[attr-defined]
                heappush(heap, (-parent.seq, parent))
            index = node.index  # type: ignore[attr-defined]
            cts[index] = g if cts[index] is None else add(cts[index], g)
            continue
        if kind.calls_user:
            tls.refresh()  # it runs in the grad mode of backward
        if anomaly is None:
            grads = node.backward(g)  # type: ignore[attr-defined]
        else:
            grads = anomaly.run(node, g)
        if node.extra is not None and node.extra.hooks:
            grads = run_post_hooks(node, grads, g)
        if not keep_graph:
            node.free(place)  # type: ignore[attr-defined]
        for child, h in zip(node.next, grads):
            if child is None or h is None or (needed is not None and child not in needed):
                continue
            if early is not None and child in early.counts:
                early.take(child, h)
                continue
            old = pending.get(child)
            if old is not None:
                pending[child] = add(old, h)
                continue
            pending[child] = h
            if only is None and not heap:
                only = child
            else:
                if only is not None:
                    heappush(heap, (-only.seq, only))
                    only = None
                heappush(heap, (-child.seq, child))
        grads = h = old = g = None  # so that `own` can tell whether a gradient is shared
    if early is not None:
        early.finish()
    if tls.callbacks:
        run_callbacks(number)
    return found


def hooked_leaves(roots: Sequence[BaseNode]) -> dict[BaseNode, int]:
    """How many gradients each leaf with hooks will get from the graph behind the roots, at most."""
    counts: dict[BaseNode, int] = {}
    seen = set(roots)
    todo = list(seen)
    while todo:
        for child in todo.pop().next:
            if child is None:
                continue
            if type(child) is AccumulateGrad:
                if child.extra is not None:
                    counts[child] = counts.get(child, 0) + 1
            elif child not in seen:
                seen.add(child)
                todo.append(child)
    return counts


class EarlyLeaves:
    """Leaves whose hooks want each gradient as soon as it is whole, while the rest of the walk goes on.

    The order of sequence numbers alone would keep most leaves for the end, as they are older than what was computed of
    them; hooks that step an optimizer, or send gradients to other processes, are there to do so earlier.
    """

    __slots__ = ("counts", "walk", "create_graph", "sums")

    def __init__(self, counts: dict[BaseNode, int], walk: Walk, create_graph: bool) -> None:
        self.counts = counts
        self.walk = walk
        self.create_graph = create_graph
        self.sums: dict[BaseNode, Tensor] = {}

    def take(self, leaf: BaseNode, g: Tensor) -> None:
        """One of the gradients of a leaf; the last one makes it whole."""
        old = self.sums.pop(leaf, None)
        if old is not None:
            g = helpers["add"](old, g)
        self.counts[leaf] -= 1
        if self.counts[leaf]:
            self.sums[leaf] = g
        else:
            old = None
            self.run(leaf, g)

    def run(self, leaf: Any, g: Tensor) -> None:
        tls.refresh()  # hooks see the grad mode of backward
        tls.walk = weakref.ref(self.walk)
        g = run_tensor_hooks(leaf, g)
        if leaf.extra.pre_hooks:
            g = run_pre_hooks(leaf, g)
        accumulate_leaf(leaf, g, self.create_graph)

    def finish(self) -> None:
        """The leaves that got fewer gradients than there are edges to them."""
        for leaf in sorted(self.sums, key=lambda n: -n.seq):
            self.run(leaf, self.sums.pop(leaf))


def run_callbacks(number: int) -> None:
    """Call what was queued for the end of this walk, also by such callbacks."""
    while mine := [fn for n, fn in tls.callbacks if n == number]:
        tls.callbacks = [entry for entry in tls.callbacks if entry[0] != number]
        tls.refresh()  # they see the grad mode of backward
        for fn in mine:
            fn()


def run_tensor_hooks(node: BaseNode, g: Any) -> Any:
    """What the hooks of the node's output make of its cotangent; it is retained if it is to be."""
    extra = node.extra
    assert extra is not None
    for fn in list(extra.tensor_hooks.values()):
        new = fn(g)
        if new is not None:
            if not isinstance(new, Tensor):
                raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")
            if tuple(new.shape) != tuple(g.shape):
                raise RuntimeError(
                    f"hook '{getattr(fn, '__name__', fn)}' has changed the size of value: "
                    f"{list(g.shape)} -> {list(new.shape)}"
                )
            g = new
    if extra.retain is not None and type(node) is not AccumulateGrad:
        kept = extra.retain()
        if kept is not None:
            old = getattr(kept, "_grad", None)
            kept._grad = g if old is None else helpers["add"](old, g)
    return g


def run_pre_hooks(node: BaseNode, g: Any) -> Any:
    """What the hooks before the node itself make of the cotangents."""
    assert node.extra is not None
    many = isinstance(g, list)
    for fn in list(node.extra.pre_hooks.values()):
        new = fn(tuple(g) if many else (g,))
        if new is not None:
            new = new if isinstance(new, tuple) else (new,)
            g = list(new) if many else new[0]
    return g


def run_post_hooks(node: BaseNode, grads: Sequence[Any], g: Any) -> Sequence[Any]:
    assert node.extra is not None
    for fn in list(node.extra.hooks.values()):
        new = fn(tuple(grads), tuple(g) if isinstance(g, list) else (g,))
        if new is not None:
            new = new if isinstance(new, (tuple, list)) else (new,)
            if len(new) != len(grads):
                raise RuntimeError(
                    f"hook '{getattr(fn, '__name__', fn)}' has returned an incorrect number of values (got {len(new)}, but "
                    f"expected {len(grads)})"
                )
            grads = new
    return grads


def accumulate_leaf(node: AccumulateGrad, g: Tensor, create_graph: bool) -> None:
    leaf = node.ref()
    if leaf is None:
        return
    old = getattr(leaf, "_grad", None)
    other = helpers.get("accumulate")  # of other layouts, once there are such gradients
    if other is not None and other(leaf, old, g, create_graph):
        pass
    elif old is None:
        leaf._grad = helpers["own"](g, create_graph, leaf)
    elif create_graph:
        leaf._grad = helpers["add"](old, g)
    else:
        helpers["add_"](old, g)
    if node.extra is not None:
        for fn in list(node.extra.post_accumulate.values()):
            if fn(leaf) is not None:
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")
        for hook in list(node.extra.hooks.values()):
            hook((), (g,))
