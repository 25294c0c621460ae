"""Packed sequences through one operation for each run of steps with as many rows, against step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.nn.modules import recurrence

LENGTHS = [[9, 9, 9], [9, 6, 6, 2], [8, 4]]
KINDS = ["RNN", "LSTM", "GRU"]


def outcome(lib: Any, kind: str, lengths: list[int], ordered: bool = True) -> list[Any]:
    """Outputs, final states, gradients, and gradients of the gradients' squares."""
    rng = np.random.default_rng(3)
    batch, length = len(lengths), max(lengths)
    module = getattr(lib.nn, kind)(3, 4, num_layers=2, bidirectional=True).double()
    for p in module.parameters():
        p.data.copy_(lib.from_numpy(rng.uniform(-0.7, 0.7, tuple(p.shape))))
    x = lib.from_numpy(rng.standard_normal((length, batch, 3))).requires_grad_()
    state = [lib.from_numpy(rng.standard_normal((4, batch, 4))).requires_grad_() for _ in range(2)]
    given = lengths if ordered else lengths[::-1]
    packed = lib.nn.utils.rnn.pack_padded_sequence(x, lib.tensor(given), enforce_sorted=ordered)
    y, final = module(packed, tuple(state) if kind == "LSTM" else state[0])
    finals = list(final) if kind == "LSTM" else [final]
    weighted = [t * lib.from_numpy(rng.standard_normal(tuple(t.shape))) for t in (y.data, *finals)]
    loss = sum(w.sum() for w in weighted) + sum((t * t).sum() for t in finals)
    wanted = [x, *state[: 2 if kind == "LSTM" else 1], *module.parameters()]
    first = lib.autograd.grad(loss, wanted, create_graph=True)
    second = lib.autograd.grad(sum((g * g).sum() for g in first), wanted)
    return [t.detach().numpy() for t in (y.data, *finals, *first, *second)]


@pytest.mark.parametrize("ordered", [True, False], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_as_step_by_step(
    monkeypatch: pytest.MonkeyPatch, kind: str, lengths: list[int], ordered: bool
) -> None:
    monkeypatch.setattr(recurrence, "LONG", 0)
    at_once = outcome(flambeau, kind, lengths, ordered)
    monkeypatch.setattr(recurrence, "LONG", 10**9)
    for a, b in zip(at_once, outcome(flambeau, kind, lengths, ordered), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_as_pytorch(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(recurrence, "LONG", 0)
    mine, theirs = (outcome(lib, kind, LENGTHS[1]) for lib in (flambeau, torch))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


def test_segments() -> None:
    assert recurrence._segments([3, 3, 2, 2, 2, 1]) == [(0, 2, 3), (6, 3, 2), (12, 1, 1)]


def test_gradients_of_plain_training_come_from_one_operation_for_each_segment() -> None:
    lstm = flambeau.nn.LSTM(3, 4)
    packed = flambeau.nn.utils.rnn.pack_padded_sequence(flambeau.randn(8, 2, 3), flambeau.tensor([8, 4]))
    with flambeau.profiler.profile() as profile:
        y, _ = lstm(packed)
    y.data.sum().backward()
    assert lstm.weight_hh_l0.grad is not None
    assert not any(e.key in ("tanh", "aten::tanh") for e in profile.key_averages())  # no step ran by itself
