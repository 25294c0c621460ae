"""Sums of parts: gradients of slices of one array, written into one array instead of added.

The gradient of ``y.split(...)`` reaches `y` as one array of zeros for each part, with the part's gradient in its
place, and the sum of these.  Where the places do not overlap the sum is written down directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...compiler.pointwise import pointwise_kernel
from ...runtime import pool
from ..graph import Graph, Instr, Value

__all__ = ["Assembly", "assemblies"]

BIG = 1 << 16  # bytes of a part from which a kernel is better than NumPy
MOST = 256  # parts of one sum: each is compared with each
Box = tuple[range, ...]


def box(adjoint: Instr) -> Box | None:
    """The places that the adjoint of a slice writes, one range for each dim; None for other indices."""
    shape = tuple(adjoint.params["base_shape"])
    index = tuple(adjoint.params["index"])
    if len(index) > len(shape):
        return None
    ranges = []
    for i, n in zip((*index, *[slice(None)] * (len(shape) - len(index))), shape):
        if type(i) is slice:
            start, stop, step = i.indices(n)
            if step < 1:
                return None
            ranges.append(range(start, max(start, stop), step))
        elif type(i) is int and -n <= i < n:
            ranges.append(range(i % n, i % n + 1))
        else:
            return None
    return tuple(ranges)


def apart(a: Box, b: Box) -> bool:
    """Whether two boxes share no element: in some dim they follow each other, or take turns."""
    return any(
        not x
        or not y
        or x[-1] < y[0]
        or y[-1] < x[0]
        or (x.step == y.step and (x.start - y.start) % x.step != 0)
        for x, y in zip(a, b)
    )


def assemblies(graph: Graph) -> dict[Instr, list[Instr]]:
    """For each sum of separate parts its last addition, with the adjoints and additions that it replaces, in order."""
    users = graph.users()
    outputs = set(graph.outputs)
    trees: dict[Instr, list[Instr]] = {}  # sums of adjoints alone that nothing but another addition reads
    for instr in graph.instrs:
        if instr.op.name == "slice_adjoint" and instr.out.dtype.kind in "fc" and box(instr) is not None:
            trees[instr] = [instr]
        elif instr.op.name == "add" and not instr.params and instr.out.contiguous:
            below = [
                trees.get(a.producer)
                if type(a) is Value
                and a.producer is not None
                and (a.shape, a.dtype) == (instr.out.shape, instr.out.dtype)
                and len(users[a]) == 1
                and a not in outputs
                else None
                for a in instr.args
            ]
            if None not in below:
                tree = [i for part in below for i in part or ()]
                if len(tree) < 2 * MOST:
                    trees[instr] = [*tree, instr]
    inner = {v.producer for i in trees for v in i.values() if i.op.name == "add"}
    return {
        root: tree
        for root, tree in trees.items()
        if root.op.name == "add" and root not in inner and separate(tree)
    }


def separate(tree: Sequence[Instr]) -> bool:
    """Whether no two adjoints write the same element."""
    boxes = [b for i in tree if i.op.name == "slice_adjoint" if (b := box(i)) is not None]
    return all(apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


class Assembly:
    """Writes parts into a new array, zeros elsewhere."""

    def __init__(self, instrs: Sequence[Instr]) -> None:
        self.parts = [i for i in instrs if i.op.name == "slice_adjoint"]
        out = instrs[-1].out
        self.shape, self.dtype = out.shape, out.dtype
        self.places = [(*i.params["index"], ...) for i in self.parts]
        sizes = [i.values()[0].size for i in self.parts]
        self.make: Any = pool.empty if sum(sizes) == out.size else np.zeros
        self.zero = self.dtype.type(0)
        self.kernel: Any = None
        if out.dtype.char in "fd" and max(sizes) * out.dtype.itemsize >= BIG:
            self.kernel = pointwise_kernel(lambda k, x: x + 0.0, [self.dtype], [self.dtype])

    def __call__(self, *parts: Any) -> Any:
        out = self.make(self.shape, self.dtype)
        for part, place in zip(parts, self.places):
            target = out[place]
            # Zero is added as the sum of the arrays would: it makes 0.0 of -0.0.
            if self.kernel is None or not target.ndim:
                np.add(part, self.zero, out=target)
            else:
                self.kernel.broadcast([target], [part])
        return out
