"""Python integers that no dtype holds, beside tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda t, v: t + v,
    "radd": lambda t, v: v + t,
    "mul": lambda t, v: t * v,
    "lt": lambda t, v: t < v,
    "clamp": lambda t, v: t.clamp(max=v),
    "iadd": lambda t, v: t.clone().add_(v),
    "where": lambda t, v: flambeau.where(t > 0, t, v),
    "and": lambda t, v: t & v,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, 2**70, 2**20000], ids=["2^64", "-2^63-1", "2^70", "2^20000"]
)
@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_they_raise_and_do_not_wrap(name: str, value: int, dtype: str) -> None:
    t = flambeau.ones(2, dtype=getattr(flambeau, dtype))
    with pytest.raises(OverflowError, match="int too big to convert"):
        CALLS[name](t, value)
    assert t.tolist() == [1, 1]


def test_64_bits_wrap_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for value in (2**63, 2**64 - 1, 300, -1):
        for dtype in ("int64", "uint8"):
            ours = flambeau.ones(2, dtype=getattr(flambeau, dtype)) + value
            theirs = torch.ones(2, dtype=getattr(torch, dtype)) + value
            assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("kind", [int, float, complex])
@pytest.mark.parametrize("size", [0, 2])
def test_numbers_come_from_one_element_only(kind: type, size: int) -> None:
    t = flambeau.ones(size)
    with pytest.raises(ValueError, match="only one element tensors can be converted to Python scalars"):
        kind(t)
    with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
        t.item()
    assert kind(flambeau.ones(1, 1)) == 1
