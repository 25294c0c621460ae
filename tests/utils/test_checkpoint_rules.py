"""Checkpointing: same values and gradients, fewer values kept, and errors where the second run differs."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_early_stop,
)


def layers() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2))


def grads(model: Any, run: Any) -> list[Any]:
    model.zero_grad()
    x = torch.linspace(-1, 1, 12).reshape(3, 4).requires_grad_()
    run(x).square().sum().backward()
    return [x.grad.numpy(), *[p.grad.numpy() for p in model.parameters()]]


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_are_those_without(reentrant: bool) -> None:
    model = layers()
    plain = grads(model, model)
    for got in (
        grads(model, lambda x: checkpoint(model, x, use_reentrant=reentrant)),
        grads(model, lambda x: checkpoint_sequential(model, 2, x, use_reentrant=reentrant)),
        grads(
            model,
            lambda x: checkpoint(lambda y: checkpoint(model, y, use_reentrant=False), x, use_reentrant=False),
        ),
    ):
        for a, b in zip(got, plain):
            np.testing.assert_array_equal(a, b)


def test_intermediate_values_are_freed_and_found_again() -> None:
    alive: list[Any] = []

    def fn(x: Any) -> Any:
        y = x.exp()
        alive.append(weakref.ref(y))
        return y.sin()

    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    out = checkpoint(fn, x, use_reentrant=False)
    assert alive[0]() is None and len(alive) == 1
    out.sum().backward()
    assert len(alive) == 2 and alive[1]() is None
    np.testing.assert_allclose(x.grad.numpy(), np.cos(np.e) * np.e * np.ones(3))


def test_early_stop() -> None:
    seen: list[str] = []

    def fn(x: Any) -> Any:
        y = x.exp()
        seen.append("exp")
        z = y + 1
        seen.append("end")
        return z

    def run() -> list[str]:
        seen.clear()
        x = torch.ones(2, requires_grad=True)
        checkpoint(fn, x, use_reentrant=False).sum().backward()
        return list(seen)

    assert run() == ["exp", "end"]  # the second run ended inside exp, which saved the last value
    with set_checkpoint_early_stop(False):
        assert run() == ["exp", "end", "exp", "end"]


def test_random_numbers_are_the_same_and_the_stream_goes_on() -> None:
    x = torch.ones(100, requires_grad=True)
    torch.manual_seed(3)
    y = checkpoint(lambda t: nn.functional.dropout(t * t, 0.5), x, use_reentrant=False)
    after = torch.rand(2).numpy()
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * y.detach().numpy())
    torch.manual_seed(3)
    nn.functional.dropout(torch.ones(100), 0.5)
    np.testing.assert_array_equal(after, torch.rand(2).numpy())


def test_retained_graphs_and_second_order() -> None:
    x = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    y = checkpoint(lambda t: (t.sin() * t).exp(), x, use_reentrant=False).sum()
    first = torch.autograd.grad(y, x, retain_graph=True)[0]
    (again,) = torch.autograd.grad(y, x, create_graph=True)
    np.testing.assert_array_equal(first.numpy(), again.detach().numpy())
    (second,) = torch.autograd.grad(again.sum(), x)
    x_ = x.detach().requires_grad_()
    (g,) = torch.autograd.grad((x_.sin() * x_).exp().sum(), x_, create_graph=True)
    np.testing.assert_allclose(second.numpy(), torch.autograd.grad(g.sum(), x_)[0].numpy(), rtol=1e-12)


def test_contexts_and_keywords() -> None:
    from contextlib import contextmanager

    log: list[str] = []

    @contextmanager
    def note(name: str) -> Any:
        log.append(name)
        yield

    x = torch.ones(2, requires_grad=True)
    y = checkpoint(
        lambda t, *, k: (t * k).exp(),
        x,
        k=2.0,
        use_reentrant=False,
        context_fn=lambda: (note("1"), note("2")),
    )
    y.sum().backward()
    assert log == ["1", "2"]


def test_differences_are_found() -> None:
    state = {"n": 0}

    def shapes(x: Any) -> Any:
        state["n"] += 1
        return (x[: state["n"]].exp()).sum()

    x = torch.ones(4, requires_grad=True)
    y = checkpoint(shapes, x, use_reentrant=False)
    with pytest.raises(CheckpointError, match="(?s)different metadata.*position"):
        y.backward()

    def fewer(x: Any) -> Any:
        state["n"] += 1
        return x.exp().sin().sum() if state["n"] == 1 else x.exp().sum()

    state["n"] = 0
    y = checkpoint(fewer, x, use_reentrant=False, debug=True)
    with pytest.raises(CheckpointError, match="different number of tensors"):
        y.backward()


def test_changed_arguments_are_found() -> None:
    x = torch.ones(2, requires_grad=True)
    c = torch.ones(2)
    y = checkpoint(lambda a, b: (a * b).exp(), x, c, use_reentrant=False)
    c.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_parameters_changed_between_backwards_are_computed_with() -> None:
    """Values left over from a backward that needed some of them only are not used by the next one."""
    w = torch.tensor(2.0)
    x = torch.tensor(1.0, requires_grad=True)
    z = torch.tensor(1.0, requires_grad=True)
    pair = checkpoint(lambda: ((x * w).exp(), (z * w).exp()), use_reentrant=False)
    torch.autograd.grad(pair[0], x, retain_graph=True)
    w.mul_(2)
    (g,) = torch.autograd.grad(pair[1], z)
    np.testing.assert_allclose(g.item(), 4 * np.exp(4), rtol=1e-6)


def test_under_transforms() -> None:
    def f(x: Any) -> Any:
        return checkpoint(lambda t: t.sin().exp(), x, use_reentrant=False).sum()

    x = torch.linspace(0, 1, 4, dtype=torch.float64)
    want = torch.func.hessian(lambda t: t.sin().exp().sum())(x)
    np.testing.assert_allclose(torch.func.hessian(f)(x).numpy(), want.numpy())


def test_arguments() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(torch.exp, x)
    with pytest.warns(UserWarning, match="None of the inputs"):
        assert not checkpoint(torch.exp, x.detach(), use_reentrant=True).requires_grad
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(torch.exp, x, use_reentrant=False, determinism_check="maybe")
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential([torch.exp], 2, x, use_reentrant=False)


@pytest.mark.parametrize("reentrant", [True, False])
def test_the_second_run_has_the_autocast_of_the_first(reentrant):
    a = torch.randn(3, 3, requires_grad=True)
    seen = []

    def product(x):
        y = x @ x
        seen.append(y.dtype)
        return y @ x

    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = checkpoint(product, a, use_reentrant=reentrant)
    out.float().sum().backward()
    assert seen == [torch.bfloat16] * 2
    kept = a.grad.clone()
    a.grad = None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = product(a)
    plain.float().sum().backward()
    assert kept.equal(a.grad)


def test_a_backward_pass_within_a_function_that_is_not_stopped_early():
    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def slope(x):
        with torch.enable_grad():
            y = checkpoint(lambda x: x.sin().exp().sin(), x, use_reentrant=False)
            return torch.autograd.grad(y, x, create_graph=True)[0]

    with set_checkpoint_early_stop(False):
        got = torch.autograd.grad(checkpoint(slope, x, use_reentrant=False), x)[0]
    assert torch.allclose(got, torch.func.grad(torch.func.grad(lambda x: x.sin().exp().sin()))(x.detach()))


def test_the_reentrant_form_is_for_whole_backward_passes():
    a = torch.randn(2, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="incompatible with .grad"):
        torch.autograd.grad(checkpoint(torch.exp, a, use_reentrant=True).sum(), a)
    with pytest.raises(RuntimeError, match="incompatible with .grad"):
        checkpoint(torch.exp, a, use_reentrant=True).sum().backward(inputs=[a])
    checkpoint(torch.exp, a, use_reentrant=True).sum().backward()
    assert a.grad.allclose(a.exp())
