import numpy as np
import pytest

pytest.importorskip("llvmlite")
from flambeau.compiler.reduce import NAMES, reduce
from flambeau.compiler.types import UnsupportedError
from flambeau.runtime import threads

REFERENCE = {
    "sum": np.sum,
    "squares": lambda x, axis: (x * x).sum(axis=axis),
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
}
CASES = [
    ((7,), (0,)),
    ((100_003,), (0,)),
    ((1 << 17,), (0,)),
    ((3, 1 << 16), (1,)),
    ((3, 50_001), (1,)),
    ((300, 70), (0,)),
    ((300, 70), (1,)),
    ((300, 70), (0, 1)),
    ((8, 16, 30, 31), (0, 2, 3)),
    ((8, 16, 30, 31), (1,)),
    ((4, 300, 100), (1,)),
    ((4, 300, 100), (0, 1)),
    ((4, 1, 100), (1,)),
    ((2, 3, 4, 5, 6), (1, 3)),
    ((5, 1), (1,)),
    ((), ()),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "dims"), CASES)
def test_against_numpy(shape, dims, name, dtype):
    rng = np.random.default_rng(0)
    x = rng.uniform(0.99, 1.01, shape) if name == "prod" else rng.normal(size=shape)
    x = np.asarray(x, dtype)
    got = reduce(x, dims, name)
    if got is None:
        assert len(shape) > 2
        return
    exact = np.asarray(REFERENCE[name](x.astype(np.longdouble), axis=dims), np.float64)
    assert got.shape == exact.shape and got.dtype == dtype
    if name in ("max", "min"):
        np.testing.assert_array_equal(got, exact)
        return
    scale = np.abs(x.astype(np.float64) ** (2 if name == "squares" else 1)).sum(axis=dims)
    limit = 8 * np.finfo(dtype).eps * (exact if name == "prod" else scale) + 1e-30
    factor = np.sqrt(x.size) if name == "prod" else 1
    assert (np.abs(got - exact) <= limit * factor).all()


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("dims", [(0,), (1,), (0, 1)])
def test_nan_and_infinities(name, dims):
    x = np.random.default_rng(0).normal(size=(100, 90)).astype(np.float32)
    x[3, 5], x[70, 8], x[70, 9] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(reduce(x, dims, name), REFERENCE[name](x, axis=dims))


def test_the_number_of_threads_does_not_matter():
    x = np.random.default_rng(0).normal(size=(500, 700)).astype(np.float32)
    before, results = threads.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            results.append([reduce(x, dims, "sum") for dims in ((0,), (1,), (0, 1))])
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_refused():
    x = np.ones((4, 5))
    assert reduce(x.T, (0,), "sum") is None
    assert reduce(x[:, ::2], (0,), "sum") is None
    np.testing.assert_array_equal(reduce(x[:0], (0,), "sum"), np.zeros(5))
    with pytest.raises(ValueError, match="no elements"):
        reduce(x[:0], (0,), "max")
    with pytest.raises(UnsupportedError):
        reduce(x.astype(int), (0,), "sum")
    with pytest.raises(UnsupportedError):
        reduce(x, (0,), "median")
