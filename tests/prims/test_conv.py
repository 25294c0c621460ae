"""Convolution primitives against direct sums, their adjoints by inner products, derivatives by finite differences."""

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
from flambeau.prims import conv_arrays
from flambeau.prims.conv_arrays import Geometry, convolve, convolve_input, convolve_weight, output_size


def direct(x: Any, w: Any, q: Geometry, groups: int) -> Any:
    """The definition, one output at a time."""
    padded = np.zeros((*x.shape[:2], *q.padded), x.dtype)
    padded[(slice(None), slice(None), *q.inner)] = x
    o, per = w.shape[:2]
    y = np.zeros((x.shape[0], o, *q.out), x.dtype)
    for at in itertools.product(*[range(n) for n in q.out]):
        where = tuple(
            slice(a * s, a * s + d * (k - 1) + 1, d) for a, s, d, k in zip(at, q.stride, q.dilation, q.kernel)
        )
        patch = padded[(slice(None), slice(None), *where)]
        for c in range(o):
            g = c // (o // groups)
            part = patch[:, g * per : (g + 1) * per] * w[c]
            y[(slice(None), c, *at)] = part.sum(tuple(range(1, part.ndim)))
    return y


@st.composite
def problems(draw: Any) -> tuple[Any, ...]:
    n = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(n))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(n))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(n))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding)]
    size = tuple(m + draw(st.integers(0, 3)) for m in least)
    groups, per, out = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    q = Geometry(
        size, kernel, output_size(size, kernel, stride, padding, dilation), stride, padding, dilation
    )
    return q, groups, per, out * groups, draw(st.integers(0, 2)), draw(st.booleans())


@settings(max_examples=150, deadline=None)
@given(problems(), st.booleans())
def test_all_layouts_are_the_definition_and_adjoint(problem: Any, small: bool) -> None:
    q, groups, per, o, n, is_complex = problem
    rng = np.random.default_rng(0)

    def values(*shape: int) -> Any:
        a = rng.standard_normal(shape)
        return a + 1j * rng.standard_normal(shape) if is_complex else a

    x, w, g = values(n, per * groups, *q.size), values(o, per, *q.kernel), values(n, o, *q.out)
    bounds = conv_arrays.SMALL_IMAGE, conv_arrays.SMALL_ADJOINT
    conv_arrays.SMALL_IMAGE, conv_arrays.SMALL_ADJOINT = bounds if small else (0, 0)
    try:
        y = convolve(x, w, q, groups)
        back, weight = convolve_input(g, w, q, groups), convolve_weight(x, g, q, groups)
    finally:
        conv_arrays.SMALL_IMAGE, conv_arrays.SMALL_ADJOINT = bounds
    np.testing.assert_allclose(y, direct(x, w, q, groups), atol=1e-12)
    assert back.shape == x.shape and weight.shape == w.shape
    inner = (y * g).sum()
    np.testing.assert_allclose((back * x).sum(), inner, atol=1e-10)
    np.testing.assert_allclose((weight * w).sum(), inner, atol=1e-10)


CASES: list[tuple[Any, ...]] = [
    ((2, 2, 5), (3, 2, 3), {"padding": 1}),
    ((2, 4, 4, 5), (4, 2, 2, 3), {"stride": (2, 1), "groups": 2, "padding": (1, 0)}),
    ((1, 2, 5, 5), (2, 2, 2, 2), {"dilation": 2, "padding": 1}),
    ((2, 3, 4, 4), (3, 1, 3, 3), {"groups": 3, "padding": 1}),
    ((1, 1, 3, 3, 3), (2, 1, 2, 2, 2), {}),
    ((2, 2, 3, 3), (3, 2, 1, 1), {}),
]


@pytest.mark.parametrize("shape, kernel, options", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_derivatives(shape: Any, kernel: Any, options: Any, dtype: Any) -> None:
    torch.manual_seed(0)
    conv = getattr(F, f"conv{len(shape) - 2}d")
    x, w = (torch.randn(*s, dtype=dtype, requires_grad=True) for s in (shape, kernel))
    assert gradcheck(lambda x, w: conv(x, w, **options), (x, w), check_forward_ad=True)
    assert gradgradcheck(lambda x, w: conv(x, w, **options), (x, w))


@pytest.mark.parametrize("extra", [0, 1])
def test_derivatives_of_the_transposed(extra: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)

    def fn(x: Any, w: Any) -> Any:
        return F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=extra, dilation=(1, 2))

    assert gradcheck(fn, (x, w), check_forward_ad=True)
    assert gradgradcheck(fn, (x, w))


def test_batching_is_a_loop() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(3, 2, 4, 5, 5), torch.randn(3, 6, 2, 3, 3)

    def fn(x: Any, w: Any) -> Any:
        return F.conv2d(x, w, padding=1, groups=2)

    both = torch.vmap(fn)(x, w)
    np.testing.assert_allclose(
        both.numpy(), torch.stack([fn(a, b) for a, b in zip(x, w)]).numpy(), rtol=1e-4, atol=1e-5
    )
    one = torch.vmap(fn, (0, None))(x, w[0])
    np.testing.assert_allclose(
        one.numpy(), torch.stack([fn(a, w[0]) for a in x]).numpy(), rtol=1e-4, atol=1e-5
    )
    weights = torch.vmap(fn, (None, 0))(x[0], w)
    np.testing.assert_allclose(
        weights.numpy(), torch.stack([fn(x[0], b) for b in w]).numpy(), rtol=1e-4, atol=1e-5
    )


def test_against_pytorch_and_half_types() -> None:
    reference = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for dtype, tolerance in (("float32", 1e-5), ("float16", 1e-3), ("bfloat16", 8e-3)):
        x, w, b = (rng.standard_normal(s) for s in ((2, 4, 9, 8), (6, 2, 3, 3), (6,)))
        ours = [torch.tensor(a).to(getattr(torch, dtype)) for a in (x, w, b)]
        exact = [reference.tensor(t.double().numpy()) for t in ours]
        y = F.conv2d(*ours, stride=2, padding=1, groups=2)
        want = reference.nn.functional.conv2d(*exact, stride=2, padding=1, groups=2)
        assert y.dtype is getattr(torch, dtype)
        np.testing.assert_allclose(y.double().numpy(), want.numpy(), rtol=tolerance, atol=tolerance)


def test_same_padding_of_even_kernels() -> None:
    reference = pytest.importorskip("torch")
    x, w = np.arange(12.0).reshape(1, 1, 12), np.array([[[1.0, 2.0, 4.0, 8.0]]])
    y = F.conv1d(torch.tensor(x), torch.tensor(w), padding="same")
    want = reference.nn.functional.conv1d(reference.tensor(x), reference.tensor(w), padding="same")
    np.testing.assert_array_equal(y.numpy(), want.numpy())


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(2, 2, 3, 3)),
        lambda: F.conv2d(torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 3, 3)),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3)),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(3, 1, 3, 3), groups=2),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3), torch.zeros(3)),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3, dtype=torch.float64)),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3), stride=0),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3), padding=-1),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3), padding="full"),
        lambda: F.conv2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3), padding="same", stride=2),
        lambda: F.conv_transpose2d(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 3, 3), output_padding=1),
    ],
)
def test_what_does_not_fit_is_refused(call: Any) -> None:
    with pytest.raises(RuntimeError):
        call()


BIASED: list[Any] = [
    ((2, 4, 7), (6, 2, 3), {"padding": 1, "groups": 2}),
    ((2, 3, 6, 5), (4, 3, 3, 2), {"stride": 2, "padding": 1}),
    ((1, 2, 4, 4, 3), (2, 2, 2, 2, 1), {"dilation": 2}),
]


def biased(x: Any, w: Any, b: Any, **options: Any) -> Any:
    return (F.conv1d, F.conv2d, F.conv3d)[x.dim() - 3](x, w, b, **options)


def with_bias(shape: Any, kernel: Any) -> Any:
    r = np.random.default_rng(0)
    arrays = r.standard_normal(shape), r.standard_normal(kernel), r.standard_normal(kernel[0])
    return tuple(torch.tensor(a, requires_grad=True) for a in arrays)


@pytest.mark.parametrize("shape, kernel, options", BIASED, ids=str)
def test_a_bias_is_added_with_its_derivatives(shape: Any, kernel: Any, options: Any) -> None:
    x, w, b = with_bias(shape, kernel)
    y = biased(x, w, b, **options)
    plain = biased(x, w, None, **options) + b.reshape(-1, *(1,) * (x.dim() - 2))
    np.testing.assert_allclose(y.detach().numpy(), plain.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert type(y.grad_fn).__name__ == "ConvolutionBackward0"
    assert gradcheck(lambda *a: biased(*a, **options), (x, w, b), check_forward_ad=True)
    assert gradgradcheck(lambda *a: biased(*a, **options), (x, w, b))


@pytest.mark.parametrize("batched", [(0, None, None), (0, 0, 0), (None, None, 0), (None, 0, None)], ids=str)
def test_a_bias_in_batches_is_a_loop(batched: Any) -> None:
    shape, kernel, options = BIASED[1]
    args = [t.detach() for t in with_bias(shape, kernel)]
    stacked = [torch.stack([t, t * 2, t - 1]) if d == 0 else t for t, d in zip(args, batched)]
    found = torch.vmap(lambda *a: biased(*a, **options), batched)(*stacked)
    for i in range(3):
        one = biased(*[t[i] if d == 0 else t for t, d in zip(stacked, batched)], **options)
        np.testing.assert_allclose(found[i].numpy(), one.numpy(), rtol=1e-12, atol=1e-12)


def test_a_bias_by_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.core import acceleration
    from flambeau.prims import conv_arrays

    acceleration.load()
    torch.manual_seed(0)
    x, w, b = torch.randn(4, 8, 30, 31), torch.randn(10, 8, 3, 3), torch.randn(10)
    fast = biased(x, w, b, padding=1)
    monkeypatch.setattr(conv_arrays, "_shifted", lambda *a: None)
    np.testing.assert_allclose(fast.numpy(), biased(x, w, b, padding=1).numpy(), rtol=1e-4, atol=1e-4)
