"""Python numbers beside 16-bit floats: which of them are rounded to 16 bits first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau

CALLS: dict[str, Any] = {
    "add": lambda lib, x, v: x + v,
    "radd": lambda lib, x, v: v + x,
    "mul": lambda lib, x, v: x * v,
    "div": lambda lib, x, v: x / v,
    "rdiv": lambda lib, x, v: v / x,
    "floor": lambda lib, x, v: x // v,
    "rfloor": lambda lib, x, v: v // x,
    "trunc": lambda lib, x, v: lib.div(x, v, rounding_mode="trunc"),
    "rtrunc": lambda lib, x, v: lib.div(v * lib.ones_like(x), x, rounding_mode="trunc"),
    "remainder": lambda lib, x, v: x % v,
    "lt": lambda lib, x, v: x < v,
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CALLS)
def test_bits(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    a = np.random.default_rng(0).uniform(0.1, 4, 2000).astype(np.float32)
    for v in (0.1, 1 / 3, 2.7182818, -0.7):
        mine, theirs = (
            CALLS[name](lib, lib.from_numpy(a).to(getattr(lib, dtype)), v).float()
            for lib in (flambeau, torch)
        )
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16])
def test_alpha_is_rounded_and_its_product_is_not(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    x, y = (flambeau.from_numpy(rng.uniform(-4, 4, 500)).to(dtype) for _ in range(2))
    rounded = flambeau.tensor(0.3, dtype=dtype).double()
    expected = (x.double() + rounded * y.double()).float().to(dtype)
    assert flambeau.add(x, y, alpha=0.3).equal(expected)
    expected = (x.double() - rounded * y.double()).float().to(dtype)
    assert flambeau.sub(x, y, alpha=0.3).equal(expected)
    y.requires_grad_()
    flambeau.add(x, y, alpha=0.3).sum().backward()
    assert y.grad is not None and y.grad.equal(rounded.to(dtype).expand(500))


def test_a_number_is_a_wide_divisor() -> None:
    x = flambeau.tensor([1.0, 2.0, 3.0], dtype=flambeau.bfloat16)
    v = 0.0999  # 0.1001 in bfloat16: a quotient of 10.01 or of 9.99
    assert (x // v).tolist() == np.floor(np.array([1, 2, 3]) / np.float32(v)).tolist()
