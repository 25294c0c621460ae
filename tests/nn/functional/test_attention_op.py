"""Attention that is large enough for the operation: against its parts, in every mode."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import acceleration
from flambeau.prims.attention import pays

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


def test_small_ones_are_parts() -> None:
    q, k, v = made(*SHAPES[0])
    assert not pays(q[..., :4, :]._a, k._a, v._a)
    assert not pays(q.half()._a, k.half()._a, v.half()._a)
    assert not pays(q._a, k._a, v._a, torch.ones(40, 32)._a)


MASKS = {
    "bool": lambda: torch.rand(40, 33) < 0.7,
    "padding": lambda: (torch.arange(33) < 20).expand(2, 1, 1, 33),
    "bias": lambda: torch.randn(3, 40, 33, dtype=torch.float64),
    "everything": lambda: torch.randn(2, 3, 40, 33, dtype=torch.float64),
    "row": lambda: torch.randn(2, 1, 40, 1, dtype=torch.float64),
}


def masked_parts(q: Any, k: Any, v: Any, mask: Any) -> Any:
    s = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    s = s.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else s + mask
    return s.softmax(-1) @ v


@pytest.mark.parametrize("kind", MASKS)
def test_masks(kind: str, how: str) -> None:
    """Values, first and second derivatives, those of the mask too."""
    torch.manual_seed(1)
    mask = MASKS[kind]()

    def derivatives(fn: Any) -> list[Any]:
        leaves = [x.clone().requires_grad_() for x in made(*SHAPES[0])]
        m = mask.clone().requires_grad_() if mask.dtype is not torch.bool else mask
        leaves += [m] if m.requires_grad else []
        y = fn(*leaves[:3], m)
        first = torch.autograd.grad((y * y).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(x.sin().sum() for x in first), leaves)
        return [y, *first, *second]

    found = derivatives(lambda *a: F.scaled_dot_product_attention(*a))
    for got, want in zip(found, derivatives(masked_parts), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("kind", MASKS)
def test_masks_in_transforms(kind: str) -> None:
    torch.manual_seed(1)
    q, k, v = made(*SHAPES[0])
    mask = MASKS[kind]()
    tangents = tuple(torch.randn(x.shape, dtype=torch.float64) for x in (q, k, v))
    got = torch.func.jvp(lambda *a: F.scaled_dot_product_attention(*a, mask), (q, k, v), tangents)[1]
    want = torch.func.jvp(lambda *a: masked_parts(*a, mask), (q, k, v), tangents)[1]
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-10, atol=1e-10)
    many = torch.vmap(lambda q: F.scaled_dot_product_attention(q, k, v, mask))(torch.stack([q, 2 * q]))
    np.testing.assert_allclose(
        many[1].numpy(), masked_parts(2 * q, k, v, mask).numpy(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("kind", ["bool", "additive"])
def test_a_query_that_sees_nothing(kind: str, how: str) -> None:
    q, k, v = (x.requires_grad_() for x in made(*SHAPES[0]))
    mask = torch.ones(40, 33, dtype=torch.bool)
    mask[3] = False
    if kind == "additive":
        mask = torch.zeros(40, 33, dtype=torch.float64).masked_fill(~mask, -torch.inf).requires_grad_()
    y = F.scaled_dot_product_attention(q, k, v, mask)
    assert (y[:, :, 3] == 0).all()
    for g in torch.autograd.grad(y.sin().sum(), [q, k, v] + ([mask] if kind == "additive" else [])):
        assert g.isfinite().all()
    small = F.scaled_dot_product_attention(q[:1, :1, 2:4], k[:1, :1], v[:1, :1], mask[2:4])
    np.testing.assert_allclose(
        small.detach().numpy(), y.detach()[:1, :1, 2:4].numpy(), rtol=1e-10, atol=1e-12
    )


def dropped_parts(q: Any, k: Any, v: Any, mask: Any, causal: bool) -> Any:
    s = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if causal:
        s = s.masked_fill(~torch.ones(s.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    if mask is not None:
        s = s.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else s + mask
    return F.dropout(s.softmax(-1), 0.3) @ v


@pytest.mark.parametrize("drawn", [1 << 20, 3000, 500])  # everything at once; a head; some queries
@pytest.mark.parametrize("kind", ["causal", "bool", "bias"])
def test_dropout(kind: str, drawn: int, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of dropout of the weights, whatever the parts, and the stream of draws goes on from there."""
    monkeypatch.setattr("flambeau.prims.attention_parts.DRAWN", drawn)
    torch.manual_seed(1)
    mask = None if kind == "causal" else MASKS[kind]()

    def derivatives(fn: Any) -> list[Any]:
        leaves = [x.clone().requires_grad_() for x in made(*SHAPES[0])]
        m = mask.clone().requires_grad_() if kind == "bias" else mask
        leaves += [m] if kind == "bias" else []
        torch.manual_seed(5)
        y = fn(*leaves[:3], m, kind == "causal")
        after = torch.rand(3)
        first = torch.autograd.grad((y * y).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(x.sin().sum() for x in first), leaves)
        return [after, y, *first, *second]

    found = derivatives(lambda q, k, v, m, c: F.scaled_dot_product_attention(q, k, v, m, 0.3, c))
    for got, want in zip(found, derivatives(dropped_parts), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-10, atol=1e-9)


def test_batched_gradients_of_dropout() -> None:
    """The draws of the forward pass serve all cotangents."""
    q, k, v = (x.requires_grad_() for x in made(*SHAPES[0]))
    bias = torch.randn(40, 33, dtype=torch.float64, requires_grad=True)
    for leaves, mask in (([q, k, v], None), ([q, k, v, bias], bias)):
        y = F.scaled_dot_product_attention(q, k, v, mask, 0.3)
        g = torch.randn(2, *y.shape, dtype=torch.float64)
        found = torch.autograd.grad(y, leaves, g, is_grads_batched=True, retain_graph=True)
        for i in range(2):
            for x, want in zip(found, torch.autograd.grad(y, leaves, g[i], retain_graph=True), strict=True):
                np.testing.assert_allclose(x[i].numpy(), want.numpy(), rtol=1e-10, atol=1e-12)


def test_dropout_is_not_replayed() -> None:
    def draw() -> Any:
        q = torch.arange(4096.0).sin().reshape(1, 2, 64, 32)
        return F.scaled_dot_product_attention(q, q, q, dropout_p=0.3)

    with pytest.raises(RuntimeError, match="cannot replay.*dropped_attention"):
        torch.compile(draw, mode="reduce-overhead")()


def test_dropout_in_compiled_code_and_checkpoints() -> None:
    q, k, v = (x.requires_grad_() for x in made(*SHAPES[0]))

    def gradients(fn: Any) -> list[Any]:
        torch.manual_seed(5)
        y = fn(q, k, v)
        return [y.detach(), *torch.autograd.grad(y.sin().sum(), [q, k, v])]

    def plain(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q.tanh(), k, v, dropout_p=0.3, is_causal=True).exp()

    want = gradients(plain)
    compiled = torch.compile(plain)
    kept = [gradients(compiled) for _ in range(3)]
    from flambeau.utils.checkpoint import checkpoint

    kept.append(gradients(lambda *a: checkpoint(plain, *a, use_reentrant=False)))
    for found in kept:
        for x, y in zip(found, want, strict=True):
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", ["bool", "additive", "mask gradient", "dropout", "compiled"])
def test_memory_does_not_grow_with_the_square_of_the_length(way: str) -> None:
    """Twice the length takes twice the memory, not four times."""
    from flambeau.runtime import pool

    acceleration.load()

    def attend(q: Any, k: Any, v: Any, mask: Any) -> Any:
        y = F.scaled_dot_product_attention(q, k, v, mask, 0.1 if way == "dropout" else 0.0)
        return torch.autograd.grad(y.sum(), [q, k, v])

    run = torch.compile(attend) if way == "compiled" else attend

    def peak(length: int) -> int:
        q, k, v = (torch.randn(1, 2, length, 16, requires_grad=True) for _ in range(3))
        mask = None
        if way in ("bool", "compiled"):
            mask = torch.arange(length).expand(1, 1, 1, length) < length - 5
        elif way != "dropout":
            mask = torch.randn(1, 2, 1, length, requires_grad=way == "mask gradient")
        found = []
        for _ in range(3):
            before = pool.memory_stats()["active_bytes.all.current"]
            pool.reset_peak_memory_stats()
            tracemalloc.start()
            run(q, k, v, mask)
            found.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            found[-1] += pool.memory_stats()["active_bytes.all.peak"] - before
        return min(found)

    weights = 2 * 4 * 2048**2
    low, high = peak(1024), peak(2048)
    # Dropout draws for a part of the weights at a time: that takes the same memory at any length.
    assert high < 2.6 * low and (way == "dropout" or high < weights / 3), (low, high, weights)


@pytest.mark.parametrize("sizes", [(3, 0, 2), (0, 4, 4), (3, 4, 0)], ids=str)
def test_nothing_to_attend_with(sizes: tuple[int, int, int]) -> None:
    """No places, or heads or values of no size: equal weights, as in PyTorch."""
    n, size, values = sizes
    q, v = torch.ones(1, 2, n, size, requires_grad=True), torch.rand(1, 2, n, values)
    y = F.scaled_dot_product_attention(q, q, v)
    assert y.shape == (1, 2, n, values)
    if y.numel():
        np.testing.assert_allclose(y.detach().numpy()[0, 0, 0], v.numpy()[0, 0].mean(0), rtol=1e-6)
    assert torch.autograd.grad(y.sum(), q)[0].shape == q.shape
