"""Which results a program keeps for a backward pass outside of the compiled function, and which are computed again.

It is a minimum cut of the program's data flow, as in the rematerialisation of PyTorch's AOTAutograd, for which Chen et
al. (Training Deep Nets with Sublinear Memory Cost, 2016) gave the idea: a value is kept where the cut goes through it,
and paid for in bytes moved; what lies behind the cut is computed again, and paid for by element.
"""

from __future__ import annotations

from . import recompute
from .cut import minimum_cut
from .graph import Graph, Instr, Value, operation
from .lower.elements import is_elementwise
from .recompute import EXTRA, KEPT, SHOWN, Keeping, Make
from .treatment import shares

__all__ = ["Planner", "plan"]

# What an element of a result costs, in bytes moved that take as long.
CHEAP = frozenset(
    "add sub mul neg relu square maximum minimum affine times_difference convert cast where clone full abs sign "
    "eq ne lt le gt ge logical_and logical_or logical_not bitwise_and bitwise_or bitwise_not div reciprocal sqrt".split()
)
CHEAP_BYTES, DEAR_BYTES = 0.5, 2.0
CACHED = 1 << 23  # bytes up to which an array is likely to stay in the cache: moving it takes half the time
CALL_BYTES = 24e3  # of noting an operation again: about a microsecond
INFINITE = float("inf")


def plan(graph: Graph, wanted: tuple[int, ...], always: bool, make: Make) -> Keeping | None:
    """What to keep of a program whose outputs, all of its results, are wanted as said; None if nothing is left out.

    The graph's outputs become what the program has to give.  `always`: to save memory, not only time.
    """
    planner = Planner(graph, wanted, always)
    keeping = planner.keeping(make)
    if keeping is None:
        graph.outputs = [v for v, w in zip(planner.results, wanted) if w]
    return keeping


class Planner:
    """Finds the cheapest cut through the data flow of a graph, all of whose results are its outputs."""

    def __init__(self, graph: Graph, wanted: tuple[int, ...], always: bool) -> None:
        self.graph = graph
        self.results = results = graph.outputs
        self.wanted = wanted
        self.always = always
        self.slot = {v: i for i, v in enumerate(results)}
        self.saved = [v for v, w in zip(results, wanted) if w == KEPT and v.nbytes >= recompute.LARGE]
        self.saved_set = set(self.saved)
        self.seen_by_others = self.shown()
        self.in_memory = self.materialised()

    def shown(self) -> set[Value]:
        """The values whose memory somebody else can see, through the results or through views."""
        families: dict[Value, set[Value]] = {}  # what may lie over the same memory
        for instr in self.graph.instrs:
            if shares(instr.op):
                together = set(instr.outs).union(*[families.get(v, {v}) for v in instr.values()])
                families.update((v, together) for v in together)
        found = set(self.graph.inputs)
        found.update(v for v, w in zip(self.results, self.wanted) if w == SHOWN)
        return found.union(*[families[v] for v in found if v in families])

    def materialised(self) -> set[Value]:
        """The values that the forward pass writes or reads anyway: others than those inside of kernels."""
        found = set(self.graph.inputs)
        for instr in self.graph.instrs:
            if not (is_elementwise(instr, True) or instr.op.family == "reduction"):
                if not instr.op.is_view:
                    found.update(instr.outs)
                found.update(instr.values())
        found.update(v for v, w in zip(self.results, self.wanted) if w == SHOWN)
        return found

    def repeatable(self, instr: Instr | None) -> bool:
        """Whether an operation can be done again: element by element, or a view."""
        return instr is not None and (
            is_elementwise(instr, True) or (instr.op.is_view and len(instr.outs) == 1)
        )

    def keeping_costs(self, v: Value) -> float:
        """What it costs to have a value in the backward pass by keeping it."""
        if v.producer is not None and shares(v.producer.op):
            return INFINITE  # what it is a view of is kept
        moved = float(v.nbytes) if self.always or v.nbytes >= CACHED else v.nbytes / 2
        if v in self.seen_by_others:  # a copy is
            return moved * (1 if self.always else 3) if v.contiguous else INFINITE
        if self.wanted[self.slot[v]] and v.nbytes < recompute.LARGE:
            return 0.0  # kept in any case
        return moved if self.always or v in self.in_memory else 2 * moved

    def repeating_costs(self, v: Value) -> float:
        """What it costs to make a value again of what it was made of."""
        assert v.producer is not None
        if v.producer.op.is_view or v.producer.op.name == "full":
            return 0.0
        by_element = CHEAP_BYTES if v.producer.op.name in CHEAP else DEAR_BYTES
        if self.always:
            return by_element  # of two ways the one with less to do
        costs = CALL_BYTES + v.size * by_element
        if v in self.in_memory and v in self.saved_set:
            costs += 2 * v.nbytes  # what reads it from memory here will do so there
        return costs

    def keeping(self, make: Make) -> Keeping | None:
        if not self.saved:
            return None
        order: list[Value] = []  # the values that may be kept, later ones first
        place: dict[Value, int] = {}
        edges: list[tuple[int, int, float]] = []
        source, sink = 0, 1
        todo = list(self.saved)
        for v in todo:
            if v in place:
                continue
            place[v] = 2 + 2 * len(order)
            order.append(v)
            if self.repeatable(v.producer):
                todo.extend(v.producer.values())  # type: ignore[union-attr]
        for v, at in place.items():
            edges.append((at, at + 1, self.keeping_costs(v)))
            if self.repeatable(v.producer):
                edges.append((source, at, self.repeating_costs(v)))
                edges += [(place[a] + 1, at, INFINITE) for a in v.producer.values()]  # type: ignore[union-attr]
            else:
                edges.append((source, at, INFINITE))
        edges += [(place[v] + 1, sink, INFINITE) for v in self.saved]
        try:
            forward = minimum_cut(2 + 2 * len(order), edges, source, sink)
        except ValueError:  # something saved is a view of what others see
            return None
        left_out = [v for v in self.saved if place[v] not in forward]
        if not left_out:
            return None
        again = {v for v in order if place[v] not in forward}
        sources = [
            a
            for a in order
            if place[a] in forward and any(a in v.producer.values() for v in again)  # type: ignore[union-attr]
        ]
        return self.build(left_out, again, sources, make)

    def build(self, left_out: list[Value], again: set[Value], sources: list[Value], make: Make) -> Keeping:
        graph = self.graph
        given = [i for i, v in enumerate(self.results) if self.wanted[i] and v not in left_out]
        outputs = [self.results[i] for i in given]
        copied: list[int] = []
        rest = Graph()
        rest.scalars = graph.scalars
        same: dict[Value, Value] = {}
        clone = operation("clone")
        for v in sources:
            same[v] = rest.input(v.shape, v.dtype, v.strides)
            if v in self.seen_by_others:
                instr = graph.add(clone, (v,), {}, [(v.shape, v.dtype, v.strides)])
                outputs.append(instr.out)
                copied.append(EXTRA)
            elif self.wanted[self.slot[v]]:
                copied.append(self.slot[v])
            else:
                outputs.append(v)
                copied.append(EXTRA)
        for instr in graph.instrs:
            if len(instr.outs) == 1 and instr.out in again:
                args = [same[a] if type(a) is Value else a for a in instr.args]
                metas = [(instr.out.shape, instr.out.dtype, instr.out.strides)]
                same[instr.out] = rest.add(instr.op, args, instr.params, metas, instr.place).out
        graph.outputs = outputs
        rest.outputs = [same[v] for v in left_out]
        return Keeping(given, copied, rest, [self.slot[v] for v in left_out], make)
