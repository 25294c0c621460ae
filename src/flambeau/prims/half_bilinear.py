"""``x1 W_k x2`` for each k of 16-bit tensors; the sums over k of its gradients are rounded after each k, as in PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.op import Op
from ..core.tape import helpers
from ..core.tensor import Tensor
from .base import index_view_op, permute_op, reshape
from .contract import matmul_op
from .indexing import cat_op

# x1 (N, I), w (K, I, J), x2 (N, J) -> (N, K)


def _values(x1: Any, w: Any, x2: Any) -> Any:
    a, b, c = fam.wide(x1), fam.wide(w), fam.wide(x2)
    rows = np.matmul(a, b).astype(x1.dtype)  # (K, N, J)
    return (
        np.matmul(fam.wide(rows)[..., None, :], c[..., None])[..., 0, 0]
        .astype(x1.dtype)
        .swapaxes(0, 1)
        .copy()
    )


def _part(x: Tensor, dim: int, k: int) -> Tensor:
    """Index k of a dim, which stays with size 1."""
    return index_view_op(x, index=(*(slice(None),) * dim, slice(k, k + 1)))  # type: ignore[no-any-return]


def _column(x: Tensor) -> Tensor:
    return reshape(x, (*x._a.shape, 1))


def _slopes(g: Tensor, x1: Tensor, w: Tensor, x2: Tensor, needs: Any) -> list[Any]:
    count, rows, columns = (int(v) for v in w._a.shape)
    n = int(x1._a.shape[0])
    first, second, third = [], [], []
    for k in range(count):
        matrix, own = reshape(_part(w, 0, k), (rows, columns)), _part(g, 1, k)
        if needs[0]:
            scaled = _column(own) * matrix  # (N, I, J)
            first.append(reshape(matmul_op(scaled, _column(x2)), (n, rows)))
        if needs[1]:
            moved = permute_op(x1 * own, dims=(1, 0))
            second.append(reshape(matmul_op(moved, x2), (1, rows, columns)))
        if needs[2]:
            third.append(matmul_op(x1, matrix) * own)

    def added(parts: list[Tensor]) -> Any:
        return functools.reduce(helpers["add"], parts) if parts else None

    return [added(first), cat_op(*second, dim=0) if second else None, added(third)]


def _vjp(g: Tensor, inputs: Any, needs: Any) -> list[Any]:
    x1, w, x2 = inputs
    return _slopes(g, x1, w, x2, needs)


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    parts = []
    for i, t in enumerate(ts):
        if t is not None:
            parts.append(half_bilinear_op(*xs[:i], t, *xs[i + 1 :]))
    return functools.reduce(helpers["add"], parts)


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    """One example after the other where the weights differ, else more rows."""
    x1, w, x2 = args
    if batched[1]:
        x1, w, x2 = fam.batch_to_front(args, batched, size)
        rows = reshape(x1, (size, 1, *x1._a.shape[1:]))
        y = matmul_op(rows, w)  # (B, K, N, J)
        wide = reshape(x2, (size, 1, *x2._a.shape[1:], 1))
        y = matmul_op(reshape(y, (*y._a.shape[:-1], 1, y._a.shape[-1])), wide)
        return permute_op(reshape(y, tuple(y._a.shape[:3])), dims=(0, 2, 1)), True
    x1, x2 = fam.batch_to_front((x1, x2), (batched[0], batched[2]), size)
    n = x1._a.shape[1]
    flat = [reshape(x, (size * n, x._a.shape[2])) for x in (x1, x2)]
    return reshape(half_bilinear_op(flat[0], w, flat[1]), (size, n, w._a.shape[0])), True


half_bilinear_op: Any = Op(
    "half_bilinear",
    "multilinear",
    _values,
    ("x1", "w", "x2"),
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    grad_name="UnsafeViewBackward0",
)
