"""The gradient of convolutions in their weights by generated code, against sums over taps in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.compiler.shifted_weights import UnsupportedError, shifted_products


def expected(x: Any, g: Any, groups: int, kernel: Any, padding: Any, dilation: Any) -> Any:
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *[(p, p) for p in padding]])
    channels, outputs = x.shape[1] // groups, g.shape[1]
    w = np.zeros((outputs, channels, *kernel))
    for tap in itertools.product(*map(range, kernel)):
        where = tuple(slice(t * d, t * d + s) for t, d, s in zip(tap, dilation, g.shape[2:]))
        part = x[(slice(None), slice(None), *where)]
        for o in range(outputs):
            first = o // (outputs // groups) * channels
            own = part[:, first : first + channels]
            axes = tuple(a for a in range(own.ndim) if a != 1)
            w[(o, slice(None), *tap)] = (own * g[:, o : o + 1]).sum(axes)
    return w


CASES = [
    (2, 3, 4, (9, 11), (3, 3), (1, 1), (1, 1), 1),
    (3, 4, 6, (8, 7), (3, 2), (0, 1), (1, 2), 2),
    (1, 5, 5, (12, 12), (3, 3), (1, 1), (1, 1), 5),
    (2, 2, 3, (40,), (5,), (2,), (2,), 1),
    (2, 2, 2, (5, 6, 7), (2, 2, 2), (1, 0, 1), (1, 1, 1), 1),
    (1, 1, 1, (4, 4), (1, 1), (0, 0), (1, 1), 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype, tol", [(np.float32, 3e-6), (np.float64, 1e-14)])
def test_against_sums_over_taps(case: Any, dtype: Any, tol: float) -> None:
    n, c, o, size, kernel, padding, dilation, groups = case
    r = np.random.default_rng(0)
    out = [s + 2 * p - d * (k - 1) for s, k, p, d in zip(size, kernel, padding, dilation)]
    x, g = r.standard_normal((n, c, *size)).astype(dtype), r.standard_normal((n, o, *out)).astype(dtype)
    want = expected(x, g, groups, kernel, padding, dilation)
    got = shifted_products(x, g, groups, kernel, padding, dilation)
    assert got.shape == want.shape and got.dtype == dtype
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol * np.abs(want).max())
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            np.testing.assert_array_equal(shifted_products(x, g, groups, kernel, padding, dilation), got)
    finally:
        torch.set_num_threads(threads)


def test_too_many_taps_and_other_dtypes_are_refused() -> None:
    x, g = np.ones((1, 1, 12, 12)), np.ones((1, 1, 6, 6))
    with pytest.raises(UnsupportedError, match="49 taps"):
        shifted_products(x, g, 1, (7, 7), (0, 0), (1, 1))
    with pytest.raises(UnsupportedError):
        shifted_products(x.astype(np.float16), g.astype(np.float16), 1, (3, 3), (0, 0), (1, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_reaches_the_taps_that_saw_it(bad: float) -> None:
    r = np.random.default_rng(0)
    x = r.standard_normal((4, 8, 32, 32)).astype(np.float32)
    x[1, 2, 0, 31] = bad  # in a corner: the taps of the lower left never meet it
    w = torch.randn(16, 8, 3, 3, requires_grad=True)
    torch.nn.functional.conv2d(torch.from_numpy(x), w, padding=1).sum().backward()
    finite = np.isfinite(w.grad.numpy())
    seen = np.zeros((3, 3), bool)
    seen[1:, :2] = True  # the taps under which the corner comes, rows 0 and columns 31 of the image
    assert finite[:, [c for c in range(8) if c != 2]].all()
    assert not finite[:, 2][:, seen.nonzero()[0], seen.nonzero()[1]].all()
    reference = pytest.importorskip("torch")
    v = reference.from_numpy(w.detach().numpy().copy()).requires_grad_()
    reference.nn.functional.conv2d(reference.from_numpy(x), v, padding=1).sum().backward()
    np.testing.assert_array_equal(finite, np.isfinite(v.grad.numpy()))
