"""Transforms leave no cycles behind: what they used is freed at once, with Python's cycle collector off."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flambeau as torch
from flambeau import func, nn


def loss(w: Any, x: Any) -> Any:
    return (torch.tanh(x @ w["a"]) * w["b"]).square().sum()


def weights() -> Any:
    return {"a": torch.rand(3, 2), "b": torch.rand(2)}


CASES: dict[str, Callable[[], Any]] = {
    "grad": lambda: func.grad(loss)(weights(), torch.rand(3)),
    "per-sample gradients": lambda: func.vmap(func.grad(loss), (None, 0))(weights(), torch.rand(4, 3)),
    "hessian": lambda: func.hessian(loss)(weights(), torch.rand(3)),
    "jacrev": lambda: func.jacrev(lambda x: x.sin() * x.sum())(torch.rand(3)),
    "jvp": lambda: func.jvp(torch.sin, (torch.rand(3),), (torch.rand(3),)),
    "vjp": lambda: func.vjp(torch.sin, torch.rand(3))[1](torch.rand(3)),
    "functionalize": lambda: func.functionalize(lambda x: x.clone().add_(1))(torch.rand(3)),
    "functional_call": lambda: func.functional_call(nn.Linear(3, 2), {}, (torch.rand(3),)),
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_to_collect(name: str, no_collector: None) -> None:
    CASES[name]()  # what is made once
    gc.collect()
    CASES[name]()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    left = [x for x in gc.garbage if isinstance(x, torch.Tensor)]
    gc.garbage.clear()
    assert not left
