"""The standard's linear algebra extension: `flambeau.array_api.linalg`."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.promotion import convert
from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..runtime.dtypes import FLOATING, dtype
from . import linear_algebra as _main
from .arrays import Array, standard
from .promotion import tensor_of, together
from .statistics import sum as _sum

__all__ = [
    *("cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm"),
    *("matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd"),
    *("svdvals", "tensordot", "trace", "vecdot", "vector_norm"),
]


matmul, matrix_transpose = _main.matmul, _main.matrix_transpose  # the same functions as in the main namespace
tensordot, vecdot = _main.tensordot, _main.vecdot


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Array
    eigenvectors: Array


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Array
    R: Array


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Array
    logabsdet: Array


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Array
    S: Array
    Vh: Array


@standard
def cholesky(x: Tensor, /, *, upper: bool = False) -> Any:
    """The triangular L (or U) with ``x = L @ L^H`` for Hermitian positive definite matrices.

    Raises: LinAlgError for matrices that are not.
    """
    return FUNCTIONS["linalg_cholesky"](x, upper=upper)


@standard
def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Any:
    """The cross product of vectors with three elements along an axis; other axes broadcast."""
    a, b = together("cross", x1, x2)
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ValueError(f"cross(): three elements are needed along axis {axis}, got {a.shape[axis]} and {b.shape[axis]}")  # fmt: skip
    a, b = FUNCTIONS["broadcast_tensors"](a, b)
    return FUNCTIONS["linalg_cross"](a, b, dim=axis)


@standard
def det(x: Tensor, /) -> Any:
    """The determinants of square matrices."""
    return FUNCTIONS["linalg_det"](x)


@standard
def diagonal(x: Tensor, /, *, offset: int = 0) -> Any:
    """The diagonals of matrices (above the main one for a positive offset)."""
    return tensor_of(x, "diagonal").diagonal(offset, -2, -1)


@standard
def eigh(x: Tensor, /) -> Any:
    """Eigenvalues (ascending) and eigenvectors of Hermitian matrices."""
    values, vectors = FUNCTIONS["linalg_eigh"](x)
    return EighResult(values, vectors)


@standard
def eigvalsh(x: Tensor, /) -> Any:
    """The eigenvalues of Hermitian matrices, ascending."""
    return FUNCTIONS["linalg_eigvalsh"](x)


@standard
def inv(x: Tensor, /) -> Any:
    """The inverses of square matrices.

    Raises: LinAlgError for a singular matrix.
    """
    return FUNCTIONS["linalg_inv"](x)


@standard
def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norms of matrices: "fro", "nuc", or 1, 2, inf and their negatives."""
    return FUNCTIONS["linalg_matrix_norm"](x, ord=ord, keepdim=keepdims)


@standard
def matrix_power(x: Tensor, n: int, /) -> Any:
    """Square matrices raised to an integer power (negative powers invert)."""
    return FUNCTIONS["linalg_matrix_power"](x, n)


@standard
def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Any:
    """How many singular values exceed `rtol` times the greatest; by default eps times the larger size.

    Raises: ValueError below two dimensions.
    """
    if tensor_of(x, "matrix_rank").ndim < 2:
        raise ValueError(f"matrix_rank(): matrices are needed, got shape {tuple(x.shape)}")
    return FUNCTIONS["linalg_matrix_rank"](x, rtol=rtol)


@standard
def outer(x1: Tensor, x2: Tensor, /) -> Any:
    """The products of all pairs of elements of two vectors.

    Raises: ValueError unless both have one dimension.
    """
    a, b = together("outer", x1, x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer(): vectors are needed, got shapes {tuple(a.shape)} and {tuple(b.shape)}")
    return a[:, None] * b[None, :]


@standard
def pinv(x: Tensor, /, *, rtol: Any = None) -> Any:
    """The pseudo-inverses of matrices; singular values below `rtol` times the greatest count as zero."""
    return FUNCTIONS["linalg_pinv"](x, rtol=rtol)


@standard
def qr(x: Tensor, /, *, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and an upper triangular R, ``x = Q @ R``.

    Raises: ValueError for a mode other than "reduced" and "complete".
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr(): mode must be 'reduced' or 'complete', not {mode!r}")
    q, r = FUNCTIONS["linalg_qr"](x, mode=mode)
    return QRResult(q, r)


@standard
def slogdet(x: Tensor, /) -> Any:
    """The sign of the determinants of square matrices, and the logarithm of their absolute value."""
    sign, logabsdet = FUNCTIONS["linalg_slogdet"](x)
    return SlogdetResult(sign, logabsdet)


@standard
def solve(x1: Tensor, x2: Tensor, /) -> Any:
    """The solution of ``x1 @ x = x2``: `x2` is one vector when it has one dimension, else a stack of matrices.

    Raises: LinAlgError for a singular matrix.
    """
    a, b = together("solve", x1, x2)
    if b.ndim == 1:
        return FUNCTIONS["linalg_solve"](a, b.expand(*a.shape[:-2], b.shape[0]).unsqueeze(-1)).squeeze(-1)
    lead = FUNCTIONS["broadcast_shapes"](a.shape[:-2], b.shape[:-2])
    return FUNCTIONS["linalg_solve"](a.expand(*lead, *a.shape[-2:]), b.expand(*lead, *b.shape[-2:]))


@standard
def svd(x: Tensor, /, *, full_matrices: bool = True) -> Any:
    """U, the singular values (descending) and V^H, ``x = U @ diag(S) @ Vh``."""
    u, s, vh = FUNCTIONS["linalg_svd"](x, full_matrices=full_matrices)
    return SVDResult(u, s, vh)


@standard
def svdvals(x: Tensor, /) -> Any:
    """The singular values of matrices, descending."""
    return FUNCTIONS["linalg_svdvals"](x)


@standard
def trace(x: Tensor, /, *, offset: int = 0, dtype: dtype | None = None) -> Any:
    """The sums of the diagonals of matrices; integers are added up in 64 bits."""
    if tensor_of(x, "trace").ndim < 2:
        raise ValueError(f"trace(): matrices are needed, got shape {tuple(x.shape)}")
    return _sum(x.diagonal(offset, -2, -1), axis=-1, dtype=dtype)


@standard
def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norms of vectors along the axes (of the flattened array when None), for any order including inf and 0."""
    from .statistics import axes_of

    if tensor_of(x, "vector_norm").dtype.category < FLOATING:
        raise TypeError(f"vector_norm(): a floating dtype is needed, got {x.dtype}")
    axes = axes_of(axis, x.ndim, "vector_norm")
    if not axes:  # each element by itself
        magnitude = FUNCTIONS["abs"](x)
        return convert(magnitude != 0, magnitude.dtype) if ord == 0 else magnitude
    return FUNCTIONS["linalg_vector_norm"](x, ord=ord, dim=axes, keepdim=keepdims)
