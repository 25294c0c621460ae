"""Differences, gradients on grids and trapezoids against NumPy; reductions to places against loops."""

import itertools

import numpy as np
import pytest

import flambeau as torch

rng = np.random.default_rng(1)
x = rng.normal(size=(5, 6))


@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_diff(n, dim):
    np.testing.assert_allclose(torch.diff(torch.tensor(x), n, dim).numpy(), np.diff(x, n, dim), atol=1e-12)


def test_diff_with_ends_and_bool():
    ends = x[:, :2]
    got = torch.tensor(x).diff(prepend=torch.tensor(ends), append=torch.tensor(ends))
    np.testing.assert_allclose(got.numpy(), np.diff(x, prepend=ends, append=ends))
    flags = torch.tensor([True, True, False])
    assert flags.diff().tolist() == [False, True]
    with pytest.raises(RuntimeError, match="at least one-dimensional"):
        torch.tensor(1.0).diff()
    with pytest.raises(RuntimeError, match="shape of tensor to prepend"):
        torch.tensor(x).diff(prepend=torch.ones(3, 1, dtype=torch.float64))


@pytest.mark.parametrize("order", [1, 2])
def test_gradient(order):
    at = [np.sort(rng.normal(size=n)) for n in x.shape]
    for spacing, same in ((1.0, (1.0,)), (0.5, (0.5,)), ([torch.tensor(a) for a in at], at)):
        got = torch.gradient(torch.tensor(x), spacing=spacing, edge_order=order)
        for a, b in zip(got, np.gradient(x, *same, edge_order=order)):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-9)
    with pytest.raises(RuntimeError, match="edge_order"):
        torch.gradient(torch.ones(order), edge_order=order)


def test_trapezoid():
    at = np.sort(rng.normal(size=6))
    t = torch.tensor(x)
    np.testing.assert_allclose(torch.trapezoid(t, dx=0.3).numpy(), np.trapezoid(x, dx=0.3))
    np.testing.assert_allclose(torch.trapezoid(t, torch.tensor(at)).numpy(), np.trapezoid(x, at))
    total = torch.cumulative_trapezoid(t, torch.tensor(at))
    want = np.cumsum(np.diff(at) * (x[:, 1:] + x[:, :-1]) / 2, 1)
    np.testing.assert_allclose(total.numpy(), want)
    with pytest.raises(RuntimeError, match="one `x` value"):
        torch.trapezoid(t, torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(reduce, include_self):
    base, src = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    src[0] = 0  # products with zeros must have right gradients
    index = rng.integers(0, 4, (6, 3))
    got = torch.tensor(base).scatter_reduce(
        0, torch.tensor(index), torch.tensor(src), reduce, include_self=include_self
    )
    fold = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    want = base.copy()
    for i, j in itertools.product(range(4), range(3)):
        values = list(src[index[:, j] == i, j])
        if values:
            want[i, j] = fold(([base[i, j]] if include_self else []) + values)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)

    def fn(a, b):
        return a.scatter_reduce(0, torch.tensor(index), b, reduce, include_self=include_self)

    a, b = torch.tensor(base, requires_grad=True), torch.tensor(src + 0.5, requires_grad=True)
    assert torch.autograd.gradcheck(fn, (a, b))
    if reduce in ("sum", "mean", "prod"):
        assert torch.autograd.gradgradcheck(fn, (a, b))


def test_product_gradient_with_one_zero():
    b = torch.tensor([0.0, 2.0, 3.0], requires_grad=True)
    y = torch.ones(1).scatter_reduce(0, torch.tensor([0, 0, 0]), b, "prod")
    y.backward(torch.ones(1))
    assert b.grad.tolist() == [6, 0, 0]


def test_scatter_reduce_errors():
    a, i, s = torch.ones(3), torch.tensor([0, 1]), torch.ones(2)
    with pytest.raises(RuntimeError, match="reduce argument"):
        a.scatter_reduce(0, i, s, "max")
    with pytest.raises(RuntimeError, match="dtype"):
        a.scatter_reduce(0, i, s.double(), "sum")
    with pytest.raises(RuntimeError, match="out of bounds"):
        a.scatter_reduce(0, torch.tensor([0, 3]), s, "amax")
    with pytest.raises(RuntimeError, match="no larger"):
        a.scatter_reduce(0, torch.tensor([0, 1, 2]), s, "sum")
    assert a.tolist() == [1, 1, 1]


def test_segment_reduce():
    data = torch.tensor([1.0, 2, 3, 4, 5], requires_grad=True)
    lengths = torch.tensor([2, 0, 3])
    for reduce, want in (("sum", [3, 0, 12]), ("max", [2, -np.inf, 5]), ("prod", [2, 1, 60])):
        assert torch.segment_reduce(data, reduce, lengths=lengths).tolist() == want
    mean = torch.segment_reduce(data, "mean", offsets=torch.tensor([0, 2, 2, 5]))
    np.testing.assert_array_equal(mean.detach().numpy(), [1.5, np.nan, 4])
    with pytest.raises(RuntimeError, match="lengths"):
        torch.segment_reduce(data, "sum", lengths=torch.tensor([1, 1]))


@pytest.mark.parametrize("left", [(3,), (2, 3), (4, 2, 3), (5, 4, 2, 3)])
@pytest.mark.parametrize("right", [(3,), (3, 2), (4, 3, 2), (5, 1, 3, 2)])
def test_matmul_of_every_rank(left, right):
    a, b = rng.normal(size=left), rng.normal(size=right)
    got, want = torch.tensor(a) @ torch.tensor(b), a @ b
    assert tuple(got.shape) == want.shape
    np.testing.assert_allclose(got.numpy(), want)


def test_integer_spaces():
    assert torch.linspace(-3, 7.3, 3, dtype=torch.int64).tolist() == [-3, 2, 7]
    assert torch.logspace(4, 3, 1, base=3, dtype=torch.int64).tolist() == [81]
    assert torch.arange(-1, 2.5, 1, dtype=torch.int64).tolist() == [-1, 0, 1]
    ends = torch.tensor([1.0, 2.0])
    assert torch.func.vmap(lambda e: torch.linspace(0.0, e, 3))(ends).tolist() == [[0, 0.5, 1], [0, 1, 2]]
    with pytest.raises(TypeError):
        torch.linspace(0, 1, 2.0)
    assert torch.sign(torch.tensor([float("nan"), -2.0])).tolist() == [0, -1]
    assert torch.einsum("i->", torch.ones(3, dtype=torch.int32)).dtype is torch.int64
