"""Sample calls of the matrix operations, with what defines their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg


def herm(a: Any) -> Any:
    return np.conj(np.swapaxes(a, -1, -2))


def well(a: Any) -> Any:
    """A matrix with distinct, sufficiently separated eigenvalues and singular values."""
    n = min(a.shape[-2:])
    shift = np.zeros(a.shape[-2:])
    shift[range(n), range(n)] = 3.0 * np.arange(1, n + 1)
    return 0.4 * a + shift


def symmetric(a: Any) -> Any:
    return ((a + a.mH) / 2,)


def positive(a: Any) -> Any:
    return (a @ a.mH,)


def lower(a: Any, *rest: Any) -> Any:
    return (a.tril(), *rest)


def sizes(*xs: Any) -> Any:
    """What does not depend on phases: absolute values squared of vectors, the rest as it is."""
    return tuple((x * x.conj()).real if x.ndim >= 2 and i != 0 else x for i, x in enumerate(xs))


def _expm(a: Any) -> Any:
    return np.stack([scipy.linalg.expm(m) for m in a.reshape(-1, *a.shape[-2:])]).reshape(a.shape)


def _cofactors(a: Any) -> Any:
    """Signed minors, each by its own determinant."""
    out = np.zeros_like(a)
    n = a.shape[-1]
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(a, i, -2), j, -1)
        out[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return out


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def check_lu(outs: Any, arrays: Any) -> None:
    packed, pivots = outs
    (a,) = arrays
    for p, v, m in zip(packed, pivots, a):
        k = min(m.shape)
        low, up = np.tril(p, -1)[:, :k] + np.eye(m.shape[0], k), np.triu(p)[:k]
        order = np.arange(m.shape[0])
        for i, j in enumerate(v - 1):
            order[[i, j]] = order[[j, i]]
        close((low @ up), m[order])


def check_qr(outs: Any, arrays: Any) -> None:
    q, r = outs
    close(np.tril(r, -1), 0 * r)
    close(q @ r, arrays[0])
    close(herm(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), herm(q).shape[:-2] + (q.shape[-1],) * 2))


def check_r(outs: Any, arrays: Any) -> None:
    r = outs[-1]
    close(herm(r) @ r, herm(arrays[0]) @ arrays[0])


def check_geqrf(outs: Any, arrays: Any) -> None:
    n = arrays[0].shape[-1]
    check_r([np.triu(outs[0])[..., :n, :]], arrays)


def check_eigh(outs: Any, arrays: Any) -> None:
    w, v = outs
    a = (arrays[0] + herm(arrays[0])) / 2
    close(a @ v, v * w[..., None, :])
    close(herm(v) @ v, np.broadcast_to(np.eye(a.shape[-1]), a.shape))
    assert (np.diff(w) > 0).all()


def check_eig(outs: Any, arrays: Any) -> None:
    w, v = outs
    close(arrays[0] @ v, v * w[..., None, :])
    close(np.linalg.norm(v, axis=-2), np.ones(w.shape))


def check_eigvals(outs: Any, arrays: Any) -> None:
    (w,) = outs
    a = arrays[0]
    for k in range(
        1, a.shape[-1] + 1
    ):  # sums of powers of the eigenvalues are traces of powers of the matrix
        close((w**k).sum(-1), np.trace(np.linalg.matrix_power(a, k), axis1=-2, axis2=-1))


def check_svd(outs: Any, arrays: Any) -> None:
    u, s, vh = outs
    k = s.shape[-1]
    close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], arrays[0])
    close(herm(u) @ u, np.broadcast_to(np.eye(u.shape[-1]), (*u.shape[:-2], *(u.shape[-1],) * 2)))
    assert (np.diff(s) < 0).all() and (s > 0).all()


def check_ldl(outs: Any, arrays: Any) -> None:
    packed, pivots, info = outs
    assert (info == 0).all() and (pivots > 0).all()
    for m, p in zip(arrays[0], packed):  # positive definite: no 2 x 2 blocks, no interchanges
        low = np.tril(p, -1) + np.eye(len(m))
        close(low @ np.diag(np.diag(p)) @ low.T, m)


def svd_sizes(u: Any, s: Any, vh: Any) -> Any:
    return (u * u.conj()).real, s, (vh * vh.conj()).real


def square_all(*xs: Any) -> Any:
    return tuple((x * x.conj()).real if x.is_floating_point() or x.is_complex() else x for x in xs)


def fill(row: Callable[..., None], real: Callable[..., Any], comp: Callable[..., Any]) -> None:
    """Add all rows, with the samplers of the main table."""
    for kind, make in (("", real), ("complex", comp)):
        a = well(make(2, 3, 3))
        b = make(2, 3, 2)
        pd = a @ herm(a)
        row("inv", a, check="linalg.inv", reference=np.linalg.inv, note=kind)
        row("regular_inverse", a, reference=np.linalg.inv, note=kind)
        row(
            "linalg_solve", a, b, check="linalg.solve", reference=lambda a, b: np.linalg.inv(a) @ b, note=kind
        )
        for upper in (False, True):
            cut = np.triu if upper else np.tril
            row("solve_triangular", a, b, upper=upper, unit=False, note=f"{kind}{'upper' if upper else 'lower'}",
                reference=lambda a, b, cut=cut: np.linalg.inv(cut(a)) @ b)  # fmt: skip
        row("solve_triangular", a / 3, b, upper=True, unit=True, note=kind + "unit",
            reference=lambda a, b: np.linalg.inv(np.triu(a, 1) + np.eye(3)) @ b)  # fmt: skip
        row(
            "cholesky",
            a,
            check="linalg.cholesky",
            prepare=positive,
            reference=lambda a: np.linalg.cholesky(a @ herm(a)),
            note=kind,
        )
        row("cholesky_inverse", a, note=kind,
            reference=lambda a: np.linalg.inv(np.tril(a) @ herm(np.tril(a))))  # fmt: skip
        row("cofactor", a, reference=_cofactors, note=kind)
        row("det", a, note=kind, reference=lambda a: (a[..., 0, :] * _cofactors(a)[..., 0, :]).sum(-1))
        row(
            "slogdet",
            a,
            note=kind,
            reference=lambda a: (np.linalg.det(a) / abs(np.linalg.det(a)), np.log(abs(np.linalg.det(a)))),
        )
        row("matrix_exp", a / 4, reference=_expm, note=kind)
        row("lu_factor", a, check="linalg.lu_factor", verify=check_lu, note=kind)
        row("qr", well(make(2, 4, 3)), mode="reduced", verify=check_qr, observe=square_all, note=kind)
        row("geqrf", well(make(2, 4, 3)), verify=check_geqrf, note=kind)
        row("eigh", a, uplo="L", prepare=symmetric, observe=sizes, verify=check_eigh, note=kind)
        row(
            "eigvalsh",
            a,
            uplo="L",
            prepare=symmetric,
            reference=lambda a: np.sort(np.linalg.eigvals((a + herm(a)) / 2).real),
            note=kind,
        )
        row("eig", a, observe=sizes, verify=check_eig, note=kind)
        row("eigvals", a, verify=check_eigvals, note=kind)
        row("svd", well(make(2, 4, 3)), full=False, observe=svd_sizes, verify=check_svd, note=kind + "tall")
        row("svd", well(make(2, 2, 3)), full=False, observe=svd_sizes, verify=check_svd, note=kind + "wide")
        row("svdvals", well(make(2, 3, 2)), note=kind,
            reference=lambda a: np.sqrt(np.sort(np.linalg.eigvalsh(herm(a) @ a))[..., ::-1]))  # fmt: skip
        row("pinv", well(make(2, 3, 2)), np.zeros(2), np.zeros(2), hermitian=False, wrt=(0,), note=kind,
            reference=lambda a, atol, rtol: np.linalg.inv(herm(a) @ a) @ herm(a))  # fmt: skip
        row(
            "ldl_factor",
            pd if not kind else pd.real,
            hermitian=False,
            check="linalg.ldl_factor",
            verify=check_ldl,
            note=kind,
        )
    row("phase_check", 1e-3 * real(2, 3), scale=1.0, what="linalg_eigh", order=0, reference=lambda x: x)
    row(
        "lu_info",
        np.array([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]]),
        reference=lambda a: np.array([2, 0]),
    )
    row(
        "cholesky_info",
        np.array([[[1.0, 0.0], [0.0, -4.0]], [[1.0, 0.0], [0.0, 1.0]]]),
        reference=lambda a: np.array([2, 0]),
    )
    row("permutation_matrix", np.array([[2, 3, 3], [1, 2, 3]]), n=3, dtype=np.dtype(np.float64), other=(np.array([[3, 2, 3], [1, 3, 3]]),),
        reference=lambda p: np.stack([[[0, 0, 1.0], [1, 0, 0], [0, 1, 0]], np.eye(3)]))  # fmt: skip
    row("if_full_rank", real(2, 3), np.array([3, 3]), n=3, reference=lambda x, r: x)
    a = well(real(2, 3, 3))
    pd = (a @ herm(a)).astype(float)
    packed = np.stack([_ldl(m) for m in pd])
    row("ldl_solve", packed, np.tile(np.arange(1, 4), (2, 1)).astype(np.int32), real(2, 3, 2), hermitian=False,
        other=(packed, np.tile(np.arange(1, 4), (2, 1)).astype(np.int32), real(2, 3, 2) * 0.9),
        reference=lambda p, v, b: np.linalg.inv(pd[: len(p)]) @ b, expandable=False)  # fmt: skip


def _ldl(m: Any) -> Any:
    c = np.linalg.cholesky(m)
    d = np.diag(c)
    return np.tril(c / d, -1) + np.diag(d**2)
