"""Compiled results have the strides of eager ones, which are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch


def stacked(x: Any) -> Any:
    return torch.stack([x * 0.5, x * 2]) + 1


def product(x: Any) -> Any:
    x = x.detach().requires_grad_()
    return torch.autograd.grad((x * 1.5).softmax(1).prod(0).sum(), x)[0]


def whole_product(x: Any) -> Any:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(x.sin().prod(), x)[0]


LAYOUTS: dict[str, Callable[[], Any]] = {
    "rows": lambda: torch.rand(4, 3, 2),
    "turned": lambda: torch.rand(2, 3, 4).permute(2, 1, 0),
    "a column": lambda: torch.rand(4, 4).t().unsqueeze(-1),
    "channels last": lambda: torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "one channel": lambda: torch.rand(2, 1, 4, 5).to(memory_format=torch.channels_last),
    "zeros": lambda: torch.rand(4, 3, 2).permute(1, 0, 2) * torch.tensor([0.0, 1.0]),
}


@pytest.mark.parametrize("fn", [stacked, product, whole_product])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides(layout: str, fn: Any) -> None:
    torch.manual_seed(0)
    x = LAYOUTS[layout]()
    want = fn(x)
    compiled = torch.compile(fn)
    for _ in range(3):
        got = compiled(x)
        assert got.stride() == want.stride()
        assert torch.allclose(got, want)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("layout", [n for n in LAYOUTS if n != "a column"])
def test_joined_as_in_pytorch(layout: str, dim: int) -> None:
    their = pytest.importorskip("torch")
    x = LAYOUTS[layout]()
    y = their.empty_strided(x.shape, x.stride())
    assert torch.cat([x, x], dim).stride() == their.cat([y, y], dim).stride()
    assert torch.stack([x, x], dim).stride() == their.stack([y, y], dim).stride()


def test_draws_in_another_layout_are_refused_before_they_are_made() -> None:
    x = torch.rand(3, 4).t()
    replayed = torch.compile(lambda x: torch.rand_like(x) + torch.rand(3), mode="reduce-overhead")
    before = torch.get_rng_state().tolist()
    with pytest.raises(RuntimeError, match="cannot replay.*random_uniform"):
        replayed(x)
    assert torch.get_rng_state().tolist() == before


W = torch.linspace(-1.0, 1.0, 108).reshape(3, 4, 3, 3)
B = torch.linspace(0.5, 1.0, 4)
F = torch.nn.functional

IMAGES: dict[str, Callable[[Any], Any]] = {
    "convolution": lambda x: F.conv2d(x, W),
    "maxima": lambda x: F.max_pool2d(x * 2, 2),
    "means": lambda x: F.avg_pool2d(x, 2),
    "adaptive maxima": lambda x: F.adaptive_max_pool2d(x, 2),
    "group norm": lambda x: F.group_norm(x, 2, B, B),
    "batch norm": lambda x: F.batch_norm(x, None, None, B, B, True),
    "batch norm of given moments": lambda x: F.batch_norm(x, B, B, B, B),
    "reflections": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "a network": lambda x: F.max_pool2d(
        F.relu(F.batch_norm(F.conv2d(x, W), None, None, B[:3], B[:3], True)), 2
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_channels_stay_innermost(name: str) -> None:
    fn = IMAGES[name]
    torch.manual_seed(0)
    data = torch.rand(2, 4, 6, 8).to(memory_format=torch.channels_last)

    def with_gradient(x: Any) -> Any:
        y = fn(x)
        return y, torch.autograd.grad((y * y).sum(), x)[0]

    compiled, whole = torch.compile(fn), torch.compile(with_gradient)
    want = with_gradient(data.clone().requires_grad_())
    for _ in range(3):
        x = data.clone().requires_grad_()
        y = compiled(x)
        for got in ((y, torch.autograd.grad((y * y).sum(), x)[0]), whole(x)):
            assert type(got[0].grad_fn).__name__ == type(want[0].grad_fn).__name__
            for g, w in zip(got, want):
                assert g.stride() == w.stride()
                torch.testing.assert_close(g, w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_gradients_of_products_with_zeros(dtype: str) -> None:
    def gradient(x: Any) -> Any:
        y = x.cumprod(1)
        return torch.autograd.grad(y, x, torch.ones_like(y))[0]

    x = torch.rand(3, 4, 5).to(getattr(torch, dtype))
    x[0, 0, 0] = 0
    x.requires_grad_()
    compiled = torch.compile(gradient)
    for _ in range(3):
        got, want = compiled(x), gradient(x)
        assert got.stride() == want.stride() == x.stride()
        assert torch.allclose(got, want)
