"""functionalize: the same results, with memory left alone until the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.func import functionalize, grad, jacrev, vmap


def writes(x: Any) -> Any:
    y = x.clone()
    y[0].mul_(3)
    y.T.add_(1)
    return y * x


def test_results_and_transforms() -> None:
    x = torch.arange(4.0, dtype=torch.float64).reshape(2, 2)
    for remove in ("mutations", "mutations_and_views"):
        np.testing.assert_array_equal(functionalize(writes, remove=remove)(x).numpy(), writes(x).numpy())
    np.testing.assert_array_equal(jacrev(functionalize(writes))(x).numpy(), jacrev(writes)(x).numpy())
    np.testing.assert_array_equal(
        functionalize(grad(lambda t: writes(t).sum()))(x).numpy(), grad(lambda t: writes(t).sum())(x).numpy()
    )
    np.testing.assert_array_equal(vmap(functionalize(lambda t: t.clone().add_(1)))(x).numpy(), x.numpy() + 1)


def test_arguments_are_written_at_the_end() -> None:
    x = torch.zeros(2)
    memory = x.numpy()
    during = []

    def f(t: Any) -> Any:
        t.add_(1)
        during.append(memory.copy())
        return t * 2

    assert functionalize(f)(x).tolist() == [2.0, 2.0]
    assert during[0].tolist() == [0.0, 0.0] and x.tolist() == [1.0, 1.0]


def test_history_outside_goes_on() -> None:
    x = torch.ones(2, requires_grad=True)
    functionalize(writes)(x.reshape(1, 2)).sum().backward()
    assert x.grad is not None


def test_remove() -> None:
    with pytest.raises(RuntimeError, match="mutations_and_views"):
        functionalize(writes, remove="all")
