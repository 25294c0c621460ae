"""Linear algebra: QR, LU, LDL, eigenvalues, singular values, and what is built from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.promotion import convert
from ..core.public import FUNCTIONS, public
from ..core.refusal import without_derivative
from ..core.state import tls
from ..core.tensor import Tensor, wrap
from ..prims import base
from ..prims import linalg as prim
from ..prims import linalg_decompositions as dec
from ..prims.base import from_value, sum_op
from ..prims.contract import adjoint, matmul_op
from ..prims.linalg import real_dtype, transpose, triangle
from ..prims.pointwise import abs as _abs
from ..prims.pointwise import maximum, where_op
from ..runtime import dtypes
from .args import dtype_of
from .linalg import broadcast_batch, check_floating, check_matrix, check_same_dtype, check_square
from .reduce import named
from .shape import broadcast_shapes, expand_to

_LinalgQR = named("linalg_qr", "Q", "R")
_QR = named("qr", "Q", "R")
_Geqrf = named("geqrf", "a", "tau")
_LuFactor = named("linalg_lu_factor", "LU", "pivots")
_LuFactorEx = named("linalg_lu_factor_ex", "LU", "pivots", "info")
_LU = named("linalg_lu", "P", "L", "U")
_LuUnpack = named("lu_unpack", "P", "L", "U")
_LdlFactor = named("linalg_ldl_factor", "LD", "pivots")
_LdlFactorEx = named("linalg_ldl_factor_ex", "LD", "pivots", "info")
_Eigh = named("linalg_eigh", "eigenvalues", "eigenvectors")
_Eig = named("linalg_eig", "eigenvalues", "eigenvectors")
_LinalgSVD = named("linalg_svd", "U", "S", "Vh")
_SVD = named("svd", "U", "S", "V")
_Lstsq = named("linalg_lstsq", "solution", "residuals", "rank", "singular_values")

# ------------------------------------------------------------------------------------------------- QR


@public(name="linalg_qr", method=False, out=True)
def linalg_qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q R, Q with orthonormal columns and R upper triangular; A is (*, m, n), k = min(m, n).

    mode "reduced": Q (*, m, k), R (*, k, n); "complete": Q (*, m, m), R (*, m, n); "r": Q empty, R (*, k, n).

    Raises: RuntimeError for another mode; when differentiated, for "r" and for "complete" with m > n.

    >>> import flambeau as torch
    >>> torch.linalg.qr(torch.tensor([[0., 2.], [3., 0.]])).R.abs()
    tensor([[3., 0.],
            [0., 2.]])
    """
    check_matrix(A, "linalg.qr")
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    return _LinalgQR(*dec.qr_op(A, mode=mode))


@public(out=True)
def qr(input: Tensor, some: bool = True) -> Any:
    """(Q, R): :func:`flambeau.linalg.qr` in mode "reduced" (some=True) or "complete"."""
    check_matrix(input, "linalg.qr")
    return _QR(*dec.qr_op(input, mode="reduced" if some else "complete"))


@public(out=True)
def geqrf(input: Tensor) -> Any:
    """(a, tau): the Householder reflectors of the QR factorisation, as LAPACK packs them (not differentiable)."""
    check_matrix(input, "geqrf", "input")
    return _Geqrf(*(without_derivative(x, "geqrf", "GeqrfBackward0", input) for x in dec.geqrf_op(input)))


def _reflectors(v: Tensor, tau: Tensor, name: str, first: str) -> tuple[Tensor, Tensor]:
    """V and T of the product I - V T V^H of reflectors (Joffrain et al., "Accumulating Householder transformations,
    revisited", 2006): T^-1 = diag(1/tau) + striu(V^H V), here in a form that allows tau = 0."""
    check_matrix(v, name, first)
    m, n = v._a.shape[-2:]
    k = tau._a.shape[-1] if tau._a.shape else 0
    check_same_dtype(v, tau, name, f"{first} and tau")
    lead = dec.block(v, slice(None), slice(0, k))
    unit = triangle(lead, False, -1) + from_value(np.eye(m, k, dtype=v._a.dtype))
    s = dec.rows(triangle(matmul_op(adjoint(unit), unit), True, 1), tau)
    t = prim.solve_triangular_op(s, dec.embed(tau), upper=True, unit=True)
    return unit, t


@public(
    name="linalg_householder_product", method=False, out=True, grad_name="LinalgHouseholderProductBackward0"
)
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product H_1 ... H_k of Householder reflectors H_i = I - tau_i v_i v_i^H.

    A (*, m, n) holds the v_i below its diagonal, tau is (*, k), m >= n >= k.

    Raises: RuntimeError for shapes or dtypes that do not fit.
    """
    name = "linalg.householder_product"
    if isinstance(A, Tensor) and len(A._a.shape) < 2:
        raise RuntimeError("torch.linalg.householder_product: input must have at least 2 dimensions.")
    m, n = A._a.shape[-2:]
    if m < n:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    k = tau._a.shape[-1] if tau._a.shape else 0
    if n < k:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if len(A._a.shape) - len(tau._a.shape) != 1:
        raise RuntimeError(
            "torch.linalg.householder_product: Expected tau to have one dimension less than input, but got tau.ndim equal to "
            f"{len(tau._a.shape)} and input.ndim is equal to {len(A._a.shape)}"
        )
    if A._a.shape[:-2] != tau._a.shape[:-1]:
        raise RuntimeError(
            f"torch.linalg.householder_product: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau._a.shape[:-1])}"
        )
    v, t = _reflectors(A, tau, name, "input")
    head = adjoint(dec.block(v, slice(0, n), slice(None)))
    return from_value(np.eye(m, n, dtype=A._a.dtype)) - matmul_op(v, matmul_op(t, head))  # type: ignore[no-any-return]


@public(out=True, grad_name="LinalgHouseholderProductBackward0")
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """Alias of :func:`flambeau.linalg.householder_product`."""
    return householder_product(input, input2)


@public(out=True, grad_name="OrmqrBackward0")
def ormqr(
    input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Q C (C Q for left=False; Q^H for transpose=True), Q being the product of the reflectors in `input` and `input2`
    (in PyTorch's documentation `tau`), C being `input3` (there `other`).

    Raises: RuntimeError for shapes or dtypes that do not fit.
    """
    tau, other = input2, input3
    for x, what in ((input, "input"), (other, "other")):
        if len(x._a.shape) < 2:
            raise RuntimeError(f"torch.ormqr: {what} must have at least 2 dimensions.")
    k = tau._a.shape[-1] if tau._a.shape else 0
    at = -2 if left else -1
    if other._a.shape[at] < k:
        raise RuntimeError(f"torch.ormqr: other.shape[{at}] must be greater than or equal to tau.shape[-1]")
    if other._a.shape[at] != input._a.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{at}] must be equal to input.shape[-2]")
    if input._a.shape[-1] < k:
        raise RuntimeError("torch.ormqr: tau.shape[-1] must be less than or equal to input.shape[-1]")
    if len(input._a.shape) - len(tau._a.shape) != 1:
        raise RuntimeError(
            f"torch.ormqr: Expected tau to have one dimension less than input, but got tau.ndim equal to {len(tau._a.shape)} and input.ndim is equal to {len(input._a.shape)}"
        )
    if len(input._a.shape) != len(other._a.shape):
        raise RuntimeError(
            f"torch.ormqr: Expected other to have the same number of dimensions as input, but got other.ndim equal to {len(other._a.shape)} and input.ndim is equal to {len(input._a.shape)}"
        )
    if not input._a.shape[:-2] == tau._a.shape[:-1] == other._a.shape[:-2]:
        raise RuntimeError(
            f"torch.ormqr: Expected batch dimensions of tau and other to be equal to input.shape[:-2], but got {list(tau._a.shape[:-1])} and {list(other._a.shape[:-2])}"
        )
    check_same_dtype(input, other, "torch.ormqr", "input and other")
    v, t = _reflectors(input, tau, "torch.ormqr", "input")
    t = adjoint(t) if transpose else t
    if left:
        return other - matmul_op(v, matmul_op(t, matmul_op(adjoint(v), other)))  # type: ignore[no-any-return]
    return other - matmul_op(matmul_op(matmul_op(other, v), t), adjoint(v))  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------- LU


def _need_pivot(pivot: bool, name: str) -> None:
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")


@public(name="linalg_lu_factor", method=False, out=True)
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots): L (unit, below the diagonal) and U packed in one matrix, and the row interchanges, from 1 (int32).

    Raises: LinAlgError when U has a zero on its diagonal (`lu_factor_ex` does not).
    """
    check_matrix(A, "linalg.lu_factor")
    _need_pivot(pivot, "linalg.lu_factor")
    return _LuFactor(*dec.lu_factor_op(A, check="torch.linalg.lu_factor"))


@public(name="linalg_lu_factor_ex", method=False, out=True)
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): info is the number of the first pivot that is zero, or 0.

    Raises: LinAlgError for a zero pivot with check_errors=True.
    """
    check_matrix(A, "linalg.lu_factor_ex")
    _need_pivot(pivot, "linalg.lu_factor_ex")
    packed, pivots = dec.lu_factor_op(A, check="torch.linalg.lu_factor_ex" if check_errors else "")
    return _LuFactorEx(packed, pivots, prim.lu_info_op(A))


def _unpack(packed: Tensor, pivots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    m, n = packed._a.shape[-2:]
    k = min(m, n)
    p = dec.permutation_op(pivots, n=m, dtype=packed._a.dtype)
    low = dec.unit_lower(dec.block(packed, slice(None), slice(0, k)))
    up = triangle(dec.block(packed, slice(0, k), slice(None)), True)
    return p, low, up


@public(name="linalg_lu", method=False, out=True, grad_name="LinalgLuBackward0")
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U: a permutation, a unit lower and an upper triangular matrix.

    >>> import flambeau as torch
    >>> P, L, U = torch.linalg.lu(torch.tensor([[0., 2.], [4., 2.]]))
    >>> U
    tensor([[4., 2.],
            [0., 2.]])
    """
    check_matrix(A, "linalg.lu")
    _need_pivot(pivot, "linalg.lu")
    return _LU(*_unpack(*dec.lu_factor_op(A, check="")))


@public(name="lu", out=True)
def old_lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots), and infos if asked: :func:`flambeau.linalg.lu_factor`."""
    check_matrix(A, "lu")
    _need_pivot(pivot, "lu")
    packed, pivots = dec.lu_factor_op(A, check="")
    return (packed, pivots, prim.lu_info_op(A)) if get_infos else (packed, pivots)


@public(out=True, method=False, grad_name="LuUnpackBackward0")
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """(P, L, U) of a packed factorisation; what is not asked for is empty.

    Raises: RuntimeError for pivots that are not int32 or not of the right shape.
    """
    if unpack_pivots and LU_pivots._a.dtype != np.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\nNote: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    if len(LU_data._a.shape) < 2:
        raise RuntimeError(
            f"lu_unpack: Expected tensor with 2 or more dimensions. Got size: {list(LU_data._a.shape)} instead"
        )
    m, n = LU_data._a.shape[-2:]
    empty = base.full((0,), 0, LU_data._a.dtype)
    if unpack_pivots and tuple(LU_pivots._a.shape) != (*LU_data._a.shape[:-2], min(m, n)):
        raise RuntimeError(
            f"lu_unpack: LU_pivots of shape {list(LU_pivots._a.shape)} does not fit LU_data of shape {list(LU_data._a.shape)}"
        )
    p = dec.permutation_op(LU_pivots, n=m, dtype=LU_data._a.dtype) if unpack_pivots else empty
    if not unpack_data:
        return _LuUnpack(p, empty, empty)
    k = min(m, n)
    low = dec.unit_lower(dec.block(LU_data, slice(None), slice(0, k)))
    return _LuUnpack(p, low, triangle(dec.block(LU_data, slice(0, k), slice(None)), True))


def _lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, left: bool, adj: bool, name: str) -> Tensor:
    check_square(LU, name, "LU")
    check_matrix(B, name, "B")
    check_same_dtype(LU, B, name, "LU and B")
    if pivots._a.dtype != np.int32:
        raise RuntimeError(
            f"{name}: pivots should be a Tensor of scalar type torch.int32. Got {dtype_of(pivots)}"
        )
    n = LU._a.shape[-1]
    if tuple(pivots._a.shape) != tuple(LU._a.shape[:-1]):
        raise RuntimeError(
            f"{name}: Number of pivots per batch should be same as the dimension of the matrix; pivots have shape "
            f"{list(pivots._a.shape)}, LU has {list(LU._a.shape)}"
        )
    if (B._a.shape[-2] if left else B._a.shape[-1]) != n:
        eq = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {eq} ({n}x{n} and {B._a.shape[-2]}x{B._a.shape[-1]})"
        )
    p = dec.permutation_op(pivots, n=n, dtype=LU._a.dtype)
    f, p, b = broadcast_batch(LU, p, B, name=name)
    if not left:  # X A = B is A^H X^H = B^H
        b, adj = adjoint(b), not adj
    if adj:
        fh = adjoint(f)
        y = prim.solve_triangular_op(fh, b, upper=False, unit=False)
        x = matmul_op(p, prim.solve_triangular_op(fh, y, upper=True, unit=True))
    else:
        y = prim.solve_triangular_op(f, matmul_op(transpose(p), b), upper=False, unit=True)
        x = prim.solve_triangular_op(f, y, upper=True, unit=False)
    return x if left else adjoint(x)


@public(name="linalg_lu_solve", method=False, out=True, grad_name="LinalgLuSolveBackward0")
def linalg_lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A X = B (X A = B for left=False; A^H for adjoint=True), given the factors of A from `lu_factor`."""
    return _lu_solve(LU, pivots, B, bool(left), bool(adjoint), "linalg.lu_solve")


@public(name="lu_solve", out=True, grad_name="LinalgLuSolveBackward0")
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A X = b, given the factors of A from `lu_factor`."""
    return _lu_solve(LU_data, LU_pivots, b, True, False, "lu_solve")


# ------------------------------------------------------------------------------------------------- LDL^H


def _ldl(A: Tensor, hermitian: bool, name: str, check: bool) -> Any:
    check_square(A, name)
    packed, pivots, info = dec.ldl_factor_op(A, hermitian=bool(hermitian), check=name if check else "")
    return packed, pivots, info


@public(name="linalg_ldl_factor", method=False, out=True)
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """(LD, pivots): the LDL^T (LDL^H if hermitian) factorisation, packed as LAPACK does (not differentiable)."""
    return _LdlFactor(*_ldl(A, hermitian, "torch.linalg.ldl_factor", True)[:2])


@public(name="linalg_ldl_factor_ex", method=False, out=True)
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """(LD, pivots, info): as `ldl_factor`; info is the number of the first zero on the diagonal of D, or 0."""
    return _LdlFactorEx(*_ldl(A, hermitian, "torch.linalg.ldl_factor_ex", bool(check_errors)))


@public(name="linalg_ldl_solve", method=False, out=True)
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, given the factors of A from `ldl_factor` (not differentiable)."""
    name = "torch.linalg.ldl_solve"
    check_square(LD, name, "LD")
    if len(B._a.shape) < 2:
        raise RuntimeError(
            f"{name}: Expected B to have at least 2 dimensions, but it has {len(B._a.shape)} dimensions instead"
        )
    if pivots._a.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {dtype_of(pivots)}")
    check_same_dtype(LD, B, name, "LD and B")
    if tuple(pivots._a.shape) != tuple(LD._a.shape[:-1]):
        raise RuntimeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape {list(pivots._a.shape)} instead"
        )
    if LD._a.shape[-1] != B._a.shape[-2]:
        raise RuntimeError(
            f"{name}: Incompatible matrix sizes: LD is {list(LD._a.shape)}, B is {list(B._a.shape)}"
        )
    f, b = broadcast_batch(LD, B, name=name)
    piv = expand_to(pivots, (*f._a.shape[:-2], pivots._a.shape[-1]))
    return dec.ldl_solve_op(f, piv, b, hermitian=bool(hermitian))  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------- eigenvalues


def _uplo(UPLO: Any, name: str) -> str:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO} ({name})")
    return UPLO.upper()


@public(name="linalg_eigh", method=False, out=True)
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric or Hermitian matrices: A = V diag(w) V^H, w real and ascending.

    Only the triangle named by UPLO is read.  Gradients through the vectors need distinct eigenvalues.

    Raises: RuntimeError for matrices that are not square, LinAlgError when there is no convergence.

    >>> import flambeau as torch
    >>> torch.linalg.eigh(torch.tensor([[2., 1.], [1., 2.]])).eigenvalues
    tensor([1., 3.])
    """
    check_square(A, "linalg.eigh")
    return _Eigh(*dec.eigh_op(A, uplo=_uplo(UPLO, "linalg.eigh")))


@public(name="linalg_eigvalsh", method=False, out=True)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric or Hermitian matrices, real and ascending."""
    check_square(A, "linalg.eigvalsh")
    return dec.eigvalsh_op(A, uplo=_uplo(UPLO, "linalg.eigvalsh"))  # type: ignore[no-any-return]


@public(name="linalg_eig", method=False, out=True)
def eig(A: Tensor) -> Any:
    """(eigenvalues, eigenvectors) of square matrices, complex; the vectors are columns of norm one."""
    check_square(A, "linalg.eig")
    return _Eig(*dec.eig_op(A))


@public(name="linalg_eigvals", method=False, out=True)
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of square matrices, complex, in no particular order."""
    check_square(A, "linalg.eigvals")
    return dec.eigvals_op(A)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------- singular values


@public(name="linalg_svd", method=False, out=True)
def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh, S descending; A is (*, m, n).

    full_matrices=False gives U (*, m, k) and Vh (*, k, n), k = min(m, n).  Gradients through the vectors need distinct
    singular values.

    Raises: RuntimeError when `driver` is given (it exists only for CUDA), LinAlgError when there is no convergence.

    >>> import flambeau as torch
    >>> torch.linalg.svd(torch.tensor([[3., 0.], [0., 4.]])).S
    tensor([4., 3.])
    """
    check_matrix(A, "linalg.svd")
    _no_driver(driver, "linalg.svd")
    return _LinalgSVD(*dec.svd_op(A, full=bool(full_matrices)))


def _no_driver(driver: str | None, name: str) -> None:
    if driver is not None:
        raise RuntimeError(
            f"torch.{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        )


@public(name="linalg_svdvals", method=False, out=True)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, descending."""
    check_matrix(A, "linalg.svdvals")
    _no_driver(driver, "linalg.svdvals")
    return dec.svdvals_op(A)  # type: ignore[no-any-return]


@public(out=True)
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) with input = U diag(S) V^H; U and V are zeros when compute_uv is False."""
    check_matrix(input, "linalg.svd")
    if not compute_uv:
        m, n = input._a.shape[-2:]
        batch = tuple(input._a.shape[:-2])
        zeros = [base.full((*batch, k, k), 0, input._a.dtype) for k in (m, n)]
        return _SVD(zeros[0], dec.svdvals_op(input), zeros[1])
    u, s, vh = dec.svd_op(input, full=not some)
    return _SVD(u, s, vh.mH)


# ------------------------------------------------------------------------------------------------- pseudo-inverse, rank


def tolerance(x: Any, batch: tuple[int, ...], d: Any, name: str) -> Tensor | None:
    """atol or rtol as a tensor of the batch's shape; None stays None."""
    if x is None:
        return None
    if isinstance(x, Tensor):
        if x._a.dtype.kind == "c":
            raise RuntimeError(
                f"{name}: tolerance tensors of complex type are not supported. Got {dtype_of(x)}"
            )
        x = base.convert_to(x, d)
        shape = tuple(broadcast_shapes(tuple(x._a.shape), batch))
        return expand_to(x, shape)
    return base.full(batch, float(x), d)


def tolerances(A: Tensor, atol: Any, rtol: Any, name: str) -> tuple[Tensor, Tensor]:
    """Both tolerances; rtol defaults to eps * max(m, n), or to 0 when atol is given and positive."""
    batch, d = tuple(A._a.shape[:-2]), real_dtype(A._a.dtype)
    default = float(np.finfo(d).eps) * max(A._a.shape[-2:], default=0)
    a = tolerance(atol, batch, d, name)
    r = tolerance(rtol, batch, d, name)
    if r is None:
        r = base.full(batch, default, d)
        if a is not None:
            r = where_op(a > 0, 0, r)
    if a is None:
        a = base.full(batch, 0, d)
    shape = tuple(broadcast_shapes(tuple(a._a.shape), tuple(r._a.shape)))
    return expand_to(a, shape), expand_to(r, shape)


@public(name="linalg_pinv", method=False, out=True, grad_name="LinalgPinvBackward0")
def linalg_pinv(
    A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """The Moore-Penrose inverse (*, n, m) of A (*, m, n).

    Singular values up to max(atol, rtol * largest) count as zero; rtol defaults to eps * max(m, n).

    >>> import flambeau as torch
    >>> torch.linalg.pinv(torch.tensor([[2., 0.], [0., 0.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    if isinstance(rcond, bool):  # pinv(A, hermitian)
        rcond, hermitian = None, rcond
    if hermitian:
        check_square(A, "linalg.pinv")
    else:
        check_matrix(A, "linalg.pinv")
    a, r = tolerances(A, atol, rtol if rtol is not None else rcond, "torch.linalg.pinv")
    x = expand_to(A, (*a._a.shape, *A._a.shape[-2:]))
    return dec.pinv_op(x, a, r, hermitian=bool(hermitian))  # type: ignore[no-any-return]


@public(grad_name="LinalgPinvBackward0")
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """Alias of :func:`flambeau.linalg.pinv`, with its old default tolerance."""
    return linalg_pinv(input, rcond)


@public(name="linalg_matrix_rank", method=False, out=True)
def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values exceed max(atol, rtol * largest) (int64); rtol defaults to eps * max(m, n)."""
    name = "torch.linalg.matrix_rank"
    if isinstance(tol, bool):
        tol, hermitian = None, tol
    if hermitian:
        check_square(A, name)
    else:
        check_matrix(A, name)
    if tol is not None:
        atol, rtol = tol, 0.0
    a, r = tolerances(A, atol, rtol, name)
    if 0 in A._a.shape[-2:]:
        return base.full(tuple(a._a.shape), 0, np.dtype(np.int64))
    s = _abs(dec.eigvalsh_op(A, uplo="L")) if hermitian else dec.svdvals_op(A)
    largest = s.amax(-1) if hermitian else s.select(-1, 0)
    limit = maximum(a, r * largest).unsqueeze(-1)
    return sum_op(convert(s > limit, dtypes.int64), dims=(len(limit._a.shape) - 1,))  # type: ignore[no-any-return]


DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _without_gradients(a: Tensor, b: Tensor, rcond: float | None) -> tuple[Tensor, Tensor] | None:
    """(solution, rank) from LAPACK, where nothing is recorded, transformed or compiled; else None."""
    if tls.stack or tls.capture is not None or a._node is not None or b._node is not None:
        return None
    limit = float(np.finfo(a._a.dtype).eps) * max(a._a.shape[-2:]) if rcond is None else rcond
    found = dec.least_squares(raw(a), raw(b), limit)
    return None if found is None else (wrap(found[0]), wrap(found[1]))


@public(name="linalg_lstsq", method=False, out=True, grad_name="LinalgLstsqBackward0")
def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min ||A X - B||, A (*, m, n), B (*, m, k) or (*, m).

    The solution of least norm, through the singular values larger than rcond * largest (default eps * max(m, n)).
    `residuals` is filled when m > n and every matrix has full rank; `rank` is empty for driver "gels" (which assumes
    full rank), `singular_values` for "gels" and "gelsy" (the default).

    Raises: RuntimeError for shapes, dtypes or drivers that do not fit.
    """
    name = "torch.linalg.lstsq"
    check_floating(A, name)
    if len(A._a.shape) < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if not len(B._a.shape):
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    check_same_dtype(A, B, name, "input and other")
    gap = len(A._a.shape) - len(B._a.shape)
    if not 0 <= gap <= 1:
        raise RuntimeError(
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1"
        )
    driver = "gelsy" if driver is None else driver
    if driver not in DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    m, n = A._a.shape[-2:]
    vector = gap == 1 and tuple(B._a.shape) == tuple(A._a.shape[:-1])
    rhs = B.unsqueeze(-1) if vector else B
    if len(rhs._a.shape) < 2 or rhs._a.shape[-2] != m:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size(-{1 if vector else 2}): A is {list(A._a.shape)}, B is {list(B._a.shape)}"
        )
    a, b = broadcast_batch(A, rhs, name=name)
    if driver == "gelsy" and (rcond is None or type(rcond) is float):
        found = _without_gradients(a, b, rcond)
        if found is not None:
            none = base.full((0,), 0, real_dtype(A._a.dtype))
            return _Lstsq(found[0].squeeze(-1) if vector else found[0], none, found[1], none)
    atol, rtol = tolerances(a, None, rcond, name)
    if driver == "gels":
        rtol = rtol * 0
    x = matmul_op(dec.pinv_op(a, atol, rtol, hermitian=False), b)
    real = real_dtype(A._a.dtype)
    none = base.full((0,), 0, real)
    nothing = x.reshape(-1)[:0]  # without residuals: empty, but part of the graph
    nothing = FUNCTIONS["real"](nothing) if real != A._a.dtype else nothing
    s = rank = none
    if driver in ("gelsd", "gelss"):
        s = dec.svdvals_op(A.detach())
    if driver != "gels":
        rank = matrix_rank(A.detach(), rtol=rcond)
    residuals = nothing
    if m > n and 0 not in b._a.shape and driver != "gelsy":
        r = matmul_op(a, x) - b
        size = _abs(r)
        residuals = sum_op(size * size, dims=(len(r._a.shape) - 2,))
        if driver != "gels":
            residuals = dec.if_full_rank_op(residuals, rank, n=int(n))
    empty_rank = base.full((0,), 0, np.dtype(np.int64))
    values = s if driver in ("gelsd", "gelss") else none
    solution = x.squeeze(-1) if vector else x
    return _Lstsq(solution, residuals, empty_rank if driver == "gels" else rank, values)
