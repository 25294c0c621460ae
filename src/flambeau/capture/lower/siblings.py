"""Kernels that read the same large array become one, and cheap results are computed again instead of kept.

Both save passes over memory, and both look at finished groups: the backward pass of a layer norm reads the arriving
gradient for the input's, the weight's and the bias's gradient, three branches that never meet; and it reads
normalised values that the forward pass would only write for it, two operations away from its input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..graph import Instr, Value

if TYPE_CHECKING:
    from .groups import Group, Planner

__all__ = ["merge_siblings", "recompute"]

KERNELS = ("points", "rows")
CHEAP = frozenset("add sub mul neg relu square maximum minimum affine times_difference convert cast".split())
DEEP = 4  # operations that are done again for a value, at most


def readers_of_large(planner: Planner) -> dict[Value, list[Group]]:
    """Which kernels read each array of their full size."""
    found: dict[Value, list[Group]] = {}
    for group in planner.groups:
        for v in planner.reads(group):
            if v.shape == group.shape:
                found.setdefault(v, []).append(group)
    return found


def merge_siblings(planner: Planner) -> None:
    """Merge kernels of one shape that share a full-size input and do not depend on each other."""
    for groups in readers_of_large(planner).values():
        for i, first in enumerate(groups):
            for second in groups[i + 1 :]:
                if first in planner.groups and second in planner.groups:
                    planner.put_together(first, second)


def recompute(planner: Planner) -> None:
    """Where all readers of a kernel's result could compute it from what they or others read anyway, they do."""
    outputs = set(planner.graph.outputs)
    readers = readers_of_large(planner)
    called = {v for g in planner.groups if g.kind not in KERNELS for v in planner.reads(g)}
    for v in list(readers):
        home, groups = planner.home.get(v), readers[v]
        if home is None or home.kind not in KERNELS or v in outputs or v in called or v.shape != home.shape:
            continue

        def kept(x: Value, groups: list[Group] = groups) -> bool:
            """Whether a value is in memory anyway, or small."""
            home = planner.home.get(x)
            return (
                home is None
                or home.kind not in KERNELS
                or x in outputs
                or x in called
                or x.shape != home.shape
                or any(g not in groups for g in readers.get(x, ()))
            )

        chain = recipe(v, kept, planner)
        if chain is None:
            continue
        made = {i.out for i in chain}
        leaves = {a for i in chain for a in i.values() if a not in made}
        large = {a for a in leaves if a.shape == v.shape}
        more = sum(len(large - planner.reads(g).keys()) for g in groups)
        if more > len(groups) or any(not planner.takes(g, chain) for g in groups):
            continue
        for group in groups:
            planner.repeat(group, v, chain)
            for a in large:
                if group not in readers.setdefault(a, []):
                    readers[a].append(group)


def recipe(v: Value, kept: Callable[[Value], bool], planner: Planner) -> list[Instr] | None:
    """The operations that give `v`, cheap ones of its shape, from values that are kept; None if there are more."""
    found: list[Instr] = []
    todo = [v]
    while todo:
        x = todo.pop()
        instr = x.producer
        if instr is None or instr in found:
            continue
        if (
            instr.op.name not in CHEAP
            or x.shape != v.shape
            or len(found) == DEEP
            or instr not in planner.places
        ):
            return None
        found.append(instr)
        todo += [a for a in instr.values() if not kept(a)]
    return sorted(found, key=planner.places.__getitem__)
