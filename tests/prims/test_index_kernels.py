"""Indexing of large tensors, which generated code does, against small parts and NumPy."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import acceleration

pytest.importorskip("llvmlite")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(acceleration, "LOADING", 0.0)


def make(shape, dim, count):
    rng = np.random.default_rng(0)
    x = rng.integers(-50, 50, shape).astype(np.float64)
    index = rng.integers(0, shape[dim], tuple(count if d == dim else n for d, n in enumerate(shape)))
    return x, index


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather_and_its_gradient(dim):
    x, index = make((30, 40, 20), dim % 3, 50)
    t = torch.from_numpy(x).requires_grad_()
    y = t.gather(dim, torch.from_numpy(index))
    np.testing.assert_array_equal(y.detach().numpy(), np.take_along_axis(x, index, dim))
    y.sum().backward()
    want = np.zeros_like(x)
    grid = list(np.ogrid[tuple(slice(0, n) for n in index.shape)])
    grid[dim] = index
    np.add.at(want, tuple(grid), 1.0)
    np.testing.assert_array_equal(t.grad.numpy(), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int32])
def test_scatter_add(dtype):
    x, index = make((300, 40), 0, 500)
    src = np.ones(index.shape)
    want = x.copy()
    np.add.at(want, (index, np.arange(40)[None]), src)
    got = (
        torch.from_numpy(x).to(dtype).scatter_add(0, torch.from_numpy(index), torch.from_numpy(src).to(dtype))
    )
    np.testing.assert_array_equal(got.double().numpy(), want)


def test_scatter_into_and_from_larger_tensors():
    x, index = make((400, 60), 1, 30)
    src = np.arange(400.0 * 90).reshape(400, 90)
    got = torch.from_numpy(x).scatter(1, torch.from_numpy(index), torch.from_numpy(src))
    want = x.copy()
    for i in range(30):
        np.put_along_axis(want, index[:, i : i + 1], src[:, i : i + 1], 1)
    np.testing.assert_array_equal(got.numpy(), want)
    wide = torch.from_numpy(np.concatenate((x, x)))
    np.testing.assert_array_equal(
        wide.gather(1, torch.from_numpy(index)).numpy(), np.take_along_axis(x, index, 1)
    )


def test_rows_with_negative_indices():
    x, _ = make((500, 40), 0, 1)
    index = np.random.default_rng(1).integers(-500, 500, (60, 70))
    t = torch.from_numpy(x).requires_grad_()
    i = torch.from_numpy(index)
    y = t[i]
    np.testing.assert_array_equal(y.detach().numpy(), x[index])
    y.sum().backward()
    want = np.zeros_like(x)
    np.add.at(want, index, 1.0)
    np.testing.assert_array_equal(t.grad.numpy(), want)
    got = torch.zeros(500, 40, dtype=torch.float64).index_put(
        (i,), torch.ones(60, 70, 40).double(), accumulate=True
    )
    np.testing.assert_array_equal(got.numpy(), want)
    got = torch.zeros(500, 40).double().index_add(0, i.reshape(-1) % 500, torch.ones(4200, 40).double())
    np.testing.assert_array_equal(got.numpy(), want)


def test_embedding():
    table = torch.randn(1000, 32).double().requires_grad_()
    i = torch.randint(0, 1000, (50, 60))
    torch.nn.functional.embedding(i, table, padding_idx=3).sum().backward()
    want = np.bincount(i.numpy().reshape(-1), minlength=1000).astype(float)
    want[3] = 0
    np.testing.assert_array_equal(table.grad.numpy(), np.repeat(want[:, None], 32, 1))


@pytest.mark.parametrize("bad", [-1, 40, -2000, 1 << 40])
def test_bad_indices_are_named_and_change_nothing(bad):
    x, index = make((300, 40), 1, 60)
    index[7, 9] = bad
    t, i = torch.from_numpy(x.copy()), torch.from_numpy(index)
    for call in (
        lambda: t.gather(1, i),
        lambda: t.scatter(1, i, torch.ones(300, 60).double()),
        lambda: t.scatter_add(1, i, torch.ones(300, 60).double()),
        lambda: t.scatter_add_(1, i, torch.ones(300, 60).double()),
    ):
        with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
            call()
    np.testing.assert_array_equal(t.numpy(), x)
    if bad != -1:
        with pytest.raises(IndexError, match="out of (bounds|range)"):
            t.t()[i]
