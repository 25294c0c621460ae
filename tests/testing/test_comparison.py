"""`testing.assert_close` and `make_tensor`: the verdicts, messages and draws of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from parity import scenario

CASES: list[Any] = [
    lambda t: ([t([1.0, 2.0]), t([1.0, 3.0])], {}),
    lambda t: ([t([1.0, 2.0]), t([1.0, 2.000001])], {}),
    lambda t: ([t(1.0), t(2.0)], {}),
    lambda t: ([t([1, 2]), t([1, 3])], {}),
    lambda t: ([1.0, 2.0], {}),
    lambda t: ([1, 2], {}),
    lambda t: ([1, 1.0], {}),
    lambda t: ([1, 1.0], {"check_dtype": False}),
    lambda t: ([1 + 1j, 1 + 2j], {}),
    lambda t: ([float("inf"), 1.0], {}),
    lambda t: ([t([1.0]), t([1.0]).double()], {}),
    lambda t: ([t([1.0]), t([1]).int()], {"check_dtype": False}),
    lambda t: ([t([1.0]), t([1.0, 2.0])], {}),
    lambda t: ([[1.0, 2.0], [1.0]], {}),
    lambda t: ([[1.0, [t([2.0])]], [1.0, [t([3.0])]]], {}),
    lambda t: ([(1, 2), [1, 2]], {}),
    lambda t: ([{"a": 1, "c": 1}, {"a": 1, "b": 2}], {}),
    lambda t: ([{"a": 1}, {"a": 2}], {}),
    lambda t: ([None, 1], {}),
    lambda t: ([True, False], {}),
    lambda t: (["a", "b"], {}),
    lambda t: ([t([1.0]), t([2.0])], {"rtol": 1.0}),
    lambda t: ([t([1.0]), t([2.0])], {"rtol": 0.1, "atol": 0.2}),
    lambda t: ([t([1.0]), t([2.0])], {"rtol": 0, "atol": 0}),
    lambda t: ([t([float("nan")]), t([float("nan")])], {}),
    lambda t: ([t([float("nan")]), t([float("nan")])], {"equal_nan": True}),
    lambda t: ([np.array([1.0, 2]), np.array([1.0, 3])], {}),
    lambda t: ([t([1.0, 2.0]), t([1.0, 3.0])], {"msg": "no"}),
    lambda t: ([t([1.0, 2.0]), t([1.0, 3.0])], {"msg": lambda m: "Hm: " + m}),
    lambda t: ([t([[1.0, 2.0], [3, 4]]), t([[1.0, 3.0], [9, 4]])], {}),
    lambda t: ([t([True, False]), t([True, True])], {}),
    lambda t: ([t([1.0 + 1j]), t([1.0 + 2j])], {}),
    lambda t: ([t([[1.0, 2.0], [2.0, 1.0]]).t(), t([[1.0, 2.0], [2.0, 1.0]])], {"check_stride": True}),
    lambda t: ([t([1.0]), t([0.0])], {}),
    lambda t: ([t([1, 2]).byte(), t([3, 2]).byte()], {}),
    lambda t: ([t([1.0, 1.0]).half(), t([1.0, 1.01]).half()], {}),
]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_messages(index: int) -> None:
    @scenario
    def run(torch: Any) -> Any:
        args, options = CASES[index](torch.tensor)
        try:
            torch.testing.assert_close(*args, **options)
        except Exception as e:
            return type(e).__name__, str(e)
        return "close"

    run()


def test_kinds_that_do_not_compare() -> None:
    one = flambeau.ones(1)
    for a, b in ((1.0, one), (one, np.ones(1)), (one, [1.0])):
        with pytest.raises(TypeError, match="No comparison pair"):
            flambeau.testing.assert_close(a, b)
    with pytest.raises(TypeError, match="No comparison pair"):
        flambeau.testing.assert_close(flambeau.nn.Parameter(one), one, allow_subclasses=False)


@scenario
def test_make_tensor(torch: Any) -> Any:
    make = torch.testing.make_tensor
    for d in (torch.float32, torch.bfloat16, torch.complex64, torch.int64, torch.uint8, torch.bool):
        yield make((3, 2), dtype=d, device="cpu")
        yield make(4, dtype=d, device="cpu", low=0, high=2, exclude_zero=True)
        x = make((2, 3), dtype=d, device="cpu", noncontiguous=True)
        yield x, x.stride(), x.is_contiguous()
    for options in (
        {"requires_grad": True, "dtype": torch.int32},
        {"low": 2, "high": 1, "dtype": torch.float32},
        {"noncontiguous": True, "memory_format": torch.contiguous_format, "dtype": torch.float32},
    ):
        try:
            make((2, 3), device="cpu", **options)
        except ValueError as e:
            yield str(e)
