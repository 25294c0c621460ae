"""Convolution by shifted planes, and its gradients, against sums over taps in float64."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")
import flambeau as torch
from convolutions import Case, agree, cases
from flambeau.compiler import shifted_conv
from flambeau.compiler.shifted_conv import shifted_input, shifted_sums
from flambeau.compiler.shifted_weights import shifted_products
from flambeau.compiler.types import UnsupportedError
from flambeau.core import acceleration
from flambeau.prims import conv_arrays
from flambeau.runtime.threads import get_num_threads, set_num_threads

USUAL = Case(3, 1, 16, 24, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1))
DEPTHWISE = Case(2, 16, 1, 1, (30, 30), (3, 3), (1, 1), (1, 1), (1, 1))
FIRST = Case(1, 1, 3, 16, (64, 64), (7, 7), (2, 2), (3, 3), (1, 1))
LARGE = Case(1, 1, 80, 100, (9, 8), (3, 3), (1, 1), (1, 1), (1, 1))
dtypes, seeds = st.sampled_from(["float32", "float64"]), st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(cases(), dtypes, seeds)
@example(USUAL, "float32", 0)
@example(DEPTHWISE, "float32", 0)
@example(FIRST, "float32", 0)
@example(LARGE, "float32", 0)
def test_against_sums_over_taps(c: Case, dtype: str, seed: int) -> None:
    x, w, g = c.arrays(dtype, seed)
    terms = c.channels * math.prod(c.kernel)
    setting = c.groups, c.stride, c.padding, c.dilation
    y = shifted_sums(x, w, *setting)
    wanted = c.forward(x, w)
    assert y.shape == wanted.shape and y.dtype == dtype
    agree(y, wanted, terms)
    bias = np.linspace(-1, 1, w.shape[0]).astype(dtype)
    level = bias.reshape(-1, *(1,) * len(c.size))
    agree(shifted_sums(x, w, *setting, bias), wanted + level, terms)
    agree(shifted_sums(x, w, *setting, bias, True), np.maximum(wanted + level, 0), terms)
    of_x, of_w = c.backward(x, w, g)
    agree(shifted_input(g, w, c.groups, c.size, *setting[1:]), of_x, c.outputs * math.prod(c.kernel))
    found = shifted_products(x, g, c.groups, c.kernel, *setting[1:])
    assert found.shape == of_w.shape and found.dtype == dtype
    agree(found, of_w, c.images * math.prod(c.out))


@pytest.mark.parametrize("c", [USUAL, DEPTHWISE, FIRST], ids=["usual", "depthwise", "first"])
def test_threads_do_not_change_a_bit(c: Case) -> None:
    x, w, g = c.arrays("float32", 0)
    rest = c.stride, c.padding, c.dilation
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            set_num_threads(threads)
            results = (
                shifted_sums(x, w, c.groups, *rest),
                shifted_input(g, w, c.groups, c.size, *rest),
                shifted_products(x, g, c.groups, c.kernel, *rest),
            )
            found.append(tuple(r.tobytes() for r in results))
    finally:
        set_num_threads(before)
    assert len(set(found)) == 1


def test_memory_beside_the_result_does_not_grow_with_the_batch() -> None:
    found = []
    for images in (8, 64):
        x, w, _ = Case(images, 1, 8, 16, (40, 40), (3, 3), (1, 1), (1, 1), (1, 1)).arrays("float32", 0)
        asked: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            plain = shifted_conv.empty

            def note(shape: Any, dtype: Any) -> Any:
                if dtype == np.uint8:
                    asked.append(shape[0])  # noqa: B023 - called in this turn
                return plain(shape, dtype)  # noqa: B023

            patch.setattr(shifted_conv, "empty", note)
            shifted_sums(x, w, 1, (1, 1), (1, 1), (1, 1))
        found += asked
    assert found[1] <= 2 * found[0]


def test_nan_and_infinity() -> None:
    x, w = np.ones((1, 1, 6, 20), np.float32), np.ones((2, 1, 1, 1), np.float32)
    x[0, 0, 1, 1], x[0, 0, 2, 2] = np.nan, -np.inf
    y = shifted_sums(x, w, 1, (1, 1), (0, 0), (1, 1), np.zeros(2, np.float32), True)
    assert np.isnan(y[:, :, 1, 1]).all() and (y[:, :, 2, 2] == 0).all() and np.isnan(y).sum() == 2


def test_what_has_no_kernel() -> None:
    x, w = np.zeros((1, 1, 12, 12)), np.zeros((1, 1, 3, 3))
    one, none = (1, 1), (0, 0)
    with pytest.raises(UnsupportedError, match="float16"):
        shifted_sums(x.astype(np.float16), w.astype(np.float16), 1, one, none, one)
    with pytest.raises(UnsupportedError, match="float32"):
        shifted_products(x, x.astype(np.float32), 1, (3, 3), one, none, one)
    with pytest.raises(UnsupportedError, match="stride 5"):
        shifted_sums(x, w, 1, (1, 5), none, one)
    with pytest.raises(UnsupportedError, match="4 dims"):
        shifted_sums(
            np.zeros((1, 1, 4, 4, 4, 4)), np.zeros((1, 1, 1, 1, 1, 1)), 1, (1,) * 4, (0,) * 4, (1,) * 4
        )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("groups", "padding", "dilation"), [(1, 1, 1), (4, 0, 2), (16, 2, 1)])
def test_convolutions_use_it(groups: int, padding: int, dilation: int, stride: int) -> None:
    acceleration.load()
    two = [(n, n) for n in (stride, padding, dilation)]
    c = Case(8, groups, 16 // groups, 16 // groups, (32, 32), (3, 3), *two)
    x, w, g = c.arrays("float64", 0)
    q = conv_arrays.Geometry((32, 32), (3, 3), c.out, *two)
    for found, direct, wanted in (
        (conv_arrays._shifted(x, w, q, groups), conv_arrays.convolve(x, w, q, groups), c.forward(x, w)),
        (
            conv_arrays._shifted_input(g, w, q, groups),
            conv_arrays.convolve_input(g, w, q, groups),
            c.backward(x, w, g)[0],
        ),
        (
            conv_arrays._shifted_weight(x, g, q, groups),
            conv_arrays.convolve_weight(x, g, q, groups),
            c.backward(x, w, g)[1],
        ),
    ):
        np.testing.assert_array_equal(found, direct)
        agree(found, wanted, 10_000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_reaches_the_taps_that_saw_it(bad: float) -> None:
    r = np.random.default_rng(0)
    x = r.standard_normal((4, 8, 32, 32)).astype(np.float32)
    x[1, 2, 0, 31] = bad  # in a corner: the taps of the lower left never meet it
    w = torch.randn(16, 8, 3, 3, requires_grad=True)
    torch.nn.functional.conv2d(torch.from_numpy(x), w, padding=1).sum().backward()
    finite = np.isfinite(w.grad.numpy())
    seen = np.zeros((3, 3), bool)
    seen[:2, 1:] = True  # the taps that read the corner: it is row 1 and column 32 of the padded image
    assert finite[:, [c for c in range(8) if c != 2]].all()
    np.testing.assert_array_equal(finite[:, 2], np.broadcast_to(~seen, (16, 3, 3)))
    reference = pytest.importorskip("torch")
    v = reference.from_numpy(w.detach().numpy().copy()).requires_grad_()
    reference.nn.functional.conv2d(reference.from_numpy(x), v, padding=1).sum().backward()
    np.testing.assert_array_equal(finite, np.isfinite(v.grad.numpy()))


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the vector width is chosen for x86 on Linux"
)
def test_narrower_vectors() -> None:
    """Without masked loads, and with half the registers; the choice is made once in a process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += [os.path.abspath(__file__), "-k", "over_taps"]
    environment = {**os.environ, "FLAMBEAU_VECTOR_BITS": "256"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
