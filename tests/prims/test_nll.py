"""The negative log-likelihood as an operation: against its definition, and its derivatives against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch

F = torch.nn.functional


def by_definition(x: Any, t: Any, ignore: int, reduction: str) -> Any:
    losses = np.array([0.0 if c == ignore else -row[c] for row, c in zip(x, t)])
    counted = sum(int(c) != ignore for c in t)
    return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / counted if counted else np.nan}[
        reduction
    ]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("ignore", [-100, 1, 2])
@pytest.mark.parametrize("n", [0, 1, 5, 100])
def test_values_and_derivatives(n: int, ignore: int, reduction: str) -> None:
    rng = np.random.default_rng(n)
    x, t = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
    if n == 1:
        t[:] = ignore if ignore >= 0 else 0
    a, b = torch.tensor(x).requires_grad_(), torch.tensor(t)

    def loss(v: torch.Tensor) -> torch.Tensor:
        return F.nll_loss(v, b, ignore_index=ignore, reduction=reduction)

    np.testing.assert_allclose(loss(a).detach().numpy(), by_definition(x, t, ignore, reduction), 1e-12)
    if n and not np.isnan(loss(a).detach().numpy()).any():
        assert torch.autograd.gradcheck(loss, a, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(lambda v: loss(v.exp()), a)


@pytest.mark.parametrize("ignore", [-100, 1])
def test_batches(ignore: int) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(4, 5, 3)), rng.integers(0, 3, (4, 5))

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.nll_loss(a, b, ignore_index=ignore)

    found = torch.vmap(loss)(torch.tensor(x), torch.tensor(t))
    np.testing.assert_allclose(found.numpy(), [by_definition(a, b, ignore, "mean") for a, b in zip(x, t)])
    found = torch.vmap(loss, (0, None))(torch.tensor(x), torch.tensor(t[0]))
    np.testing.assert_allclose(found.numpy(), [by_definition(a, t[0], ignore, "mean") for a in x])


def test_refusals() -> None:
    x = torch.zeros(2, 3)
    for bad in ([0, 3], [-1, 0]):
        with pytest.raises(IndexError, match="out of bounds"):
            F.nll_loss(x, torch.tensor(bad))
        assert F.nll_loss(x, torch.tensor(bad), ignore_index=bad[0] if bad[0] < 0 else 3).item() == 0
    assert F.nll_loss(torch.zeros(2, 0), torch.tensor([-100, -100]), reduction="sum").item() == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits(dtype: str) -> None:
    reference = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(40, 5)), rng.integers(0, 5, 40)
    found = []
    for lib in (torch, reference):
        a = lib.tensor(x, dtype=getattr(lib, dtype)).requires_grad_()
        y = lib.nn.functional.nll_loss(a, lib.tensor(t), ignore_index=2)
        y.backward()
        found.append((y.item(), a.grad.to(lib.float32).numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], 1e-2)
    np.testing.assert_allclose(found[0][1], found[1][1], 1e-2)
