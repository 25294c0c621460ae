"""Remainders and rounded quotients by kernel against NumPy's, which divides number by number."""

import numpy as np
import pytest

from flambeau.core import acceleration
from flambeau.prims import division_kernels

SPECIAL = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3e38, -3e38, np.inf, -np.inf, np.nan, 0.1, 0.3], np.float32
)


@pytest.mark.parametrize("name", ["remainder", "floor_divide"])
def test_numbers_are_numpys(name: str) -> None:
    acceleration.load()
    r = np.random.default_rng(0)
    n = 40_000
    a = (r.normal(size=n) * 10.0 ** r.integers(-8, 12, n)).astype(np.float32)
    b = (r.normal(size=n) * 10.0 ** r.integers(-4, 4, n)).astype(np.float32)
    a[: n // 4] = r.integers(-50, 50, n // 4)
    b[: n // 4] = r.integers(-5, 6, n // 4)
    pairs = np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1)
    a[-pairs.shape[1] :], b[-pairs.shape[1] :] = pairs
    ufunc = getattr(np, name)
    with np.errstate(all="ignore"):
        found = division_kernels.divided(name, a, b)
        want = ufunc(a, b)
        numbers = division_kernels.divided(name, a, 0.7), ufunc(a, np.float32(0.7))
    assert found is not None
    np.testing.assert_array_equal(found, want)
    assert (np.signbit(found) == np.signbit(want))[~np.isnan(want)].all()
    np.testing.assert_array_equal(*numbers)


def test_what_has_no_kernel() -> None:
    a = np.ones(100_000)
    assert division_kernels.divided("remainder", a, a) is None
    assert division_kernels.divided("remainder", np.ones(3, np.float32), 2.0) is None
