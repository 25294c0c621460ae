"""Kernels of recurrent layers against the same steps by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flambeau.compiler import recurrent
from flambeau.compiler.recurrent_steps import GATES
from flambeau.prims import recurrent_arrays

SIZES = [(1, 4, 3, 5), (3, 5, 7, 33), (4, 19, 2, 16)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_and_back(mode: str, reverse: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for steps, batch, inputs, size in SIZES:
        wide = GATES[mode] * size
        shapes = [
            (steps, batch, inputs),
            (wide, inputs),
            (wide,),
            (wide, size),
            (wide,),
            (batch, size),
            (batch, size),
        ]
        arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
        grads = tuple(rng.standard_normal(s).astype(dtype) for s in ((steps, batch, size), *shapes[-2:]))
        needs = (True,) * 6 + (mode == "LSTM",)

        def run(found: Any, arrays: Any = arrays, grads: Any = grads, needs: Any = needs) -> list[Any]:
            monkeypatch.setattr(recurrent_arrays, "_generated", lambda out: found)
            y = recurrent_arrays.forward(mode, reverse, *arrays)
            return [*y, *recurrent_arrays.backward(mode, reverse, grads, tuple(arrays), y, needs)]

        for a, b in zip(run(recurrent), run(None), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                tol = 1e-4 if dtype == "float32" else 1e-11
                np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize("mode", GATES)
def test_nan_stays_in_its_row(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = GATES[mode] * 6
    x = np.ones((3, 9, 2))
    x[1, 4, 0] = np.nan
    h = np.zeros((9, 6))
    monkeypatch.setattr(recurrent_arrays, "_generated", lambda out: recurrent)
    out, _, _ = recurrent_arrays.forward(
        mode, False, x, np.ones((wide, 2)), None, np.ones((wide, 6)), None, h, h
    )
    bad = np.zeros(out.shape, bool)
    bad[1:, 4] = True
    assert (np.isnan(out) == bad).all()
