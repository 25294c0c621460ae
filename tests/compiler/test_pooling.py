"""The pooling kernels against windows written out, in float64."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")
from flambeau.compiler.pooling import max_taps, max_values, spread_taps
from flambeau.compiler.types import UnsupportedError
from flambeau.runtime.threads import get_num_threads, set_num_threads


def windows(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, more: Any) -> Any:
    """`more` windows at the end of a dim begin inside the input, or its padding, and reach beyond (`ceil_mode`)."""
    out = []
    for n, k, s, p, d, m in zip(size, kernel, stride, padding, dilation, more, strict=True):
        count = (n + 2 * p - d * (k - 1) - 1) // s + 1
        out.append(count + (m and count * s < n + p))
    return SimpleNamespace(
        size=tuple(size), kernel=kernel, stride=stride, padding=padding, dilation=dilation, out=tuple(out)
    )


@st.composite
def settings_of_windows(draw: Any) -> Any:
    n = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(n))
    stride = tuple(draw(st.integers(1, 4)) for _ in range(n))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(n))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    last = draw(st.sampled_from([4, 20, 40]))
    size = [d * (k - 1) + 1 + draw(st.integers(0, 4)) for d, k in zip(dilation, kernel, strict=True)]
    size[-1] += draw(st.integers(0, last))
    return windows(size, kernel, stride, padding, dilation, [draw(st.booleans()) for _ in range(n)])


def references(x: Any, w: Any) -> Any:
    """Maxima, taps, and a function for the gradient: window by window."""
    lead = x.shape[: x.ndim - len(w.size)]
    images = x.reshape(-1, *w.size)
    y, taps = np.empty((len(images), *w.out)), np.empty((len(images), *w.out), int)
    met: dict[Any, Any] = {}
    for at in itertools.product(*[range(n) for n in w.out]):
        best, number = np.full(len(images), -np.inf), np.full(len(images), -1)
        for t, tap in enumerate(itertools.product(*[range(n) for n in w.kernel])):
            place = tuple(
                a * s - p + i * d
                for a, s, p, i, d in zip(at, w.stride, w.padding, tap, w.dilation, strict=True)
            )
            if not all(0 <= i < n for i, n in zip(place, w.size, strict=True)):
                continue
            met[at, t] = place
            value = images[(slice(None), *place)]
            better = (value > best) | np.isnan(value) | (number < 0)
            best, number = np.where(better, value, best), np.where(better, t, number)
        y[(slice(None), *at)], taps[(slice(None), *at)] = best, number

    def back(g: Any) -> Any:
        flat, result = g.reshape(-1, *w.out), np.zeros((len(images), *w.size))
        for (at, t), place in met.items():
            chosen = taps[(slice(None), *at)] == t
            result[(slice(None), *place)] += np.where(chosen, flat[(slice(None), *at)], 0.0)
        return result.reshape(x.shape)

    return y.reshape(*lead, *w.out), taps.reshape(*lead, *w.out), back


@settings(max_examples=60, deadline=None)
@given(settings_of_windows(), st.sampled_from(["float32", "float64"]), st.integers(0, 2**32 - 1))
def test_against_windows_written_out(w: Any, dtype: str, seed: int) -> None:
    r = np.random.default_rng(seed)
    x = r.integers(-3, 3, (2, 2, *w.size)).astype(dtype)  # with ties
    x[r.random(x.shape) < 0.02] = np.nan
    x[r.random(x.shape) < 0.1] = -np.inf
    y, taps, back = references(x.astype(float), w)
    np.testing.assert_array_equal(max_values(x, w), y)
    np.testing.assert_array_equal(max_taps(x, w), taps)
    g = r.integers(-50, 50, y.shape).astype(dtype)  # whose sums are exact
    g[..., -1] = np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(spread_taps(g, taps.astype(np.uint8), w), back(g.astype(float)))


def test_threads_do_not_change_a_bit() -> None:
    r = np.random.default_rng(0)
    w = windows((40, 41), (3, 3), (2, 1), (1, 1), (1, 1), (0, 0))
    x, before, found = r.standard_normal((8, 16, 40, 41)), get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            set_num_threads(threads)
            y, taps = max_values(x, w), max_taps(x, w)
            found.append((y.tobytes(), taps.tobytes(), spread_taps(y, taps, w).tobytes()))
    finally:
        set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_what_has_no_kernel() -> None:
    x = np.zeros((1, 40))
    with pytest.raises(UnsupportedError, match="float16"):
        max_values(x.astype(np.float16), windows((40,), (2,), (2,), (0,), (1,), (0,)))
    with pytest.raises(UnsupportedError, match="stride"):
        max_taps(x, windows((40,), (2,), (5,), (0,), (1,), (0,)))
    with pytest.raises(UnsupportedError, match="int64"):
        spread_taps(np.zeros((1, 20)), np.zeros((1, 20), int), windows((40,), (2,), (2,), (0,), (1,), (0,)))


def test_nothing() -> None:
    w = windows((4, 6), (2, 2), (2, 2), (0, 0), (1, 1), (0, 0))
    assert max_values(np.zeros((0, 3, 4, 6)), w).shape == (0, 3, 2, 3)
    assert spread_taps(np.zeros((0, 3, 2, 3)), np.zeros((0, 3, 2, 3), np.uint8), w).shape == (0, 3, 4, 6)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the vector width is chosen for x86 on Linux"
)
@pytest.mark.parametrize("bits", ["256"])
def test_without_masked_loads(bits: str) -> None:
    """Narrower vectors take the way through a copy of the rows; the choice is made once in a process."""
    file = os.path.abspath(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", file]
    command += ["-k", "written_out"]
    environment = {**os.environ, "FLAMBEAU_VECTOR_BITS": bits}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
