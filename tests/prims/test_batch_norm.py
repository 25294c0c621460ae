"""Batch norm as one operation each way: derivatives of every kind, batching, and NumPy's way beside the kernels'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.core import acceleration
from flambeau.prims import batch_norm as own
from flambeau.prims.norm import affine_op, standardize_op


def normalised(x: Any, w: Any, b: Any) -> Any:
    return F.batch_norm(x, None, None, w, b, True, 0.1, 1e-3)


def in_steps(x: Any, w: Any, b: Any) -> Any:
    """The same by two operations that have derivatives of their own."""
    dims, along = (0, *range(2, x.dim())), (1, -1) + (1,) * (x.dim() - 2)
    return affine_op(standardize_op(x, dims=dims, eps=1e-3)[0], w.reshape(along), b.reshape(along))


def inputs(shape: Any, seed: int = 0) -> Any:
    r = np.random.default_rng(seed)
    arrays = r.standard_normal(shape), r.standard_normal(shape[1]), r.standard_normal(shape[1])
    return tuple(torch.tensor(a, requires_grad=True) for a in arrays)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 2, 3, 2)])
def test_derivatives(shape: Any) -> None:
    args = inputs(shape)
    assert gradcheck(normalised, args, check_forward_ad=True)
    assert gradgradcheck(normalised, args)


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_some_gradients_only(wanted: Any) -> None:
    args = inputs((3, 2, 4))
    for t, need in zip(args, wanted):
        t.requires_grad_(need)
    found = torch.autograd.grad(normalised(*args).pow(3).sum(), [t for t in args if t.requires_grad])
    expected = torch.autograd.grad(in_steps(*args).pow(3).sum(), [t for t in args if t.requires_grad])
    np.testing.assert_allclose(found[0].numpy(), expected[0].numpy(), rtol=1e-10)


def test_third_derivatives_and_forward_over_reverse() -> None:
    x, w, b = inputs((3, 2, 2))
    t = torch.randn(*x.shape, dtype=torch.float64)

    def slope(f: Any) -> Any:
        return torch.func.jvp(torch.func.grad(lambda a: f(a, w, b).pow(3).sum()), (x,), (t,))[1]

    np.testing.assert_allclose(
        slope(normalised).detach().numpy(), slope(in_steps).detach().numpy(), rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("batched", [(0, None, None), (0, 0, 0), (None, 0, None)])
def test_batching_is_a_loop(batched: Any) -> None:
    x, w, b = (t.detach() for t in inputs((3, 4, 5)))
    args = [torch.stack([t, t * 2, t - 1]) if d == 0 else t for t, d in zip((x, w, b), batched)]

    def total(*a: Any) -> Any:
        return normalised(*a).pow(3).sum()

    for f in (normalised, torch.func.grad(total, argnums=0), torch.func.grad(total, argnums=1)):
        found = torch.vmap(f, batched)(*args)
        for i in range(3):
            one = f(*[a[i] if d == 0 else a for a, d in zip(args, batched)])
            np.testing.assert_allclose(found[i].numpy(), one.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_say_what_numpy_says(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acceleration.load()
    r = np.random.default_rng(0)
    x, g = (r.standard_normal((8, 6, 20, 21)).astype(dtype) for _ in range(2))
    w, b = (r.standard_normal(6).astype(dtype) for _ in range(2))

    def results() -> list[Any]:
        mean, var = own._batch_moments(x)
        y = own._batch_norm(b, x, w, mean, var, eps=1e-5)
        return [mean, var, y, *own._batch_norm_grad(g, x, w, mean, var, eps=1e-5)]

    assert own._kernels(x) is not None
    fast = results()
    monkeypatch.setattr(own, "_kernels", lambda *a: None)
    for a, c in zip(fast, results(), strict=True):
        tolerance = 1e-4 if dtype == "float32" else 1e-11
        np.testing.assert_allclose(a, c, rtol=tolerance, atol=tolerance)


def test_a_result_may_be_changed_in_place() -> None:
    x, w, b = inputs((4, 3, 5))
    y = normalised(x, w, b)
    y.relu_().sum().backward()
    wanted = torch.autograd.grad(normalised(x, w, b).relu().sum(), x)[0]
    np.testing.assert_array_equal(x.grad.numpy(), wanted.numpy())


def test_other_layouts() -> None:
    x = torch.randn(6, 7, 4, 5).permute(2, 1, 0, 3)
    w = torch.ones(7)
    np.testing.assert_array_equal(normalised(x, w, w).numpy(), normalised(x.contiguous(), w, w).numpy())
    reference = pytest.importorskip("torch")
    y = reference.nn.functional.batch_norm(
        reference.from_numpy(x.numpy()), None, None, reference.ones(7), reference.ones(7), True, 0.1, 1e-3
    )
    np.testing.assert_allclose(normalised(x, w, w).numpy(), y.numpy(), rtol=1e-5, atol=1e-5)
