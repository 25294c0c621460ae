"""Cross entropy without classes or rows, as PyTorch has it."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (0, 0)], ids=str)
def test_nothing_to_choose_from(shape: tuple[int, int], soft: bool, reduction: str) -> None:
    their = pytest.importorskip("torch")
    for smoothing in (0.0, 0.1):
        found: list[Any] = []
        for library in (flambeau, their):
            x = library.zeros(shape)
            t = x if soft else library.full((shape[0],), -100, dtype=library.int64)
            fn = library.nn.functional.cross_entropy
            found.append(fn(x, t, label_smoothing=smoothing, reduction=reduction).tolist())
        assert str(found[0]).replace("-0.0", "0.0") == str(found[1]).replace("-0.0", "0.0")
