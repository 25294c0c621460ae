"""Convolution by shifted planes against a sum over taps in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")
from flambeau.compiler.shifted_conv import shifted_sums
from flambeau.core import acceleration
from flambeau.prims import conv_arrays
from flambeau.runtime.threads import get_num_threads, set_num_threads

# input, weights, groups, padding, dilation
CASES: list[Any] = [
    ((2, 3, 9, 7), (5, 3, 2, 3), 1, (0, 2), (1, 1)),
    ((3, 16, 14, 14), (24, 16, 3, 3), 1, (1, 1), (1, 1)),
    ((2, 16, 12, 15), (16, 1, 3, 3), 16, (1, 1), (1, 1)),  # depthwise
    ((2, 8, 12, 11), (12, 4, 3, 3), 2, (2, 2), (2, 2)),
    ((2, 4, 100), (6, 4, 5), 1, (2,), (1,)),
    ((1, 2, 6, 7, 8), (4, 2, 2, 3, 2), 1, (1, 0, 1), (1, 1, 2)),
]


def reference(x: Any, w: Any, groups: int, padding: Any, dilation: Any) -> Any:
    x, w = x.astype(np.float64), w.astype(np.float64)
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    out = [n - (k - 1) * d for n, k, d in zip(x.shape[2:], w.shape[2:], dilation)]
    x = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
    w = w.reshape(groups, -1, *w.shape[1:])
    y: Any = 0.0
    for at in itertools.product(*[range(k) for k in w.shape[3:]]):
        part = x[(..., *[slice(i * d, i * d + n) for i, d, n in zip(at, dilation, out)])]
        y = y + np.einsum("ngc...,goc->ngo...", part, w[(..., *at)])
    return y.reshape(y.shape[0], -1, *out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_sums_over_taps(case: Any, dtype: str) -> None:
    size, kernel, *settings = case
    r = np.random.default_rng(0)
    x, w = r.standard_normal(size).astype(dtype), r.standard_normal(kernel).astype(dtype)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    y = shifted_sums(x, w, *settings)
    np.testing.assert_allclose(y, reference(x, w, *settings), rtol=tolerance, atol=tolerance)


def test_threads_do_not_change_a_bit() -> None:
    r = np.random.default_rng(0)
    x, w = r.standard_normal((4, 32, 28, 28)), r.standard_normal((32, 32, 3, 3))
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            set_num_threads(threads)
            found.append(shifted_sums(x, w, 1, (1, 1), (1, 1)).tobytes())
    finally:
        set_num_threads(before)
    assert len(set(found)) == 1


@pytest.mark.parametrize(("groups", "padding", "dilation"), [(1, 1, 1), (4, 0, 2), (16, 2, 1)])
def test_convolutions_use_it_both_ways(groups: int, padding: int, dilation: int) -> None:
    acceleration.load()
    r = np.random.default_rng(0)
    x, w = r.standard_normal((4, 16, 24, 24)), r.standard_normal((16, 16 // groups, 3, 3))
    p, d, one = (padding,) * 2, (dilation,) * 2, (1, 1)
    out = conv_arrays.output_size((24, 24), (3, 3), one, p, d)
    q = conv_arrays.Geometry((24, 24), (3, 3), out, one, p, d)
    y = conv_arrays._shifted(x, w, q, groups)
    np.testing.assert_allclose(y, reference(x, w, groups, p, d), rtol=1e-12, atol=1e-12)
    g = r.standard_normal(y.shape)
    back = conv_arrays._shifted_input(g, w, q, groups)
    assert back.shape == x.shape
    np.testing.assert_allclose((back * x).sum(), (g * y).sum(), rtol=1e-10)
    np.testing.assert_array_equal(back, conv_arrays.convolve_input(g, w, q, groups))
