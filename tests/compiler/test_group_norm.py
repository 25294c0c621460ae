"""Group norm and RMS norm by generated code, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.compiler import groups, rowwise
from flambeau.compiler.types import UnsupportedError
from flambeau.core import acceleration
from flambeau.runtime import threads

F = torch.nn.functional
SHAPES = [
    ((2, 4), 2),
    ((1, 6, 1), 3),
    ((2, 8, 5, 7), 4),
    ((3, 6, 130), 1),
    ((2, 4, 33), 4),
    ((1, 8, 64, 3), 2),
]


def group_reference(g: Any, x: Any, w: Any, b: Any, count: int, eps: float) -> list[Any]:
    g, x, w, b = (a.astype(np.float64) for a in (g, x, w, b))
    rows = (x.shape[0], count, -1)
    fit = (-1, *(1,) * (x.ndim - 2))
    mean, var = x.reshape(rows).mean(2), x.reshape(rows).var(2)
    scale = 1 / np.sqrt(var + eps)[..., None]
    y = ((x.reshape(rows) - mean[..., None]) * scale).reshape(x.shape)
    gy = (g * w.reshape(fit)).reshape(rows)
    z = y.reshape(rows)
    gx = (gy - gy.mean(2, keepdims=True) - z * (gy * z).mean(2, keepdims=True)) * scale
    dims = (0, *range(2, x.ndim))
    return [
        *(y * w.reshape(fit) + b.reshape(fit), mean, var, gx.reshape(x.shape)),
        *((g * y).sum(dims), g.sum(dims)),
    ]


def near(found: Any, wanted: Any, dtype: str) -> None:
    tol = 2e-5 if dtype == "float32" else 1e-13
    for x, want in zip(found, wanted, strict=True):
        assert x.dtype == dtype and x.shape == want.shape
        assert np.abs(x - want).max() <= tol * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_group_norm(case: Any, dtype: str) -> None:
    (shape, count), r = case, np.random.default_rng(0)
    x, g = (r.standard_normal(shape).astype(dtype) for _ in range(2))
    w, b = (r.standard_normal(shape[1]).astype(dtype) for _ in range(2))
    y, mean, var = groups.group_norm(x, w, b, count, 1e-3)
    found = [y, mean, var, *groups.group_norm_backward(g, x, w, mean, var, 1e-3)]
    near(found, group_reference(g, x, w, b, count, 1e-3), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 7, 129), (200, 64)], ids=str)
def test_rms_norm(shape: tuple[int, ...], dtype: str) -> None:
    r = np.random.default_rng(0)
    x, g = (r.standard_normal(shape).astype(dtype) for _ in range(2))
    w = r.standard_normal(shape[-1]).astype(dtype)
    y, scale = rowwise.rms_norm(x, w, 1e-3)
    found = [y, scale, *rowwise.rms_norm_backward(g, x, scale, w)]
    g, x, w = (a.astype(np.float64) for a in (g, x, w))
    s = 1 / np.sqrt((x * x).mean(-1) + 1e-3)
    z = x * s[..., None]
    gx = (g * w - z * (g * w * z).mean(-1, keepdims=True)) * s[..., None]
    near(found, [z * w, s, gx, (g * z).sum(tuple(range(len(shape) - 1)))], dtype)


def test_a_large_mean_costs_no_digits() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 100)).astype(np.float32) + np.float32(1e4)
    w, b = np.ones(4, np.float32), np.zeros(4, np.float32)
    y, mean, var = groups.group_norm(x, w, b, 2, 1e-5)
    want = group_reference(x, x, w, b, 2, 1e-5)
    np.testing.assert_allclose(var, want[2], rtol=1e-5)
    np.testing.assert_allclose(y, want[0], atol=2e-3)


def test_the_same_for_any_number_of_threads() -> None:
    x = np.random.default_rng(0).standard_normal((4, 16, 1000)).astype(np.float32)
    w, b = np.ones(16, np.float32), np.zeros(16, np.float32)
    before, found = threads.get_num_threads(), []
    try:
        for n in (1, 3):
            threads.set_num_threads(n)
            y, mean, var = groups.group_norm(x, w, b, 4, 1e-5)
            found.append([y, *groups.group_norm_backward(y, x, w, mean, var, 1e-5)])
    finally:
        threads.set_num_threads(before)
    for a, c in zip(*found, strict=True):
        np.testing.assert_array_equal(a, c)


def test_bad_input_is_named() -> None:
    w = np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"\(2, 4, 3\) do not divide into 3"):
        groups.group_norm(np.ones((2, 4, 3), np.float32), w, w, 3, 1e-5)
    with pytest.raises(UnsupportedError, match="float64"):
        groups.group_norm(np.ones((2, 4, 3)), w, w, 2, 1e-5)
    with pytest.raises(ValueError, match="weight"):
        rowwise.rms_norm(np.ones((2, 3), np.float32), w, 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["group", "rms"])
@pytest.mark.parametrize("how", ["numpy", "kernels"])
def test_modules_in_every_mode(how: str, kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eager by NumPy or kernels and compiled: one result; its second derivative is that of the parts."""
    if how == "numpy":
        monkeypatch.setattr("flambeau.prims.group_norm.kernels", lambda *a: None)
        monkeypatch.setattr("flambeau.prims.rms_norm.kernels", lambda *a: None)
    else:
        acceleration.load()
    torch.manual_seed(0)
    d = getattr(torch, dtype)
    x = torch.randn(3, 8, 6, dtype=d, requires_grad=True)
    w, b = (torch.randn(n, dtype=d, requires_grad=True) for n in ((6, 6) if kind == "rms" else (8, 8)))

    def whole(x: Any, w: Any, b: Any) -> Any:
        return F.rms_norm(x, (6,), w, 1e-2) + b if kind == "rms" else F.group_norm(x, 2, w, b, 1e-2)

    def parts(x: Any, w: Any, b: Any) -> Any:
        if kind == "rms":
            return x * (x.square().mean(-1, keepdim=True) + 1e-2).rsqrt() * w + b
        rows = x.reshape(3, 2, 24)
        y = (rows - rows.mean(2, keepdim=True)) / (rows.var(2, correction=0, keepdim=True) + 1e-2).sqrt()
        return y.reshape(x.shape) * w[:, None] + b[:, None]

    def derivatives(fn: Any, x: Any, w: Any, b: Any) -> list[Any]:
        y = fn(x, w, b)
        first = torch.autograd.grad((y * y).sum(), (x, w, b))
        again = torch.autograd.grad((fn(x, w, b) ** 2).sum(), (x, w, b), create_graph=True)
        # of a quarter of the gradients, which are large: the sine of a rounded 20 says little of second derivatives
        second = torch.autograd.grad(sum((g / 4).sin().sum() for g in again), (x, w, b))
        return [y, *first, *second]

    wide = [t.detach().double().requires_grad_() for t in (x, w, b)]
    want = derivatives(parts, *wide)
    tol = 2e-4 if dtype == "float32" else 0.05
    for fn in (whole, torch.compile(whole)):
        for got, exact in zip(derivatives(fn, x, w, b), want, strict=True):
            size = max(1.0, exact.abs().max().item())
            assert (got.double() - exact).abs().max().item() <= tol * size
    tangent = torch.randn(3, 8, 6)
    plain = [t.detach().float() for t in (x, w, b)]
    got = torch.func.jvp(lambda x: whole(x, *plain[1:]), (plain[0],), (tangent,))[1]
    near_ = torch.func.jvp(lambda x: parts(x, *plain[1:]), (plain[0],), (tangent,))[1]
    np.testing.assert_allclose(got.numpy(), near_.numpy(), rtol=1e-3, atol=1e-4)
    many = torch.vmap(whole)(*[torch.stack([t, 2 * t]) for t in plain])
    np.testing.assert_allclose(many[1].numpy(), whole(*[2 * t for t in plain]).numpy(), rtol=1e-4, atol=1e-5)
