import numpy as np
import pytest

pytest.importorskip("llvmlite")
from flambeau.compiler.scan import scan_last
from flambeau.compiler.types import UnsupportedError

REFERENCE = {"sum": np.cumsum, "prod": np.cumprod}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sum", "prod"])
@pytest.mark.parametrize(
    "shape", [(1,), (15,), (16,), (17,), (300, 33), (7, 1000), (3, 0), (0, 3), (2, 3, 40)]
)
def test_against_numpy(shape, name, dtype):
    rng = np.random.default_rng(0)
    x = (rng.uniform(0.9, 1.1, shape) if name == "prod" else rng.normal(size=shape)).astype(dtype)
    got = scan_last(x, name)
    exact = REFERENCE[name](x.astype(np.float64), axis=-1)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, exact, rtol=4 * np.finfo(dtype).eps, atol=1e-12)


def test_other_layouts_and_special_values():
    x = np.random.default_rng(0).normal(size=(40, 50))
    for view in (x.T, x[:, ::-1], x[::2, 1::3]):
        np.testing.assert_allclose(scan_last(view, "sum"), np.cumsum(view, axis=-1), atol=1e-13)
    y = np.array([1.0, np.inf, 2.0, np.nan, 1.0, 0.0] * 5, np.float32)
    for name, f in REFERENCE.items():
        np.testing.assert_array_equal(scan_last(y, name), f(y))


def test_what_is_refused():
    with pytest.raises(UnsupportedError):
        scan_last(np.arange(3), "sum")
    with pytest.raises(UnsupportedError):
        scan_last(np.ones(3), "max")
    with pytest.raises(ValueError, match="0-d"):
        scan_last(np.ones(()), "sum")
