"""Large copies, conversions, constants, reductions and scans, which generated code makes."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import acceleration
from flambeau.prims import row_kernels

pytest.importorskip("llvmlite")
DTYPES = "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool".split()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(acceleration, "LOADING", 0.0)
    monkeypatch.setattr(row_kernels, "LOADING", 0.0)


def numbers(dtype, n=300_000):
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 100, n).astype(np.float32))
    x[:6] = torch.tensor([0.0, 0.25, 0.5, 1.5, 2.5, 3.0])
    return x.to(getattr(torch, dtype))


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_conversions_are_those_of_small_tensors(source, target):
    x, d = numbers(source), getattr(torch, target)
    y = x.to(d)
    assert y.dtype == d
    parts = [x[i : i + 1000].clone().to(d) for i in (0, 150_000, 299_000)]
    for i, part in zip((0, 150_000, 299_000), parts, strict=True):
        assert torch.equal(y[i : i + 1000], part)


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("target", DTYPES[:4] + ["bool"])
def test_special_values_survive_conversion(source, target):
    values = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-8, 65519.0, 65520.0, 1e-45, 3.4e38]
    x = torch.tensor(values * 60_000, dtype=torch.float64).to(getattr(torch, source))
    small = x[:10].clone().to(getattr(torch, target))
    got = x.to(getattr(torch, target))[:10]
    np.testing.assert_array_equal(got.double().numpy(), small.double().numpy())
    np.testing.assert_array_equal(np.signbit(got.double().numpy()), np.signbit(small.double().numpy()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants(dtype):
    d = getattr(torch, dtype)
    for value in (0, 1, 7) if dtype != "bool" else (False, True):
        x = torch.full((700, 2000), value, dtype=d)
        assert x.dtype == d and x.shape == (700, 2000)
        assert bool((x == value).all())
    assert bool((torch.zeros(1 << 21, dtype=d) == 0).all())


def test_negative_zero_and_complex_constants():
    assert np.signbit(torch.full((1 << 20,), -0.0).numpy()).all()
    assert bool((torch.full((1 << 18,), 1 + 2j) == 1 + 2j).all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_and_joins(dtype):
    x = numbers(dtype, 1_500_000).reshape(1500, 1000)
    y = x.clone()
    assert torch.equal(x, y) and y.data_ptr() != x.data_ptr()
    assert torch.equal(x.t().contiguous().t(), x)
    z = torch.cat((x, y[:7], x))
    assert z.shape == (3007, 1000)
    assert torch.equal(z[:1500], x) and torch.equal(z[1500:1507], x[:7]) and torch.equal(z[1507:], x)
    w = torch.cat((x, y), 1)
    assert torch.equal(w[:, :1000], x) and torch.equal(w[:, 1000:], x)
    assert torch.equal(torch.stack((x, y))[1], x)
    with pytest.raises(RuntimeError):
        torch.cat((x, y[:, :3]))


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "mean", "cumsum", "cumprod", "norm", "var"])
@pytest.mark.parametrize("dim", [0, 1])
def test_reductions_and_their_gradients(name, dim):
    rng = np.random.default_rng(0)
    low = 0.99 if "prod" in name else -1
    x = rng.uniform(low, 1.01, (300, 250))
    f = {"norm": lambda t: torch.linalg.vector_norm(t, dim=dim)}.get(name, lambda t: getattr(t, name)(dim))
    big = torch.from_numpy(x).requires_grad_()
    y = f(big)
    weight = torch.from_numpy(rng.normal(size=tuple(y.shape)))
    (y * weight).sum().backward()
    step = rng.normal(size=x.shape)
    h = 1e-6

    def total(values):
        return float((f(torch.from_numpy(values)) * weight).sum())

    slope = (total(x + h * step) - total(x - h * step)) / (2 * h)
    assert abs(slope - (big.grad.numpy() * step).sum()) <= 1e-4 * max(1, abs(slope))


def test_gradient_of_a_long_product_with_zeros():
    x = torch.rand(3, 40, dtype=torch.float64) + 0.5
    x[1, 5] = 0
    x[2, 3] = x[2, 30] = 0
    assert torch.autograd.gradcheck(lambda t: t.cumprod(1), x.requires_grad_())


@pytest.mark.parametrize("layer", ["batch", "group", "layer", "instance", "rms"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalisations(layer, dtype):
    """Large inputs against the same computation on float64 inputs too small for kernels, channel by channel."""
    f = torch.nn.functional
    make = {
        "batch": lambda x: f.batch_norm(x, None, None, training=True),
        "group": lambda x: f.group_norm(x, 2),
        "layer": lambda x: f.layer_norm(x, x.shape[1:]),
        "instance": f.instance_norm,
        "rms": lambda x: f.rms_norm(x, x.shape[2:]),
    }[layer]
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, (6, 4, 70, 60))
    weight = rng.normal(size=values.shape)
    x = torch.from_numpy(values).to(dtype).requires_grad_()
    y = make(x)
    (y * torch.from_numpy(weight).to(dtype)).sum().backward()
    dims = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3), "rms": (2, 3)}.get(layer)
    v = values.reshape(6, 2, -1) if layer == "group" else values
    w = weight.reshape(v.shape)
    dims = dims or (2,)
    centre = 0 if layer == "rms" else v.mean(dims, keepdims=True)
    eps = np.finfo(x.detach().numpy().dtype).eps if layer == "rms" else 1e-5
    scale = 1 / np.sqrt(((v - centre) ** 2).mean(dims, keepdims=True) + eps)
    z = (v - centre) * scale
    level = 0 if layer == "rms" else w.mean(dims, keepdims=True)
    grad = scale * (w - level - z * (w * z).mean(dims, keepdims=True))
    limit = 2e-5 if dtype is torch.float32 else 1e-11
    np.testing.assert_allclose(y.detach().numpy(), z.reshape(values.shape), atol=limit)
    np.testing.assert_allclose(x.grad.numpy(), grad.reshape(values.shape), atol=limit)


def test_broadcasting_of_large_operands():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 40, 50)).astype(np.float32)
    for shape in [(50,), (40, 1), (300, 1, 1), (1, 40, 50), (1,), ()]:
        y = rng.uniform(1, 2, shape).astype(np.float32)
        for f in (torch.add, torch.mul, torch.div, torch.maximum, torch.lt):
            name = {"maximum": "maximum", "lt": "less"}.get(f.__name__, None)
            g = (
                getattr(np, name)
                if name
                else {"add": np.add, "mul": np.multiply, "div": np.divide}[f.__name__]
            )
            np.testing.assert_array_equal(f(torch.from_numpy(x), torch.tensor(y)).numpy(), g(x, y))
            np.testing.assert_array_equal(f(torch.tensor(y), torch.from_numpy(x)).numpy(), g(y, x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_of_cross_entropy(dtype):
    rng = np.random.default_rng(0)
    values, target = rng.normal(size=(500, 90)) * 3, rng.integers(0, 90, 500)
    target[::7] = -100
    x = torch.from_numpy(values).to(dtype).requires_grad_()
    torch.nn.functional.cross_entropy(x, torch.from_numpy(target), reduction="sum").backward()
    want = np.exp(values - values.max(1, keepdims=True))
    want /= want.sum(1, keepdims=True)
    want[np.arange(500), target % 90] -= 1
    want[::7] = 0
    np.testing.assert_allclose(x.grad.numpy(), want, atol=1e-6 if dtype is torch.float32 else 1e-14)
