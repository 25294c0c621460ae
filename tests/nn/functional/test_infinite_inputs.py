"""Values and gradients at NaN and infinities, as PyTorch gives them."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

INPUT = [float("nan"), float("inf"), -float("inf"), 5.0, -5.0, 1.0, 3.0, -3.0] * 2
CALLS = {
    "hardswish": lambda lib, x: lib.nn.functional.hardswish(x),
    "hinge_embedding_loss": lambda lib, x: lib.nn.functional.hinge_embedding_loss(
        x, lib.tensor([1.0, -1.0, 1.0, -1.0] * 4), reduction="none"
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (flambeau, torch):
        x = lib.tensor(INPUT, dtype=getattr(lib, dtype), requires_grad=True)
        y = CALLS[name](lib, x)
        y.sum().backward()
        gradient = x.grad.numpy()
        if name == "hardswish":  # at NaN PyTorch's depends on where in its memory the element lies
            gradient = np.where(np.isnan(x.detach().numpy()), 0, gradient)
        found.append([y.detach().numpy(), gradient])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
