"""float64 to float16 goes through float32, as in PyTorch: numbers close to a midpoint are rounded twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau

CLOSE = -63.42187466810017  # nearer to -63.40625, but in float32 it is the midpoint, which goes to -63.4375
CALLS: dict[str, Callable[[Any], Any]] = {
    "to": lambda lib: lib.tensor([CLOSE], dtype=lib.float64).to(lib.float16),
    "many": lambda lib: lib.full((300_000,), CLOSE, dtype=lib.float64).half()[:1],
    "tensor": lambda lib: lib.tensor([CLOSE], dtype=lib.float16),
    "full": lambda lib: lib.full((1,), CLOSE, dtype=lib.float16),
    "copy_": lambda lib: lib.zeros(1, dtype=lib.float16).copy_(lib.tensor([CLOSE], dtype=lib.float64)),
    "overflow": lambda lib: lib.tensor([1e300, -65519.9999, 65520.0], dtype=lib.float64).half(),
}


@pytest.mark.parametrize("name", CALLS)
def test_rounded_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert CALLS[name](flambeau).tolist() == CALLS[name](torch).tolist()


@pytest.mark.parametrize("name", [n for n in CALLS if n != "overflow"])
def test_through_single_precision(name: str) -> None:
    assert CALLS[name](flambeau).tolist() == [float(np.float16(np.float32(CLOSE)))] == [-63.4375]
