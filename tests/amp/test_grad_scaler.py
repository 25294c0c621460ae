"""GradScaler: the same trace of scales, steps and errors as in PyTorch."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

import flambeau


def run(lib: Any) -> list[Any]:
    w = lib.ones(2, requires_grad=True)
    optimizer = lib.optim.SGD([w], lr=0.25)
    scaler = lib.amp.GradScaler(
        "cpu", init_scale=16.0, growth_interval=2, growth_factor=4.0, backoff_factor=0.25
    )
    trace: list[Any] = [scaler.get_scale(), scaler.state_dict()]
    for i in range(7):
        optimizer.zero_grad()
        loss = (w * w).sum() * (math.inf if i == 3 else 1.0)
        scaler.scale(loss).backward()
        if i % 2:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        trace.append((w.tolist(), scaler.get_scale()))
        scaler.update()
        trace.append(dict(scaler.state_dict()))
    scaler.scale([w.sum(), (w.sum(),)])
    scaler.update(3.0)
    trace.append(scaler.get_scale())
    other = lib.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    trace.append(other.state_dict())
    return trace


def errors(lib: Any) -> list[Any]:
    found: list[Any] = []

    def attempt(fn: Any) -> None:
        try:
            fn()
            found.append("fine")
        except Exception as e:
            found.append(type(e).__name__)

    w = lib.ones(1, requires_grad=True)
    optimizer = lib.optim.SGD([w], lr=0.1)
    scaler = lib.amp.GradScaler("cpu")
    attempt(lambda: scaler.step(optimizer))
    attempt(scaler.update)
    attempt(lambda: scaler.scale(3))
    scaler.scale(w.sum())
    attempt(lambda: scaler.step(optimizer))  # no gradients
    attempt(scaler.update)
    scaler.scale(w.sum()).backward()
    attempt(lambda: lib.amp.GradScaler("cpu").unscale_(optimizer))
    fresh = lib.amp.GradScaler("cpu")
    fresh.scale(w.sum()).backward()
    attempt(lambda: fresh.step(optimizer, closure=lambda: None))
    attempt(lambda: fresh.unscale_(optimizer))
    attempt(lambda: fresh.unscale_(optimizer))
    attempt(lambda: fresh.step(optimizer))
    attempt(lambda: fresh.step(optimizer))
    attempt(lambda: fresh.unscale_(optimizer))
    attempt(lambda: pickle.dumps(fresh))
    attempt(lambda: fresh.update(lib.ones(2)))
    attempt(lambda: fresh.load_state_dict({}))
    half = lib.ones(1, dtype=lib.float16, requires_grad=True)
    other = lib.optim.SGD([half], lr=0.1)
    last = lib.amp.GradScaler("cpu", init_scale=2.0)
    last.scale(half.sum()).backward()
    attempt(lambda: last.unscale_(other))
    attempt(lambda: lib.amp.GradScaler("cpu", growth_factor=1.0))
    attempt(lambda: lib.amp.GradScaler("cpu", backoff_factor=1.0))
    return found


def test_like_pytorch() -> None:
    torch = pytest.importorskip("torch")
    assert run(flambeau) == run(torch)
    assert errors(flambeau) == errors(torch)


def test_scale_and_skip() -> None:
    trace = run(flambeau)
    assert trace[-2] == 3.0 and trace[-1]["scale"] == 3.0
    scales = [t[1] for t in trace if isinstance(t, tuple)]
    assert scales[:4] == [16.0, 16.0, 64.0, 64.0] and scales[4] == 16.0


def test_large_scale_of_a_half_loss() -> None:
    loss = flambeau.ones((), dtype=flambeau.float16)
    assert flambeau.amp.GradScaler("cpu").scale(loss).item() == 65536.0


def test_disabled() -> None:
    with pytest.warns(UserWarning, match="CUDA is not available"):
        scaler = flambeau.amp.GradScaler()
    assert not scaler.is_enabled() and scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    w = flambeau.ones(1, requires_grad=True)
    optimizer = flambeau.optim.SGD([w], lr=1.0)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.item() == 0


def test_an_optimizer_that_unscales_itself() -> None:
    class Own(flambeau.optim.SGD):
        _step_supports_amp_scaling = True
        told: list = []

        def step(self, closure=None):
            self.told.append(
                (None if self.grad_scale is None else float(self.grad_scale), float(self.found_inf))
            )

    p = flambeau.nn.Parameter(flambeau.ones(2))
    optimizer, scaler = Own([p], lr=0.1), flambeau.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (1.0, float("inf")):
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert Own.told == [(8.0, 0.0), (8.0, 1.0)]
    assert scaler.get_scale() == 4.0 and not hasattr(optimizer, "grad_scale")
