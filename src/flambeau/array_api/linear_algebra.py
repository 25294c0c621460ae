"""Products of arrays: the part of linear algebra that is in the main namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from .arrays import standard
from .promotion import tensor_of, together

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]


@standard
def matmul(x1: Tensor, x2: Tensor, /) -> Any:
    """The matrix product of vectors, matrices or stacks of matrices.

    Raises: ValueError for arrays of no dimensions; RuntimeError for sizes that do not fit.
    """
    if tensor_of(x1, "matmul").ndim == 0 or tensor_of(x2, "matmul").ndim == 0:
        raise ValueError("matmul(): arrays of at least one dimension are needed")
    a, b = together("matmul", x1, x2)
    return FUNCTIONS["matmul"](a, b)


@standard
def matrix_transpose(x: Tensor, /) -> Any:
    """The transpose of each matrix of a stack.

    Raises: ValueError below two dimensions.
    """
    if tensor_of(x, "matrix_transpose").ndim < 2:
        raise ValueError(
            f"matrix_transpose(): at least two dimensions are needed, got shape {tuple(x.shape)}"
        )
    return x.transpose(-2, -1)


@standard
def tensordot(x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Any:
    """The sum of products over pairs of axes: the last `axes` of `x1` with the first of `x2`, or those listed."""
    a, b = together("tensordot", tensor_of(x1, "tensordot"), tensor_of(x2, "tensordot"))
    dims = axes if isinstance(axes, int) else tuple([*pair] for pair in axes)
    return FUNCTIONS["tensordot"](a, b, dims)


@standard
def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Any:
    """The dot product of vectors along an axis (counted from the end), with `x1` conjugated; other axes broadcast.

    Raises: ValueError unless the sizes along the axis are the same.
    """
    a, b = together("vecdot", tensor_of(x1, "vecdot"), tensor_of(x2, "vecdot"))
    if axis >= 0 and a.ndim != b.ndim or not -min(a.ndim, b.ndim) <= axis < a.ndim:
        raise IndexError(f"vecdot(): axis {axis} does not fit shapes {tuple(a.shape)} and {tuple(b.shape)}")
    if a.shape[axis] != b.shape[axis]:
        raise ValueError(f"vecdot(): sizes {a.shape[axis]} and {b.shape[axis]} along axis {axis} differ")
    a, b = a.movedim(axis, -1), b.movedim(axis, -1)
    a = FUNCTIONS["conj"](a) if a.dtype.is_complex else a
    return FUNCTIONS["matmul"](a.unsqueeze(-2), b.unsqueeze(-1)).squeeze(-1).squeeze(-1)
