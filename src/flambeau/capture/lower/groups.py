"""Fusion: which instructions become one kernel.

Five kinds of groups become kernels:

* ``points``: elementwise operations with one result shape; smaller inputs are broadcast;
* ``rows``: elementwise operations over a matrix together with reductions over its trailing dims, and with what is
  computed from those for each row (softmax, variance, losses): a row stays in the cache for all passes over it.
  Sums over all other dims (the gradient of a bias) are made on the way, one for each chunk of rows;
* ``all``: elementwise operations with reductions over all elements, in chunks;
* ``pieces``: gradients of separate slices of one array, and their sum;
* ``product``: a product of matrices and elementwise operations on it.

Everything else is a group of its own and runs as the operation's own implementation.  Groups are made greedily in
program order: an instruction joins the group that makes one of its arguments, if that group can hold it and no other
group would have to run both before and after it.  Where an instruction joins two groups, these become one under the
same conditions: ``f(x) * g(x)`` is one kernel, not two.
"""

from __future__ import annotations

import math
from typing import Any

from ..graph import Graph, Instr, Scalar, Value
from .elements import BOOL, F32, F64, is_elementwise
from .finished import finish_products
from .pieces import assemblies
from .siblings import merge_siblings, recompute

__all__ = ["Group", "make_groups"]

REDUCTIONS = ("sum", "amax", "amin", "prod", "any", "all")
MAX_ARRAYS, MAX_SCALARS = 48, 20  # of a kernel; the engine's own limits are a little higher
MAX_INSTRS = 96
LONG_ROW = 1 << 16  # elements; a single longer row is cut into chunks
WIDE = 32  # columns from which sums over the rows are made with them


class Group:
    """Instructions that run together.

    `shape` is the shape of full-size values; for ``rows`` the last `reduced` dims are the row.
    """

    __slots__ = ("kind", "instrs", "shape", "reduced", "index", "before", "reason")

    def __init__(self, kind: str, shape: tuple[int, ...], index: int, reduced: int = 0) -> None:
        self.kind = kind
        self.instrs: list[Instr] = []
        self.shape = shape
        self.reduced = reduced
        self.index = index
        self.before = 0  # bit set of the groups that have to run before this one
        self.reason = ""  # why a product has no kernel together with what reads it

    @property
    def rows(self) -> int:
        return math.prod(self.shape[: len(self.shape) - self.reduced])

    @property
    def columns(self) -> int:
        return math.prod(self.shape[len(self.shape) - self.reduced :])

    @property
    def lead(self) -> tuple[int, ...]:
        """The shape of one value for each row."""
        return self.shape[: len(self.shape) - self.reduced]

    @property
    def kept(self) -> tuple[int, ...]:
        """The same with the reduced dims kept as 1."""
        return self.lead + (1,) * self.reduced

    @property
    def across(self) -> set[Value]:
        """The sums over the rows: known when all chunks are done."""
        return {i.out for i in self.instrs if self.sums_rows(i)}

    def sums_rows(self, instr: Instr) -> bool:
        """Whether this is a sum over the rows, not over the columns."""
        if self.kind != "rows" or instr.op.name != "sum":
            return False
        return 0 < leading(instr) == len(self.shape) - self.reduced

    def level(self, shape: tuple[int, ...]) -> str | None:
        """What a result of this shape is here: ``matrix``, ``row``, or None: nothing."""
        if shape == self.shape:
            return "matrix"
        return "row" if self.kind == "rows" and shape in (self.lead, self.kept) else None

    def source(self, out: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
        """How an argument of this shape broadcasts to a result: matrix, row, shared, one, or None: not in a kernel."""
        if math.prod(shape) == 1:
            return "one" if len(shape) <= len(out) else None
        if out != self.shape:  # for each row
            return "row" if shape == out else None
        if shape == self.shape:
            return "matrix"
        if self.kind != "rows":
            return None
        if shape == self.kept:
            return "row"
        padded = (1,) * (len(out) - len(shape)) + shape
        cut = len(self.lead)
        if len(shape) <= len(out) and padded[cut:] == out[cut:] and math.prod(padded[:cut]) == 1:
            return "shared"
        return None

    def fits(self, instr: Instr) -> bool:
        """Whether every value of an instruction has a place here, and its types are the group's."""
        values = [v for v in instr.values() if not inlined(v)]
        kind = self.float_type()
        if any(v.dtype in (F32, F64) and v.dtype != kind for v in (*values, *instr.outs)):
            return False
        if instr.op.name in REDUCTIONS:
            return True
        out = instr.out.shape
        if self.level(out) is None:
            return False
        inside = {v for i in self.instrs for v in i.outs}
        for v in values:
            source = self.source(out, v.shape)
            if source is None or (source == "shared" and v in inside):
                return False  # a row's value is broadcast along the row, never across
        return True

    def float_type(self) -> Any:
        """The dtype that the group computes in."""
        for instr in self.instrs:
            for v in (*instr.values(), *instr.outs):
                if v.dtype in (F32, F64):
                    return v.dtype
        return None


def reduction(instr: Instr) -> int:
    """How many trailing dims a reduction of kinds, or of masks, takes away, or 0."""
    if instr.op.name not in REDUCTIONS or not instr.values():
        return 0
    (x,) = instr.values()
    dims = tuple(sorted(instr.params["dims"]))
    n = len(x.shape)
    kinds = (BOOL,) if instr.op.name in ("any", "all") else (F32, F64)
    if (
        not dims
        or dims != tuple(range(n - len(dims), n))
        or x.dtype not in kinds
        or instr.out.dtype != x.dtype
    ):
        return 0
    columns = math.prod(x.shape[n - len(dims) :])
    return len(dims) if x.contiguous and x.size > 0 and columns > 1 and instr.out.contiguous else 0


def leading(instr: Instr) -> int:
    """How many leading dims, but not all, a sum of floats takes away, or 0."""
    if instr.op.name != "sum" or not instr.values():
        return 0
    (x,) = instr.values()
    n = len(instr.params["dims"])
    if (
        not 0 < n < len(x.shape)
        or tuple(sorted(instr.params["dims"])) != tuple(range(n))
        or x.dtype not in (F32, F64)
        or instr.out.dtype != x.dtype
        or not (x.contiguous and instr.out.contiguous)
        or math.prod(x.shape[:n]) < 2
        or math.prod(x.shape[n:]) < WIDE
    ):
        return 0
    return n


def inlined(v: Any) -> bool:
    """Whether a value is a constant that kernels write down instead of reading it."""
    producer = v.producer
    return producer is not None and producer.op.name == "full" and is_elementwise(producer)


def keeps_rows(instr: Instr, group: Group) -> bool:
    """Whether a view only puts the reduced dims of a row's value back, takes them away, or expands them."""
    if group.kind != "rows" or instr.op.name not in ("reshape", "reshape_copy", "expand"):
        return False
    (x,) = instr.values()
    if x.dtype != group.float_type():
        return False
    if instr.op.name == "expand":
        return x.shape == group.kept and instr.out.shape == group.shape
    return x.shape in (group.lead, group.kept) and instr.out.shape in (group.lead, group.kept)


class Planner:
    """Makes the groups of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.groups: list[Group] = []
        self.home: dict[Value, Group] = {}
        self.made = 0  # groups, the merged ones included: the next index
        self.places = {instr: n for n, instr in enumerate(graph.instrs)}

    def run(self) -> list[Group]:
        whole = assemblies(self.graph)
        parts = {i for instrs in whole.values() for i in instrs}
        for instr in self.graph.instrs:
            if instr in whole:
                self.assemble(whole[instr])
            elif instr not in parts:
                self.add(instr)
        self.separate_sums()
        merge_siblings(self)
        recompute(self)
        finish_products(self)
        return self.ordered()

    def separate_sums(self) -> None:
        """Sums over the rows that stand alone may yet join a kernel that reads the same array."""
        for group in self.groups:
            if group.kind == "call" and leading(group.instrs[0]):
                group.shape = group.instrs[0].values()[0].shape
                group.reduced = len(group.shape) - leading(group.instrs[0])

    def reads(self, group: Group) -> dict[Value, None]:
        """The arrays that a group reads, in the order in which it does: what is merged must not differ between runs."""
        found = dict.fromkeys(v for i in group.instrs for v in i.values())
        return {v: None for v in found if self.home.get(v) is not group and not inlined(v)}

    def put_together(self, first: Group, second: Group) -> None:
        """Make one kernel of two that share an input, if neither depends on the other and one can hold both."""
        bits = group_bit(first), group_bit(second)
        if first.before & bits[1] or second.before & bits[0]:
            return
        group, other = (second, first) if first.kind == "points" else (first, second)
        if group.shape != other.shape or not all(
            g.kind in ("points", "rows") or (g.kind == "call" and g.reduced) for g in (group, other)
        ):
            return
        trial = Group("rows" if group.kind != "points" else "points", group.shape, group.index, group.reduced)
        if other.kind != "points" and other.reduced != group.reduced:
            return
        trial.instrs = sorted([*group.instrs, *other.instrs], key=self.places.__getitem__)
        if self.holds(trial):
            group.kind = trial.kind
            self.merge(group, other)

    def holds(self, trial: Group) -> bool:
        """Whether the instructions of a group that is considered can be one kernel."""
        if len(trial.instrs) > MAX_INSTRS:
            return False
        if len({v for i in trial.instrs for v in (*i.values(), *i.outs) if not inlined(v)}) > MAX_ARRAYS:
            return False
        if len({a for i in trial.instrs for a in i.args if type(a) is Scalar}) > MAX_SCALARS:
            return False
        return trial.kind == "points" or all(keeps_rows(i, trial) or trial.fits(i) for i in trial.instrs)

    def takes(self, group: Group, chain: list[Instr]) -> bool:
        """Whether a group can also do the operations of `chain`."""
        trial = Group(group.kind, group.shape, group.index, group.reduced)
        trial.instrs = [*chain, *group.instrs]
        return self.holds(trial)

    def repeat(self, group: Group, v: Value, chain: list[Instr]) -> None:
        """Compute `v` again in a group, by `chain`, instead of reading it."""
        same: dict[Any, Any] = {}
        copies = []
        for instr in chain:
            copy = Instr(instr.op, tuple([same.get(a, a) for a in instr.args]), instr.params, instr.place)
            copy.outs = (self.graph.value(instr.out.shape, instr.out.dtype, instr.out.strides, copy),)
            same[instr.out] = copy.out
            self.home[copy.out] = group
            copies.append(copy)
        new = same[v]
        rest = [
            i.replaced(tuple([new if a is v else a for a in i.args])) if v in i.args else i
            for i in group.instrs
        ]
        group.instrs = [*copies, *rest]

    def assemble(self, instrs: list[Instr]) -> None:
        """A group of a sum of parts: nothing else reads what it makes on the way."""
        group = self.new("pieces", instrs[-1].out.shape)
        for instr in instrs:
            self.put(instr, group, [self.home[v] for v in instr.values() if v in self.home])

    def add(self, instr: Instr) -> None:
        homes = [self.home[v] for v in instr.values() if v in self.home and not inlined(v)]
        candidates = {g.index: g for g in homes}.values()
        for group in sorted(candidates, key=lambda g: (g.kind == "points", -g.index)):
            if self.joins(group, instr, homes):
                self.put(instr, group, homes)
                for other in {g.index: g for g in homes if g is not group}.values():
                    if self.can_merge(group, other):
                        self.merge(group, other)
                return
        self.put(instr, self.fresh(instr), homes)

    def fresh(self, instr: Instr) -> Group:
        m = reduction(instr)
        if m and instr.out.dtype != BOOL:  # masks from elsewhere do not say what a kernel computes in
            shape = instr.values()[0].shape
            kind = "all" if m == len(shape) and math.prod(shape) > LONG_ROW else "rows"
            return self.new(kind, shape, m)
        if is_elementwise(instr) and instr.op.name != "full":
            return self.new("points", instr.out.shape)
        return self.new("call", ())

    def new(self, kind: str, shape: tuple[int, ...], reduced: int = 0) -> Group:
        group = Group(kind, shape, self.made, reduced)
        self.made += 1
        self.groups.append(group)
        return group

    def joins(self, group: Group, instr: Instr, homes: list[Group]) -> bool:
        if group.kind in ("call", "pieces") or len(group.instrs) >= MAX_INSTRS:
            return False
        bit = 1 << group.index
        if any(h is not group and h.before & bit for h in homes):
            return False  # something between the two would run both after and before the group
        if len(self.arrays(group, instr)) > MAX_ARRAYS or scalars(group, instr) > MAX_SCALARS:
            return False
        across = group.across
        if across and any(v in across for v in instr.values()):
            return False
        m = reduction(instr)
        if not m and leading(instr):
            m = len(instr.values()[0].shape) - leading(instr)
        if m:
            shape = instr.values()[0].shape
            if group.kind == "points":
                return group.shape == shape and self.becomes_rows(group, m)
            return group.shape == shape and group.reduced == m and group.fits(instr)
        if keeps_rows(instr, group):
            return True
        if not is_elementwise(instr) or instr.op.name == "full":
            return False
        if group.kind == "points":
            return instr.out.shape == group.shape
        if group.kind == "all":
            return instr.out.shape == group.shape and group.fits(instr) and not self.reads_total(group, instr)
        return group.fits(instr)

    def reads_total(self, group: Group, instr: Instr) -> bool:
        """Whether an instruction of an ``all`` group would need a total before all chunks are done."""
        return any(self.home.get(v) is group and v.shape != group.shape for v in instr.values())

    def becomes_rows(self, group: Group, m: int) -> bool:
        trial = Group("rows", group.shape, group.index, m)
        if m == len(group.shape) and math.prod(group.shape) > LONG_ROW:
            trial.kind = "all"
        trial.instrs = group.instrs
        if trial.float_type() is None or not all(trial.fits(i) for i in group.instrs):
            return False
        group.kind, group.reduced = trial.kind, m
        return True

    def can_merge(self, group: Group, other: Group) -> bool:
        """Whether `other`, elementwise, may become part of `group`."""
        if other.kind != "points" or other.shape != group.shape:
            return False
        instrs = [*group.instrs, *other.instrs]
        if (
            len(instrs) > MAX_INSTRS
            or len({a for i in instrs for a in i.args if type(a) is Scalar}) > MAX_SCALARS
        ):
            return False
        if len({v for i in instrs for v in (*i.values(), *i.outs) if not inlined(v)}) > MAX_ARRAYS:
            return False
        a, b = 1 << group.index, 1 << other.index
        if any(
            (between.before & a and group_bit(between) & other.before)
            or (between.before & b and group_bit(between) & group.before)
            for between in self.groups
            if between is not group and between is not other
        ):
            return False
        if group.kind == "points":
            return True
        return not other.before & a and all(group.fits(i) for i in other.instrs)

    def merge(self, group: Group, other: Group, ordered: bool = True) -> None:
        """Make one group of two; `ordered`: its instructions in the graph's order, not one group's after the other's."""
        a, b = 1 << group.index, 1 << other.index
        group.instrs = [*group.instrs, *other.instrs]
        if ordered:
            group.instrs.sort(key=self.places.__getitem__)
        group.before = (group.before | other.before) & ~(a | b)
        for instr in other.instrs:
            for v in instr.outs:
                self.home[v] = group
        self.groups.remove(other)
        for later in self.groups:
            if later is not group and later.before & (a | b):
                later.before = (later.before & ~b) | a | group.before

    def arrays(self, group: Group, instr: Instr) -> set[Value]:
        found = {
            v
            for i in (*group.instrs, instr)
            for v in i.values()
            if self.home.get(v) is not group and not inlined(v)
        }
        return found | {v for i in (*group.instrs, instr) for v in i.outs}

    def put(self, instr: Instr, group: Group, homes: list[Group]) -> None:
        group.instrs.append(instr)
        for v in instr.outs:
            self.home[v] = group
        new = group.before
        for h in homes:
            if h is not group:
                new |= h.before | 1 << h.index
        if new != group.before:
            bit = 1 << group.index
            group.before = new
            for other in self.groups:
                if other.before & bit:
                    other.before |= new

    def ordered(self) -> list[Group]:
        """The groups in an order in which each runs after those that it reads from."""
        done = 0
        waiting = list(self.groups)
        order = []
        while waiting:
            ready = [g for g in waiting if not g.before & ~done]
            if not ready:
                raise AssertionError("groups depend on each other in a circle")
            order.append(ready[0])
            done |= 1 << ready[0].index
            waiting.remove(ready[0])
        return order


def group_bit(group: Group) -> int:
    return 1 << group.index


def scalars(group: Group, instr: Instr) -> int:
    return len({a for i in (*group.instrs, instr) for a in i.args if type(a) is Scalar})


def make_groups(graph: Graph) -> list[Group]:
    """The groups of a simplified graph, in an order in which they can run."""
    return Planner(graph).run()
