"""Matrix multiplication: the one contraction primitive; dot, bmm, einsum and tensordot are composed from it."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from ..core import families as fam
from ..core.families import multilinear_op
from ..core.op import bind
from ..core.tensor import Tensor
from ..runtime import pool
from .base import permute_op, reshape
from .pointwise import conj


def _matmul(a: Any, b: Any) -> Any:
    dtype = a.dtype
    if dtype.itemsize == 2 and dtype.kind in "fV":  # half types accumulate in float32, as PyTorch does
        return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(dtype)
    if dtype.kind == "b":
        return np.matmul(a, b)
    rows, cols = a.shape[-2], b.shape[-1]
    if rows * cols * dtype.itemsize >= fam.BIG and a.ndim == 2 and b.ndim == 2:
        return np.matmul(a, b, out=pool.empty((rows, cols), dtype))
    return np.matmul(a, b)


def adjoint(x: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims."""
    n = len(x._a.shape)
    return permute_op(conj(x), dims=(*range(n - 2), n - 1, n - 2))  # type: ignore[no-any-return]


def _vjp_a(g: Tensor, b: Tensor, a_meta: Any) -> Tensor:
    return fam.unbroadcast(matmul_op(g, adjoint(b)), tuple(a_meta.shape))


def _vjp_b(g: Tensor, a: Tensor, b_meta: Any) -> Tensor:
    return fam.unbroadcast(matmul_op(adjoint(a), g), tuple(b_meta.shape))


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    a, b = args
    if batched[0] and not batched[1] and len(b._a.shape) == 2:  # one large product instead of many small ones
        s = a._a.shape
        y = bind(matmul_op, (reshape(a, (int(np.prod(s[:-1])), s[-1])), b), {})
        return reshape(y, (*s[:-1], b._a.shape[-1])), True
    return bind(matmul_op, tuple(fam.align(args, batched, size)), {}), True


matmul_op = multilinear_op("matmul", _matmul, (_vjp_a, _vjp_b), _batch, grad_name="MmBackward0")
