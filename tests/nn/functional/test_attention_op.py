"""Attention that is large enough for the operation: against its parts, in every mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import acceleration
from flambeau.prims.attention import attention_op, pays

F = torch.nn.functional
# q's shape and the number of keys
SHAPES = [((2, 3, 40, 24), 33), ((3, 64, 32), 64), ((2, 2, 2, 32, 16), 48), ((128, 16), 128)]


def parts(q: Any, k: Any, v: Any, causal: bool) -> Any:
    s = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if causal:
        s = s.masked_fill(~torch.ones(s.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    return s.softmax(-1) @ v


def made(shape: tuple[int, ...], keys: int) -> list[Any]:
    torch.manual_seed(0)
    lead, size = shape[:-2], shape[-1]
    q, k, v = (torch.randn(s, dtype=torch.float64) for s in (shape, (*lead, keys, size), (*lead, keys, 20)))
    assert pays(q._a, k._a, v._a)
    return [q, k, v]


@pytest.fixture(params=["numpy", "kernels"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr("flambeau.prims.products.kernels", lambda work: None)
    else:
        acceleration.load()
    return str(request.param)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_values_and_derivatives(case: Any, causal: bool, how: str) -> None:
    def derivatives(fn: Any) -> list[Any]:
        leaves = [x.clone().requires_grad_() for x in made(*case)]
        y = fn(*leaves)
        first = torch.autograd.grad((y * y).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(x.sin().sum() for x in first), leaves)
        return [y, *first, *second]

    def whole(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    for got, want in zip(derivatives(whole), derivatives(lambda *a: parts(*a, causal)), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_forward_mode_and_batches(causal: bool) -> None:
    q, k, v = made(*SHAPES[0])
    tangents = [torch.randn(x.shape, dtype=torch.float64) for x in (q, k, v)]

    def whole(*a: Any) -> Any:
        return F.scaled_dot_product_attention(*a, is_causal=causal)

    got = torch.func.jvp(whole, (q, k, v), tuple(tangents))[1]
    want = torch.func.jvp(lambda *a: parts(*a, causal), (q, k, v), tuple(tangents))[1]
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-10, atol=1e-10)
    many = torch.vmap(whole, in_dims=(0, None, 0))(torch.stack([q, 2 * q]), k, torch.stack([v, v]))
    np.testing.assert_allclose(many[1].numpy(), whole(2 * q, k, v).numpy(), rtol=1e-12, atol=1e-12)

    # A gradient of a gradient's tangent: forward over reverse.
    def loss(q: Any) -> Any:
        return whole(q, k, v).square().sum()

    hvp = torch.func.jvp(torch.func.grad(loss), (q,), (tangents[0],))[1]
    step = 1e-6
    near = [torch.func.grad(loss)(q + s * tangents[0]) for s in (step, -step)]
    np.testing.assert_allclose(hvp.numpy(), ((near[0] - near[1]) / (2 * step)).numpy(), rtol=1e-5, atol=1e-5)


def test_layout_is_pytorch_s() -> None:
    """Of four dims the heads of a place lie side by side, so that joining them copies nothing; whoever computes it."""
    x = torch.randn(2, 64, 3 * 128, requires_grad=True)
    q, k, v = (y.view(2, 64, 4, 32).transpose(1, 2) for y in x.split(128, 2))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert y.stride() == (8192, 32, 128, 1)
    assert [g.stride() for g in torch.autograd.grad(y.sum(), [q, k, v])] == [(8192, 32, 128, 1)] * 3


def test_compiled() -> None:
    x = torch.randn(2, 64, 96, requires_grad=True)

    def step(x: Any) -> Any:
        q, k, v = (y.view(2, 64, 2, 16).transpose(1, 2) for y in x.split(32, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 64, 32)
        return torch.autograd.grad(y.sin().sum(), x)[0]

    compiled = torch.compile(step)
    for _ in range(3):
        np.testing.assert_allclose(compiled(x).numpy(), step(x).numpy(), rtol=1e-5, atol=1e-6)
    assert "pieces kernel" in compiled.explain(x)


def test_masks_dropout_and_small_ones_are_parts() -> None:
    q, k, v = made(*SHAPES[0])
    mask = torch.ones(40, 33, dtype=torch.bool)
    got = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    want = attention_op(q, k, v, scale=24**-0.5, causal=False)[0]
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-10, atol=1e-12)
    assert not pays(q[..., :4, :]._a, k._a, v._a)
    assert not pays(q.half()._a, k.half()._a, v.half()._a)
