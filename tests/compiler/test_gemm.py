import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")
from flambeau.compiler import gemm
from flambeau.runtime import threads


@pytest.fixture(autouse=True)
def _several_threads(monkeypatch):
    before = threads.get_num_threads()
    threads.set_num_threads(3)
    monkeypatch.setattr(gemm, "_TINY", 1)
    yield
    threads.set_num_threads(before)


def make(shape, dtype, way, seed):
    rng = np.random.default_rng(seed)
    b, m, n = shape
    if way == "transposed":
        return rng.normal(size=(b, n, m)).astype(dtype).transpose(0, 2, 1)
    if way == "sliced":
        return rng.normal(size=(b, m + 2, n + 3)).astype(dtype)[:, 1:-1, 2:-1]
    if way == "strided":
        return rng.normal(size=(b, 2 * m, 2 * n)).astype(dtype)[:, ::2, ::2]
    if way == "reversed":
        return rng.normal(size=(b, m, n)).astype(dtype)[::-1, ::-1]
    if way == "permuted":
        return rng.normal(size=(m, b, n)).astype(dtype).transpose(1, 0, 2)
    if way == "expanded":
        return np.broadcast_to(rng.normal(size=(1, m, n)).astype(dtype), shape)
    return rng.normal(size=shape).astype(dtype)


WAYS = st.sampled_from(["plain", "transposed", "sliced", "strided", "reversed", "permuted", "expanded"])
SIDE = st.sampled_from([0, 1, 2, 5, 8, 17, 33, 40])


@pytest.fixture(params=["own", "blas"])
def way(request, monkeypatch):
    """Products by the engine's own loops, or by OpenBLAS."""
    monkeypatch.setattr(gemm, "_own_limit", lambda: 1 << 30 if request.param == "own" else 0)


@given(st.integers(0, 9), SIDE, SIDE, SIDE, WAYS, WAYS, st.sampled_from(["float32", "float64"]), st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batched_matmul(way, batch, m, k, n, way_a, way_b, dtype, data):
    single = data.draw(st.sampled_from(["", "a", "b"]))
    a = make((1 if single == "a" else batch, m, k), dtype, way_a, 0)
    b = make((1 if single == "b" else batch, k, n), dtype, way_b, 1)
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
    got = gemm.batched_matmul(a, b)
    assert got.dtype == a.dtype and got.shape == exact.shape
    limit = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, exact, rtol=limit, atol=limit * 20)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (128, 784, 512), (1000, 7, 3), (33, 1, 100), (5, 300, 1), (257, 129, 65)]
)
def test_matmul_of_matrices(way, shape, dtype):
    m, k, n = shape
    for left in ("plain", "transposed"):
        for right in ("plain", "transposed"):
            a, b = make((1, m, k), dtype, left, 0)[0], make((1, k, n), dtype, right, 1)[0]
            exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
            limit = np.finfo(dtype).eps * 4 * np.sqrt(k) + 1e-15
            np.testing.assert_allclose(gemm.matmul(a, b), exact, atol=limit * np.sqrt(k) * 4, rtol=0)


def test_the_number_of_openblas_threads_is_restored(monkeypatch):
    library = gemm._library()
    if library is None:
        pytest.skip("NumPy has another BLAS")
    before = library.get_threads()
    x = np.ones((4, 40, 40))
    monkeypatch.setattr(gemm, "_own_limit", lambda: 0)
    workers = [
        threading.Thread(target=lambda: [gemm.batched_matmul(x, x) for _ in range(50)]) for _ in range(4)
    ]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert library.get_threads() == before


def test_without_openblas(monkeypatch):
    monkeypatch.setattr(gemm, "_library", lambda: None)
    monkeypatch.setattr(gemm, "_own_limit", lambda: 0)
    x = np.random.default_rng(0).normal(size=(3, 40, 40))
    np.testing.assert_array_equal(gemm.batched_matmul(x, x), x @ x)
    assert not gemm.available()


def test_bad_arguments():
    x = np.ones((3, 4, 4))
    for a, b in ((x[0], x), (x, x[:, :3]), (x, x[:2])):
        with pytest.raises(ValueError, match="shape"):
            gemm.batched_matmul(a, b)
    for a, b in ((x, x.astype(np.float32)), (x.astype(int), x.astype(int))):
        with pytest.raises(TypeError, match="float32 or float64"):
            gemm.batched_matmul(a, b)
