"""`lobpcg`: a few eigenpairs of a large symmetric matrix."""

from __future__ import annotations

from typing import Any

from ..core.public import FUNCTIONS, public
from ..core.tensor import Tensor
from ..prims.contract import adjoint
from .linalg import check_square

__all__ = ["lobpcg"]


def request(
    A: Tensor, k: int | None, X: Tensor | None, n: int | None, largest: bool | None, method: str | None
) -> tuple[int, int, bool]:
    """How many pairs are wanted, with how many columns to iterate, and whether the largest; the arguments are checked."""
    if method not in (None, "basic", "ortho"):
        raise RuntimeError(f"lobpcg: method has to be 'basic' or 'ortho', not {method!r}")
    m = A.shape[-1]
    k = (1 if X is None else X.shape[-1]) if k is None else k
    n = (k if X is None else X.shape[-1]) if n is None else n
    if m < 3 * n:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of "
            f"requested eigenpairs (={n})"
        )
    return k, n, largest is None or largest


@public(method=False)
def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Any = None,
    ortho_iparams: Any = None,
    ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:
    """(E, X): the `k` largest (or smallest) eigenvalues of A x = e B x, and their eigenvectors as columns.

    `A` (..., m, m) is symmetric or Hermitian, and so is the positive definite `B` (the identity if None).  Dense matrices
    are decomposed as a whole, which for their size is faster than iterating, is exact, and has derivatives; `X`, `iK`,
    `niter`, `tol` and the other options of the iteration are then not needed.  For a sparse `A` the locally optimal block
    preconditioned conjugate gradient method runs (Knyazev 2001, doi:10.1137/S1064827500366124), from `X` or from `n`
    random columns, with the preconditioner `iK`, for `niter` steps or until residuals are below `tol`; the result is not
    differentiable.

    Raises: ValueError where m is smaller than three times `k`; RuntimeError for matrices that are not square.

    >>> import flambeau as torch
    >>> torch.lobpcg(torch.diag(torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0, 0.0])), k=2)[0]
    tensor([5., 4.])
    """
    check_square(A, "lobpcg")
    k, _, descending = request(A, k, X, n, largest, method)
    eigh, solve = FUNCTIONS["linalg_eigh"], FUNCTIONS["linalg_solve_triangular"]
    if B is None:
        values, vectors = eigh(A)
    else:  # L^-1 A L^-H y = e y, with B = L L^H and x = L^-H y
        lower = FUNCTIONS["linalg_cholesky"](B)
        half = solve(lower, A, upper=False)
        values, vectors = eigh(adjoint(solve(lower, adjoint(half), upper=False)))
        vectors = solve(adjoint(lower), vectors, upper=True)
    if descending:
        return values[..., -k:].flip(-1), vectors[..., -k:].flip(-1)
    return values[..., :k], vectors[..., :k]
