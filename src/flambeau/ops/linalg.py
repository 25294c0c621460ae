"""Linear algebra: inverse, systems of equations, determinants, Cholesky; and the checks that all of it shares."""

from __future__ import annotations

from typing import Any

from ..core.public import public
from ..core.tensor import Tensor
from ..prims import base
from ..prims import linalg as prim
from ..prims.contract import adjoint
from ..prims.linalg import transpose
from ..prims.pointwise import log
from .args import dtype_of
from .reduce import named
from .shape import broadcast_shapes, expand_to

_InvEx = named("linalg_inv_ex", "inverse", "info")
_SolveEx = named("linalg_solve_ex", "result", "info")
_CholeskyEx = named("linalg_cholesky_ex", "L", "info")
_LinalgSlogdet = named("linalg_slogdet", "sign", "logabsdet")
_TriangularSolve = named("triangular_solve", "solution", "cloned_coefficient")

# ------------------------------------------------------------------------------------------------- checks


def check_floating(x: Any, name: str, low_precision: bool = False) -> None:
    """Raises: TypeError when not a tensor, RuntimeError when not of a floating or complex dtype LAPACK knows."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'A' must be Tensor, not {type(x).__name__}")
    kind = x._a.dtype.kind
    if kind not in "fcV":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {dtype_of(x)}")
    if x._a.dtype.itemsize < 4 and not low_precision:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {dtype_of(x)}")


def check_matrix(x: Any, name: str, arg: str = "A") -> None:
    """Raises: as `check_floating`, and RuntimeError for fewer than two dims."""
    check_floating(x, name)
    if len(x._a.shape) < 2:
        raise RuntimeError(
            f"{name}: The input tensor {arg} must have at least 2 dimensions, got {len(x._a.shape)} dimensions instead."
        )


def check_square(x: Any, name: str, arg: str = "A") -> None:
    """Raises: as `check_matrix`, and RuntimeError for matrices that are not square."""
    check_matrix(x, name, arg)
    m, n = x._a.shape[-2:]
    if m != n:
        raise RuntimeError(
            f"{name}: {arg} must be batches of square matrices, but they are {m} by {n} matrices"
        )


def check_same_dtype(a: Tensor, b: Tensor, name: str, names: str = "A and B") -> None:
    if a._a.dtype != b._a.dtype:
        first, _, second = names.partition(" and ")
        raise RuntimeError(
            f"{name}: Expected {names} to have the same dtype, but found {first} of type {dtype_of(a)} and "
            f"{second} of type {dtype_of(b)} instead"
        )


def broadcast_batch(*xs: Tensor, name: str) -> list[Tensor]:
    """Matrices with their leading dims broadcast against each other."""
    shapes = [tuple(x._a.shape[:-2]) for x in xs]
    if all(s == shapes[0] for s in shapes):
        return list(xs)
    try:
        batch = tuple(broadcast_shapes(*shapes))
    except RuntimeError as e:
        raise RuntimeError(
            f"{name}: the batch dimensions {', '.join(str(list(s)) for s in shapes)} do not broadcast: {e}"
        ) from None
    return [expand_to(x, (*batch, *x._a.shape[-2:])) for x in xs]


# ------------------------------------------------------------------------------------------------- inverse


@public(name="linalg_inv", method=False, out=True)
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices (*, n, n).

    Raises: LinAlgError when a matrix is singular, RuntimeError when it is not square.

    >>> import flambeau as torch
    >>> torch.linalg.inv(torch.tensor([[2., 0.], [0., 4.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check_square(A, "linalg.inv")
    return prim.inv_op(A, check="linalg.inv")  # type: ignore[no-any-return]


@public(out=True)
def inverse(input: Tensor) -> Tensor:
    """Alias of :func:`flambeau.linalg.inv`."""
    return inv(input)


@public(name="linalg_inv_ex", method=False, out=True)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): info is 0, or for a singular matrix the number of its first zero pivot (int32)."""
    check_square(A, "linalg.inv")
    return _InvEx(prim.inv_op(A, check="linalg.inv_ex" if check_errors else ""), prim.lu_info_op(A))


# ------------------------------------------------------------------------------------------------- systems


def _solve(A: Tensor, B: Tensor, left: bool, check: str, name: str) -> Tensor:
    check_square(A, name)
    check_floating(B, name)
    check_same_dtype(A, B, name)
    sa, sb = tuple(A._a.shape), tuple(B._a.shape)
    vector = len(sb) == 1 or (len(sa) - 1 == len(sb) and sb == sa[:-1])
    if not sb:
        raise RuntimeError(f"{name}: The input tensor B must have at least 1 dimension.")
    rhs = base.reshape(B, (*sb, 1)) if vector else B
    if vector and not left:
        raise RuntimeError(
            f"{name}: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    n = sa[-1]
    if (rhs._a.shape[-2] if left else rhs._a.shape[-1]) != n:
        eq = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {eq} ({sa[-2]}x{n} and {rhs._a.shape[-2]}x{rhs._a.shape[-1]})"
        )
    a, rhs = broadcast_batch(A, rhs, name=name)
    if left:
        x = prim.solve_op(a, rhs, check=check)
    else:
        x = transpose(prim.solve_op(transpose(a), transpose(rhs), check=check))
    return base.reshape(x, tuple(x._a.shape[:-1])) if vector else x


@public(name="linalg_solve", method=False, out=True, grad_name="LinalgSolveExBackward0")
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B for left=False), for square A (*, n, n) and B (*, n, k), (n,) or (*, n).

    Raises: LinAlgError when a matrix is singular, RuntimeError for shapes or dtypes that do not fit.

    >>> import flambeau as torch
    >>> torch.linalg.solve(torch.tensor([[2., 0.], [0., 4.]]), torch.tensor([2., 2.]))
    tensor([1.0000, 0.5000])
    """
    return _solve(A, B, bool(left), "torch.linalg.solve", "linalg.solve")


@public(name="linalg_solve_ex", method=False, out=True, grad_name="LinalgSolveExBackward0")
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): info is 0, or for a singular matrix the number of its first zero pivot (int32)."""
    result = _solve(A, B, bool(left), "torch.linalg.solve_ex" if check_errors else "", "linalg.solve")
    info = prim.lu_info_op(A)
    batch = tuple(A._a.shape[:-2])
    if len(B._a.shape) > 1 and tuple(B._a.shape) != tuple(A._a.shape[:-1]):
        batch = tuple(broadcast_shapes(batch, tuple(B._a.shape[:-2])))
    return _SolveEx(result, expand_to(info, batch))


def triangular(A: Tensor, B: Tensor, upper: bool, left: bool, unit: bool) -> Tensor:
    """The solution for matrices with equal leading dims."""
    if left:
        return prim.solve_triangular_op(A, B, upper=upper, unit=unit)  # type: ignore[no-any-return]
    return transpose(prim.solve_triangular_op(transpose(A), transpose(B), upper=not upper, unit=unit))


@public(name="linalg_solve_triangular", method=False, out=True, grad_name="LinalgSolveTriangularBackward0")
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B (X A = B for left=False) for triangular A; the other triangle of A is not read.

    Raises: RuntimeError for shapes or dtypes that do not fit.  A zero on the diagonal gives infinities.
    """
    name = "linalg.solve_triangular"
    check_square(A, name)
    check_matrix(B, name, "B")
    check_same_dtype(A, B, name)
    n = A._a.shape[-1]
    if (B._a.shape[-2] if left else B._a.shape[-1]) != n:
        eq = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {eq} ({n}x{n} and {B._a.shape[-2]}x{B._a.shape[-1]})"
        )
    a, b = broadcast_batch(A, B, name=name)
    return triangular(a, b, bool(upper), bool(left), bool(unitriangular))


@public(name="triangular_solve", out=True, grad_name="TriangularSolveBackward0")
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(solution, A) of A X = b (A^T X = b with transpose=True) for triangular A."""
    name = "triangular_solve"
    for x, arg in ((b, "b"), (A, "A")):
        if len(x._a.shape) < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {arg} to have at least 2 dimensions, but it has {len(x._a.shape)} dimensions instead"
            )
    check_square(A, name)
    check_same_dtype(b, A, name, "b and A")
    if A._a.shape[-1] != b._a.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {A._a.shape[-1]} by {A._a.shape[-1]} but each b matrix is {b._a.shape[-2]} by {b._a.shape[-1]}"
        )
    a, rhs = broadcast_batch(A, b, name=name)
    m = prim.transpose(a) if transpose else a
    x = prim.solve_triangular_op(m, rhs, upper=bool(upper) != bool(transpose), unit=bool(unitriangular))
    return _TriangularSolve(x, a.clone())


# ------------------------------------------------------------------------------------------------- Cholesky


def _cholesky(A: Tensor, upper: bool, check: str) -> Tensor:
    if upper:
        return adjoint(prim.cholesky_op(adjoint(A), check=check))
    return prim.cholesky_op(A, check=check)  # type: ignore[no-any-return]


@public(name="linalg_cholesky", method=False, out=True, grad_name="LinalgCholeskyExBackward0")
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with A = L L^H (or the upper U with A = U^H U), for positive definite A (*, n, n).

    Only one triangle of A is read.

    Raises: LinAlgError when a matrix is not positive definite, RuntimeError when it is not square.

    >>> import flambeau as torch
    >>> torch.linalg.cholesky(torch.tensor([[4., 2.], [2., 5.]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    check_square(A, "linalg.cholesky")
    return _cholesky(A, bool(upper), "linalg.cholesky")


@public(name="cholesky", out=True, grad_name="CholeskyBackward0")
def old_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Alias of :func:`flambeau.linalg.cholesky`."""
    check_square(input, "cholesky")
    return _cholesky(input, bool(upper), "cholesky")


@public(name="linalg_cholesky_ex", method=False, out=True, grad_name="LinalgCholeskyExBackward0")
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): info is 0, or the order of the first leading minor that is not positive definite (int32)."""
    check_square(A, "linalg.cholesky")
    L = _cholesky(A, bool(upper), "linalg.cholesky_ex" if check_errors else "")
    return _CholeskyEx(L, prim.cholesky_info_op(adjoint(A) if upper else A))


@public(out=True, grad_name="CholeskySolveBackward0")
def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B = `input`, given the Cholesky factor of A, `input2`.

    Raises: RuntimeError for shapes or dtypes that do not fit.
    """
    name, B, L = "cholesky_solve", input, input2
    for x, arg in ((B, "b"), (L, "u")):
        if len(x._a.shape) < 2:
            raise RuntimeError(
                f"{arg} should have at least 2 dimensions, but has {len(x._a.shape)} dimensions instead"
            )
    check_square(L, name)
    check_same_dtype(B, L, name, "B and L")
    if L._a.shape[-1] != B._a.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {L._a.shape[-1]} by {L._a.shape[-1]} but each b matrix is {B._a.shape[-2]} by {B._a.shape[-1]}"
        )
    f, b = broadcast_batch(L, B, name=name)
    low = adjoint(f) if upper else f
    y = prim.solve_triangular_op(low, b, upper=False, unit=False)
    return prim.solve_triangular_op(adjoint(low), y, upper=True, unit=False)  # type: ignore[no-any-return]


@public(out=True)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, given its Cholesky factor.

    Raises: LinAlgError when the factor has a zero on its diagonal.
    """
    check_square(L, "cholesky_inverse")
    return prim.cholesky_inverse_op(adjoint(L) if upper else L)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------- determinants


def _det(A: Tensor, name: str) -> Tensor:
    check_square(A, name)
    return prim.det_op(A)  # type: ignore[no-any-return]


@public(name="linalg_det", method=False, out=True)
def linalg_det(A: Tensor) -> Tensor:
    """The determinant of square matrices (*, n, n).

    >>> import flambeau as torch
    >>> torch.linalg.det(torch.tensor([[1., 2.], [3., 4.]]))
    tensor(-2.)
    """
    return _det(A, "linalg.det")


@public(out=False)
def det(input: Tensor) -> Tensor:
    """Alias of :func:`flambeau.linalg.det`."""
    return _det(input, "linalg.det")


def _slogdet(A: Tensor, result: Any) -> Any:
    check_square(A, "linalg.slogdet")
    return result(*prim.slogdet_op(A))


@public(name="linalg_slogdet", method=False, out=True)
def linalg_slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): the sign (for complex matrices, the phase) and the log of the size of the determinant."""
    return _slogdet(A, _LinalgSlogdet)


_Slogdet = named("slogdet", "sign", "logabsdet")


@public(out=True)
def slogdet(input: Tensor) -> Any:
    """Alias of :func:`flambeau.linalg.slogdet`."""
    return _slogdet(input, _Slogdet)


def _logdet_name(args: Any, kwargs: Any) -> str:
    x = args[0] if args else kwargs["input"]
    return "AddBackward0" if x._a.dtype.kind == "c" else "WhereBackward0"


@public(grad_name=_logdet_name)
def logdet(input: Tensor) -> Tensor:
    """The log of the determinant: NaN where it is negative, -inf where it is zero."""
    check_square(input, "logdet")
    sign, logabs = prim.slogdet_op(input)
    return logabs + log(sign)  # type: ignore[no-any-return]
