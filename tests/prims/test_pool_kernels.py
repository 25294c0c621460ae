"""The kernels of max pooling's gradient against the way tap by tap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")
from flambeau.core import acceleration
from flambeau.prims import pool

# sizes of an image, of a window, strides, dilations
CASES: list[Any] = [
    ((28, 28), (2, 2), (2, 2), (1, 1)),
    ((29, 31), (2, 3), (2, 3), (1, 1)),  # some rows and columns are in no window
    ((30, 30), (3, 3), (2, 2), (1, 1)),  # windows overlap
    ((400,), (2,), (3,), (2,)),
    ((8, 9, 10), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_taps_and_gradients(case: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acceleration.load()
    size, kernel, stride, dilation = case
    out = tuple(
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    )
    w = pool.Windows(kernel, stride, (0,) * len(size), dilation, size, out)
    r = np.random.default_rng(0)
    x = np.maximum(r.standard_normal((16, 40, *size)), 0).astype(dtype)  # many zeros: the first of several
    x[0, 0].flat[3] = x[1, 1].flat[0] = x[1, 1].flat[1] = np.nan
    x[2, 2].flat[:9] = np.inf
    x[3] = -np.inf
    y = pool._max_pool(x, w=w)
    g = r.standard_normal(y.shape).astype(dtype)
    assert pool._generated("max_taps", w, x) is not None
    taps = pool._max_pool_taps(x, w=w)
    spread = pool._spread_taps(g, taps, w=w)
    monkeypatch.setattr(pool, "_generated", lambda *a: None)
    np.testing.assert_array_equal(y, pool._max_pool(x, w=w))
    np.testing.assert_array_equal(taps, pool._max_pool_taps(x, w=w))
    np.testing.assert_allclose(spread, pool._spread_taps(g, taps, w=w), rtol=1e-6, atol=1e-6)
