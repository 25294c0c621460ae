"""Products of matrices and what is computed from them, element by element, in one kernel.

A bias, an activation, a residual, a mask: instead of a pass over the product, each part of it is finished while it is in
the cache (`compiler.product_finish`).  What gives the first factor, and is read by nothing else, is computed while that
is read.  A group that takes up kernels behind or before a product has the kind ``product``; `Group.reason` says of what
stands alone why, for `explain`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..graph import Instr, Value
from .elements import F32, F64

if TYPE_CHECKING:
    from .groups import Group, Planner

__all__ = ["PRODUCTS", "Factors", "Parts", "factors", "finish_products", "level", "parts"]

PRODUCTS = ("matmul", "linear")
VIEWS = ("reshape",)
LEAST = 1 << 11  # multiplications; with fewer BLAS and NumPy's calls are as quick
FEW_ROWS = 24  # up to which a second factor that lies by columns is not packed
MOST_ARRAYS = 40  # that a product reads
MOST_INNER = 4096  # beyond, a pass over the product is less than a hundredth of it

Layout = tuple[tuple[int, ...], tuple[int, ...]]


class Factors(NamedTuple):
    """Both factors of a product as batches of matrices: shapes and strides."""

    a_shape: tuple[int, ...]
    a_strides: tuple[int, ...]
    b_shape: tuple[int, ...]
    b_strides: tuple[int, ...]

    @property
    def work(self) -> int:
        """Multiplications."""
        return max(self.a_shape[0], self.b_shape[0]) * math.prod(self.a_shape[1:]) * self.b_shape[2]


class Parts(NamedTuple):
    """The instructions of a group of kind ``product``."""

    starts: list[Instr]  # that compute the first factor
    start_views: list[Instr]
    product: Instr
    views: list[Instr]
    points: list[Instr]

    @property
    def first(self) -> Value:
        """The first factor as it is computed, before views of it."""
        first: Value = self.start_views[0].args[0] if self.start_views else self.product.args[0]
        return first


def parts(group: Group) -> Parts:
    """What belongs to the first factor of a group's product, the product, and what is computed from it."""
    product = next(i for i in group.instrs if i.op.name in PRODUCTS)
    made = {v: i for i in group.instrs for v in i.outs}
    before: set[Instr] = set()
    todo = [product.args[0]]
    while todo:
        instr = made.get(todo.pop())
        if instr is not None and instr not in before:
            before.add(instr)
            todo += instr.values()
    lists: list[list[Instr]] = [[], [], [], []]
    for i in group.instrs:
        if i is not product:
            lists[(0 if i in before else 2) + (i.op.name in VIEWS)].append(i)
    starts, start_views, points, views = lists
    return Parts(starts, start_views, product, views, points)


def _together(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int] | None:
    """Dims as one: its size and stride; None if they do not lie one after the other."""
    size, stride = 1, 0
    for n, step in zip(reversed(shape), reversed(strides)):
        if n == 1:
            continue
        if size == 1:
            size, stride = n, step
        elif step != size * stride:
            return None
        else:
            size *= n
    return size, stride


def factors(instr: Instr) -> Factors | None:
    """The factors of a product that a generated kernel can compute, or None."""
    if instr.op.name not in PRODUCTS or instr.params or any(type(a) is not Value for a in instr.args):
        return None
    a, b = instr.args[:2]
    dtype = instr.out.dtype
    if dtype not in (F32, F64) or any(v.dtype != dtype for v in instr.values()) or not instr.out.contiguous:
        return None
    if not instr.out.size or not a.size or min(len(a.shape), len(b.shape)) < 2:
        return None
    if instr.op.name == "linear":
        bias = instr.args[2] if len(instr.args) > 2 else None
        if len(a.shape) != 2 or len(b.shape) != 2 or (bias is not None and not bias.contiguous):
            return None
        return Factors((1, *a.shape), (0, *a.strides), (1, *b.shape[::-1]), (0, *b.strides[::-1]))
    if len(b.shape) == 2:  # one product with more rows
        rows = _together(a.shape[:-1], a.strides[:-1])
        if rows is None:
            return None
        return Factors((1, rows[0], a.shape[-1]), (0, rows[1], a.strides[-1]), (1, *b.shape), (0, *b.strides))
    left, right = (_together(v.shape[:-2], v.strides[:-2]) for v in (a, b))
    if left is None or right is None or (a.shape[:-2] != b.shape[:-2] and 1 not in (left[0], right[0])):
        return None
    return Factors(
        *((left[0], *a.shape[-2:]), (left[1], *a.strides[-2:])),
        *((right[0], *b.shape[-2:]), (right[1], *b.strides[-2:])),
    )


def level(v: Value, shape: tuple[int, ...]) -> str | None:
    """How a value is read for results of this shape: `Finish.inputs` has the levels; None if it cannot be."""
    if len(v.shape) > len(shape):
        return None
    if v.size == 1:
        return "one"
    if not v.contiguous:
        return None
    padded = (1,) * (len(shape) - len(v.shape)) + v.shape
    if padded == shape:
        return "matrix"
    if padded[-1] == shape[-1] and math.prod(padded[:-1]) == 1:
        return "shared"
    return "row" if padded == (*shape[:-1], 1) else None


def finish_products(planner: Planner) -> None:
    """Let products take up the elementwise kernels that read them."""
    products = [g for g in planner.groups if g.kind == "call" and g.instrs[0].op.name in PRODUCTS]
    if not products:
        return
    readers = _readers(planner)
    for group in reversed(products):
        group.reason = _join(planner, group, readers)
    readers = _readers(planner)
    outputs = set(planner.graph.outputs)
    for group in products:
        reason = _begin(planner, group, readers, outputs)
        if reason:
            group.reason = f"{group.reason}; {reason}" if group.reason else reason
        elif reason is not None and group.reason:
            group.reason = f"what follows is apart: {group.reason}"


def _readers(planner: Planner) -> dict[Value, list[Group]]:
    """The groups that read each value."""
    readers: dict[Value, list[Group]] = {}
    for g in planner.groups:
        for v in planner.reads(g):
            readers.setdefault(v, []).append(g)
    return readers


def _join(planner: Planner, group: Group, readers: dict[Value, list[Group]]) -> str:
    """Join a product's group with a kernel, or say why there is none."""
    (product,) = group.instrs
    found = factors(product)
    if found is None:
        return "of its dtypes or layouts there is no generated product"
    if found.work < LEAST:
        return "it is small: BLAS's call is as short as any"
    after = [(g, group) for g in readers.get(product.out, ())]
    for g in list(readers.get(product.out, ())):
        (first, *more) = g.instrs
        if g.kind == "call" and not more and first.op.name in VIEWS and first.out.contiguous:
            after += [(r, g) for r in readers.get(first.out, ())]
    reason = "no elementwise kernel reads it"
    for kernel, view in after:
        if kernel.kind in ("rows", "all"):
            reason = "the kernel that reads it needs whole rows"
        if kernel.kind != "points" or kernel not in planner.groups:
            continue
        if found.a_shape[2] > MOST_INNER:
            return f"a pass more is nothing beside an inner dimension of {found.a_shape[2]}"
        reason = _fits(planner, group, view, kernel, product)
        if not reason:
            if view is not group:
                planner.merge(group, view, ordered=False)
            planner.merge(group, kernel, ordered=False)  # it may have operations that are done again
            group.kind, group.shape = "product", kernel.shape
            return ""
    return reason


def _fits(planner: Planner, group: Group, view: Group, kernel: Group, product: Instr) -> str:
    """Why a kernel cannot be part of a product's, or "" if it can; it reads the product, or a `view` of it."""
    own = {product.out, *(v for i in view.instrs for v in i.outs)}
    read = next(v for v in planner.reads(kernel) if v in own)
    if kernel.shape != read.shape or kernel.shape[-1:] != product.out.shape[-1:]:
        return f"the kernel that reads it has another shape, {list(kernel.shape)}"
    for v in planner.reads(kernel):
        if v.dtype in (F32, F64) and v.dtype != product.out.dtype:
            return "the kernel that reads it has other dtypes"
        if v not in own and level(v, kernel.shape) is None:
            return f"the kernel that reads it reads {v.annotation}, too, whose rows are not the product's"
    if any(i.out.dtype in (F32, F64) and i.out.dtype != product.out.dtype for i in kernel.instrs):
        return "the kernel that reads it has other dtypes"
    mine = {group.index, view.index}
    bits = sum(1 << i for i in mine)
    for between in planner.groups:
        if between.index in mine or between is kernel:
            continue
        if between.before & bits and (kernel.before | view.before) & (1 << between.index):
            return "something else lies between it and the kernel that reads it"
    return ""


def _begin(
    planner: Planner, group: Group, readers: dict[Value, list[Group]], outputs: set[Value]
) -> str | None:
    """Join a product's group with the kernel that makes its first factor.

    "" if that was done, None if there is no such kernel, else why they stay apart.
    """
    product = parts(group).product
    found = factors(product)
    if found is None or found.work < LEAST:
        return None
    first = product.args[0]
    view = planner.home.get(first)
    kernel = view
    if view is not None and view.kind == "call" and view.instrs[0].op.name in VIEWS:
        kernel = planner.home.get(view.instrs[0].values()[0])
    else:
        view = None
    if kernel is None or kernel.kind != "points":
        return None
    made = first if view is None else view.instrs[0].values()[0]
    for v in {v for i in kernel.instrs for v in i.outs} | {first}:
        allowed = group if v is first else view if v is made else None
        if v in outputs or any(r is not allowed and r in planner.groups for r in readers.get(v, ())):
            return "the kernel that makes its first factor is read elsewhere, too"
    if sum(a is first for i in group.instrs for a in i.args) > 1:
        return "its first factor is read again behind it"
    if kernel.shape[-1:] != made.shape[-1:] or made.shape[-1] != found.a_shape[2]:
        return "the kernel that makes its first factor has other rows"
    if found.b_strides[2] != product.out.dtype.itemsize and found.a_shape[1] <= FEW_ROWS:
        return "it has few rows: vectors along the inner dimension are faster"
    for v in planner.reads(kernel):
        if v.dtype in (F32, F64) and v.dtype != product.out.dtype:
            return "the kernel that makes its first factor has other dtypes"
        if level(v, kernel.shape) is None:
            return f"the kernel that makes its first factor reads {v.annotation}"
    if any(i.out.dtype in (F32, F64) and i.out.dtype != product.out.dtype for i in kernel.instrs):
        return "the kernel that makes its first factor has other dtypes"
    if len(planner.reads(kernel)) + len(planner.reads(group)) > MOST_ARRAYS:
        return "the kernel that makes its first factor reads too many arrays"
    reads, instrs = planner.reads(kernel), list(group.instrs)
    if view is not None:
        instrs = [*view.instrs, *instrs]
        planner.merge(group, view, ordered=False)
    instrs = [*kernel.instrs, *instrs]
    planner.merge(group, kernel, ordered=False)
    group.instrs = instrs
    for v in reads:
        readers.setdefault(v, []).append(group)
    if group.kind == "call":
        group.kind, group.shape = "product", product.out.shape
    return ""
