"""Arithmetic functions of two Python numbers give tensors without dims, as PyTorch's."""

from __future__ import annotations

from typing import Any

from parity import attempt, scenario


@scenario
def test_functions_of_two_numbers(t: Any) -> Any:
    for name in ("add", "sub", "mul", "div", "true_divide", "floor_divide"):
        for a, b in ((6, 4), (6.5, 2), (2, 0.5), (True, 3), (1j, 2)):
            if (name, a) != ("floor_divide", 1j):
                yield attempt(lambda name=name, a=a, b=b: getattr(t, name)(a, b))
    yield t.div(7, 2, rounding_mode="floor"), t.sub(2, 1, alpha=2)
    for name in ("maximum", "pow", "eq", "remainder"):
        yield attempt(lambda name=name: getattr(t, name)(2, 3))
