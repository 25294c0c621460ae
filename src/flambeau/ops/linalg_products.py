"""Linear algebra: chains, powers and exponentials of matrices, tensor equations, products of vectors, distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.grad_names import rename
from ..core.promotion import convert
from ..core.public import FUNCTIONS, public
from ..core.tensor import Tensor
from ..prims import base
from ..prims import linalg as prim
from ..prims.base import from_value, sum_op
from ..prims.contract import adjoint, cross_op, matmul_op
from ..prims.indexing import cat_op
from ..prims.linalg import transpose
from ..prims.linalg_decompositions import qr_op, svd_op
from ..prims.pointwise import conj, where_op
from ..runtime import dtypes
from .args import dtype_of, wrap_dim
from .contraction import _root, vector_norm
from .layouts import in_own_order
from .linalg import check_floating, check_square, inv, solve
from .rearrange import diagonal
from .shape import broadcast_tensors, expand_to

# ------------------------------------------------------------------------------------------------- chains, powers


def _best_splits(sizes: Sequence[int]) -> list[list[int]]:
    """Where to split each chain i..j for the fewest multiplications (Cormen et al., Introduction to Algorithms, 15.2)."""
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = [
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            ]
            cost[i][j], split[i][j] = min(options)
            if (
                n == 3 and options[-1][0] == cost[i][j]
            ):  # PyTorch starts from the left when both orders cost the same
                split[i][j] = options[-1][1]
    return split


@public(name="linalg_multi_dot", method=False, out=True)
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices in the order that needs fewest multiplications.

    The first and the last may be vectors.

    Raises: RuntimeError for fewer than two, or for shapes and dtypes that do not fit.

    >>> import flambeau as torch
    >>> torch.linalg.multi_dot([torch.ones(2, 3), torch.ones(3, 1), torch.ones(1)])
    tensor([3., 3.])
    """
    xs = list(tensors)
    n = len(xs)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    for i, x in enumerate(xs):
        nd = len(x._a.shape)
        if i in (0, n - 1):
            if nd not in (1, 2):
                raise RuntimeError(
                    f"multi_dot(): the {'first' if i == 0 else 'last'} tensor must be 1D or 2D but got {nd}D"
                )
        elif nd != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {nd}D")
        if x._a.dtype != xs[0]._a.dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {dtype_of(xs[0])} and tensor {i} {dtype_of(x)}"
            )
    row, col = len(xs[0]._a.shape) == 1, len(xs[-1]._a.shape) == 1
    if row:
        xs[0] = base.reshape(xs[0], (1, xs[0]._a.shape[0]))
    if col:
        xs[-1] = base.reshape(xs[-1], (xs[-1]._a.shape[0], 1))
    for i in range(n - 1):
        if xs[i]._a.shape[1] != xs[i + 1]._a.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(xs[i]._a.shape)} and {list(xs[i + 1]._a.shape)} cannot be multiplied"
            )
    split = _best_splits([xs[0]._a.shape[0], *[x._a.shape[1] for x in xs]])

    def chain(i: int, j: int) -> Tensor:
        if i == j:
            return xs[i]
        k = split[i][j]
        return matmul_op(chain(i, k), chain(k + 1, j))  # type: ignore[no-any-return]

    y = chain(0, n - 1)
    shape = (*(() if row else (y._a.shape[0],)), *(() if col else (y._a.shape[1],)))
    return base.reshape(y, shape)


@public(method=False)
def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """Alias of :func:`flambeau.linalg.multi_dot` for matrices given one by one."""
    xs = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)) else matrices
    for i, x in enumerate(xs):
        if len(x._a.shape) != 2:
            raise RuntimeError(
                f"chain_matmul: Tensor dimension is {len(x._a.shape)}, expected 2 instead (argument {i})"
            )
    if not xs:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    if len(xs) == 1:
        return xs[0].clone()  # type: ignore[no-any-return]
    return multi_dot(xs) if out is None else multi_dot(xs, out=out)  # type: ignore[call-arg]


@public(name="matrix_power", out=True, aliases=("linalg_matrix_power",))
def matrix_power(input: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices, by repeated squaring; negative powers are those of the inverse.

    Raises: RuntimeError for matrices that are not square, LinAlgError for a negative power of a singular one.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_power(torch.tensor([[1., 1.], [0., 1.]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    s = input._a.shape
    if len(s) < 2:
        raise RuntimeError("linalg.matrix_power: The input tensor A must have at least 2 dimensions.")
    if s[-1] != s[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {s[-2]} by {s[-1]} matrices"
        )
    n = n.__index__()
    if n == 0:
        one = expand_to(prim.eye_like(input, s[-1]), tuple(s))
        y = where_op(from_value(np.array(True)), one, input)
        return rename(y, "torch::autograd::CopyBackwards")  # type: ignore[no-any-return]
    if n == -1:
        return inv(input)
    if n < 0:
        return matrix_power(inv(input), -n)
    matmul = FUNCTIONS["matmul"]
    result: Tensor | None = None
    square = input
    while True:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        if not n:
            break
        square = matmul(square, square)
    assert result is not None
    return result.clone() if result is input else result


@public(name="matrix_exp", aliases=("linalg_matrix_exp",))
def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of square matrices (Al-Mohy & Higham 2009, scaling and squaring).

    Raises: RuntimeError for matrices that are not square or not floating.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_exp(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if isinstance(input, Tensor) and input._a.dtype.itemsize == 2 and input._a.dtype.kind in "fV":
        return convert(matrix_exp(convert(input, dtypes.float32)), dtype_of(input))
    check_square(input, "linalg.matrix_exp")
    return prim.matrix_exp_op(input)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------- tensor equations


@public(name="linalg_tensorinv", method=False, out=True, grad_name="ReshapeAliasBackward0")
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of the linear map that `tensordot` with A is: A's first `ind` dims and the rest have equal sizes.

    Raises: RuntimeError when they have not, LinAlgError when the map is singular.
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    s = tuple(A._a.shape)
    rows, cols = math.prod(s[:ind]), math.prod(s[ind:])
    if rows != cols:
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got {cols} != {rows}"
        )
    return base.reshape(inv(base.reshape(A, (rows, cols))), (*s[ind:], *s[:ind]))


@public(name="linalg_tensorsolve", method=False, out=True)
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with ``tensordot(A, X, X.ndim) == B``; `dims` of A are first moved to its end.

    Raises: RuntimeError for sizes that do not fit, LinAlgError when the system is singular.
    """
    nd = len(A._a.shape)
    if dims is not None:
        last = [wrap_dim(d, nd) for d in dims]
        A = base.permute_op(A, dims=(*[d for d in range(nd) if d not in last], *last))
    shape = tuple(A._a.shape[len(B._a.shape) :])
    n = math.prod(shape)
    if n != math.prod(B._a.shape):
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got {n} != {math.prod(B._a.shape)}"
        )
    return base.reshape(solve(base.reshape(A, (n, n)), base.reshape(B, (n,))), shape)


# ------------------------------------------------------------------------------------------------- vectors


def _vecdot_name(args: Any, kwargs: Any) -> str:
    x = args[0] if args else kwargs["x"]
    return "VdotBackward0" if len(x._a.shape) == 1 else "SumBackward1"


@public(name="linalg_vecdot", method=False, out=True, grad_name=_vecdot_name)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner products over `dim`, the first vector conjugated; other dims broadcast."""
    check_floating(x, "linalg.vecdot", low_precision=True)
    if x._a.dtype != y._a.dtype:
        raise RuntimeError(
            f"linalg.vecdot: Expected x and y to have the same dtype, but found {dtype_of(x)} and {dtype_of(y)} instead"
        )
    z = conj(x) * y
    return sum_op(z, dims=(wrap_dim(dim, len(z._a.shape)),))  # type: ignore[no-any-return]


@public(name="linalg_cross", method=False, out=True, grad_name="LinalgCrossBackward0")
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross products of vectors of three elements along `dim`; other dims broadcast.

    Raises: RuntimeError for other sizes or different numbers of dims.

    >>> import flambeau as torch
    >>> torch.linalg.cross(torch.tensor([1., 0., 0.]), torch.tensor([0., 1., 0.]))
    tensor([0., 0., 1.])
    """
    na, nb = len(input._a.shape), len(other._a.shape)
    if na != nb:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    d = wrap_dim(dim, na)
    sizes = [x._a.shape[d] if x._a.shape else 1 for x in (input, other)]
    if sizes != [3, 3]:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {sizes[0]} and {sizes[1]}"
        )
    d_type = dtypes.promote_types(dtype_of(input), dtype_of(other))
    a, b = broadcast_tensors(convert(input, d_type), convert(other, d_type))
    return in_own_order(cross_op(a, b, dim=d))


@public(name="linalg_vander", method=False)
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The Vandermonde matrices of vectors (*, n): columns x^0 ... x^(N-1), N = n by default.

    Raises: RuntimeError for N < 2.
    """
    if not x._a.shape:
        x = base.reshape(x, (1,))
    n = x._a.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError(f"N must be greater than 1. Got {n}")
    if x._a.dtype.kind in "bui":
        x = convert(x, dtypes.int64)
    column = x.unsqueeze(-1)
    powers = expand_to(column, (*x._a.shape, n - 1)).cumprod(-1)
    return cat_op(column * 0 + 1, powers, dim=len(powers._a.shape) - 1)  # type: ignore[no-any-return]


@public(name="linalg_diagonal", method=False)
def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a view: :func:`flambeau.diagonal` over the last two dims."""
    return diagonal(A, offset, dim1, dim2)


@public(name="linalg_matmul", method=False, out=True)
def linalg_matmul(input: Tensor, other: Tensor) -> Tensor:
    """Alias of :func:`flambeau.matmul`."""
    return FUNCTIONS["matmul"](input, other)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------- distances


MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


@public(method=False, grad_name="CdistBackward0")
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = MODES[0]) -> Tensor:
    """The p-norm distance (*, P, R) of each row of x1 (*, P, M) from each row of x2 (*, R, M).

    For p = 2 and more than 25 rows, through one matrix product (faster, and less exact for near points).

    Raises: RuntimeError for shapes, dtypes or p that do not fit.

    >>> import flambeau as torch
    >>> torch.cdist(torch.tensor([[0., 0.]]), torch.tensor([[3., 4.], [0., 1.]]))
    tensor([[5., 1.]])
    """
    for x, what in ((x1, "X1"), (x2, "X2")):
        if len(x._a.shape) < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {what} got: {len(x._a.shape)}D")
    if x1._a.shape[-1] != x2._a.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1._a.shape[-1]} X2: {x2._a.shape[-1]}"
        )
    for x, what in ((x1, "X1"), (x2, "X2")):
        if x._a.dtype.kind not in "fV":
            raise RuntimeError(f"cdist only supports floating-point dtypes, {what} got: {dtype_of(x)}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if compute_mode not in MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    d = dtypes.promote_types(dtype_of(x1), dtype_of(x2))
    a, b = convert(x1, d), convert(x2, d)
    if a._a.shape[-1] == 0:
        return (a.unsqueeze(-2) * b.unsqueeze(-3)).sum(-1)  # type: ignore[no-any-return]
    rows = max(a._a.shape[-2], b._a.shape[-2])
    if p == 2 and compute_mode != MODES[2] and (rows > 25 or compute_mode == MODES[1]):
        last = (len(a._a.shape) - 1,), (len(b._a.shape) - 1,)
        aa, bb = sum_op(a * a, dims=last[0]).unsqueeze(-1), sum_op(b * b, dims=last[1]).unsqueeze(-2)
        squares = aa + bb - 2 * FUNCTIONS["matmul"](a, transpose(b))
        return _root(squares.clamp_min(0), 0.5)
    difference = a.unsqueeze(-2) - b.unsqueeze(-3)
    return vector_norm(difference, float(p), (len(difference._a.shape) - 1,), False)


# ------------------------------------------------------------------------------------------------- low rank


def _basis(A: Tensor, q: int, niter: int) -> Tensor:
    """An orthonormal basis of (most of) the range of A: Halko et al. (2011), algorithm 4.4."""
    R = FUNCTIONS["randn"](A._a.shape[-1], q, dtype=dtype_of(A))
    Ah = adjoint(A)
    Q = qr_op(FUNCTIONS["matmul"](A, R), mode="reduced")[0]
    for _ in range(niter):
        Q = qr_op(matmul_op(Ah, Q), mode="reduced")[0]
        Q = qr_op(matmul_op(A, Q), mode="reduced")[0]
    return Q  # type: ignore[no-any-return]


def _low_rank(A: Tensor, q: int, niter: int) -> tuple[Tensor, Tensor, Tensor]:
    """Halko et al. (2011), algorithm 5.1."""
    wide = A._a.shape[-2] < A._a.shape[-1]
    if wide:
        A = adjoint(A)
    Q = _basis(A, q, niter)
    U, S, Vh = svd_op(matmul_op(adjoint(Q), A), full=False)
    U, V = FUNCTIONS["matmul"](Q, U), adjoint(Vh)
    rename(V, "ConjBackward0" if V._a.dtype.kind == "c" else "TransposeBackward0")
    return (V, S, U) if wide else (U, S, V)


@public(method=False)
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> Any:
    """(U, S, V) with A ≈ U diag(S) V^H of rank q, by a randomised method (Halko et al. 2011); M is subtracted from A.

    Draws from the default generator as PyTorch does.
    """
    check_floating(A, "svd_lowrank")
    if M is not None:
        A = A - expand_to(M, tuple(A._a.shape))
    return _low_rank(A, 6 if q is None else q, 2 if niter is None else niter)


@public(method=False)
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """(U, S, V) of a principal component analysis of rank q (default min(6, m, n)), by `svd_lowrank`.

    Raises: ValueError for q or niter out of range.
    """
    check_floating(A, "pca_lowrank")
    m, n = A._a.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return _low_rank(A - A.mean(-2, True) if center else A, q, niter)
