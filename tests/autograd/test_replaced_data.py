"""Assigning to ``.data`` of tensors that a graph has saved."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import flambeau


def test_outputs_keep_the_values_that_were_saved() -> None:
    def run(t: Any) -> tuple[Any, ...]:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x.exp()
        z = y.mul(0.1).tanh()
        y.data = t.tensor([10.0, 10.0])
        z.data = t.zeros(2)
        z.sum().backward()
        return x.grad.numpy(), y.detach().numpy(), z.detach().numpy(), y._version

    grad, y, z, version = run(flambeau)
    e = np.exp([1.0, 2.0])
    np.testing.assert_allclose(grad, (1 - np.tanh(0.1 * e) ** 2) * 0.1 * e, rtol=1e-5)
    assert y.tolist() == [10, 10] and z.tolist() == [0, 0] and version == 0
    torch = pytest.importorskip("torch")
    for ours, theirs in zip((grad, y, z, version), run(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_saved_input_is_an_error_that_names_the_assignment() -> None:
    w = flambeau.tensor([3.0, 4.0], requires_grad=True)
    m = w * 1
    square = m * m
    m.data = flambeau.tensor([9.0, 9.0])
    with pytest.raises(RuntimeError, match=r"changed by an assignment to \.data:.*test_replaced_data"):
        square.sum().backward()


def test_a_write_to_the_old_memory_is_still_seen() -> None:
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    alias = y.detach()
    y.data = flambeau.zeros(2)
    alias.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_write_after_the_assignment_touches_the_new_values_only() -> None:
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    y.data = flambeau.zeros(2)
    with flambeau.no_grad():
        y.add_(1)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1.0, 2.0]), rtol=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_assigned_flat_weights_take_the_parameters_place(kind: str) -> None:
    def run(library: str) -> list[Any]:
        t = importlib.import_module(library)
        t.manual_seed(0)
        rnn, x = getattr(t.nn, kind)(3, 4, 2), t.randn(5, 2, 3)
        other = [(p * 2).detach().requires_grad_() for p in rnn._flat_weights]
        rnn._flat_weights = other
        out = rnn(x)[0]
        out.sum().backward()
        seen = [out.detach().numpy(), other[0].grad.numpy(), rnn.weight_ih_l0.grad is None]
        rnn.weight_ih_l0 = t.nn.Parameter(rnn.weight_ih_l0.detach() * 3)
        return [*seen, rnn(x)[0].detach().numpy()]

    ours = run("flambeau")
    assert ours[2] is True
    pytest.importorskip("torch")
    for a, b in zip(ours, run("torch"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_assigning_the_same_data_is_no_change() -> None:
    layer = flambeau.nn.Linear(2, 2)
    x = flambeau.ones(1, 2, requires_grad=True)
    out = layer(layer(x)).sum()
    layer.to(flambeau.float32)
    layer.weight.data = layer.weight.data
    out.backward()
    np.testing.assert_allclose(
        x.grad[0].numpy(), (layer.weight @ layer.weight).sum(0).detach().numpy(), rtol=1e-5
    )
