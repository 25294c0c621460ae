"""Sums of products of three 16-bit tensors, rounded where PyTorch rounds them: what `bilinear` and all its derivatives are.

The three have as many dims as each other, of size 1 where one of them lacks a dim. The first two are multiplied and
summed first; one dim, `unroll`, is gone along step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axes, Axis
from ..core.tape import helpers
from ..core.tensor import Tensor

__all__ = ["half_trilinear_op"]


def _contracted(a: Any, b: Any, dims: tuple[int, ...]) -> Any:
    """``(a * b).sum(dims, keepdims=True)`` in float32, rounded once."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    labels = [[d for d, n in enumerate(x.shape) if n != 1] for x in (a, b)]
    flat = [fam.wide(x).reshape([x.shape[d] for d in axes]) for x, axes in zip((a, b), labels)]
    left = [d for d in sorted({*labels[0], *labels[1]}) if d not in dims]
    y = np.einsum(flat[0], labels[0], flat[1], labels[1], left, optimize=True)
    return y.reshape([1 if d in dims else n for d, n in enumerate(shape)]).astype(a.dtype)


def _half_trilinear(a: Any, b: Any, c: Any, *, sums: Axes, unroll: Axis) -> Any:
    first = tuple([d for d in sums if c.shape[d] == 1 and d != unroll])
    second = tuple([d for d in sums if d not in first and d != unroll])
    parts: list[Any] = []
    for k in range(max(x.shape[unroll] for x in (a, b, c))):
        own = (slice(None),) * int(unroll) + (slice(k, k + 1),)
        u, v, w = (x[own] if x.shape[unroll] > 1 else x for x in (a, b, c))
        y = _contracted(_contracted(u, v, first), w, second)
        if unroll in sums and parts:
            parts[0] = (fam.wide(parts[0]) + fam.wide(y)).astype(y.dtype)
        else:
            parts.append(y)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, int(unroll))


def _vjp(g: Tensor, inputs: Any, needs: Any, sums: Any, unroll: Any) -> list[Any]:
    """Each gradient is such a sum, with `g` in the place of the input."""
    found: list[Any] = []
    for i, x in enumerate(inputs):
        lacks = tuple([d for d, n in enumerate(x._a.shape) if n == 1])
        given = (*inputs[:i], g, *inputs[i + 1 :])
        found.append(half_trilinear_op(*given, sums=lacks, unroll=unroll) if needs[i] else None)
    return found


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    total = None
    for i, t in enumerate(ts):
        if t is not None:
            part = half_trilinear_op(*xs[:i], t, *xs[i + 1 :], **params)
            total = part if total is None else helpers["add"](total, part)
    return total


half_trilinear_op: Any = fam.opaque_op(
    _half_trilinear, _vjp, name="half_trilinear", jvp=_jvp, grad_name="UnsafeViewBackward0"
)
