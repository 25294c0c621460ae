"""Kernels of batch norm against its formulas in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")
from flambeau.compiler.channels import batch_norm, batch_norm_backward, moments, normalise, totals
from flambeau.compiler.types import UnsupportedError
from flambeau.runtime.threads import get_num_threads, set_num_threads

EPS = 1e-3


def forward(x: Any, w: Any, b: Any) -> Any:
    x = x.astype(float)
    dims, along = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    mean, var = x.mean(dims), x.var(dims)
    standard = (x - mean.reshape(along)) / np.sqrt(var + EPS).reshape(along)
    return standard * w.reshape(along) + b.reshape(along), mean, var, standard


def backward(g: Any, x: Any, w: Any) -> Any:
    dims, along = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    _, _, var, standard = forward(x, w, w)
    g, n = g.astype(float), x.size // x.shape[1]
    gw, gb = (g * standard).sum(dims), g.sum(dims)
    rest = g - (gb / n).reshape(along) - standard * (gw / n).reshape(along)
    return rest * (w / np.sqrt(var + EPS)).reshape(along), gw, gb


shapes = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda lead: st.one_of(
        st.just(lead),
        st.tuples(*map(st.just, lead), st.integers(1, 200)),
        st.tuples(*map(st.just, lead), st.integers(1, 12), st.integers(1, 12)),
    )
)


@settings(max_examples=60, deadline=None)
@given(shapes, st.sampled_from(["float32", "float64"]), st.floats(-30, 30), st.integers(0, 2**32 - 1))
def test_against_the_formulas(shape: Any, dtype: str, level: float, seed: int) -> None:
    r = np.random.default_rng(seed)
    x, g = (r.standard_normal(shape) + level).astype(dtype), r.standard_normal(shape).astype(dtype)
    w, b = (r.standard_normal(shape[1]).astype(dtype) for _ in range(2))
    y, mean, var, _ = forward(x, w, b)
    # the distance from the mean has the rounding of the mean, and is divided by sqrt(eps) at worst
    unit = np.finfo(dtype).eps
    near = {"rtol": 50 * unit, "atol": 50 * unit * (1 + abs(level)) / EPS**0.5}
    found = batch_norm(x, w, b, EPS)
    for ours, theirs in zip(found, (y, mean, var), strict=True):
        assert ours.dtype == dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, **near)
    np.testing.assert_array_equal(batch_norm(x, w, b, EPS, relu=True)[0], np.maximum(found[0], 0))
    for ours, theirs in zip(moments(x), found[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(normalise(x, w, b, *found[1:], EPS), y, **near)
    near["atol"] *= x.size / EPS**0.5
    for ours, theirs in zip(batch_norm_backward(g, x, w, *found[1:], EPS), backward(g, x, w), strict=True):
        assert ours.dtype == dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, **near)


@settings(max_examples=30, deadline=None)
@given(shapes, st.sampled_from(["float32", "float64"]), st.integers(0, 2**32 - 1))
def test_totals(shape: Any, dtype: str, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    wanted = x.astype(float).sum((0, *range(2, x.ndim)))
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(totals(x), wanted, rtol=tolerance, atol=tolerance * np.abs(x).sum())


def test_a_large_mean_does_not_cancel() -> None:
    r = np.random.default_rng(0)
    x = (r.standard_normal((8, 3, 50, 50)) + 1000).astype(np.float32)
    np.testing.assert_allclose(moments(x)[1], x.astype(float).var((0, 2, 3)), rtol=1e-5)


def test_nan_stays_in_its_channel() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
    x[1, 2, 3, 4] = np.nan
    one = np.ones(3, np.float32)
    y, mean, var = batch_norm(x, one, one, EPS, relu=True)
    assert np.isnan(y[:, 2]).all() and np.isfinite(y[:, :2]).all() and np.isnan([mean[2], var[2]]).all()


def test_threads_do_not_change_a_bit() -> None:
    r = np.random.default_rng(0)
    x, g, w = r.standard_normal((8, 12, 33, 7)), r.standard_normal((8, 12, 33, 7)), r.standard_normal(12)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            set_num_threads(threads)
            y, mean, var = batch_norm(x, w, w, EPS)
            found.append(b"".join(a.tobytes() for a in (y, *batch_norm_backward(g, x, w, mean, var, EPS))))
    finally:
        set_num_threads(before)
    assert len(set(found)) == 1


def test_what_has_no_kernel() -> None:
    with pytest.raises(UnsupportedError, match="float16"):
        moments(np.zeros((2, 3), np.float16))
    with pytest.raises(UnsupportedError, match="float64"):
        batch_norm(np.zeros((2, 3), np.float32), np.zeros(3), np.zeros(3), EPS)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the vector width is chosen for x86 on Linux"
)
def test_narrower_vectors() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += [os.path.abspath(__file__), "-k", "formulas"]
    environment = {**os.environ, "FLAMBEAU_VECTOR_BITS": "256"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
