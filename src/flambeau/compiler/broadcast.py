"""Plans for kernels over arrays of different shapes: a loop over rows that are contiguous or constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from ..runtime.threads import MAX_CHUNKS
from .launch import Descriptor

__all__ = ["Layout", "Plan", "make_plan"]

Layout = tuple[tuple[int, ...], tuple[int, ...]]  # shape, strides in bytes
_SHORT_ROW = 16  # elements; shorter rows are not worth a call of the kernel each


@dataclass(frozen=True)
class Plan:
    """What to do with arrays of certain layouts.

    `words` is for the native launcher. Where it is None, `copy` says which arrays need a dense copy of the
    full shape first (outputs: are computed in one); then everything is contiguous.
    """

    words: npt.NDArray[np.int64] | None
    uniform: tuple[bool, ...] = ()
    copy: tuple[int, ...] = ()


def _broadcast_strides(layout: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
    own, strides = layout
    missing = len(shape) - len(own)
    if missing < 0 or any(n not in (1, m) for n, m in zip(own, shape[missing:], strict=True)):
        raise ValueError(f"an input of shape {own} cannot be broadcast to the outputs' shape {shape}")
    return (0,) * missing + tuple(0 if n == 1 else s for n, s in zip(own, strides, strict=True))


def _collapse(
    shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]
) -> tuple[list[int], list[list[int]]]:
    """Dimensions in the order of the first array's memory, without those of size 1, adjacent ones joined."""
    order = sorted((d for d in range(len(shape)) if shape[d] != 1), key=lambda d: -abs(strides[0][d]))
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d in order:
        if sizes and all(own[-1] == s[d] * shape[d] for own, s in zip(steps, strides, strict=True)):
            sizes[-1] *= shape[d]
            for own, s in zip(steps, strides, strict=True):
                own[-1] = s[d]
            continue
        sizes.append(shape[d])
        for own, s in zip(steps, strides, strict=True):
            own.append(s[d])
    return sizes, steps


def make_plan(layouts: Sequence[Layout], descriptor: Descriptor, cost: float) -> Plan:
    """The plan for arrays of these layouts, outputs first.

    Raises: ValueError if the outputs' shapes differ, an input cannot be broadcast to them, or elements of an
    output share memory.
    """
    outputs, itemsizes = descriptor.outputs, descriptor.itemsizes
    shape = layouts[0][0]
    for other, _ in layouts[1:outputs]:
        if other != shape:
            raise ValueError(f"outputs of one kernel must have one shape, got {shape} and {other}")
    strides: list[tuple[int, ...]] = [layout[1] for layout in layouts[:outputs]]
    strides += [_broadcast_strides(layout, shape) for layout in layouts[outputs:]]
    for steps_out in strides[:outputs]:
        if any(n > 1 and s == 0 for n, s in zip(shape, steps_out, strict=True)):
            raise ValueError(f"elements of an output of shape {shape}, strides {steps_out} share memory")
    sizes, steps = _collapse(shape, strides)
    if 0 in sizes or not sizes:
        sizes, steps = [prod(sizes)], [[size] for size in itemsizes]
    columns, rows = sizes[-1], prod(sizes[:-1])
    inner = [own[-1] for own in steps]
    bad = [
        j
        for j, (step, size) in enumerate(zip(inner, itemsizes, strict=True))
        if step != size and (j < outputs or step != 0)
    ]
    if bad or (columns < _SHORT_ROW and rows > 4):
        dense = tuple(j for j, full in enumerate(strides) if not _is_dense(shape, full, itemsizes[j]))
        return Plan(None, (), dense)
    uniform = tuple(step == 0 for step in inner[outputs:])
    grain = max(256, int(5_000 / cost))
    parts = max(1, columns // grain) if rows < 64 else 1
    part = -(-columns // parts)
    part = -(-part // 256) * 256 if parts > 1 else max(part, 1)
    parts = max(1, -(-columns // part))
    units = max(1, grain // part, rows * parts // (MAX_CHUNKS // 2))
    if rows * columns * cost <= 12_000:
        units = max(1, rows * parts)
    words = [0, rows, columns, len(sizes) - 1, parts, part, units, len(layouts), *sizes[:-1]]
    for own in steps:
        words += own[:-1]
    for own, size in zip(steps, itemsizes, strict=True):
        reach = [(n - 1) * s for n, s in zip(sizes, own, strict=True)] if rows * columns else [0]
        words += [-sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + size]
    for i in range(outputs):
        words.append(
            sum(1 << j for j in range(len(layouts)) if steps[j] == steps[i] and itemsizes[j] == itemsizes[i])
        )
    return Plan(np.array(words, np.int64), uniform)


def _is_dense(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    expected = itemsize
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and s != expected:
            return False
        expected *= n
    return True
