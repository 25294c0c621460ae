"""Row numbers of sorted entries, and where each row begins: the two ways to write down the rows of a sparse matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.tensor import Tensor
from ..prims.base import from_value
from ..runtime import dtypes

__all__ = ["_convert_indices_from_coo_to_csr", "_convert_indices_from_csr_to_coo"]


def _integers(name: str, x: Any, what: str, dims: tuple[int, ...]) -> Any:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(x).__name__}")
    a = raw(x)
    if a.dtype not in (np.int32, np.int64) or a.ndim not in dims:
        raise RuntimeError(
            f"{name}: {what} must be int32 or int64 with {dims[0]} dims, not {x.dtype} with {a.ndim}"
        )
    return a


def _convert_indices_from_coo_to_csr(input: Tensor, size: int, *, out_int32: bool = False) -> Tensor:
    """Where each of `size` rows begins in the sorted row numbers `input`, shape (n,), and n at the end: (size + 1,).

    Raises: RuntimeError for other than sorted integers below `size`.

    >>> import flambeau as torch
    >>> torch._convert_indices_from_coo_to_csr(torch.tensor([0, 0, 2]), 3)
    tensor([0, 2, 2, 3])
    """
    rows = _integers("_convert_indices_from_coo_to_csr", input, "input", (1,))
    if rows.size and (rows[0] < 0 or rows[-1] >= size or (rows[1:] < rows[:-1]).any()):
        raise RuntimeError(f"row numbers must be sorted, and from 0 to {size - 1}")
    begins = np.searchsorted(rows, np.arange(size + 1))
    return from_value(begins.astype((dtypes.int32 if out_int32 else dtypes.int64).numpy))


def _convert_indices_from_csr_to_coo(
    crow_indices: Tensor, col_indices: Tensor, *, out_int32: bool = False, transpose: bool = False
) -> Tensor:
    """The row and column of each entry, shape (2, n), from where rows begin; `transpose` puts the columns first.

    Raises: RuntimeError where the two do not fit.

    >>> import flambeau as torch
    >>> torch._convert_indices_from_csr_to_coo(torch.tensor([0, 2, 2, 3]), torch.tensor([1, 0, 2]))
    tensor([[0, 0, 2],
            [1, 0, 2]])
    """
    name = "_convert_indices_from_csr_to_coo"
    begins = _integers(name, crow_indices, "crow_indices", (1,))
    columns = _integers(name, col_indices, "col_indices", (1,))
    counts = np.diff(begins)
    if not begins.size or begins[0] != 0 or begins[-1] != columns.size or (counts < 0).any():
        raise RuntimeError(f"{name}: crow_indices must rise from 0 to the number of entries, {columns.size}")
    rows = np.repeat(np.arange(counts.size), counts)
    pair = (columns, rows) if transpose else (rows, columns)
    return from_value(np.stack(pair).astype((dtypes.int32 if out_int32 else dtypes.int64).numpy))
