"""Linear algebra against NumPy and SciPy (values), finite differences (derivatives) and PyTorch (conventions)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch

Rng = np.random.Generator
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]


@pytest.fixture
def rng() -> Rng:
    return np.random.default_rng(0)


def random(rng: Rng, *shape: int, dtype: Any = np.float64) -> Any:
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def positive(rng: Rng, *shape: int, dtype: Any = np.float64) -> Any:
    a = random(rng, *shape, dtype=dtype)
    return (a @ np.conj(np.swapaxes(a, -1, -2)) + shape[-1] * np.eye(shape[-1])).astype(dtype)


def close(x: Any, y: Any, dtype: Any = np.float64) -> None:
    single = np.dtype(dtype) in (np.float32, np.complex64)
    np.testing.assert_allclose(
        x.detach().numpy(), y, rtol=2e-4 if single else 1e-9, atol=2e-4 if single else 1e-10
    )


# ------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 0), (2, 3)])
def test_inverse_solve_det(rng: Rng, dtype: Any, batch: tuple[int, ...]) -> None:
    a, b = random(rng, *batch, 4, 4, dtype=dtype), random(rng, *batch, 4, 2, dtype=dtype)
    A, B = torch.tensor(a), torch.tensor(b)
    close(torch.linalg.inv(A), np.linalg.inv(a), dtype)
    close(torch.linalg.solve(A, B), np.linalg.solve(a, b), dtype)
    close(torch.linalg.solve(A, B.mT, left=False).mT, np.linalg.solve(np.swapaxes(a, -1, -2), b), dtype)
    close(torch.linalg.det(A), np.linalg.det(a), dtype)
    sign, logabs = torch.linalg.slogdet(A)
    close(sign, np.linalg.slogdet(a)[0], dtype)
    close(logabs, np.linalg.slogdet(a)[1], dtype)
    assert torch.linalg.inv(A).dtype == A.dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_cholesky(rng: Rng, dtype: Any) -> None:
    a = positive(rng, 3, 4, 4, dtype=dtype)
    A = torch.tensor(a)
    L = torch.linalg.cholesky(A)
    close(L, np.linalg.cholesky(a), dtype)
    U = torch.linalg.cholesky(A, upper=True)
    close(U.mH @ U, a, dtype)
    b = random(rng, 3, 4, 2, dtype=dtype)
    close(torch.cholesky_solve(torch.tensor(b), L), np.linalg.solve(a, b), dtype)
    close(torch.cholesky_solve(torch.tensor(b), U, upper=True), np.linalg.solve(a, b), dtype)
    close(torch.cholesky_inverse(L), np.linalg.inv(a), dtype)
    close(torch.cholesky_inverse(U, upper=True), np.linalg.inv(a), dtype)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_triangular(rng: Rng, upper: bool, left: bool, unit: bool, order: Any) -> None:
    a = np.array(random(rng, 4, 4, dtype=np.complex128) + 4 * np.eye(4), order=order)
    b = random(rng, *((4, 2) if left else (2, 4)), dtype=np.complex128)
    x = torch.linalg.solve_triangular(
        torch.tensor(a), torch.tensor(b), upper=upper, left=left, unitriangular=unit
    )
    m = np.triu(a) if upper else np.tril(a)
    if unit:
        np.fill_diagonal(m, 1)
    close(torch.tensor(m) @ x if left else x @ torch.tensor(m), b)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 5, 3), (0, 3), (3, 0), (2, 0, 0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_factorisations_multiply_to_the_matrix(rng: Rng, shape: tuple[int, ...], dtype: Any) -> None:
    a = random(rng, *shape, dtype=dtype)
    A = torch.tensor(a)
    m, n = shape[-2:]
    for mode in ("reduced", "complete"):
        Q, R = torch.linalg.qr(A, mode=mode)
        close(Q @ R, a, dtype)
        close(Q.mH @ Q, np.broadcast_to(np.eye(Q.shape[-1]), Q.mT.shape[:-2] + (Q.shape[-1],) * 2), dtype)
    close(torch.linalg.qr(A, mode="r").R, torch.linalg.qr(A).R.numpy(), dtype)
    P, L, U = torch.linalg.lu(A)
    close(P @ L @ U, a, dtype)
    assert L.shape[-1] == U.shape[-2] == min(m, n)
    LU, pivots = torch.linalg.lu_factor_ex(A)[:2]
    for x, y in zip(torch.lu_unpack(LU, pivots), (P, L, U)):
        close(x, y.numpy(), dtype)
    for full in (False, True):
        U_, S, Vh = torch.linalg.svd(A, full_matrices=full)
        k = S.shape[-1]
        close((U_[..., :k] * S.unsqueeze(-2)) @ Vh[..., :k, :], a, dtype)
    close(torch.linalg.svdvals(A), np.linalg.svd(a, compute_uv=False), dtype)
    close(torch.linalg.pinv(A), np.linalg.pinv(a), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_eigenvalues(rng: Rng, dtype: Any) -> None:
    a = random(rng, 3, 4, 4, dtype=dtype)
    w, V = torch.linalg.eig(torch.tensor(a))
    close(torch.tensor(a.astype(w.numpy().dtype)) @ V, (V * w.unsqueeze(-2)).numpy(), dtype)
    close(torch.linalg.eigvals(torch.tensor(a)), w.numpy(), dtype)
    h = positive(rng, 3, 4, 4, dtype=dtype)
    for uplo in "LU":
        w, V = torch.linalg.eigh(torch.tensor(h), UPLO=uplo)
        close((V * w.unsqueeze(-2)) @ V.mH, h, dtype)
        close(torch.linalg.eigvalsh(torch.tensor(h), UPLO=uplo), np.linalg.eigvalsh(h), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_small_factorisations_are_those_of_lapack(rng: Rng, dtype: Any) -> None:
    a = random(rng, 5, 20, 4, 4, dtype=dtype)
    a[2, 3] = 0
    packed, pivots, info = torch.linalg.lu_factor_ex(torch.tensor(a))
    for i, j in np.ndindex(5, 20):
        if (i, j) != (2, 3):
            expected, order = scipy.linalg.lu_factor(a[i, j])
            close(packed[i, j], expected, dtype)
            assert pivots[i, j].tolist() == (order + 1).tolist()
    assert info.sum() == info[2, 3] == 1
    with pytest.raises(torch.linalg.LinAlgError, match=r"\(Batch element 43\)"):
        torch.linalg.lu_factor(torch.tensor(a))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("adjoint", [False, True])
def test_lu_solve(rng: Rng, left: bool, adjoint: bool) -> None:
    a, b = random(rng, 2, 4, 4, dtype=np.complex128), random(rng, 2, 4, 4, dtype=np.complex128)
    LU, pivots = torch.linalg.lu_factor(torch.tensor(a))
    X = torch.linalg.lu_solve(LU, pivots, torch.tensor(b), left=left, adjoint=adjoint)
    m = torch.tensor(a).mH if adjoint else torch.tensor(a)
    close(m @ X if left else X @ m, b)


@pytest.mark.parametrize("hermitian", [False, True])
def test_ldl(rng: Rng, hermitian: bool) -> None:
    a = random(rng, 2, 4, 4, dtype=np.complex128)
    a = a + (np.conj(np.swapaxes(a, -1, -2)) if hermitian else np.swapaxes(a, -1, -2))
    b = random(rng, 2, 4, 3, dtype=np.complex128)
    LD, pivots = torch.linalg.ldl_factor(torch.tensor(a), hermitian=hermitian)
    close(torch.linalg.ldl_solve(LD, pivots, torch.tensor(b), hermitian=hermitian), np.linalg.solve(a, b))
    one = torch.vmap(lambda f, p: torch.linalg.ldl_solve(f, p, torch.tensor(b[0]), hermitian=hermitian))
    close(one(LD, pivots), np.linalg.solve(a, b[0]))


def test_reflectors(rng: Rng) -> None:
    a = random(rng, 2, 5, 3, dtype=np.complex128)
    packed, tau = torch.geqrf(torch.tensor(a))
    Q = torch.linalg.householder_product(packed, tau)
    close(Q @ packed[..., :3, :].triu(), a)
    c = torch.tensor(random(rng, 2, 5, 2, dtype=np.complex128))
    whole = torch.ormqr(packed, tau, torch.eye(5, dtype=torch.complex128).expand(2, 5, 5))
    close(torch.ormqr(packed, tau, c), (whole @ c).numpy())
    close(torch.ormqr(packed, tau, c, transpose=True), (whole.mH @ c).numpy())
    close(torch.ormqr(packed, tau, c.mH, left=False), (c.mH @ whole).numpy())


def test_lstsq(rng: Rng) -> None:
    a, b = random(rng, 6, 3), random(rng, 6, 2)
    x, residuals, rank, values = torch.linalg.lstsq(torch.tensor(a), torch.tensor(b), driver="gelsd")
    expected = np.linalg.lstsq(a, b, rcond=None)
    close(x, expected[0])
    close(residuals, expected[1])
    assert int(rank) == 3
    close(values, expected[3])
    low = a.copy()
    low[:, 2] = low[:, 1]
    x, residuals, rank, _ = torch.linalg.lstsq(torch.tensor(low), torch.tensor(b), driver="gelsd")
    close(x, np.linalg.lstsq(low, b, rcond=None)[0])
    assert int(rank) == 2 and residuals.numel() == 0


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(rng: Rng, ord: Any) -> None:
    a = random(rng, 3, 4, 5, dtype=np.complex128)
    close(torch.linalg.matrix_norm(torch.tensor(a), ord), [np.linalg.norm(x, ord) for x in a])
    moved = np.moveaxis(a, 0, 1)
    y = torch.linalg.norm(torch.tensor(moved), ord, dim=(0, 2), keepdim=True)
    assert y.shape == (1, 3, 1)
    close(y.flatten(), [np.linalg.norm(x, ord) for x in a])


@pytest.mark.parametrize("p", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_condition_number(rng: Rng, p: Any) -> None:
    a = random(rng, 4, 4)
    close(torch.linalg.cond(torch.tensor(a), p), np.linalg.cond(a, p))
    if p not in (2, -2, None):
        assert torch.linalg.cond(torch.zeros(2, 2), p) == np.inf


def test_exponential_and_powers(rng: Rng) -> None:
    a = random(rng, 2, 4, 4)
    close(torch.linalg.matrix_exp(torch.tensor(a)), scipy.linalg.expm(a))
    for n in (-3, -1, 0, 1, 2, 7):
        close(torch.linalg.matrix_power(torch.tensor(a), n), np.linalg.matrix_power(a, n))


@given(st.lists(st.integers(1, 6), min_size=3, max_size=6), st.booleans(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_multi_dot(sizes: list[int], row: bool, col: bool) -> None:
    r = np.random.default_rng(1)
    xs = [r.standard_normal((m, n)) for m, n in zip(sizes, sizes[1:])]
    if row:
        xs[0] = xs[0][0]
    if col:
        xs[-1] = xs[-1][..., 0]
    expected = xs[0]
    for x in xs[1:]:
        expected = expected @ x
    close(torch.linalg.multi_dot([torch.tensor(x) for x in xs]), expected)


def test_tensor_equations(rng: Rng) -> None:
    a, b = random(rng, 4, 6, 8, 3), random(rng, 4, 6)
    close(torch.linalg.tensorsolve(torch.tensor(a), torch.tensor(b)), np.linalg.tensorsolve(a, b))
    close(torch.linalg.tensorinv(torch.tensor(a)), np.linalg.tensorinv(a))
    moved = random(rng, 2, 3, 6)
    close(
        torch.linalg.tensorsolve(torch.tensor(moved), torch.tensor(b[0, :6]), dims=(0, 1)),
        np.linalg.tensorsolve(moved, b[0, :6], axes=(0, 1)),
    )


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, np.inf]),
)
@settings(max_examples=40, deadline=None)
def test_cdist(rows: int, others: int, width: int, p: float) -> None:
    r = np.random.default_rng(2)
    a, b = r.standard_normal((2, rows, width)), r.standard_normal((1, others, width))
    d = np.abs(a[:, :, None] - b[:, None])
    if p == 0:
        expected = (d != 0).sum(-1).astype(np.float64)
    elif p == np.inf:
        expected = d.max(-1) if width else d.sum(-1)
    else:
        expected = (d**p).sum(-1) ** (1 / p)
    close(torch.cdist(torch.tensor(a), torch.tensor(b), p), expected)


def test_cdist_by_a_product(rng: Rng) -> None:
    a = random(rng, 30, 4)
    d = torch.cdist(torch.tensor(a), torch.tensor(a))
    np.testing.assert_allclose(d.numpy(), np.sqrt(((a[:, None] - a) ** 2).sum(-1)), atol=1e-6)


def test_rank(rng: Rng) -> None:
    a = random(rng, 3, 5, 4)
    a[1, :, 0] = a[1, :, 1]
    a[2] = 0
    assert torch.linalg.matrix_rank(torch.tensor(a)).tolist() == [4, 3, 0]
    h = a[1] @ a[1].T
    assert int(torch.linalg.matrix_rank(torch.tensor(h), hermitian=True, rtol=1e-10)) == 3


# ------------------------------------------------------------------------------------------- derivatives


def hermitian(x: Any) -> Any:
    return x + x.mH


# name: (function of A whose result has no free phase, shape)
DIFFERENTIABLE: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "inv": (lambda x: torch.linalg.inv(x), (2, 3, 3)),
    "det": (lambda x: torch.linalg.det(x), (2, 3, 3)),
    "slogdet": (lambda x: torch.linalg.slogdet(x), (2, 3, 3)),
    "solve": (lambda x: torch.linalg.solve(x, x[..., :1] * 2 + 1), (2, 3, 3)),
    "triangular": (lambda x: torch.linalg.solve_triangular(x, x[..., :2] + 1, upper=True), (2, 3, 3)),
    "unit": (
        lambda x: torch.linalg.solve_triangular(x, x, upper=False, left=False, unitriangular=True), (3, 3)),
    "cholesky": (lambda x: torch.linalg.cholesky(x @ x.mH + 3 * torch.eye(3)), (2, 3, 3)),
    "cholesky_inverse": (lambda x: torch.cholesky_inverse(x), (3, 3)),
    "qr tall": (lambda x: torch.linalg.qr(x), (4, 3)),
    "qr square": (lambda x: torch.linalg.qr(x), (3, 3)),
    "qr wide": (lambda x: torch.linalg.qr(x), (2, 3, 4)),
    "lu tall": (lambda x: torch.linalg.lu(x)[1:], (4, 3)),
    "lu wide": (lambda x: torch.linalg.lu_factor(x).LU, (3, 4)),
    "eigvalsh": (lambda x: torch.linalg.eigvalsh(hermitian(x)), (2, 3, 3)),
    "eigh": (lambda x: torch.linalg.eigh(hermitian(x)).eigenvectors.abs(), (3, 3)),
    "eig": (lambda x: [t.abs() for t in torch.linalg.eig(x)], (3, 3)),
    "svd tall": (lambda x: [t.abs() for t in torch.linalg.svd(x, full_matrices=False)], (4, 3)),
    "svd wide": (lambda x: [t.abs() for t in torch.linalg.svd(x, full_matrices=False)], (2, 3, 4)),
    "svdvals": (lambda x: torch.linalg.svdvals(x), (4, 3)),
    "pinv": (lambda x: torch.linalg.pinv(x), (4, 3)),
    "pinv wide": (lambda x: torch.linalg.pinv(x), (3, 4)),
    "exp": (lambda x: torch.linalg.matrix_exp(x * 0.3), (2, 3, 3)),
    "power": (lambda x: torch.linalg.matrix_power(x, -3), (3, 3)),
    "nuclear": (lambda x: torch.linalg.matrix_norm(x, "nuc"), (3, 4)),
    "householder": (lambda x: torch.linalg.householder_product(x, x[0, :2] * 0.5), (4, 3)),
    "lstsq": (lambda x: torch.linalg.lstsq(x, x[:, :2] * x[:, 1:] + 1).solution, (4, 3)),
}  # fmt: skip


def real_parts(y: Any) -> list[Any]:
    parts = list(y) if isinstance(y, (tuple, list)) else [y]
    return [t for p in parts for t in ((p.real, p.imag) if p.is_complex() else (p,))]


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(rng: Rng, name: str, dtype: Any) -> None:
    """Reverse and forward mode against central differences, the second derivative against those of the first."""
    fn, shape = DIFFERENTIABLE[name]
    x, t = random(rng, *shape, dtype=dtype), random(rng, *shape, dtype=dtype)
    weights = [torch.tensor(rng.standard_normal(tuple(y.shape))) for y in real_parts(fn(torch.tensor(x)))]

    def loss(v: Any) -> Any:
        return sum((y * w).sum() for y, w in zip(real_parts(fn(v)), weights))

    def grad(v: Any) -> Any:
        return torch.func.grad(loss)(v)

    eps = 1e-6
    plus, minus = torch.tensor(x + eps * t), torch.tensor(x - eps * t)
    numeric = (float(loss(plus)) - float(loss(minus))) / (2 * eps)
    g = grad(torch.tensor(x)).numpy()
    np.testing.assert_allclose(float((np.conj(g) * t).sum().real), numeric, rtol=2e-5, atol=1e-6)
    tangent = torch.func.jvp(loss, (torch.tensor(x),), (torch.tensor(t),))[1]
    np.testing.assert_allclose(float(tangent), numeric, rtol=2e-5, atol=1e-6)
    second = torch.func.jvp(grad, (torch.tensor(x),), (torch.tensor(t),))[1].numpy()
    numeric2 = (grad(plus).numpy() - grad(minus).numpy()) / (2 * eps)
    np.testing.assert_allclose(second, numeric2, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(numeric2).max()))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_vmap(rng: Rng, name: str) -> None:
    fn, shape = DIFFERENTIABLE[name]
    x = torch.tensor(random(rng, 3, *shape))
    batched = real_parts(torch.vmap(fn)(x))
    each = [real_parts(fn(v)) for v in x]
    for i, y in enumerate(batched):
        close(y, np.stack([e[i].numpy() for e in each]))


def test_gradient_of_a_singular_determinant() -> None:
    for rank in (2, 1):
        a = np.diag([1.0, 2.0, 0.0]) if rank == 2 else np.diag([1.0, 0.0, 0.0])
        x = torch.tensor(a, requires_grad=True)
        torch.linalg.det(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), np.diag([0.0, 0.0, 2.0]) if rank == 2 else 0, atol=1e-12)


def test_equal_singular_values_have_a_gradient_where_the_vectors_do_not_matter() -> None:
    x = torch.eye(3, dtype=torch.float64).requires_grad_()
    torch.linalg.svd(x).S.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.eye(3), atol=1e-12)


def test_a_loss_of_the_free_phase_is_an_error(rng: Rng) -> None:
    x = torch.tensor(random(rng, 3, 3, dtype=np.complex128), requires_grad=True)
    U, _, Vh = torch.linalg.svd(x)
    with pytest.raises(RuntimeError, match="ill-defined"):
        U.imag.sum().backward()


# ------------------------------------------------------------------------------------------- errors


def test_singular_matrices() -> None:
    Z = torch.zeros(2, 2)
    batch = torch.stack([torch.eye(2), Z])
    with pytest.raises(torch.linalg.LinAlgError, match=r"linalg.inv: The diagonal element 1 is zero"):
        torch.linalg.inv(Z)
    with pytest.raises(torch.linalg.LinAlgError, match=r"\(Batch element 1\)"):
        torch.linalg.inv(batch)
    with pytest.raises(torch.linalg.LinAlgError, match="singular"):
        torch.linalg.solve(batch, torch.ones(2, 2, 1))
    with pytest.raises(torch.linalg.LinAlgError, match="leading minor of order 2 is not positive-definite"):
        torch.linalg.cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(torch.linalg.LinAlgError, match="U\\[1,1\\] is zero"):
        torch.linalg.lu_factor(Z)
    inverse, info = torch.linalg.inv_ex(batch)
    assert info.tolist() == [0, 1] and info.dtype == torch.int32
    assert torch.equal(inverse[0], torch.eye(2))
    assert torch.linalg.solve_ex(batch, torch.ones(2, 2, 1)).info.tolist() == [0, 1]
    assert torch.linalg.cholesky_ex(torch.stack([torch.eye(2), -torch.eye(2)])).info.tolist() == [0, 1]
    assert issubclass(torch.linalg.LinAlgError, RuntimeError)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: torch.linalg.inv(torch.ones(2, 3)), RuntimeError, "2 by 3 matrices"),
        (lambda: torch.linalg.inv(torch.ones(3)), RuntimeError, "at least 2 dimensions"),
        (lambda: torch.linalg.inv(torch.ones(2, 2, dtype=torch.int64)), RuntimeError, "floating point or complex"),
        (lambda: torch.linalg.inv(torch.ones(2, 2).half()), RuntimeError, "Low precision"),
        (lambda: torch.linalg.inv(3), TypeError, "must be Tensor"),
        (lambda: torch.linalg.solve(torch.eye(2), torch.ones(3, 1)), RuntimeError, "Incompatible shapes"),
        (lambda: torch.linalg.solve(torch.eye(2), torch.ones(2).double()), RuntimeError, "same dtype"),
        (lambda: torch.linalg.qr(torch.eye(2), mode="x"), RuntimeError, "unrecognized mode"),
        (lambda: torch.linalg.eigh(torch.eye(2), "X"), RuntimeError, "UPLO"),
        (lambda: torch.linalg.eig(torch.full((2, 2), float("nan"))), RuntimeError, "infs or NaNs"),
        (lambda: torch.linalg.matrix_norm(torch.eye(2), 3), RuntimeError, "Order 3 not supported"),
        (lambda: torch.linalg.norm(torch.ones(2, 2, 2), 2), RuntimeError, "Got 3D"),
        (lambda: torch.linalg.multi_dot([torch.eye(2)]), RuntimeError, "at least 2"),
        (lambda: torch.linalg.lstsq(torch.eye(2), torch.eye(2), driver="x"), RuntimeError, "driver"),
        (lambda: torch.linalg.cross(torch.ones(2), torch.ones(2)), RuntimeError, "length 3"),
        (lambda: torch.linalg.vander(torch.ones(1)), RuntimeError, "greater than 1"),
        (lambda: torch.cdist(torch.ones(2), torch.ones(2)), RuntimeError, "2D"),
        (lambda: torch.lu_unpack(torch.eye(2), torch.tensor([1, 5], dtype=torch.int32)), RuntimeError, "pivot"),
    ],
)  # fmt: skip
def test_errors(call: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_out_is_untouched_by_an_error() -> None:
    out = torch.full((2, 2), 7.0)
    with pytest.raises(RuntimeError):
        torch.linalg.inv(torch.zeros(2, 2), out=out)
    assert torch.equal(out, torch.full((2, 2), 7.0))
    result = torch.linalg.inv(2 * torch.eye(2), out=out)
    assert result is out and torch.equal(out, 0.5 * torch.eye(2))


def test_low_rank_draws_as_pytorch(rng: Rng) -> None:
    reference = pytest.importorskip("torch")
    a = random(rng, 8, 3) @ random(rng, 3, 6)
    for name in ("svd_lowrank", "pca_lowrank"):
        reference.manual_seed(3)
        torch.manual_seed(3)
        expected = getattr(reference, name)(reference.tensor(a), q=3)
        found = getattr(torch, name)(torch.tensor(a), q=3)
        for x, y in zip(found, expected):
            np.testing.assert_allclose(np.abs(x.numpy()), np.abs(y.numpy()), atol=1e-8)
