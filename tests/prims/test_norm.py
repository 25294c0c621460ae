"""Standardisation, softmax and cross entropy: formulas in NumPy, derivatives to the third order, kernels and fallbacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.autograd import grad, gradcheck, gradgradcheck
from flambeau.core import acceleration
from flambeau.prims import row_kernels
from flambeau.prims.norm import standardize_op
from flambeau.prims.softmax import cross_entropy_op, log_softmax_op, softmax_op

TARGET = torch.tensor([[0, 1, -1], [2, 4, 3], [0, 0, 0], [-1, -1, 1]])
FUNCTIONS = {
    **{
        f"standardize {d}": lambda x, d=d: standardize_op(x, dims=d, eps=0.01)[0]
        for d in ((2,), (1, 2), (0, 2), (1,))
    },
    **{f"softmax {d}": lambda x, d=d: softmax_op(x, dim=d) for d in range(3)},
    **{f"log_softmax {d}": lambda x, d=d: log_softmax_op(x, dim=d) for d in range(3)},
    "cross_entropy": lambda x: cross_entropy_op(x, TARGET, ignore=-1, smoothing=0.1)[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_to_the_third_order(name: str) -> None:
    torch.manual_seed(0)
    fn = FUNCTIONS[name]
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(fn, (x,), check_forward_ad=True)
    assert gradgradcheck(fn, (x,))

    def second(x: Any) -> Any:
        (first,) = grad((fn(x) ** 3).sum(), x, create_graph=True)
        return grad((first**2).sum(), x, create_graph=True)[0]

    assert gradcheck(second, (x,))


@pytest.fixture(params=["numpy", "kernels"])
def path(request: Any, monkeypatch: Any) -> str:
    """Both ways that large arrays can take."""
    if request.param == "kernels":
        from flambeau.compiler import rowwise

        monkeypatch.setattr(row_kernels._State, "module", rowwise)
        monkeypatch.setattr(row_kernels, "WORTH", 0)
    else:
        monkeypatch.setattr(row_kernels, "WORTH", 1 << 60)
    return str(request.param)


def test_both_paths_give_the_formulas(path: str) -> None:
    rng = np.random.default_rng(0)
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-13)):
        a = rng.standard_normal((6, 33)).astype(dtype) * 4
        g = rng.standard_normal(a.shape).astype(dtype)
        target = rng.integers(0, 33, 6)
        target[2] = -100
        p = scipy.special.softmax(a.astype(float), 1)
        c = a.astype(float) - a.mean(1, keepdims=True, dtype=float)
        r = 1 / np.sqrt((c**2).mean(1, keepdims=True) + 1e-5)
        y = c * r
        wanted = [
            (lambda x: F.softmax(x, 1), p, p * (g - (g * p).sum(1, keepdims=True))),
            (lambda x: F.log_softmax(x, 1), np.log(p), g - p * g.sum(1, keepdims=True)),
            (
                lambda x: F.layer_norm(x, (33,)),
                y,
                r * (g - g.mean(1, keepdims=True) - y * (g * y).mean(1, keepdims=True)),
            ),
        ]
        for fn, value, slope in wanted:
            x = torch.tensor(a, requires_grad=True)
            out = fn(x)
            out.backward(torch.tensor(g))
            np.testing.assert_allclose(out.detach().numpy(), value, rtol=tolerance, atol=tolerance * 5)
            np.testing.assert_allclose(x.grad.numpy(), slope, rtol=tolerance, atol=tolerance * 20)
        x = torch.tensor(a, requires_grad=True)
        loss = F.cross_entropy(x, torch.tensor(target), reduction="none")
        loss.backward(torch.tensor(g[:, 0]))
        counts = target != -100
        safe = np.where(counts, target, 0)
        want = np.where(counts, -np.log(p[np.arange(6), safe]), 0)
        slope = np.where(counts, g[:, 0], 0)[:, None] * (p - np.eye(33)[safe])
        np.testing.assert_allclose(loss.detach().numpy(), want, rtol=tolerance * 5, atol=tolerance * 5)
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=tolerance, atol=tolerance * 5)


def test_extreme_values_and_empty_arrays(path: str) -> None:
    x = torch.tensor([[1000.0, 0.0], [-np.inf, 0.0], [np.inf, 0.0]])
    np.testing.assert_array_equal(F.softmax(x, 1)[:2].numpy(), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(F.log_softmax(x, 1)[:2].numpy(), [[0, -1000], [-np.inf, 0]])
    assert F.softmax(torch.zeros(0, 3), 1).shape == (0, 3)
    assert F.layer_norm(torch.zeros(0, 3), (3,)).shape == (0, 3)
    assert F.cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), reduction="none").shape == (
        0,
    )


def test_targets_that_are_no_class_are_refused(path: str) -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    for bad in (3, -1):
        with pytest.raises(IndexError, match="out of bounds"):
            F.cross_entropy(x, torch.tensor([0, bad]))
        with pytest.raises(IndexError, match="out of bounds"):
            torch.vmap(lambda a, bad=bad: F.cross_entropy(a, torch.tensor(bad)))(x.detach())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_like_pytorch(reduction: str, smoothing: float, weighted: bool) -> None:
    reference = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 4, 2)), rng.random(4) if weighted else None
    soft = scipy.special.softmax(rng.standard_normal((3, 4, 2)), 1)
    for target in (np.array([[0, 3], [-100, 1], [2, 2]]), soft):
        found = []
        for lib in (torch, reference):
            a = lib.tensor(x, requires_grad=True)
            loss = lib.nn.functional.cross_entropy(
                a,
                lib.tensor(target),
                None if w is None else lib.tensor(w),
                reduction=reduction,
                label_smoothing=smoothing,
            )
            loss.sum().backward()
            found.append((loss.detach().numpy(), a.grad.numpy()))
        for a, b in zip(*found):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_batch_norm_updates_running_statistics() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3, 4, dtype=torch.float64) * 1e-4  # a variance far below eps
    mean, var = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    a = x.numpy().swapaxes(0, 1).reshape(3, -1)
    np.testing.assert_allclose(mean.numpy(), 0.25 * a.mean(1), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * a.var(1, ddof=1), rtol=1e-14)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        F.batch_norm(torch.zeros(1, 3), None, None, training=True)


@pytest.mark.parametrize("shape", [(3, 5), (300, 64), (4, 50, 8, 16)])
def test_layer_norm_with_weight_and_bias(shape: tuple[int, ...]) -> None:
    """One operation, against the formula in float64, forward and backward; by kernel where the array is large."""
    acceleration.load()
    r = np.random.default_rng(0)
    last = shape[2:] if len(shape) > 2 else shape[1:]
    x, w, b, g = (r.normal(size=s).astype(np.float32) for s in (shape, last, last, shape))
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = torch.nn.functional.layer_norm(tensors[0], last, *tensors[1:])
    y.backward(torch.tensor(g))
    axes = tuple(range(len(shape) - len(last), len(shape)))
    lead = tuple(range(len(shape) - len(last)))
    x, w, b, g = (a.astype(np.float64) for a in (x, w, b, g))
    scale = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    z = (x - x.mean(axes, keepdims=True)) * scale
    s = g * w
    slope = scale * (s - s.mean(axes, keepdims=True) - z * (s * z).mean(axes, keepdims=True))
    np.testing.assert_allclose(y.detach().numpy(), z * w + b, atol=2e-5)
    for t, want in zip(tensors, (slope, (g * z).sum(lead), g.sum(lead))):
        np.testing.assert_allclose(t.grad.numpy(), want, atol=3e-4)
    twice = [t.detach().double().requires_grad_() for t in tensors]
    if x.size < 50:
        assert torch.autograd.gradgradcheck(
            lambda *a: torch.nn.functional.layer_norm(a[0], last, *a[1:]), twice
        )
