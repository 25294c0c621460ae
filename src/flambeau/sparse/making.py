"""Sparse matrices from diagonals, and `gradcheck` of functions of sparse tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.pending import seen
from ..core.tensor import Tensor
from ..prims.base import from_value
from ..runtime import types
from .conversion import LAYOUTS, like
from .tensors import SparseTensor, coo

__all__ = ["as_sparse_gradcheck", "spdiags"]


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Any, layout: Any = None) -> Tensor:
    """The matrix of `shape` with the rows of `diagonals`, (k, n) or (n,), as its diagonals with these `offsets`, (k,).

    Element j of a row comes to column j, whatever the offset.

    Raises: RuntimeError for shapes that do not fit, repeated offsets and other layouts.

    >>> import flambeau as torch
    >>> torch.sparse.spdiags(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1]), (3, 3)).to_dense()
    tensor([[0., 2., 0.],
            [0., 0., 3.],
            [0., 0., 0.]])
    """
    rows = diagonals.unsqueeze(0) if diagonals.ndim == 1 else diagonals
    if rows.ndim != 2:
        raise RuntimeError(f"Diagonals must be vector or matrix, but has {rows.ndim} dims")
    if len(shape) != 2:
        raise RuntimeError(f"Output shape must be 2d, but is {tuple(shape)}")
    at = np.atleast_1d(seen(offsets)).astype(np.int64)
    if at.ndim != 1 or at.size != rows.shape[0]:
        raise RuntimeError(
            f"Number of diagonals ({rows.shape[0]}) does not match the number of offsets ({at.size})"
        )
    if np.unique(at).size != at.size:
        raise RuntimeError("Offset tensor contains duplicate values")
    if layout not in (None, *LAYOUTS):
        raise RuntimeError(
            f"Only output layouts (torch.sparse_coo, torch.sparse_csc, torch.sparse_csr) are supported, got {layout}"
        )
    n, m = int(shape[0]), int(shape[1])
    width = min(m, int(rows.shape[1]))
    places, sources = [], []
    for k, offset in enumerate(at):
        cols = np.arange(max(offset, 0), min(width, n + offset))
        places.append(np.stack((cols - offset, cols)))
        sources.append(k * int(rows.shape[1]) + cols)
    values = rows.reshape(-1).index_select(0, from_value(np.concatenate(sources).astype(np.int64)))
    y = coo(from_value(np.concatenate(places, axis=1).astype(np.int64)), values, (n, m), False)
    return like(y, types.sparse_coo if layout is None else layout)  # type: ignore[no-any-return]


def as_sparse_gradcheck(gradcheck: Callable[..., bool]) -> Callable[..., bool]:
    """`gradcheck` for functions of sparse tensors: it varies the values of their entries.

    >>> import flambeau as torch
    >>> s = torch.eye(2, dtype=torch.float64).to_sparse().requires_grad_()
    >>> torch.sparse.as_sparse_gradcheck(torch.autograd.gradcheck)(lambda x: x.to_dense() ** 2, (s,))
    True
    """

    def checked(func: Callable[..., Any], inputs: Any, masked: bool = True, **kwargs: Any) -> bool:
        given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        parts: list[Any] = [
            x._vals.detach().requires_grad_(x.requires_grad) if isinstance(x, SparseTensor) else x
            for x in given
        ]

        def of_values(*values: Any) -> Any:
            args = [x._with(v) if isinstance(x, SparseTensor) else v for x, v in zip(given, values)]
            result = func(*args)
            many = result if isinstance(result, (tuple, list)) else (result,)
            dense = tuple(r.to_dense() if isinstance(r, SparseTensor) else r for r in many)
            return dense if isinstance(result, (tuple, list)) else dense[0]

        return gradcheck(of_values, tuple(parts), **kwargs)

    return checked
