"""What ``mode="max-autotune"`` chooses between, for each kind of group; `capture.tune` does the choosing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...compiler import gemm
from ...compiler.gemm import Schedule
from ...prims import products
from ...runtime import pool
from ...runtime.threads import get_num_threads
from ..graph import Instr, Scalar, Value
from ..tune import SERIAL, USUAL, Choice, Stages, Tuner
from .finished import PRODUCTS, parts
from .groups import Group, inlined
from .kernels import Interface
from .products import about_finished

__all__ = ["choose", "implementation", "surface"]

WORTH = 1 << 13  # multiplications below which NumPy's way of calling BLAS is as short as any
ELEMENTS = 1 << 11  # elements of a group below which launching it is most of its time
CUTS, LOOPS = 1 << 12, 1 << 14  # elements from which threads and the loop's shape count
ALONE = 6  # operations up to which NumPy, one by one, is a candidate for what is one kernel
NEAR = 1.25  # a way that takes no more than this of the best's time may win once its cuts are searched too


def surface(group: Group, wanted: set[Value]) -> tuple[list[Value], list[Scalar], list[Value]]:
    """What a group reads, arrays and numbers, and which of its results are wanted."""
    made = {v for i in group.instrs for v in i.outs}
    arrays: list[Value] = []
    numbers: list[Scalar] = []
    for instr in group.instrs:
        for a in instr.args:
            if type(a) is Value and a not in made and a not in arrays and not inlined(a):
                arrays.append(a)
            elif type(a) is Scalar and a not in numbers:
                numbers.append(a)
    return arrays, numbers, [v for i in group.instrs for v in i.outs if v in wanted]


def choose(
    tuner: Tuner, group: Group, wanted: set[Value], trial: Callable[[Choice], Callable[..., Any]]
) -> Choice:
    """The way to run a group."""
    arrays, numbers, results = surface(group, wanted)
    described = about(group, wanted)
    if described is None or not results:
        return USUAL
    text, stages = described
    layouts = ", ".join(f"{v.dtype.name}{list(v.shape)}{list(v.strides)}" for v in arrays)
    kinds = [s.kind for s in numbers if s.value is None]
    return tuner.choose(f"{text} of {layouts}", arrays, kinds, results, stages, trial)


def about(group: Group, wanted: set[Value]) -> tuple[str, Stages] | None:
    """What a group computes, and its candidates; None where there is no choice."""
    if group.kind == "call":
        (instr,) = group.instrs
        return (instr.op.name, product_stages(instr, Choice("numpy"))) if has_choice(instr) else None
    if group.kind == "product":
        product = parts(group).product
        if not has_choice(product):
            return None
        return about_finished(group, wanted), product_stages(product, Choice("apart"))
    if group.kind not in ("points", "rows", "all") or math.prod(group.shape) < ELEMENTS:
        return None
    face = Interface(group, wanted)
    kinds = [""] * len(face.inputs) if group.kind == "points" else face.kinds()
    if not face.inputs or not face.outputs or kinds is None:
        return None
    return f"{face.name(kinds)} {list(group.shape)}, {group.reduced}", kernel_stages(group)


# -------------------------------------------------------------------------------------------------------- products


def has_choice(instr: Instr) -> bool:
    """Whether an operation is a product that can be computed in several ways."""
    if instr.op.name not in PRODUCTS or not all(type(a) is Value for a in instr.args):
        return False
    a, b = instr.args[:2]
    return (
        all(v.dtype == a.dtype for v in instr.values())
        and a.dtype in products.FLOATS
        and len(a.shape) >= 2
        and len(b.shape) >= 2
        and a.shape[-1] > 1
        and instr.out.size * a.shape[-1] >= WORTH
        and instr.out.contiguous
    )


def implementation(instr: Instr, choice: Choice) -> Callable[..., Any]:
    """What computes an operation: for products in the chosen way."""
    if instr.op.name not in PRODUCTS or not (choice.way == "numpy" or choice.schedule.way):
        return instr.op.impl
    turned = instr.op.name == "linear"

    def run(a: Any, b: Any, *row: Any) -> Any:
        b = b.T if turned else b
        bias = row[0] if row else None
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        pair = products.batches(a, b) if choice.way != "numpy" else None
        if pair is not None:
            y = gemm.batched_matmul(*pair, bias=bias, schedule=choice.schedule)
            return y.reshape(shape)
        y = np.matmul(a, b, out=pool.empty(shape, a.dtype))
        if bias is not None:
            y += bias
        return y

    run.__name__ = instr.op.name  # what a profiler shows
    return run


def product_stages(instr: Instr, other: Choice) -> Stages:
    """Another way (NumPy's BLAS) and the generated ones; then the cuts of the best of those that are cut."""

    a, b = (instr.values()[i].strides for i in (0, 1))
    item = instr.out.dtype.itemsize
    across = b[-2] if instr.op.name == "linear" else b[-1]  # between neighbours in a row of the second factor
    ways = ["packed", *(["plain"] if across == item else ["transposed"] if a[-1] == item else [])]

    def stages(times: dict[Choice, float]) -> Iterator[list[Choice]]:
        yield [other, *[Choice(schedule=Schedule(way)) for way in ways]]
        for field, values in (("stretch", (128, 384, 512)), ("tile", (4, 8, 24)), ("share", (0, 1, 2, 8))):
            made = [c for c in times if c.schedule.way]
            base = min(made, key=times.__getitem__, default=USUAL)
            if base == USUAL or times[base] > NEAR * min(times.values()):
                return
            if field == "share" or base.schedule.way == "packed":
                yield [
                    base._replace(schedule=Schedule(**{**base.schedule._asdict(), field: v})) for v in values
                ]

    return stages


# --------------------------------------------------------------------------------------------------------- kernels


def kernel_stages(group: Group) -> Stages:
    """The kernel or its operations one by one; then the loop's shape; then how work is cut for the threads."""
    elements = math.prod(group.shape)

    def stages(times: dict[Choice, float]) -> Iterator[list[Choice]]:
        if len(group.instrs) == 1:
            yield [Choice("kernel"), Choice("calls")]
        elif len(group.instrs) <= ALONE:
            yield [Choice("calls")]
        for field, values, least in (
            ("unroll", (1, 2, 4, 8), LOOPS),
            ("columns", (1 << 11, 1 << 12, 1 << 14, 1 << 15), LOOPS),
            ("factor", (SERIAL, 0.1, 0.3, 3.0, 10.0), CUTS),
        ):
            base = min(times, key=times.__getitem__)
            if base.way == "calls" or elements < least:
                continue
            if (field == "columns" and group.kind != "all") or (field == "factor" and get_num_threads() == 1):
                continue
            yield [Choice(**{**base._asdict(), field: v}) for v in values]

    return stages
