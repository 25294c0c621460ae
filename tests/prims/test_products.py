import numpy as np
import pytest

import flambeau as torch
from flambeau.prims import products

pytest.importorskip("llvmlite")


@pytest.fixture(autouse=True)
def _generated(monkeypatch):
    """Generated products at once and for all sizes."""
    monkeypatch.setattr(products, "WORTH", 1)
    monkeypatch.setattr(products, "LOADING", 0.0)


SHAPES = [
    ((5, 7), (7, 6)),
    ((70, 80), (80, 90)),
    ((2, 3, 20, 30), (2, 3, 30, 40)),
    ((2, 3, 20, 30), (30, 40)),
    ((20, 30), (4, 30, 40)),
    ((4, 20, 30), (1, 30, 40)),
    ((1, 20, 30), (2, 4, 30, 40)),
    ((2, 1, 20, 30), (1, 4, 30, 40)),
    ((4, 1, 30), (4, 30, 40)),
    ((8, 0, 30), (8, 30, 5)),
    ((8, 5, 0), (8, 0, 5)),
    ((30,), (30, 40)),
    ((20, 30), (30,)),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients(a, b, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=a).astype(dtype), rng.normal(size=b).astype(dtype)
    exact = np.matmul(x.astype(np.float64), y.astype(np.float64))
    limit = 100 * np.finfo(dtype).eps
    p, q = (torch.from_numpy(v).requires_grad_() for v in (x, y))
    z = p @ q
    assert z.shape == exact.shape
    np.testing.assert_allclose(z.detach().numpy(), exact, atol=limit)
    z.square().sum().backward()
    # d/dx sum z^2 = 2 z y^T, by finite differences along one direction
    direction = rng.normal(size=a)
    step = 1e-5
    up, down = (
        (np.matmul(x.astype(np.float64) + s * step * direction, y.astype(np.float64)) ** 2).sum()
        for s in (1, -1)
    )
    slope = (p.grad.numpy().astype(np.float64) * direction).sum()
    np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=2e-3, atol=1e-3)


def test_transposed_and_sliced_factors():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(40, 60)))
    for y in (x.T, x[:, ::2].T, x.flip(0).T, x[3:].T):
        z = x[:, : y.shape[0]] @ y
        np.testing.assert_allclose(z.numpy(), np.matmul(x.numpy()[:, : y.shape[0]], y.numpy()), atol=1e-12)


def test_linear_adds_its_bias():
    layer = torch.nn.Linear(33, 17)
    x = torch.randn(50, 33)
    exact = x.numpy().astype(np.float64) @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), exact, atol=2e-6)


def test_half_types_round_once():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(20, 30)).astype(np.float32)).bfloat16()
    exact = x.float().numpy().astype(np.float64) @ x.float().numpy().T.astype(np.float64)
    got = (x @ x.T).float().numpy()
    assert (abs(got - exact) <= 2.0**-8 * abs(exact) + 1e-5).all()


def test_mismatched_sizes_are_refused():
    with pytest.raises(RuntimeError, match="cannot be multiplied|size"):
        torch.randn(5, 6) @ torch.randn(7, 8)
