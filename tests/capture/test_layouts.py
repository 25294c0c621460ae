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
