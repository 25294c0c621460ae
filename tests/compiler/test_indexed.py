import numpy as np
import pytest

pytest.importorskip("llvmlite")
from flambeau.compiler import indexed
from flambeau.compiler.types import UnsupportedError
from flambeau.runtime import threads

SHAPES = [
    ((40, 50), 0),
    ((40, 50), 1),
    ((7,), 0),
    ((6, 300, 5), 1),
    ((3, 4, 900), 2),
    ((500, 1), 0),
    ((1, 1), 1),
]


@pytest.fixture(params=[1, 3])
def _threads(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield
    threads.set_num_threads(before)


def make(shape, dim, count, dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.integers(-100, 100, shape).astype(dtype)
    index_shape = tuple(count if d == dim else n for d, n in enumerate(shape))
    index = rng.integers(0, shape[dim], index_shape)
    src = rng.integers(-100, 100, index_shape).astype(dtype)
    return x, index, src


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int64", "int32", "int16", "uint8", "bool", "float16"]
)
@pytest.mark.parametrize("count", [0, 1, 33, 700])
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_gather_and_scatter(_threads, shape, dim, count, dtype):
    x, index, src = make(shape, dim, count, dtype)
    np.testing.assert_array_equal(indexed.gather_along(x, index, dim), np.take_along_axis(x, index, dim))
    got, want = x.copy(), x.copy()
    indexed.scatter_along(got, index, src, dim)
    # the last of equal indices counts: in the order along `dim`, one after the other
    for i in range(count):
        part = tuple([slice(i, i + 1) if d == dim else slice(None) for d in range(x.ndim)])
        np.put_along_axis(want, index[part], src[part], dim)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
@pytest.mark.parametrize("count", [0, 1, 33, 700])
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_sums(_threads, shape, dim, count, dtype):
    x, index, src = make(shape, dim, count, dtype)
    got, want = x.copy(), x.copy()
    indexed.add_along(got, index, src, dim)
    grid = list(np.ogrid[tuple(slice(0, n) for n in index.shape)])
    grid[dim] = index
    np.add.at(want, tuple(grid), src)
    np.testing.assert_array_equal(got, want)  # whole numbers: exact in any order


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "float16", "uint8"])
@pytest.mark.parametrize("columns", [(), (1,), (15,), (16,), (3, 100)])
def test_rows(_threads, columns, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, (60, *columns)).astype(dtype)
    index = rng.integers(0, 60, 500)
    np.testing.assert_array_equal(indexed.take_rows(x, index), x[index])
    if dtype in ("float32", "float64", "int64"):
        rows = rng.integers(-100, 100, (500, *columns)).astype(dtype)
        got, want = x.copy(), x.copy()
        indexed.add_rows(got, index, rows)
        np.add.at(want, index, rows)
        np.testing.assert_array_equal(got, want)


def test_other_layouts():
    x, index, src = make((40, 50), 1, 70)
    for a, i, s in ((x.T, index.T, src.T), (x[:, ::-1], index[:, ::-1], src[:, ::-1])):
        dim = 0 if a.shape[1] == 40 else 1
        np.testing.assert_array_equal(indexed.gather_along(a, i, dim), np.take_along_axis(a, i, dim))
        out = np.zeros(a.shape, a.dtype)
        indexed.add_along(out, i, s, dim)
        assert abs(out.sum() - s.sum()) < 1e-3


@pytest.mark.parametrize("bad", [-1, 40, 1 << 40, -(1 << 62)])
def test_indices_out_of_range(bad):
    x, index, src = make((40, 50), 0, 30)
    index[3, 7] = bad
    for call in (
        lambda: indexed.gather_along(x, index, 0),
        lambda: indexed.scatter_along(x.copy(), index, src, 0),
        lambda: indexed.add_along(x.copy(), index, src, 0),
        lambda: indexed.take_rows(x, index[:, 7].copy()),
        lambda: indexed.add_rows(x.copy(), index[:, 7].copy(), src),
    ):
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds"):
            call()


def test_what_is_refused():
    x, index, src = make((40, 50), 0, 30)
    with pytest.raises(UnsupportedError):
        indexed.gather_along(x, index.astype(np.int32), 0)
    with pytest.raises(UnsupportedError):
        indexed.gather_along(x.astype(complex), index, 0)
    with pytest.raises(UnsupportedError):
        indexed.add_along(x.astype(np.float16), index, src.astype(np.float16), 0)
    with pytest.raises(ValueError, match="do not fit"):
        indexed.gather_along(x, index[:, :3], 0)
    with pytest.raises(ValueError, match="do not fit"):
        indexed.add_along(x.T, index.T, src.T, 1)
    with pytest.raises(ValueError, match="rows"):
        indexed.add_rows(x, index[:, 0], src[:, :3])
