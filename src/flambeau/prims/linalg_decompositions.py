"""Matrix factorisations as primitives: LU, QR, eigenvalues, singular values, pseudo-inverse.

Sources of the derivative rules: LU and QR: Walter & Lehmann, "Algorithmic differentiation of linear algebra functions"
(2010); eigenvalues: Giles (2008) and Boeddeker et al. (2017) for complex ones; singular values: Townsend,
"Differentiating the singular value decomposition" (2016) and Wan & Zhang (2019); pseudo-inverse: Golub & Pereyra (1973).

Vectors that belong to equal eigenvalues or singular values have no derivative: where a loss depends on the choice among
them the gradient is infinite, and where it does not those entries contribute nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.families import linear_op, opaque_op
from ..core.op import Op
from ..core.tensor import Tensor
from . import numpy_linalg
from .base import from_value, full, index_view_op, sum_op
from .contract import adjoint, matmul_op
from .indexing import cat_op, diagonal_op
from .linalg import (
    LinAlgError,
    batch_element,
    lapack,
    matrices,
    matrices_of,
    quiet,
    real_dtype,
    realness,
    solve_op,
    solve_triangular_op,
    triangle,
)
from .pointwise import complex_op, conj, imag, real, where_op
from .products import matmul


def block(x: Tensor, rows: slice, cols: slice) -> Tensor:
    """A block of each matrix, as a view."""
    lead = (slice(None),) * (len(x._a.shape) - 2)
    return index_view_op(x, index=(*lead, rows, cols))  # type: ignore[no-any-return]


def diagonal(x: Tensor) -> Tensor:
    n = len(x._a.shape)
    return diagonal_op(x, offset=0, dim1=n - 2, dim2=n - 1)  # type: ignore[no-any-return]


def embed(d: Tensor) -> Tensor:
    """Diagonal matrices."""
    n = d._a.shape[-1]
    return where_op(from_value(np.eye(n, dtype=bool)), d.unsqueeze(-1), 0)  # type: ignore[no-any-return]


def columns(x: Tensor, d: Tensor) -> Tensor:
    """Column j times d[j]."""
    return x * d.unsqueeze(-2)  # type: ignore[no-any-return]


def rows(x: Tensor, d: Tensor) -> Tensor:
    """Row i times d[i]."""
    return x * d.unsqueeze(-1)  # type: ignore[no-any-return]


def as_dtype_of(x: Tensor, like: Any) -> Tensor:
    """A real tensor as the (maybe complex) dtype `like`."""
    return complex_op(x, x * 0) if like.kind == "c" and x._a.dtype.kind != "c" else x


def _phase_check(x: Any, *, scale: float, what: str) -> Any:
    """Passes on `x`, the part of a cotangent that a loss may not have: how it depends on a free phase or sign."""
    if x.size and np.isfinite(x).all() and np.abs(x).max() > 1e-2 * max(1.0, scale):
        raise RuntimeError(
            f"{what}_backward: the vectors are specified up to multiplication by a phase e^(i phi), and the specified "
            "loss function depends on this phase term, making it ill-defined."
        )
    return x


phase_check_op = linear_op(_phase_check, lambda g: g, name="phase_check")


def divided(x: Tensor, differences: Tensor) -> Tensor:
    """x / differences off the diagonal, zero on it; where a difference is zero: 0 for x = 0, else infinite."""
    n = differences._a.shape[-1]
    eye = from_value(np.eye(n, dtype=bool))
    zero = differences == 0
    inverse = where_op(zero, 0, 1 / where_op(zero, 1, differences))
    clash = zero & (x != 0) & ~eye
    return where_op(eye, 0, where_op(clash, np.inf, x * inverse))  # type: ignore[no-any-return]


def fail(name: str, a: Any) -> Exception:
    """The error for an iteration that did not converge."""
    bad = [k for k, (m,) in enumerate(matrices(a)) if not np.isfinite(m).all()]
    if bad and name in ("linalg.eig", "linalg.eigvals"):
        return LinAlgError(f"torch.{name}: input tensor should not contain infs or NaNs.")
    cause = "contained non-finite values" if bad else "is ill-conditioned or has too many repeated values"
    where = batch_element(bad[0] if bad else 0, a.shape[:-2])
    return LinAlgError(f"{name}: {where}The algorithm failed to converge because the input matrix {cause}.")


# ---------------------------------------------------------------------------------------------------- LU


ZERO_PIVOT = (
    "{0}: {1}U[{2},{2}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform "
    "the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
)


SMALL, MANY = 16, 64  # matrices up to this size, in batches from this size: all eliminated at once


def _lu_of_many(a: Any) -> Any:
    """LU with partial pivoting of many small square matrices, column by column (Golub & Van Loan, algorithm 3.4.1)."""
    n = a.shape[-1]
    count = math.prod(a.shape[:-2])
    packed = np.array(a.reshape(count, n, n))
    pivots = np.empty((count, n), np.int32)
    info = np.zeros(count, np.int32)
    every = np.arange(count)
    size = (lambda x: np.abs(x.real) + np.abs(x.imag)) if a.dtype.kind == "c" else np.abs  # LAPACK's choice
    with quiet():
        for j in range(n):
            at = j + np.argmax(size(packed[:, j:, j]), axis=1)
            pivots[:, j] = at + 1
            chosen = packed[every, at]
            packed[every, at] = packed[:, j]
            packed[:, j] = chosen
            zero = chosen[:, j] == 0
            info = np.where((info == 0) & zero, j + 1, info)
            below = packed[:, j + 1 :]
            below[:, :, j] /= np.where(zero, 1, chosen[:, j])[:, None]
            below[:, :, j + 1 :] -= below[:, :, j, None] * chosen[:, None, j + 1 :]
    return packed.reshape(a.shape), pivots.reshape(a.shape[:-1]), info.reshape(a.shape[:-2])


def _lu_factor(a: Any, *, check: str) -> Any:
    """LU with partial pivoting, packed in one matrix, and the row interchanges (counted from 1)."""
    m, n = a.shape[-2:]
    packed = np.empty(a.shape, a.dtype)
    pivots = np.zeros((*a.shape[:-2], min(m, n)), np.int32)
    if a.size == 0:
        return packed, pivots
    if a.shape[-1] == a.shape[-2] <= SMALL and math.prod(a.shape[:-2]) >= MANY:
        packed, pivots, info = _lu_of_many(a)
        if check and info.any():
            k = int(np.flatnonzero(info)[0])
            raise LinAlgError(ZERO_PIVOT.format(check, batch_element(k, a.shape[:-2]), info.reshape(-1)[k]))
        return packed, pivots
    getrf = lapack("getrf", a)
    p2, v2 = packed.reshape(-1, m, n), pivots.reshape(-1, min(m, n))
    for k, (x,) in enumerate(matrices(a)):
        lu, piv, info = getrf(x)
        if check and info > 0:
            raise LinAlgError(ZERO_PIVOT.format(check, batch_element(k, a.shape[:-2]), info))
        p2[k] = lu
        v2[k] = piv + 1
    return packed, pivots


def _permutation(pivots: Any, *, n: int, dtype: Any) -> Any:
    """The permutation matrix P of A = P L U from the row interchanges."""
    batch = pivots.shape[:-1]
    count = math.prod(batch)
    order = np.tile(np.arange(n), (count, 1))
    flat = pivots.reshape(count, pivots.shape[-1])
    if flat.size and (flat.min() < 1 or flat.max() > n):
        raise RuntimeError(
            f"lu_unpack: LU_pivots must be in [1, {n}], but got a pivot of {flat.min() if flat.min() < 1 else flat.max()}"
        )
    every = np.arange(order.shape[0])
    for i in range(pivots.shape[-1]):
        j = flat[:, i] - 1
        order[every, i], order[every, j] = order[every, j], order[every, i].copy()
    p = np.zeros((order.shape[0], n, n), dtype)
    p[every[:, None], order, np.arange(n)] = 1
    return p.reshape(*batch, n, n)


permutation_op = opaque_op(_permutation, None, name="permutation_matrix", differentiable=False)


def _lu_factor_vjp(g: Any, y: Any, y_metas: Any) -> Tensor:
    packed, pivots = y
    m, n = packed._a.shape[-2:]
    k = min(m, n)
    p = permutation_op(pivots, n=m, dtype=packed._a.dtype)
    top, left = slice(0, k), slice(0, k)
    low = unit_lower(block(packed, top, left))
    up = triangle(block(packed, top, left), True)
    lh, uh = adjoint(low), adjoint(up)
    g1 = block(g[0], top, left)
    gl, gu = triangle(g1, False, -1), triangle(g1, True)
    inner_l, inner_u = matmul_op(lh, gl), matmul_op(gu, uh)
    if m < n:
        inner_l = inner_l - matmul_op(block(g[0], top, slice(k, n)), adjoint(block(packed, top, slice(k, n))))
    elif m > n:
        inner_u = inner_u - matmul_op(
            adjoint(block(packed, slice(k, m), left)), block(g[0], slice(k, m), left)
        )
    inner = triangle(inner_l, False, -1) + triangle(inner_u, True)
    solved = adjoint(solve_triangular_op(up, adjoint(inner), upper=True, unit=False))
    ga = solve_triangular_op(lh, solved, upper=True, unit=True)
    nd = len(packed._a.shape)
    if m < n:
        ga = cat_op(
            ga, solve_triangular_op(lh, block(g[0], top, slice(k, n)), upper=True, unit=True), dim=nd - 1
        )
    elif m > n:
        rest = adjoint(
            solve_triangular_op(up, adjoint(block(g[0], slice(k, m), left)), upper=True, unit=False)
        )
        ga = cat_op(ga, rest, dim=nd - 2)
    return matmul_op(p, ga)  # type: ignore[no-any-return]


def unit_lower(x: Tensor) -> Tensor:
    """The strictly lower triangle plus the identity."""
    m, n = x._a.shape[-2:]
    return triangle(x, False, -1) + from_value(np.eye(m, n, dtype=x._a.dtype))  # type: ignore[no-any-return]


lu_factor_op = opaque_op(
    _lu_factor, (_lu_factor_vjp,), name="lu_factor", n_out=2, grad_name="LinalgLuFactorExBackward0"
)

# ---------------------------------------------------------------------------------------------------- QR


def _qr(a: Any, *, mode: str) -> Any:
    if mode == "r":
        return np.empty((0,), a.dtype), numpy_linalg.qr(a, mode="r")
    q, r = numpy_linalg.qr(a, mode=mode)
    return np.ascontiguousarray(q), np.ascontiguousarray(r)


def _qr_square_vjp(gq: Tensor, gr: Tensor, q: Tensor, r: Tensor) -> Tensor:
    inner = triangle(matmul_op(gr, adjoint(r)) - matmul_op(adjoint(q), gq), True)
    eye = from_value(np.eye(r._a.shape[-1], dtype=bool))
    both = where_op(eye, as_dtype_of(real(inner), inner._a.dtype), inner + adjoint(inner))
    rhs = gq + matmul_op(q, both)
    return adjoint(solve_triangular_op(r, adjoint(rhs), upper=True, unit=False))


def _qr_vjp(g: Any, a: Tensor, y: Any, mode: str) -> Tensor:
    m, n = a._a.shape[-2:]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. "
            "Please use linalg.qr(A, mode='reduced') if you are going to require its derivatives."
        )
    if mode == "complete" and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    (gq, gr), (q, r) = g, y
    if m >= n:
        return _qr_square_vjp(gq, gr, q, r)
    every = slice(0, m)
    a2, gr2 = block(a, every, slice(m, n)), block(gr, every, slice(m, n))
    gq = gq + matmul_op(a2, adjoint(gr2))
    g1 = _qr_square_vjp(gq, block(gr, every, every), q, block(r, every, every))
    return cat_op(g1, matmul_op(q, gr2), dim=len(a._a.shape) - 1)  # type: ignore[no-any-return]


qr_op = opaque_op(_qr, (_qr_vjp,), name="qr", n_out=2, grad_name="LinalgQrBackward0")


def _geqrf(a: Any) -> Any:
    m, n = a.shape[-2:]
    packed, tau = np.empty(a.shape, a.dtype), np.empty((*a.shape[:-2], min(m, n)), a.dtype)
    if a.size == 0:
        return packed, tau * 0
    geqrf = lapack("geqrf", a)
    p2, t2 = packed.reshape(-1, m, n), tau.reshape(-1, min(m, n))
    for k, (x,) in enumerate(matrices(a)):
        p2[k], t2[k] = geqrf(x)[:2]
    return packed, tau


geqrf_op = opaque_op(_geqrf, None, name="geqrf", n_out=2, differentiable=False)


def least_squares(a: Any, b: Any, rcond: float) -> Any:
    """(solution of least norm, rank) by LAPACK's gelsy, a QR factorisation with pivoting; None where it does not apply."""
    m, n = a.shape[-2:]
    k = b.shape[-1]
    if not a.size or not b.size or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    batch = a.shape[:-2]
    solve, room = lapack("gelsy", a), lapack("gelsy_lwork", a)
    size = int(np.real(room(m, n, k, rcond)[0]))
    solution, rank = np.empty((*batch, n, k), a.dtype), np.empty(batch, np.int64)
    x, r = solution.reshape(-1, n, k), rank.reshape(-1)
    right = np.zeros((max(m, n), k), a.dtype)
    pivots = np.zeros(n, np.int32)
    for i, (one, other) in enumerate(zip(matrices_of(a), b.reshape(-1, m, k))):
        right[:m], right[m:], pivots[:] = other, 0, 0
        _, found, _, r[i], info = solve(one, right, pivots, rcond, size)
        if info:
            return None
        x[i] = found[:n]
    return solution, rank


# ---------------------------------------------------------------------------------------------------- eigenvalues


def _eigh(a: Any, *, uplo: Any) -> Any:
    try:
        w, v = numpy_linalg.eigh(a, UPLO=uplo)
    except np.linalg.LinAlgError:
        raise fail("linalg.eigh", a) from None
    return w, v


def _eigh_vjp(g: Any, y: Any) -> Tensor:
    (gw, gv), (w, v) = g, y
    d = v._a.dtype
    vh = adjoint(v)
    inner = matmul_op(vh, gv)
    if d.kind == "c":
        phase = phase_check_op(imag(diagonal(inner)), scale=1.0, what="linalg_eigh")
        inner = inner - embed(complex_op(phase * 0, phase))
    differences = w.unsqueeze(-2) - w.unsqueeze(-1)
    inner = divided(inner, differences) + embed(as_dtype_of(gw, d))
    return matmul_op(v, matmul_op(inner, vh))  # type: ignore[no-any-return]


eigh_op = opaque_op(_eigh, (_eigh_vjp,), name="eigh", n_out=2, grad_name="LinalgEighBackward0")


def _eigvalsh(a: Any, *, uplo: Any) -> Any:
    try:
        return numpy_linalg.eigvalsh(a, UPLO=uplo)
    except np.linalg.LinAlgError:
        raise fail("linalg.eigvalsh", a) from None


def _eigvalsh_vjp(g: Tensor, a: Tensor, uplo: str) -> Tensor:
    v = eigh_op(a, uplo=uplo)[1]
    return matmul_op(columns(v, g), adjoint(v))  # type: ignore[no-any-return]


def _eigvalsh_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    v = eigh_op(xs[0], **params)[1]
    return real(sum_op(conj(v) * matmul_op(ts[0], v), dims=(len(v._a.shape) - 2,)))


eigvalsh_op = opaque_op(
    _eigvalsh, (_eigvalsh_vjp,), name="eigvalsh", jvp=_eigvalsh_jvp, grad_name="LinalgEighBackward0"
)


def _complex_of(d: Any) -> Any:
    return d if d.kind == "c" else np.dtype(f"c{2 * d.itemsize}")


def _eig(a: Any) -> Any:
    try:
        w, v = numpy_linalg.eig(a)
    except np.linalg.LinAlgError:
        raise fail("linalg.eig", a) from None
    d = _complex_of(a.dtype)
    return w.astype(d, copy=False), v.astype(d, copy=False)


def _eig_vjp(g: Any, y: Any, a_meta: Any) -> Tensor:
    (gw, gv), (w, v) = g, y
    vh = adjoint(v)
    inner = matmul_op(vh, gv)
    lengths = real(diagonal(inner))
    phase = phase_check_op(imag(diagonal(inner)), scale=1.0, what="linalg_eig")
    # the columns of V have norm one: the part of the cotangent along each of them is taken out
    inner = inner - columns(matmul_op(vh, v), as_dtype_of(lengths, v._a.dtype))
    inner = inner - embed(complex_op(phase * 0, phase))
    differences = conj(w.unsqueeze(-2) - w.unsqueeze(-1))
    inner = divided(inner, differences) + embed(gw)
    return realness(solve_op(vh, matmul_op(inner, vh), check=""), a_meta.dtype)


eig_op = opaque_op(_eig, (_eig_vjp,), name="eig", n_out=2, grad_name="LinalgEigBackward0")


def _eigvals(a: Any) -> Any:
    try:
        w = numpy_linalg.eigvals(a)
    except np.linalg.LinAlgError:
        raise fail("linalg.eigvals", a) from None
    return w.astype(_complex_of(a.dtype), copy=False)


def _eigvals_vjp(g: Tensor, a: Tensor) -> Tensor:
    vh = adjoint(eig_op(a)[1])
    return realness(solve_op(vh, rows(vh, g), check=""), a._a.dtype)


eigvals_op = opaque_op(_eigvals, (_eigvals_vjp,), name="eigvals", grad_name="LinalgEigBackward0")

# ---------------------------------------------------------------------------------------------------- singular values


def _svd(a: Any, *, full: bool) -> Any:
    try:
        u, s, vh = numpy_linalg.svd(a, full_matrices=full)
    except np.linalg.LinAlgError:
        raise fail("linalg.svd", a) from None
    return u, s, vh


def _svd_vjp(g: Any, y: Any, full: bool) -> Tensor:
    (gu, gs, gvh), (u, s, vh) = g, y
    m, n, k = u._a.shape[-2], vh._a.shape[-1], s._a.shape[-1]
    d = u._a.dtype
    every, first = slice(None), slice(0, k)
    if full and m != n:  # the vectors beyond the first k are arbitrary: no loss may depend on them
        u, gu = block(u, every, first), block(gu, every, first)
        vh, gvh = block(vh, first, every), block(gvh, first, every)
    uh, v = adjoint(u), adjoint(vh)
    a, b = matmul_op(uh, gu), matmul_op(vh, adjoint(gvh))
    squares = s * s
    differences = squares.unsqueeze(-2) - squares.unsqueeze(-1)
    inner = columns(divided(a - adjoint(a), differences), s) + rows(divided(b - adjoint(b), differences), s)
    inner = inner + embed(as_dtype_of(gs, d))
    if d.kind == "c":
        ia, ib = imag(diagonal(a)), imag(diagonal(b))
        clash = phase_check_op(ia + ib, scale=1.0, what="svd")
        turn = (ia - ib) / (2 * s)
        inner = inner + embed(complex_op(clash * 0, turn))
    ga = matmul_op(matmul_op(u, inner), vh)
    inverse = 1 / s
    if m > k:
        ga = ga + matmul_op(columns(gu - matmul_op(u, a), inverse), vh)
    if n > k:
        rest = adjoint(gvh) - matmul_op(v, b)
        ga = ga + matmul_op(u, rows(adjoint(rest), inverse))
    return ga  # type: ignore[no-any-return]


svd_op = opaque_op(_svd, (_svd_vjp,), name="svd", n_out=3, grad_name="LinalgSvdBackward0")


def _svdvals(a: Any) -> Any:
    try:
        return numpy_linalg.svd(a, compute_uv=False)
    except np.linalg.LinAlgError:
        raise fail("linalg.svd", a) from None


def _svdvals_vjp(g: Tensor, a: Tensor) -> Tensor:
    u, _, vh = svd_op(a, full=False)
    return matmul_op(columns(u, g), vh)  # type: ignore[no-any-return]


def _svdvals_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: Any) -> Any:
    u, _, vh = svd_op(xs[0], full=False)
    return real(sum_op(conj(u) * matmul_op(ts[0], adjoint(vh)), dims=(len(u._a.shape) - 2,)))


svdvals_op = opaque_op(
    _svdvals, (_svdvals_vjp,), name="svdvals", jvp=_svdvals_jvp, grad_name="LinalgSvdBackward0"
)


def _pinv(a: Any, atol: Any, rtol: Any, *, hermitian: bool) -> Any:
    """The pseudo-inverse, dropping singular values up to max(atol, rtol * largest)."""
    m, n = a.shape[-2:]
    if a.size == 0:
        return np.zeros((*a.shape[:-2], n, m), a.dtype)
    if hermitian:
        w, u = numpy_linalg.eigh(a)
        vh = np.conj(np.swapaxes(u, -1, -2))
    else:
        u, w, vh = numpy_linalg.svd(a, full_matrices=False)
    size = np.abs(w)
    limit = np.maximum(atol, rtol * size.max(axis=-1))[..., None]
    keep = size > limit
    inverse = np.where(keep, 1 / np.where(keep, w, 1), 0).astype(real_dtype(a.dtype))
    scaled = np.conj(np.swapaxes(vh, -1, -2)) * inverse[..., None, :]
    return matmul(scaled, np.conj(np.swapaxes(u, -1, -2)))


def _pinv_vjp(g: Tensor, a: Tensor, y: Tensor) -> Tensor:
    p, ph = y, adjoint(y)
    m, n = a._a.shape[-2:]
    gh = adjoint(g)
    if m <= n:
        k = matmul_op(gh, p)
        kph = matmul_op(k, ph)
        total = -adjoint(matmul_op(p, k)) + kph - matmul_op(matmul_op(a, p), kph)
        return total + matmul_op(matmul_op(ph, p), gh - matmul_op(k, a))  # type: ignore[no-any-return]
    k = matmul_op(p, gh)
    phk = matmul_op(ph, k)
    total = -adjoint(matmul_op(k, p)) + matmul_op(gh - matmul_op(a, k), matmul_op(p, ph)) + phk
    return total - matmul_op(matmul_op(phk, p), a)  # type: ignore[no-any-return]


pinv_op = opaque_op(_pinv, (_pinv_vjp, None, None), name="pinv", grad_name="PinvBackward0")


def _if_full_rank(x: Any, rank: Any, *, n: int) -> Any:
    """Residuals of least squares where every matrix has rank n, else nothing."""
    return x if (rank == n).all() else np.empty((0,), x.dtype)


def _if_full_rank_vjp(g: Tensor, x_meta: Any) -> Tensor:
    return g if g._a.shape == x_meta.shape else full(tuple(x_meta.shape), 0, x_meta.dtype)


if_full_rank_op: Op = opaque_op(
    _if_full_rank,
    (_if_full_rank_vjp, None),
    name="if_full_rank",
    jvp=lambda ts, xs, y, p: if_full_rank_op(ts[0], xs[1], **p),
)

# ---------------------------------------------------------------------------------------------------- LDL^H


def _ldl_factor(a: Any, *, hermitian: bool, check: str) -> Any:
    """Bunch-Kaufman factorisation of the lower triangle; pivots as LAPACK gives them, counted from 1."""
    n = a.shape[-1]
    packed, pivots = np.empty(a.shape, a.dtype), np.zeros(a.shape[:-1], np.int32)
    info = np.zeros(a.shape[:-2], np.int32)
    if a.size == 0:
        return packed, pivots, info
    sytrf = lapack("hetrf" if hermitian and a.dtype.kind == "c" else "sytrf", a)
    p2, v2, i2 = packed.reshape(-1, n, n), pivots.reshape(-1, n), info.reshape(-1)
    for k, (x,) in enumerate(matrices(a)):
        ldu, piv, i2[k] = sytrf(x, lower=1)
        if check and i2[k] > 0:
            raise LinAlgError(
                f"{check}: {batch_element(k, a.shape[:-2])}D[{i2[k]},{i2[k]}] is zero: the matrix is singular."
            )
        p2[k] = np.tril(ldu)
        v2[k] = piv
    return packed, pivots, info


ldl_factor_op = opaque_op(_ldl_factor, None, name="ldl_factor", n_out=3, differentiable=False)


def _ldl_solve(packed: Any, pivots: Any, b: Any, *, hermitian: bool) -> Any:
    """X with P L D L^T P^T X = B (L^H if hermitian), block by block, as LAPACK's sytrs and hetrs."""
    out = np.array(b, order="C")
    n = packed.shape[-1]
    size = np.abs(pivots)
    if pivots.size and (size.min() < 1 or size.max() > n):
        raise RuntimeError(
            f"linalg.ldl_solve: pivots must be in [1, {n}] in size, got {pivots.reshape(-1).tolist()}"
        )
    flat = out.reshape(math.prod(b.shape[:-2]), *b.shape[-2:])
    if flat.size:
        with quiet():
            for (f,), piv, x in zip(matrices(packed), pivots.reshape(-1, n).tolist(), flat):
                _ldl_solve_one(f, piv, x, np.conj if hermitian else np.asarray)
    return out


def _ldl_solve_one(f: Any, piv: list[int], x: Any, flip: Any) -> None:
    """Solves in place; a negative pivot marks a 2 x 2 block of D (both of its rows carry the same one)."""
    n = len(piv)
    k = 0
    while k < n:
        one = piv[k] > 0 or k + 1 == n
        last, p = (k if one else k + 1), abs(piv[k]) - 1
        x[[last, p]] = x[[p, last]]
        x[last + 1 :] -= f[last + 1 :, k : last + 1] @ x[k : last + 1]
        if one:
            x[k] /= f[k, k] if flip is np.asarray else f[k, k].real
        else:
            block = np.array([[f[k, k], flip(f[k + 1, k])], [f[k + 1, k], f[k + 1, k + 1]]])
            x[k : k + 2] = numpy_linalg.solve(block, x[k : k + 2])
        k = last + 1
    k = n - 1
    while k >= 0:
        first = k if piv[k] > 0 or k == 0 else k - 1
        x[first : k + 1] -= flip(f[k + 1 :, first : k + 1]).T @ x[k + 1 :]
        p = abs(piv[k]) - 1
        x[[k, p]] = x[[p, k]]
        k = first - 1


ldl_solve_op = opaque_op(_ldl_solve, None, name="ldl_solve", differentiable=False)
