"""`lobpcg` against NumPy's and SciPy's whole decompositions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import flambeau as torch

rng = np.random.default_rng(0)
A = rng.standard_normal((2, 20, 20))
A = A + A.swapaxes(-1, -2)
B = rng.standard_normal((20, 20))
B = B @ B.T + 20 * np.eye(20)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [1, 3])
def test_dense(largest: bool, k: int) -> None:
    values, vectors = torch.lobpcg(torch.tensor(A), k, largest=largest)
    wanted = np.linalg.eigvalsh(A)
    wanted = wanted[..., ::-1][..., :k] if largest else wanted[..., :k]
    np.testing.assert_allclose(values.numpy(), wanted, rtol=1e-12)
    np.testing.assert_allclose(
        A @ vectors.numpy(), vectors.numpy() * values.numpy()[..., None, :], atol=1e-10
    )
    values, vectors = torch.lobpcg(torch.tensor(A[0]), k, torch.tensor(B), largest=largest)
    wanted = scipy.linalg.eigh(A[0], B, eigvals_only=True)
    np.testing.assert_allclose(values.numpy(), (wanted[::-1] if largest else wanted)[:k], rtol=1e-10)
    x = vectors.numpy()
    np.testing.assert_allclose(A[0] @ x, B @ x * values.numpy(), atol=1e-9)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse(layout: torch.layout) -> None:
    d = np.diag(np.arange(1.0, 61.0)) + np.diag(np.full(59, 0.1), 1) + np.diag(np.full(59, 0.1), -1)
    torch.manual_seed(0)
    for largest in (True, False):
        values, x = torch.lobpcg(torch.tensor(d).to_sparse(layout=layout), 2, tol=1e-7, largest=largest)
        wanted = np.linalg.eigvalsh(d)
        np.testing.assert_allclose(values.numpy(), (wanted[::-1] if largest else wanted)[:2], rtol=1e-6)
        np.testing.assert_allclose(d @ x.numpy(), x.numpy() * values.numpy(), atol=1e-3)


def test_gradients() -> None:
    a = torch.tensor(A[0], requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: torch.lobpcg((a + a.mT) / 2, 2)[0], (a,))
    b = torch.tensor(B, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda b: torch.lobpcg(a.detach(), 2, (b + b.mT) / 2)[0], (b,), fast_mode=True
    )


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="smaller than 3 x the number"):
        torch.lobpcg(torch.eye(4), k=2)
    with pytest.raises(RuntimeError, match="square"):
        torch.lobpcg(torch.ones(9, 4), k=1)
    with pytest.raises(RuntimeError, match="method"):
        torch.lobpcg(torch.eye(4), k=1, method="other")
