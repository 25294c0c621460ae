"""Checkpointing: gradients of every kind as without it, less memory, random numbers, errors."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_early_stop,
)

F = nn.functional
once = functools.partial(checkpoint, use_reentrant=False)


def model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2)
    )


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_and_random_numbers_as_without(reentrant: bool) -> None:
    found = []
    for use in (False, True):
        m = model()
        x = torch.randn(3, 4, requires_grad=True)
        y = checkpoint(m, x, use_reentrant=reentrant) if use else m(x)
        torch.rand(1)
        y.pow(2).sum().backward()
        found.append([y, x.grad, *[p.grad for p in m.parameters()], torch.rand(2)])
    for a, b in zip(*found):
        assert torch.equal(a, b)


def test_nothing_is_kept_between_forward_and_backward() -> None:
    import weakref

    kept: list[Any] = []

    def f(x: Any) -> Any:
        h = x.exp()
        kept.append(weakref.ref(h))
        return (h * h).sin().sum()

    x = torch.ones(5, requires_grad=True)
    y = once(f, x)
    assert kept[0]() is None
    y.backward()
    assert len(kept) == 2 and kept[1]() is None
    assert torch.allclose(x.grad, 2 * (2 * x).exp() * (2 * x).exp().cos())


def test_early_stop_does_not_run_what_is_not_needed() -> None:
    calls: list[str] = []

    def f(x: Any) -> Any:
        y = (x * x).sum()
        calls.append("after the last saved tensor")
        return y

    for stop, expected in ((True, 1), (False, 2)):
        calls.clear()
        x = torch.ones(2, requires_grad=True)
        with set_checkpoint_early_stop(stop):
            once(f, x).backward()
        assert len(calls) == expected


def test_grad_double_backward_nesting_and_keywords() -> None:
    def f(x: Any, *, k: Any) -> Any:
        return {"y": once(lambda v: (v**3).sin(), x) * k["k"]}

    x = torch.tensor([0.3, 0.7], requires_grad=True)
    y = once(f, x, k={"k": 2.0})["y"].sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    assert torch.allclose(g, 6 * x**2 * (x**3).cos())
    (h,) = torch.autograd.grad(g.sum(), x)
    assert torch.allclose(h, 12 * x * (x**3).cos() - 18 * x**4 * (x**3).sin(), atol=1e-5)


def test_retained_graphs_compute_again() -> None:
    x = torch.ones(2, requires_grad=True)
    y = once(lambda x: (x.exp() * x).sum(), x)
    for i in (1, 2, 3):
        y.backward(retain_graph=True)
        assert torch.allclose(x.grad, i * 2 * x.exp())


def test_a_function_that_changes_is_an_error() -> None:
    state = {"n": 0}

    def grows(x: Any) -> Any:
        state["n"] += 1
        for _ in range(state["n"]):
            x = x.exp()
        return x.sum()

    def changes(x: Any) -> Any:
        state["n"] += 1
        return (x.repeat(state["n"]).exp()).sum()

    for fn, words in ((grows, "(?s)save more tensors|different number"), (changes, "different metadata")):
        state["n"] = 0
        with set_checkpoint_early_stop(False):
            y = once(fn, torch.ones(2, requires_grad=True))
            with pytest.raises(CheckpointError, match=words):
                y.backward()


def test_sequential() -> None:
    m = model()
    x = torch.randn(3, 4, requires_grad=True)
    torch.manual_seed(1)
    want = torch.autograd.grad(m(x).sum(), x)[0]
    for segments in (1, 2, 3, 6):
        torch.manual_seed(1)
        assert torch.equal(
            torch.autograd.grad(checkpoint_sequential(m, segments, x, use_reentrant=False).sum(), x)[0], want
        )


def test_bad_arguments() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(torch.exp, x)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        checkpoint(torch.exp, x, use_reentrant=True, k=1)
    with pytest.raises(ValueError, match="determinism_check"):
        once(torch.exp, x, determinism_check="all")
    with pytest.warns(UserWarning, match="None of the inputs"):
        checkpoint(torch.exp, x.detach(), use_reentrant=True)
    with torch.no_grad():
        assert not once(torch.exp, x).requires_grad


def test_compiled() -> None:
    m = model().eval()
    f = torch.compile(lambda x: once(m, x).pow(2).sum())
    x = torch.randn(3, 4, requires_grad=True)
    want = torch.autograd.grad(m(x).pow(2).sum(), x)[0]
    for _ in range(3):
        assert torch.allclose(torch.autograd.grad(f(x), x)[0], want, atol=1e-6)
