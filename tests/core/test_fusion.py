"""Fused composites and rules: against the same functions operation by operation, and in float64."""

import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import acceleration, fusion
from flambeau.nn import functional as F

pytest.importorskip("llvmlite")

SHAPE = (150, 240)  # 144 kB of float32: large enough for kernels


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(acceleration, "LOADING", 0.0)


def arrays(count, dtype, low=-4.0, high=4.0):
    rng = np.random.default_rng(0)
    return [rng.uniform(low, high, SHAPE).astype(dtype) for _ in range(count)]


def probabilities(dtype):
    return arrays(2, dtype, 0.01, 0.99)


COMPOSITES = {
    "leaky_relu": (1, lambda x: F.leaky_relu(x, 0.2)),
    "elu": (1, lambda x: F.elu(x, 1.5)),
    "softplus": (1, lambda x: F.softplus(x, 2.0, 3.0)),
    "logsigmoid": (1, F.logsigmoid),
    "hardsigmoid": (1, F.hardsigmoid),
    "hardswish": (1, F.hardswish),
    "mish": (1, F.mish),
    "hardtanh": (1, lambda x: F.hardtanh(x, -1.0, 2.0)),
    "selu": (1, F.selu),
    "glu": (1, F.glu),
    "clamp": (1, lambda x: x.clamp(-1, 2)),
    "clamp_min": (1, lambda x: x.clamp_min(0.5)),
    "nan_to_num": (1, torch.nan_to_num),
    "addcmul": (3, lambda x, y, z: torch.addcmul(x, y, z, value=0.5)),
    "addcdiv": (3, lambda x, y, z: torch.addcdiv(x, y, z.abs() + 1, value=0.5)),
    "lerp by tensor": (3, lambda x, y, z: torch.lerp(x, y, z)),
    "mse": (2, lambda x, y: F.mse_loss(x, y, reduction="none")),
    "l1": (2, lambda x, y: F.l1_loss(x, y, reduction="none")),
    "smooth l1": (2, lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0.7)),
    "huber": (2, lambda x, y: F.huber_loss(x, y, reduction="none", delta=0.7)),
    "with logits": (2, lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none")),
}
PROBABILITIES = {
    "binary cross entropy": (2, lambda x, y: F.binary_cross_entropy(x, y, reduction="none")),
    "kl_div": (2, lambda x, y: F.kl_div(x, y, reduction="none")),
}
RULES = {
    name: (1, getattr(torch, name))
    for name in ("sin", "cos", "exp", "tanh", "sigmoid", "abs", "relu", "square", "erf", "neg", "expm1")
} | {
    "gelu": (1, F.gelu),
    "silu": (1, F.silu),
    "mul": (2, torch.mul),
    "div": (2, lambda x, y: x / (y.abs() + 1)),
    "maximum": (2, torch.maximum),
    "pow": (1, lambda x: x**3),
    "where": (2, lambda x, y: torch.where(x > y, x, y)),
    "scaled": (1, lambda x: 3 * x - 1),
    "lerp": (2, lambda x, y: torch.lerp(x, y, 0.3)),
}
ALL = {**COMPOSITES, **RULES, **PROBABILITIES}


def evaluate(f, inputs, cotangent=None):
    xs = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
    y = f(*xs)
    if cotangent is None:
        cotangent = np.random.default_rng(1).normal(size=tuple(y.shape)).astype(inputs[0].dtype)
    grads = torch.autograd.grad(y, xs, torch.from_numpy(cotangent), allow_unused=True)
    return y.detach().numpy(), [None if g is None else g.numpy() for g in grads]


@pytest.mark.parametrize("name", list(ALL))
def test_values_and_gradients(name, monkeypatch):
    count, f = ALL[name]
    inputs = probabilities(np.float32) if name in PROBABILITIES else arrays(count, np.float32)
    before = len(fusion._kernels)
    value, grads = evaluate(f, inputs)
    if name != "neg":
        assert len(fusion._kernels) > before or name in RULES
    monkeypatch.setattr(fusion, "LARGE", 1 << 62)  # now without fusion, in float64
    exact, exact_grads = evaluate(f, [x.astype(np.float64) for x in inputs])
    scale = np.abs(exact).max()
    np.testing.assert_allclose(value, exact, rtol=2e-5, atol=2e-6 * max(1, scale))
    for got, want in zip(grads, exact_grads, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("name", ["leaky_relu", "softplus", "smooth l1", "sin", "mul"])
def test_second_derivatives(name):
    count, f = ALL[name]
    inputs = arrays(count, np.float64)
    xs = [torch.from_numpy(x).requires_grad_() for x in inputs]
    first = torch.autograd.grad(f(*xs).sum(), xs, create_graph=True)
    total = sum((g * g).sum() for g in first)
    if not total.requires_grad:
        return
    second = torch.autograd.grad(total, xs, allow_unused=True)
    small = [torch.from_numpy(x[:3, :5].copy()).requires_grad_() for x in inputs]
    first = torch.autograd.grad(f(*small).sum(), small, create_graph=True)
    want = torch.autograd.grad(sum((g * g).sum() for g in first), small, allow_unused=True)
    for a, b in zip(second, want, strict=True):
        if b is not None:
            np.testing.assert_allclose(a.numpy()[:3, :5], b.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_values(dtype):
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-30, 100.0, -100.0]
    row = torch.tensor(special * 2000, dtype=dtype)
    small = row[:10]
    for f in (
        lambda x: F.leaky_relu(x, 0.1),
        F.softplus,
        lambda x: x.clamp(-1, 1),
        torch.nan_to_num,
        torch.sign,
        torch.isfinite,
        torch.isinf,
        torch.relu,
        lambda x: torch.isclose(x, x, equal_nan=True),
        lambda x: F.hardtanh(x, -0.0, 5.0),
        lambda x: F.hardtanh(x, 0.0, 5.0),
    ):
        np.testing.assert_allclose(f(row)[:10].numpy(), f(small).numpy(), rtol=1e-6)
        if f(row).dtype == dtype:
            np.testing.assert_array_equal(np.signbit(f(row)[:10].numpy()), np.signbit(f(small).numpy()))


def test_gradients_of_sums_and_of_sliced_inputs():
    x = torch.from_numpy(arrays(1, np.float32)[0]).requires_grad_()
    F.softplus(x[:, 20:220]).sum().backward()
    slope = 1 / (1 + np.exp(-x.detach().numpy().astype(np.float64)))
    slope[:, :20] = slope[:, 220:] = 0
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-5, atol=1e-6)


def test_layout_of_transposed_inputs_is_kept():
    x = torch.from_numpy(arrays(1, np.float32)[0]).T
    assert F.leaky_relu(x).stride() == x.stride()


def test_an_overwritten_input_is_noticed_only_if_its_values_matter():
    x, y = (torch.from_numpy(a).requires_grad_() for a in arrays(2, np.float32))
    a, b = x * 1, y * 1
    z = torch.lerp(a, b, 0.25)
    a.add_(1)  # the gradients are 0.75 and 0.25, whatever a holds
    z.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 0.75)
    a = x * 1
    z = F.softplus(a)
    a.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.leaky_relu(x, 0.1, inplace=True),
        lambda x: F.elu(x, inplace=True),
        lambda x: F.selu(x, inplace=True),
        lambda x: F.celu(x, inplace=True),
        lambda x: F.hardtanh(x, inplace=True),
        lambda x: F.hardswish(x, inplace=True),
        lambda x: F.hardsigmoid(x, inplace=True),
        lambda x: F.mish(x, inplace=True),
        lambda x: F.silu(x, inplace=True),
        lambda x: x.clamp_(-1, 1),
    ],
)
def test_in_place(f):
    values = arrays(1, np.float32)[0]
    results = []
    for part in (values, values[:2]):
        x = torch.from_numpy(part.copy()).requires_grad_()
        y = f(x * 1)
        y.sum().backward()
        results.append((y.detach().numpy(), x.grad.numpy()))
    for big, small in zip(*results, strict=True):
        np.testing.assert_allclose(big[:2], small, rtol=1e-5, atol=1e-6)


def test_transforms_see_single_operations():
    x = torch.from_numpy(arrays(1, np.float64)[0])
    slope = torch.func.grad(lambda t: F.softplus(t).sum())(x)
    np.testing.assert_allclose(slope.numpy(), 1 / (1 + np.exp(-x.numpy())), rtol=1e-12)
    np.testing.assert_allclose(torch.vmap(F.softplus)(x).numpy(), F.softplus(x).numpy(), rtol=1e-12)
    compiled = torch.compile(lambda t: F.leaky_relu(t, 0.3) * 2)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).numpy(), (F.leaky_relu(x, 0.3) * 2).numpy())


def test_hooks_and_anomaly_mode():
    x = torch.from_numpy(arrays(1, np.float32)[0]).requires_grad_()
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t.shape) or t, lambda t: t):
        F.softplus(x).sum().backward()
    assert packed
    y = F.softplus(x)
    seen = []
    y.register_hook(lambda g: seen.append(g.shape))
    y.sum().backward()
    assert seen == [y.shape]


def test_numbers_that_change_do_not_make_kernels_without_end():
    x = torch.from_numpy(arrays(1, np.float32)[0])
    before = len(fusion._kernels)
    for i in range(60):
        F.leaky_relu(x, 0.001 * i)
    assert len(fusion._kernels) - before <= fusion.VARIANTS


@pytest.mark.parametrize("name", list(COMPOSITES))
def test_small_tensors(name, monkeypatch):
    """Programs over arrays against the composite's own operations."""
    count, f = COMPOSITES[name]
    inputs = [x[:4, :6] for x in arrays(count, np.float64)]
    value, grads = evaluate(f, inputs)
    monkeypatch.setattr(fusion, "_program", lambda *args: None)
    want, want_grads = evaluate(f, inputs)
    np.testing.assert_allclose(value, want, rtol=1e-14)
    for got, exact in zip(grads, want_grads, strict=True):
        assert (got is None) == (exact is None)
        if got is not None:
            np.testing.assert_allclose(got, exact, rtol=1e-13, atol=1e-14)


def test_warnings_that_are_errors_do_not_reach_the_user():
    x = torch.tensor([np.inf, -np.inf, np.nan, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.isclose(x, x)
        F.mse_loss(x, x, reduction="none")
