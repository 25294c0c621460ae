"""Matrix primitives over LAPACK: inverse, systems, triangular systems, Cholesky, determinants, LU, exponential.

All work on the last two dims; inputs of one operation have equal leading dims, so that a batch dim in front needs no
rule of its own.  Sources of the derivative rules: Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008); Murray, "Differentiation of the Cholesky decomposition" (2016).
`check` names the public function in the error for a singular matrix; when empty, such matrices give NaN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.families import opaque_op
from ..core.tensor import Tensor
from ..runtime.blas import guarded
from . import numpy_linalg
from .base import from_value, permute_op, sum_op
from .contract import adjoint, matmul_op
from .pointwise import complex_op, conj, imag, real, where_op
from .products import matmul


class LinAlgError(RuntimeError):
    """Raised when a matrix has no inverse or factorisation, or an iteration did not converge.

    >>> import flambeau as torch
    >>> torch.linalg.inv(torch.zeros(2, 2))
    Traceback (most recent call last):
    flambeau.prims.linalg.LinAlgError: linalg.inv: The diagonal element 1 is zero, the inversion could not be \
completed because the input matrix is singular.
    """


def transpose(x: Tensor) -> Tensor:
    """The transpose of the last two dims, as a view."""
    n = len(x._a.shape)
    return permute_op(x, dims=(*range(n - 2), n - 1, n - 2))  # type: ignore[no-any-return]


def triangle(x: Tensor, upper: bool, k: int = 0) -> Tensor:
    """The upper (or lower) triangle from diagonal `k` on, zeros elsewhere."""
    i, j = np.ogrid[: x._a.shape[-2], : x._a.shape[-1]]
    return where_op(from_value(j - i >= k if upper else j - i <= k), x, 0)  # type: ignore[no-any-return]


def half_diagonal(x: Tensor, upper: bool = False) -> Tensor:
    """The lower (upper) triangle with its diagonal halved."""
    i, j = np.ogrid[: x._a.shape[-2], : x._a.shape[-1]]
    weight = np.where(i == j, 0.5, (j > i if upper else i > j).astype(np.float64))
    return x * from_value(weight.astype(real_dtype(x._a.dtype)))  # type: ignore[no-any-return]


def eye_like(x: Tensor, n: int) -> Tensor:
    """The n x n identity of x's dtype (without its leading dims)."""
    return from_value(np.eye(n, dtype=x._a.dtype))


def real_dtype(d: Any) -> Any:
    """The real NumPy dtype of the same precision."""
    return np.dtype(f"f{d.itemsize // 2}") if d.kind == "c" else d


def realness(x: Tensor, dtype: Any) -> Tensor:
    """The real part when the gradient of a real tensor is wanted."""
    return real(x) if dtype.kind != "c" else x


def matrices_of(a: Any) -> Any:
    """The matrices of a non-empty array, in one leading dim."""
    return a.reshape(-1, *a.shape[-2:])


def matrices(*arrays: Any) -> Any:
    """Iterate over all matrices of equally batched arrays."""
    return zip(*[matrices_of(a) for a in arrays])


def batch_element(index: int, batch: tuple[int, ...]) -> str:
    return f"(Batch element {index}): " if batch else ""


@functools.cache
def _library_function(name: str, library: str, dtype: Any) -> Any:
    from scipy.linalg import blas, lapack

    found = blas.get_blas_funcs if library == "blas" else lapack.get_lapack_funcs
    return guarded(found(name, dtype=dtype), "scipy")


def lapack(name: str, a: Any) -> Any:
    """LAPACK's function of this name for the dtype of `a`."""
    return _library_function(name, "lapack", a.dtype)


def blas(name: str, a: Any) -> Any:
    """BLAS's function of this name for the dtype of `a`."""
    return _library_function(name, "blas", a.dtype)


def quiet() -> Any:
    """Overflow and the like inside NumPy's own modules give infinities without a warning, as in PyTorch."""
    return np.errstate(all="ignore")


def _empty(a: Any) -> bool:
    return a.size == 0  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------- singular matrices


def lu_info_of(a: Any) -> Any:
    """For each matrix, the number (from 1) of the first pivot that is exactly zero; 0 when there is none."""
    info = np.zeros(a.shape[:-2], np.int32)
    if _empty(a):
        return info
    getrf = lapack("getrf", a)
    flat = info.reshape(-1)
    for k, (m,) in enumerate(matrices(a)):
        flat[k] = getrf(m)[2] if np.isfinite(m).all() else 0
    return info


def _raise_singular(a: Any, check: str, what: str) -> None:
    info = lu_info_of(a).reshape(-1)
    bad = np.flatnonzero(info)
    k = int(bad[0]) if bad.size else 0
    at = int(info[k]) if bad.size else a.shape[-1]
    raise LinAlgError(f"{check}: {batch_element(k, a.shape[:-2])}{what.format(at)}")


INVERSION = "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular."
SOLUTION = "The solver failed because the input matrix is singular."


def _each_or_nan(f: Callable[..., Any], like: Any, *arrays: Any) -> Any:
    """`f` matrix by matrix, with NaN where it fails."""
    out = np.full(like.shape, np.nan, like.dtype)
    flat = out.reshape(-1, *like.shape[-2:])
    for k, ms in enumerate(matrices(*arrays)):
        try:
            flat[k] = f(*ms)
        except np.linalg.LinAlgError:
            pass
    return out


# ---------------------------------------------------------------------------------------------- inverse, systems


def _inv(a: Any, *, check: str) -> Any:
    try:
        with quiet():
            return numpy_linalg.inv(a)
    except np.linalg.LinAlgError:
        if check:
            _raise_singular(a, check, INVERSION)
        return _each_or_nan(numpy_linalg.inv, a, a)


def _inv_vjp(g: Tensor, y: Tensor) -> Tensor:
    yh = adjoint(y)
    return -matmul_op(yh, matmul_op(g, yh))  # type: ignore[no-any-return]


def _inv_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    return -matmul_op(y, matmul_op(ts[0], y))


inv_op = opaque_op(_inv, (_inv_vjp,), name="inv", jvp=_inv_jvp, grad_name="LinalgInvExBackward0")


LARGE = 64  # from this size on one system is solved in its own precision (NumPy always takes double)


def _solve(a: Any, b: Any, *, check: str) -> Any:
    if a.ndim == 2 and a.shape[0] >= LARGE and a.dtype.itemsize == (8 if a.dtype.kind == "c" else 4):
        x, info = lapack("gesv", a)(a, b)[2:]
        if info == 0:
            return np.ascontiguousarray(x)
    try:
        with quiet():
            return numpy_linalg.solve(a, b)
    except np.linalg.LinAlgError:
        if check:
            _raise_singular(a, check, SOLUTION)
        return _each_or_nan(numpy_linalg.solve, b, a, b)


def _solve_vjp_a(g: Tensor, a: Tensor, y: Tensor) -> Tensor:
    return -matmul_op(solve_op(adjoint(a), g, check=""), adjoint(y))  # type: ignore[no-any-return]


def _solve_vjp_b(g: Tensor, a: Tensor) -> Tensor:
    return solve_op(adjoint(a), g, check="")  # type: ignore[no-any-return]


def _solve_joint(g: Tensor, a: Tensor, y: Tensor, needs: Any) -> Any:
    gb = _solve_vjp_b(g, a)
    return [-matmul_op(gb, adjoint(y)) if needs[0] else None, gb if needs[1] else None]


def _solve_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    t = ts[1]
    if ts[0] is not None:
        moved = matmul_op(ts[0], y)
        t = -moved if t is None else t - moved
    return solve_op(xs[0], t, check="")


solve_op = opaque_op(
    _solve, _solve_joint, name="linalg_solve", jvp=_solve_jvp, grad_name="LinalgSolveExBackward0"
)


def _solve_triangular(a: Any, b: Any, *, upper: bool, unit: bool) -> Any:
    """Back substitution; a zero on the diagonal gives infinities, as in BLAS (no error)."""
    out = np.empty(b.shape, b.dtype)
    if _empty(out):
        return out
    trsm = blas("trsm", a)
    flat = out.reshape(-1, *b.shape[-2:])
    for k, (m, r) in enumerate(matrices(a, b)):
        if m.flags.f_contiguous or not m.flags.c_contiguous:
            flat[k] = trsm(1.0, m, r, lower=not upper, diag=unit)
        else:  # a C-ordered matrix is its transpose to BLAS: no copy
            flat[k] = trsm(1.0, m.T, r, lower=upper, trans_a=1, diag=unit)
    return out


def _solve_triangular_joint(g: Tensor, a: Tensor, y: Tensor, needs: Any, upper: bool, unit: bool) -> Any:
    gb = solve_triangular_op(adjoint(a), g, upper=not upper, unit=unit)
    ga = None
    if needs[0]:
        ga = triangle(-matmul_op(gb, adjoint(y)), upper, (1 if upper else -1) if unit else 0)
    return [ga, gb if needs[1] else None]


def _solve_triangular_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    t = ts[1]
    if ts[0] is not None:
        upper, unit = params["upper"], params["unit"]
        moved = matmul_op(triangle(ts[0], upper, (1 if upper else -1) if unit else 0), y)
        t = -moved if t is None else t - moved
    return solve_triangular_op(xs[0], t, **params)


solve_triangular_op = opaque_op(
    _solve_triangular,
    _solve_triangular_joint,
    name="solve_triangular",
    jvp=_solve_triangular_jvp,
    grad_name="LinalgSolveTriangularBackward0",
)

# ---------------------------------------------------------------------------------------------- Cholesky

NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite "
    "(the leading minor of order {} is not positive-definite)."
)


def cholesky_info_of(a: Any) -> Any:
    """For each matrix, the order of the first leading minor that is not positive definite; 0 when there is none."""
    info = np.zeros(a.shape[:-2], np.int32)
    if _empty(a):
        return info
    potrf = lapack("potrf", a)
    flat = info.reshape(-1)
    for k, (m,) in enumerate(matrices(a)):
        flat[k] = potrf(m, lower=1)[1]
    return info


def _cholesky(a: Any, *, check: str) -> Any:
    try:
        return numpy_linalg.cholesky(a)
    except np.linalg.LinAlgError:
        if check:
            info = cholesky_info_of(a).reshape(-1)
            k = int(np.flatnonzero(info)[0]) if info.any() else 0
            raise LinAlgError(
                f"{check}: {batch_element(k, a.shape[:-2])}{NOT_POSITIVE.format(int(info[k]))}"
            ) from None
        return _each_or_nan(numpy_linalg.cholesky, a, a)


def _cholesky_vjp(g: Tensor, y: Tensor) -> Tensor:
    """L^-H Phi(L^H g) L^-1, made Hermitian (Murray 2016, section 3.1)."""
    lh = adjoint(y)
    p = half_diagonal(matmul_op(lh, g))
    s = solve_triangular_op(lh, p, upper=True, unit=False)
    s = adjoint(solve_triangular_op(lh, adjoint(s), upper=True, unit=False))
    return (s + adjoint(s)) * 0.5  # type: ignore[no-any-return]


def _cholesky_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    t = (ts[0] + adjoint(ts[0])) * 0.5
    s = solve_triangular_op(y, t, upper=False, unit=False)
    s = adjoint(solve_triangular_op(y, adjoint(s), upper=False, unit=False))
    return matmul_op(y, half_diagonal(s))


cholesky_op = opaque_op(
    _cholesky, (_cholesky_vjp,), name="cholesky", jvp=_cholesky_jvp, grad_name="LinalgCholeskyExBackward0"
)


def _cholesky_inverse(a: Any) -> Any:
    """(L L^H)^-1 from the lower triangle, in double precision: the conditions of L and L^H multiply."""
    wide = np.tril(a).astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    try:
        y = numpy_linalg.inv(wide)
    except np.linalg.LinAlgError:
        k = int(np.flatnonzero((np.diagonal(wide, axis1=-2, axis2=-1) == 0).any(-1))[0])
        at = int(np.flatnonzero(np.diagonal(matrices_of(wide)[k]) == 0)[0]) + 1
        raise LinAlgError(
            f"cholesky_inverse: {batch_element(k, a.shape[:-2])}The diagonal element {at} is zero, the inversion "
            "could not be completed because the input matrix is singular."
        ) from None
    return matmul(np.conj(np.swapaxes(y, -1, -2)), y).astype(a.dtype)


def _cholesky_inverse_vjp(g: Tensor, a: Tensor, y: Tensor) -> Tensor:
    m = matmul_op(y, matmul_op(g, y))
    return triangle(-matmul_op(m + adjoint(m), triangle(a, False)), False)


def _cholesky_inverse_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    m = matmul_op(triangle(ts[0], False), adjoint(triangle(xs[0], False)))
    return -matmul_op(y, matmul_op(m + adjoint(m), y))


cholesky_inverse_op = opaque_op(
    _cholesky_inverse, (_cholesky_inverse_vjp,), name="cholesky_inverse", jvp=_cholesky_inverse_jvp
)
lu_info_op = opaque_op(lambda a: lu_info_of(a), None, name="lu_info", differentiable=False)
cholesky_info_op = opaque_op(lambda a: cholesky_info_of(a), None, name="cholesky_info", differentiable=False)

# ---------------------------------------------------------------------------------------------- determinants


def _regular(a: Any) -> Any:
    """The matrices, with zero pivots of their LU factorisation made tiny."""
    from scipy.linalg import lu

    out = np.array(a, order="C")
    flat = out.reshape(-1, *a.shape[-2:])
    tiny = np.finfo(a.dtype).eps
    for k, (m,) in enumerate(matrices(a)):
        s = numpy_linalg.svd(m, compute_uv=False) if np.isfinite(m).all() else np.ones(1)
        if s.size and s[-1] <= tiny * s[0]:
            p, lower, upper = lu(m)
            d = np.diagonal(upper)
            small = np.abs(d) <= tiny * max(1.0, float(s[0]))
            upper = upper + np.diag(np.where(small, tiny * max(1.0, float(s[0])), 0)).astype(a.dtype)
            flat[k] = p @ lower @ upper
    return out


def _regular_inverse(a: Any) -> Any:
    try:
        y = numpy_linalg.inv(a)
        if np.isfinite(y).all():
            return y
    except np.linalg.LinAlgError:
        pass
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    return _each_or_nan(numpy_linalg.inv, a, _regular(a.astype(wide))).astype(a.dtype)


regular_inverse_op = opaque_op(_regular_inverse, (_inv_vjp,), name="regular_inverse", jvp=_inv_jvp)


def _regular_cofactor(wide: Any) -> Any:
    """det(A) A^-T in double precision, or None if a matrix is so close to a singular one that digits could be lost."""
    try:
        inverse = numpy_linalg.inv(wide)
    except np.linalg.LinAlgError:
        return None
    condition = np.abs(wide).sum(-1).max(-1) * np.abs(inverse).sum(-1).max(-1)
    if not (condition < 1e4).all():
        return None
    det = numpy_linalg.det(wide)
    return det[..., None, None] * np.swapaxes(inverse, -1, -2)


def _cofactor(a: Any) -> Any:
    """d det / dA = det(A) A^-T.  Where A is singular, through its singular value decomposition, which needs no inverse:
    the cofactors of A = U S V^H are det(U V^H) conj(U) cof(S) V^T."""
    if _empty(a):
        return np.zeros_like(a)
    wide = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    with np.errstate(all="ignore"):
        regular = _regular_cofactor(wide)
        if regular is not None:
            return regular.astype(a.dtype)
        u, s, vh = numpy_linalg.svd(wide)
        n = s.shape[-1]
        others = np.where(
            np.eye(n, dtype=bool), 1.0, s[..., None, :]
        )  # [i, j]: s_j, with s_i replaced by one
        c = np.prod(others, axis=-1)
        phase = numpy_linalg.det(u) * numpy_linalg.det(vh)
        out = matmul(np.conj(u) * (phase[..., None] * c)[..., None, :], np.conj(vh))
    return out.astype(a.dtype)


def _cofactor_vjp(g: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """With W = A^-T: dC = sum(C dA) W - C dA^T W, transposed."""
    w = conj(transpose(regular_inverse_op(a)))
    c = conj(y)
    n = len(w._a.shape)
    total = sum_op(g * w, dims=(n - 2, n - 1)).unsqueeze(-1).unsqueeze(-1)
    return total * c - matmul_op(w, matmul_op(transpose(g), c))  # type: ignore[no-any-return]


cofactor_op = opaque_op(_cofactor, (_cofactor_vjp,), name="cofactor")


def _det(a: Any) -> Any:
    with quiet():
        return numpy_linalg.det(a)


def _det_vjp(g: Tensor, a: Tensor) -> Tensor:
    return conj(cofactor_op(a)) * g.unsqueeze(-1).unsqueeze(-1)  # type: ignore[no-any-return]


def _det_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    n = len(xs[0]._a.shape)
    return sum_op(cofactor_op(xs[0]) * ts[0], dims=(n - 2, n - 1))


det_op = opaque_op(_det, (_det_vjp,), name="det", jvp=_det_jvp, grad_name="LinalgDetBackward0")


def _slogdet(a: Any) -> Any:
    with quiet():
        sign, logabs = numpy_linalg.slogdet(a)
    return np.asarray(sign), np.asarray(logabs)


def _slogdet_vjp(g: Any, a: Tensor, y: Any) -> Tensor:
    gs, gl = g
    if a._a.dtype.kind == "c":
        gl = complex_op(gl, -imag(conj(gs) * y[0]))
    return adjoint(inv_op(a, check="")) * gl.unsqueeze(-1).unsqueeze(-1)  # type: ignore[no-any-return]


def _slogdet_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    n = len(xs[0]._a.shape)
    t = sum_op(transpose(inv_op(xs[0], check="")) * ts[0], dims=(n - 2, n - 1))
    if xs[0]._a.dtype.kind != "c":
        return None, t
    return y[0] * complex_op(imag(t) * 0, imag(t)), real(t)


slogdet_op = opaque_op(
    _slogdet, (_slogdet_vjp,), name="slogdet", jvp=_slogdet_jvp, n_out=2, grad_name="LinalgSlogdetBackward0"
)

# ---------------------------------------------------------------------------------------------- matrix exponential


def _matrix_exp(a: Any) -> Any:
    from scipy.linalg import expm

    if _empty(a):
        return np.array(a)
    wide = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    with quiet():
        return np.ascontiguousarray(guarded(expm, "scipy")(wide)).astype(a.dtype)


def _block_derivative(a: Tensor, direction: Tensor) -> Tensor:
    """The Fréchet derivative: the upper right block of exp([[A, E], [0, A]]) (Mathias 1996, theorem 2.1)."""
    from .base import index_view_op
    from .indexing import cat_op

    n, nd = a._a.shape[-1], len(a._a.shape)
    top = cat_op(a, direction, dim=nd - 1)
    low = cat_op(a * 0, a, dim=nd - 1)
    e = matrix_exp_op(cat_op(top, low, dim=nd - 2))
    lead = (slice(None),) * (nd - 2)
    return index_view_op(e, index=(*lead, slice(0, n), slice(n, 2 * n)))  # type: ignore[no-any-return]


def _matrix_exp_vjp(g: Tensor, a: Tensor) -> Tensor:
    return _block_derivative(adjoint(a), g)


def _matrix_exp_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    return _block_derivative(xs[0], ts[0])


matrix_exp_op = opaque_op(
    _matrix_exp,
    (_matrix_exp_vjp,),
    name="matrix_exp",
    jvp=_matrix_exp_jvp,
    grad_name="LinalgMatrixExpBackward0",
)
