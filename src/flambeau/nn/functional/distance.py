"""Distances and similarities of vectors."""

from __future__ import annotations

import numpy as np

from ...core.grad_names import shows
from ...core.promotion import convert, result_type
from ...core.public import FUNCTIONS, public
from ...core.tensor import Tensor
from ...ops.args import dtype_of, wrap_dims
from ...ops.contraction import vector_norm
from ...ops.shape import broadcast_shapes, expand_to
from ...prims.base import from_value
from ...prims.indexing import index_get_op
from ...runtime import dtypes


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along a dim."""
    d = result_type(x1, x2)
    if d.category < dtypes.FLOATING:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {d.name}")
    shape = tuple(broadcast_shapes(tuple(x1._a.shape), tuple(x2._a.shape)))
    a, b = (expand_to(convert(x, d), shape) for x in (x1, x2))
    dims = wrap_dims(dim, len(shape))

    def unit(x: Tensor) -> Tensor:
        return x / FUNCTIONS["clamp_min"](vector_norm(x, 2.0, dims, True), eps)  # type: ignore[no-any-return]

    return (unit(a) * unit(b)).sum(dims)  # type: ignore[no-any-return]


@shows("NormBackward1")
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` over the last dim."""
    x = x1 - x2 + eps
    return vector_norm(x, float(p), (max(len(x._a.shape) - 1, 0),) if x._a.shape else (), keepdim)


@public(method=False, grad_name="PdistBackward0")
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of all pairs i < j of rows of (N, M): shape (N (N - 1) / 2).

    Raises: RuntimeError for other shapes or dtypes, or negative p.

    >>> import flambeau as torch
    >>> torch.nn.functional.pdist(torch.tensor([[0.0], [1.0], [3.0]]))
    tensor([1., 3., 2.])
    """
    s = tuple(input._a.shape)
    if len(s) != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {len(s)}D")
    if input._a.dtype.kind not in "f":
        raise RuntimeError(f"pdist only supports floating-point dtypes, got {dtype_of(input)}")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values, got {p}")
    i, j = np.triu_indices(s[0], 1)
    first, second = (index_get_op(input, from_value(k), spec=(True,)) for k in (i, j))
    if not s[1]:
        return first.sum(1)  # type: ignore[no-any-return]
    return vector_norm(first - second, float(p), (1,), False)
