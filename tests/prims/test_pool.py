"""Pooling primitives against windows written out, and the public functions against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.prims import pool
from flambeau.prims.pool import Windows


@st.composite
def windows(draw: Any) -> Windows:
    n = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(n))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(n))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(d * (k - 1) + 1 + draw(st.integers(0, 4)) for d, k in zip(dilation, kernel))
    out = tuple(
        (m + 2 * p - d * (k - 1) - 1) // s + 1
        for m, p, d, k, s in zip(size, padding, dilation, kernel, stride)
    )
    return Windows(kernel, stride, padding, dilation, size, out)


def members(w: Windows) -> list[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """(output, the inputs in its window) for every output."""
    found = []
    for at in itertools.product(*[range(n) for n in w.out]):
        inside = []
        for tap in itertools.product(*[range(k) for k in w.kernel]):
            place = tuple(
                a * s - p + t * d for a, s, p, t, d in zip(at, w.stride, w.padding, tap, w.dilation)
            )
            if all(0 <= i < m for i, m in zip(place, w.size)):
                inside.append(place)
        found.append((at, inside))
    return found


@settings(max_examples=120, deadline=None)
@given(windows(), st.integers(0, 2))
def test_sums_maxima_and_positions(w: Windows, lead: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 3, (lead, 2, *w.size)).astype(float)  # with ties
    g = rng.standard_normal((lead, 2, *w.out))
    y, total = pool._max_pool(x, w=w), pool._sum_pool(x, w=w)
    taps = pool._max_pool_taps(x, w=w)
    positions = pool._tap_positions(taps, w=w)
    back = np.zeros_like(x)
    for at, inside in members(w):
        values = np.stack([x[(..., *p)] for p in inside], -1)
        np.testing.assert_array_equal(y[(..., *at)], values.max(-1))
        np.testing.assert_allclose(total[(..., *at)], values.sum(-1), atol=1e-12)
        flat = np.array([np.ravel_multi_index(p, w.size) for p in inside])
        np.testing.assert_array_equal(positions[(..., *at)], flat[values.argmax(-1)])
        for p, chosen in zip(
            inside, np.moveaxis(values.argmax(-1)[..., None] == np.arange(len(inside)), -1, 0)
        ):
            back[(..., *p)] += g[(..., *at)] * chosen
    np.testing.assert_allclose(pool._spread_taps(g, taps, w=w), back, atol=1e-12)
    np.testing.assert_array_equal(pool._pick_taps(x, taps, w=w), y)
    np.testing.assert_allclose((pool._sum_pool_adjoint(g, w=w) * x).sum(), (total * g).sum(), atol=1e-10)


def test_minus_infinity_and_nan() -> None:
    x = torch.tensor([[-np.inf, -np.inf, 1.0, np.nan, 2.0, 3.0]]).reshape(1, 1, 6)
    y, at = F.max_pool1d(x, 3, 2, padding=1, return_indices=True)
    np.testing.assert_array_equal(y.numpy().ravel(), [-np.inf, np.nan, np.nan])
    assert at.flatten().tolist() == [0, 3, 3]


@pytest.mark.parametrize(
    "fn, shape",
    [
        (lambda x: F.max_pool1d(x, 3, 2, padding=1), (2, 2, 7)),
        (lambda x: F.max_pool2d(x, 2, ceil_mode=True), (1, 2, 5, 3)),
        (lambda x: F.max_pool2d(x, 2, 1, dilation=2), (1, 1, 4, 4)),
        (lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), (1, 2, 5, 4)),
        (lambda x: F.avg_pool3d(x, 2, divisor_override=3), (1, 1, 3, 4, 2)),
        (lambda x: F.adaptive_max_pool2d(x, (2, 3)), (1, 1, 5, 6)),
        (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (1, 1, 5, 6)),
        (lambda x: F.lp_pool1d(x * x + 1, 3, 2), (1, 1, 6)),
    ],
)
def test_derivatives(fn: Any, shape: Any) -> None:
    values = np.random.default_rng(0).permutation(np.arange(np.prod(shape)) / 7.0).reshape(shape)
    x = torch.tensor(values, requires_grad=True)
    assert gradcheck(fn, (x,), check_forward_ad=True)
    assert gradgradcheck(fn, (x,))


def test_batching_is_a_loop() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 2, 4, 6, 5)
    for fn in (lambda a: F.max_pool2d(a, 3, 2, 1), lambda a: F.avg_pool2d(a, 2, ceil_mode=True)):
        want = torch.stack([fn(a) for a in x])
        np.testing.assert_array_equal(torch.vmap(fn)(x).numpy(), want.numpy())
        slopes = torch.vmap(torch.func.grad(lambda a, fn=fn: (fn(a) ** 2).sum()))(x)
        a = x.clone().requires_grad_()
        (torch.stack([fn(b) for b in a]) ** 2).sum().backward()
        np.testing.assert_allclose(slopes.numpy(), a.grad.numpy(), rtol=1e-5)


CALLS = [
    ("max_pool2d", (2, 3, 9, 8), {"kernel_size": (3, 2), "stride": 2, "padding": 1, "return_indices": True}),
    ("max_pool3d", (2, 5, 6, 7), {"kernel_size": 3, "dilation": 2, "return_indices": True}),
    ("max_pool1d", (2, 3, 10), {"kernel_size": 4, "stride": 3, "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool1d", (2, 3, 10), {"kernel_size": 4, "stride": 3, "ceil_mode": True}),
    ("adaptive_max_pool2d", (2, 3, 7, 8), {"output_size": (3, None), "return_indices": True}),
    ("adaptive_max_pool1d", (2, 3, 8), {"output_size": 4, "return_indices": True}),
    ("adaptive_avg_pool3d", (2, 3, 4, 5, 6), {"output_size": (2, 3, 1)}),
    ("adaptive_avg_pool2d", (2, 3, 4, 6), {"output_size": (2, 3)}),
    ("lp_pool2d", (2, 3, 6, 6), {"norm_type": 2, "kernel_size": 3}),
]


@pytest.mark.parametrize("name, shape, options", CALLS)
def test_like_pytorch(name: str, shape: Any, options: Any) -> None:
    reference = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal(shape)
    ours = getattr(F, name)(torch.tensor(x), **options)
    theirs = getattr(reference.nn.functional, name)(reference.tensor(x), **options)
    ours, theirs = (v if isinstance(v, tuple) else (v,) for v in (ours, theirs))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_fractional_pooling_like_pytorch(n: int) -> None:
    reference = pytest.importorskip("torch")
    rng = np.random.default_rng(n)
    x, samples = rng.standard_normal((2, 3, *(9, 8, 7)[:n])), rng.random((2, 3, n))
    name = f"fractional_max_pool{n}d"
    options = {"kernel_size": 2, "output_size": (4, 5, 3)[:n], "return_indices": True}
    ours = getattr(F, name)(torch.tensor(x), _random_samples=torch.tensor(samples), **options)
    theirs = getattr(reference.nn.functional, name)(
        reference.tensor(x), _random_samples=reference.tensor(samples), **options
    )
    for a, b in zip(ours, theirs):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_unpooling_puts_values_back() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    y, at = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(y, at, 2)
    assert back.shape == x.shape
    np.testing.assert_array_equal(back.numpy(), np.where(np.isin(x.numpy(), y.numpy()), x.numpy(), 0))
    with pytest.raises(RuntimeError, match="invalid max index"):
        F.max_unpool2d(y, at + 100, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.max_pool2d(x, 0),
        lambda x: F.max_pool2d(x, 2, 0),
        lambda x: F.max_pool2d(x, 2, padding=2),
        lambda x: F.max_pool2d(x, 2, padding=-1),
        lambda x: F.max_pool2d(x, 2, dilation=0),
        lambda x: F.max_pool2d(x, 9),
        lambda x: F.max_pool2d(x[0, 0], 2),
        lambda x: F.avg_pool2d(x, 2, divisor_override=0),
        lambda x: F.avg_pool2d(x, (2, 2, 2)),
        lambda x: F.adaptive_avg_pool2d(x, (2, -1)),
        lambda x: F.max_pool2d(x[..., :0], 2),
    ],
)
def test_what_does_not_fit_is_refused(call: Any) -> None:
    with pytest.raises(RuntimeError):
        call(torch.zeros(1, 1, 4, 4))
