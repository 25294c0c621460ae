"""Batch norms that compiled programs do in one operation, and those that stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.capture.lower.channels import join_channels
from flambeau.capture.lower.simplify import simplify

F = torch.nn.functional


def normalised(x: Any, w: Any, b: Any) -> Any:
    return F.batch_norm(x, None, None, w, b, True, 0.1, 1e-5)


def arguments(*shape: int) -> Any:
    torch.manual_seed(0)
    return torch.randn(*shape), torch.randn(shape[1]), torch.randn(shape[1])


def names(fn: Any, *args: Any) -> list[str]:
    """The operations of the program after the pass, which is verified."""
    compiled = torch.compile(fn)
    compiled(*args)
    compiled(*args)
    step = next(iter(compiled.compiled.root.children.values()))
    while step.children:
        step = next(iter(step.children.values()))
    (found,) = step.programs.values()
    graph = join_channels(simplify(found.graph.copy()))
    graph.verify()
    return [i.op.name for i in graph.instrs]


def doubled_moments(x: Any, w: Any, b: Any) -> Any:
    y = normalised(x, w, b)
    return y.relu(), y * 2


# a function, and what it becomes
CASES: list[Any] = [
    (lambda x, w, b: normalised(x, w, b).relu(), ["batch_norm_whole"]),
    (lambda x, w, b: normalised(x, w, b), ["batch_norm_whole"]),
    (doubled_moments, ["batch_norm_whole", "relu", "mul"]),
    (lambda x, w, b: normalised(x, w.exp(), b).relu(), ["exp", "batch_norm_whole"]),
    (
        lambda x, w, b: normalised(normalised(x, w, b).relu(), b, w),
        ["batch_norm_whole", "batch_norm_whole"],
    ),
]


@pytest.mark.parametrize("fn, wanted", CASES, ids=["relu", "alone", "read twice", "exp", "two"])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (8, 16, 20, 21)], ids=str)
def test_what_is_joined(fn: Any, wanted: list[str], shape: Any) -> None:
    args = arguments(*shape)
    found = names(fn, *args)
    assert sorted(found) == sorted(wanted)
    compiled = torch.compile(fn)
    for _ in range(3):
        ours, theirs = compiled(*args), fn(*args)
        for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (ours, theirs)], strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6)


def test_a_training_step_is_eagers() -> None:
    def make() -> Any:
        torch.manual_seed(0)
        nn = torch.nn
        model = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.randn(8, 2, 16, 16)

        def step() -> Any:
            optimizer.zero_grad()
            loss = model(x).pow(2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    (ours, step), (theirs, plain) = make(), make()
    compiled = torch.compile(step)
    for _ in range(4):
        np.testing.assert_allclose(compiled().item(), plain().item(), rtol=1e-5)
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_nan_reaches_its_channel() -> None:
    x, w, b = arguments(4, 3, 5, 6)
    x[1, 2, 0, 0] = float("nan")
    compiled = torch.compile(lambda *a: normalised(*a).relu())
    for _ in range(3):
        y = compiled(x, w, b)
    assert y[:, 2].isnan().all() and y[:, :2].isfinite().all()
