"""Transforms of transforms of every operation: vmap of vmap, vmap of vjp, jvp of vjp, vjp of vjp.

Batching is compared with a loop, derivatives with central differences of the pullback in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample, operations, outputs
from battery.test_batching import BATCHED, compare, stacked, tensor_places
from battery.test_gradients import SAMPLES, difference, floating, like, of_floating
from flambeau.func import jvp, vjp, vmap

TWICE = [s for s in SAMPLES if s.order > 1]
PULLED = [s for s in BATCHED if s.differentiable()]
RANDOM = [s for s in calls.all_samples() if s.definition.family == "random"]
OPERATIONS = operations()  # before any test asks for polygamma of yet another order
CONSTANTS = {"full", "array"}  # nothing to map or to differentiate
CHANGING = {"nonzero"}  # refused under vmap: the shape of the result depends on the data
# What differences cannot check; the values are in test_values.py, the uses of the checks in tests/linalg and tests/fft.
WITHOUT_SLOPE = {
    "check_envelope": "passes its input on, or raises",
    "phase_check": "passes its input on, or raises",
    "nextafter": "a step function of its inputs; its derivative is 1 by convention",
    "detach_put": "the values of one input, the derivative of the other (tests/func/test_detached_aliases.py)",
    "view_dtype": "reads the bits",
    "view_dtype_put": "reads the bits",
    "gamma_draw": "the pathwise derivative of a draw (tests/distributions)",
    "dirichlet_draw": "the pathwise derivative of a draw (tests/distributions)",
}
# Their draws belong to one call: under vmap the function that uses them is composed of its parts (ops of their own).
ONE_CALL = {"attention_noise", "dropped_attention", "dropped_attention_grad"}
# As in PyTorch, second derivatives of these raise.
ONCE = {"ctc_loss", "ctc_loss_grad", "standard_gamma_grad", "dirichlet_grad"}
samples = {
    "vmap of vmap": BATCHED + RANDOM,
    "vmap of vjp": PULLED,
    "jvp of vjp": TWICE,
    "vjp of vjp": TWICE,
}


@pytest.mark.parametrize("composition", samples)
def test_no_operation_is_left_out(composition: str) -> None:
    wanted = set(OPERATIONS) - CONSTANTS - CHANGING
    if composition != "vmap of vmap":
        wanted = {name for name in wanted if OPERATIONS[name].differentiable} - set(WITHOUT_SLOPE)
        wanted -= ONCE - {"ctc_loss"} if composition == "vmap of vjp" else ONCE
    if composition.startswith("vmap"):
        wanted -= ONE_CALL
    missing = wanted - {s.op for s in samples[composition]}
    assert not missing, f"no sample calls of {sorted(missing)} for {composition}"


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_can_be_differentiated_once_says_so(name: str) -> None:
    s = calls.samples_of(name)[0]
    args = s.tensors()

    def fn(x: Any) -> Any:
        return s.definition(x, *args[1:], **s.params)

    def pull(x: Any) -> Any:
        value, back = vjp(fn, x)
        return back(torch.ones_like(value))[0]

    with pytest.raises((RuntimeError, NotImplementedError), match="differentiated once"):
        vjp(pull, args[0])[1](torch.ones_like(args[0]))


def torch_stack(results: list[Any]) -> Any:
    if isinstance(results[0], tuple):
        return tuple(torch.stack(list(r)) for r in zip(*results))
    return torch.stack(results)


@pytest.mark.parametrize("s", BATCHED, ids=lambda s: s.key)
def test_vmap_of_vmap(s: Sample) -> None:
    """The outer level maps the first tensor input, the inner level all of them."""
    places = tensor_places(s)
    args, dims, each = stacked(s, places, lambda a: 0)
    inner = vmap(s.run, in_dims=tuple(dims))
    first = places[0]
    pair = list(args)
    pair[first] = torch.stack([args[first], args[first].flip(0)])
    outer = vmap(inner, in_dims=tuple(0 if i == first else None for i in range(len(args))))
    swapped = [list(c) for c in each]
    swapped[0][first], swapped[1][first] = each[1][first], each[0][first]
    loop = [torch_stack([s.run(*c) for c in rows]) for rows in (each, swapped)]
    compare(outer(*pair), loop)


@pytest.mark.parametrize("s", RANDOM, ids=lambda s: s.key)
def test_vmap_of_vmap_of_draws(s: Sample) -> None:
    """Each level has a `randomness` of its own."""
    args = s.tensors()

    def draw(outer: str, inner: str) -> Any:
        rows = vmap(
            lambda x: vmap(lambda y: s.run(*args), randomness=inner)(torch.zeros(3)), randomness=outer
        )
        return outputs(rows(torch.zeros(2)))[0]

    alone = outputs(s.run(*args))[0]
    same = draw("same", "same")
    assert same.shape == (2, 3, *alone.shape) and (same == same[:1, :1]).all()
    rows, columns = draw("different", "same"), draw("same", "different")
    assert (rows == rows[:, :1]).all() and (columns == columns[:1]).all()
    everywhere = draw("different", "different")
    assert everywhere.shape == same.shape
    if alone.size > 1 and len(np.unique(alone)) > 1:
        assert len(np.unique(everywhere.reshape(6, -1), axis=0)) > 1


@pytest.mark.parametrize("s", PULLED, ids=lambda s: s.key)
def test_vmap_of_vjp(s: Sample) -> None:
    places = s.differentiable()
    args, dims, each = stacked(s, places, lambda a: 0)

    def pullback(*xs: Any) -> Any:
        def fn(*moving: Any) -> Any:
            whole = list(xs)
            for i, x in zip(places, moving):
                whole[i] = x
            return floating(s.run(*whole))

        outs, back = vjp(fn, *[xs[i] for i in places])
        return back(tuple(torch.full_like(o, 0.7) + o * 0.1 for o in outs))

    compare(vmap(pullback, in_dims=tuple(dims))(*args), [pullback(*c) for c in each], tol=1e-8)


def pulled(s: Sample) -> tuple[Callable[..., Any], list[Any], int]:
    """(the pullback as a function of the inputs and the cotangents, both, how many inputs)."""
    fn, xs = of_floating(s)
    cts = [like(o, 5 + i) for i, o in enumerate(fn(*xs))]
    n = len(xs)
    return (lambda *both: vjp(fn, *both[:n])[1](tuple(both[n:]))), [*xs, *cts], n


def directions(xs: list[Any]) -> list[Any]:
    return [like(x, i) for i, x in enumerate(xs)]


@pytest.mark.parametrize("s", TWICE, ids=lambda s: s.key)
def test_jvp_of_vjp(s: Sample) -> None:
    pull, both, _ = pulled(s)
    ts = directions(both)
    _, tangents = jvp(pull, tuple(both), tuple(ts))
    for got, want in zip(outputs(tangents), difference(pull, both, ts), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("s", TWICE, ids=lambda s: s.key)
def test_vjp_of_vjp(s: Sample) -> None:
    """Re <w, D pull(t)> = Re <second, t> for directions of all inputs, of each input and of the cotangents."""
    pull, both, n = pulled(s)
    value, back = vjp(pull, *both)
    ws = [like(v, 11 + i) for i, v in enumerate(value)]
    second = outputs(back(tuple(ws)))
    ts = directions(both)
    parts = [range(len(both)), *[[i] for i in range(n)], range(n, len(both))]
    for part in parts:
        moving = [t if i in part else t * 0 for i, t in enumerate(ts)]
        slopes = difference(pull, both, moving)
        want = sum((np.conj(w) * d).real.sum() for w, d in zip(outputs(ws), slopes, strict=True))
        got = sum((np.conj(g) * t).real.sum() for g, t in zip(second, outputs(moving), strict=True))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
