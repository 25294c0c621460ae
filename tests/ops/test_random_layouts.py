"""Random tensors with another order of memory than that of their dims have PyTorch's numbers, and its strides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def turned(L: Any, *shape: int) -> Any:
    return L.ones(shape or (3, 40, 2)).transpose(0, 1)


def pixels(L: Any) -> Any:
    return L.ones(2, 3, 4, 4).to(memory_format=L.channels_last)


DRAWS = {
    "rand_like": lambda L: L.rand_like(turned(L)),
    "rand_like of pixels": lambda L: L.rand_like(pixels(L)),
    "rand_like contiguous": lambda L: L.rand_like(pixels(L), memory_format=L.contiguous_format),
    "rand_like channels last": lambda L: L.rand_like(L.ones(2, 3, 4, 4), memory_format=L.channels_last),
    "randn_like": lambda L: L.randn_like(turned(L)),
    "randn_like of a slice": lambda L: L.randn_like(L.ones(6, 8)[:, ::2].t()),
    "randn_like, other dtype": lambda L: L.randn_like(turned(L), dtype=L.float64),
    "randint_like": lambda L: L.randint_like(turned(L), 3, 100),
    "bernoulli": lambda L: L.bernoulli(turned(L), 0.3),
    "bernoulli of probabilities": lambda L: L.bernoulli(turned(L) * 0.3),
    "bernoulli_": lambda L: turned(L).bernoulli_(0.5),
    "bernoulli_ of probabilities": lambda L: turned(L, 3, 4).bernoulli_(L.linspace(0, 1, 12).view(4, 3)),
    "random_": lambda L: turned(L).random_(3, 100),
    "random_ without bounds": lambda L: L.zeros(3, 4, dtype=L.int32).t().random_(),
    "uniform_": lambda L: turned(L).uniform_(),
    "normal_": lambda L: turned(L).normal_(),
    "normal_ of a slice": lambda L: L.zeros(6, 8)[:, ::2].normal_(),
    "exponential_": lambda L: turned(L).exponential_(),
    "dropout": lambda L: L.nn.functional.dropout(turned(L)),
    "dropout of pixels": lambda L: L.nn.functional.dropout(pixels(L), 0.3),
    "alpha_dropout": lambda L: L.nn.functional.alpha_dropout(turned(L), training=True),
    "native_dropout": lambda L: L.native_dropout(turned(L), 0.5, True)[0],
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_the_memory(name: str) -> None:
    found = []
    for library in (flambeau, torch):
        library.manual_seed(3)
        t = DRAWS[name](library)
        found.append((t.stride(), t.double().numpy(), library.rand(2).numpy()))
    (stride, ours, after), (expected_stride, theirs, expected_after) = found
    assert stride == expected_stride
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(after, expected_after)  # as many numbers were used


LAYOUTS = {
    "slice": lambda L: L.zeros(6, 8)[:, ::2].t(),
    "dim of size 1": lambda L: L.zeros(4, 1, 3).transpose(0, 2),
    "expanded": lambda L: L.zeros(4, 1).expand(4, 3).t(),
    "expanded inside": lambda L: L.zeros(2, 1, 3).expand(2, 4, 3).permute(2, 1, 0),
    "permuted slice": lambda L: L.zeros(2, 3, 4, 5)[:, :2].permute(2, 0, 3, 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_empty_like_preserves_the_order_of_dims(name: str) -> None:
    ours, theirs = (L.empty_like(LAYOUTS[name](L)).stride() for L in (flambeau, torch))
    assert ours == theirs


RESULTS = {
    "sum": lambda L, x: x.sum(1),
    "mean": lambda L, x: x.mean(1, keepdim=True),
    "amax": lambda L, x: x.amax(0),
    "prod": lambda L, x: x.prod(0),
    "any": lambda L, x: (x > 1).any(1),
    "var": lambda L, x: x.var(1),
    "softmax": lambda L, x: x.softmax(1),
    "log_softmax": lambda L, x: x.log_softmax(-1),
    "cumsum": lambda L, x: x.cumsum(0),
    "layer_norm": lambda L, x: L.nn.functional.layer_norm(x, x.shape[-1:]),
    "linear": lambda L, x: L.nn.functional.linear(x, L.ones(3, x.shape[-1])),
    "gelu": lambda L, x: L.nn.functional.gelu(x),
    "cat": lambda L, x: L.cat([x, x], 1),
    "gather": lambda L, x: x.gather(0, L.zeros(x.shape, dtype=L.int64)),
    "flip": lambda L, x: x.flip(0),
    "add": lambda L, x: x + 1,
    "add a bias": lambda L, x: x + L.ones(x.shape[-1]),
    "dropout": lambda L, x: L.nn.functional.dropout(x),
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("dims", [(2, 0, 1), (1, 2, 0), (0, 2, 1)], ids=str)
def test_layouts_of_results(name: str, dims: tuple[int, ...]) -> None:
    found = [RESULTS[name](L, L.ones(4, 5, 6).permute(dims)) for L in (flambeau, torch)]
    kept = [[s for s, n in zip(y.stride(), y.shape) if n > 1] for y in found]
    assert kept[0] == kept[1]
