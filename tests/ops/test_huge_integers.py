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
OF_FLOATS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: call for name, call in CALLS.items() if name not in ("where", "and", "clamp")},
    "pow": lambda t, v: t**v,
    "eq": lambda t, v: t == v,
    "div": lambda t, v: t / v,
    "masked_fill": lambda t, v: t.masked_fill(t > 0, v),
    "fill_": lambda t, v: t.fill_(v),
    "full_like": lambda t, v: t.new_full((2,), v),
}


@pytest.mark.parametrize("name", OF_FLOATS)
def test_they_raise_beside_floats_too(name: str) -> None:
    t = flambeau.ones(2)
    for value in (2**64, 2**70, -(2**63) - 1):
        with pytest.raises(OverflowError):
            OF_FLOATS[name](t, value)
    assert (t + 2.0**70).tolist() == [2.0**70] * 2
    assert t.tolist() == [1, 1]


NEW: list[tuple[Any, str, type[Exception]]] = [
    (2**70, "int64", ValueError),
    ([1, 2**63], "int64", ValueError),
    (-(2**63) - 1, "int32", ValueError),
    (2**64, "uint64", OverflowError),
    ([2**64, 1], "uint64", OverflowError),
    (300, "int8", RuntimeError),
]


@pytest.mark.parametrize(("data", "dtype", "error"), NEW)
def test_new_tensors_of_numbers_that_do_not_fit(data: Any, dtype: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="does not fit|without overflow"):
        flambeau.tensor(data, dtype=getattr(flambeau, dtype))
    torch = pytest.importorskip("torch")
    with pytest.raises(error):
        torch.tensor(data, dtype=getattr(torch, dtype))


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
