"""as_strided inside transforms: the argument may be a view, and reach into the memory around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.func import grad, hessian, jvp, vmap


def whole(m: Any = flambeau) -> Any:
    return m.arange(20.0, dtype=m.float64)


def window(x: Any, offset: int | None) -> Any:
    return x.as_strided((2, 2), (1, 2), offset)


# Offsets into the storage of `whole()[5:15]`: before it, across its ends, inside.
OFFSETS = [None, 0, 4, 5, 8, 10, 12]


@pytest.mark.parametrize("offset", OFFSETS)
def test_forward_mode_and_gradients(offset: int | None) -> None:
    """The memory around the argument is constant: compared with the same window of a sum over one-hot parts."""
    base, t = whole(), np.linspace(1, 2, 10)
    x = base[5:15]
    values, tangents = jvp(lambda x: window(x, offset), (x,), (flambeau.tensor(t),))
    places = 5 if offset is None else offset
    at = np.array([[0, 2], [1, 3]]) + places
    surrounded = np.zeros(20)
    surrounded[5:15] = t
    np.testing.assert_array_equal(values.numpy(), base.numpy()[at])
    np.testing.assert_array_equal(tangents.numpy(), surrounded[at])
    slope = np.zeros(20)
    slope[at] = 2 * base.numpy()[at]
    np.testing.assert_array_equal(grad(lambda x: window(x, offset).square().sum())(x).numpy(), slope[5:15])
    curvature = np.diag((slope != 0) * 2.0) if places else np.diag(np.isin(np.arange(20), at) * 2.0)
    np.testing.assert_array_equal(
        hessian(lambda x: window(x, offset).square().sum())(x).numpy(), curvature[5:15, 5:15]
    )


@pytest.mark.parametrize("offset", OFFSETS)
def test_values_and_slopes_are_pytorchs(offset: int | None) -> None:
    torch = pytest.importorskip("torch")

    def trace(m: Any) -> list[Any]:
        x, t = whole(m)[5:15], m.linspace(1, 2, 10, dtype=m.float64)
        runs: list[Callable[[Any], Any]] = [
            lambda x: window(x, offset),
            lambda x: window(x[3:], offset),
            lambda x: window(x * 1, offset) if offset in (None, 0, 4, 5) else x,
            lambda x: x * x.storage_offset() + x[2:].storage_offset(),
        ]
        found = [y.tolist() for f in runs for y in m.func.jvp(f, (x,), (t,))]
        if offset in (
            4,
            5,
        ):  # PyTorch's reverse mode loses what lies in `x` before `x[3:]`; its forward mode does not
            return found
        return [*found, m.func.grad(lambda x: window(x[3:], offset).square().sum())(x).tolist()]

    assert trace(flambeau) == trace(torch)


@pytest.mark.parametrize("offset", [None, 5, 6])
def test_examples_of_a_batch(offset: int | None) -> None:
    torch = pytest.importorskip("torch")

    def trace(m: Any) -> list[Any]:
        rows = whole(m)[5:].reshape(3, 5)
        return [
            m.vmap(lambda x: window(x, offset))(rows).tolist(),
            m.vmap(lambda x: window(x[1:], offset and 6))(rows).tolist(),
            m.vmap(lambda x: x * x.storage_offset())(rows).tolist(),
        ]

    assert trace(flambeau) == trace(torch)


def test_an_example_does_not_reach_into_another() -> None:
    rows = whole()[5:].reshape(3, 5)
    for offset in (4, 7):
        with pytest.raises(RuntimeError, match="storage"):
            vmap(lambda x, o=offset: window(x, o))(rows)


def test_writes_go_both_ways() -> None:
    """The argument, its views and the strided view stay views of one memory."""
    base = whole()

    def f(x: Any) -> Any:
        part = x[1:3]
        strided = x.as_strided((2,), (1,), 6)  # positions 6 and 7 of the storage are x[1] and x[2]
        strided.mul_(3)
        part.add_(1)
        return flambeau.stack([x[1:3], part, strided]).sum()

    value, slope = jvp(f, (base[5:15],), (flambeau.ones(10, dtype=flambeau.float64),))
    assert (value.item(), slope.item()) == (3 * (3 * (6 + 7) + 2), 18.0)
    assert base.tolist() == list(range(20))
