"""First and second derivatives of every operation, reverse and forward, against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample, outputs
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.func import jvp, vjp

SAMPLES = [
    s for s in calls.all_samples() if s.differentiable() and all(o.size for o in outputs(s.run(*s.tensors())))
]
all_samples = pytest.mark.parametrize("s", SAMPLES, ids=lambda s: s.key)
twice = pytest.mark.parametrize("s", [s for s in SAMPLES if s.order > 1], ids=lambda s: s.key)


def floating(out: Any) -> Any:
    """The outputs that can carry a gradient."""
    outs = out if isinstance(out, tuple) else (out,)
    return tuple(o for o in outs if o.is_floating_point() or o.is_complex())


def of_floating(s: Sample) -> tuple[Any, list[Any]]:
    fn, xs = s.of_differentiable()
    return (lambda *a: floating(fn(*a))), xs


@all_samples
def test_first_order(s: Sample) -> None:
    fn, xs = of_floating(s)
    assert gradcheck(fn, [x.requires_grad_() for x in xs], check_forward_ad=True, check_batched_grad=True)


@twice
def test_second_order(s: Sample) -> None:
    fn, xs = of_floating(s)
    assert gradgradcheck(fn, [x.requires_grad_() for x in xs], check_fwd_over_rev=True, atol=1e-4)


def like(x: Any, seed: int = 0) -> Any:
    """A fixed direction of the shape and dtype of a tensor."""
    r = np.random.default_rng(seed)
    a = r.standard_normal(tuple(x.shape))
    return torch.tensor(a + 1j * r.standard_normal(tuple(x.shape)) if x.is_complex() else a, dtype=x.dtype)


def difference(fn: Any, xs: Any, ts: Any, eps: float = 1e-6) -> list[Any]:
    """Central difference of all outputs in a direction."""
    up, down = (outputs(fn(*[x + k * eps * t for x, t in zip(xs, ts)])) for k in (1, -1))
    return [(u - d) / (2 * eps) for u, d in zip(up, down)]


@all_samples
def test_jvp(s: Sample) -> None:
    fn, xs = of_floating(s)
    ts = [like(x, i) for i, x in enumerate(xs)]
    _, tangents = jvp(fn, tuple(xs), tuple(ts))
    for got, want in zip(outputs(tangents), difference(fn, xs, ts)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-7)


@all_samples
def test_jvp_and_vjp_are_adjoint(s: Sample) -> None:
    """Re <ct, J t> = Re <J^H ct, t>, exactly but for rounding: no differences are involved."""
    fn, xs = of_floating(s)
    ts = [like(x, i) for i, x in enumerate(xs)]
    outs, tangents = jvp(fn, tuple(xs), tuple(ts))
    cts = tuple(like(o, 5) for o in outs)
    grads = vjp(fn, *xs)[1](cts)
    left = sum((np.conj(c) * t).real.sum() for c, t in zip(outputs(cts), outputs(tangents)))
    right = sum((np.conj(g) * t).real.sum() for g, t in zip(outputs(grads), outputs(ts)))
    np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-9)


@all_samples
def test_gradients_have_the_inputs_dtype(s: Sample) -> None:
    fn, xs = of_floating(s)
    for x in xs:
        x.requires_grad_()
    outs = fn(*xs)
    grads = torch.autograd.grad(outs, xs, [torch.ones_like(o) for o in outs], allow_unused=True)
    for g, x in zip(grads, xs):
        assert g is None or (g.dtype == x.dtype and g.shape == x.shape)


@pytest.mark.parametrize(
    "s", [s for s in calls.all_samples() if not s.definition.differentiable], ids=lambda s: s.key
)
def test_others_cut_the_graph(s: Sample) -> None:
    ts = s.tensors()
    for t in ts:
        if isinstance(t, torch.Tensor) and (t.is_floating_point() or t.is_complex()):
            t.requires_grad_()
    out = s.definition(*ts, **s.parameters())
    assert not any(o.requires_grad for o in (out if isinstance(out, tuple) else (out,)))
