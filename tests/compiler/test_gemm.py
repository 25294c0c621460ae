import threading

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")
from flambeau.compiler import gemm
from flambeau.core import acceleration
from flambeau.prims import products
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


@pytest.fixture(params=["in place", "packed", "in stretches"])
def way(request, monkeypatch):
    """Products of factors as they lie, packed, and packed a little at a time."""
    monkeypatch.setattr(gemm, "_IN_PLACE", 1 << 30 if request.param == "in place" else 0)
    monkeypatch.setattr(gemm, "_FEW_ROWS", 1 << 30)
    if request.param == "in stretches":
        monkeypatch.setattr(gemm, "_STRETCH", 11)
        monkeypatch.setattr(gemm, "_PAIRS", 11)
        monkeypatch.setattr(gemm, "_ROOM", 2000)
    for known in (gemm._plan, gemm.prepared):
        known.cache_clear()
    yield
    for known in (gemm._plan, gemm.prepared):
        known.cache_clear()


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 40, 64), (50, 70, 90), (1, 1, 1), (4, 0, 5), (130, 33, 31)])
def test_into_a_given_array(way, shape, dtype):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b, bias, old = (rng.normal(size=s).astype(dtype) for s in ((2, m, k), (1, k, n), (n,), (2, m, n)))
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
    out = np.full_like(old, np.nan)
    assert gemm.batched_matmul(a, b, out, bias=bias) is out
    limit = 40 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, exact + bias, atol=limit * 10)
    gemm.batched_matmul(a, b, out, bias=np.repeat(bias, 2)[::2])
    np.testing.assert_allclose(out, exact + bias, atol=limit * 10)
    out = old.copy()
    gemm.batched_matmul(a, b, out, accumulate=True)
    np.testing.assert_allclose(out, old + exact, atol=limit * 10)
    single = gemm.matmul(a[0], b[0], np.empty((m, n), dtype), bias=bias)
    np.testing.assert_allclose(single, exact[0] + bias, atol=limit * 10)


def test_each_row_of_the_result_depends_on_its_own_row_alone(way):
    a, b = np.ones((1, 30, 40), np.float32), np.ones((1, 40, 50), np.float32)
    a[0, 7, 3] = np.nan
    b[0, 5, 11] = np.inf
    got = gemm.batched_matmul(a, b)[0]
    assert np.isnan(got[7]).all()
    rest = np.delete(got, 7, axis=0)
    assert np.isinf(rest[:, 11]).all()
    assert (np.delete(rest, 11, axis=1) == 40).all()


def test_many_threads_at_once(way):
    x = np.random.default_rng(0).normal(size=(4, 70, 70))
    exact, wrong = x @ x, []

    def work():
        for _ in range(30):
            if not np.allclose(gemm.batched_matmul(x, x), exact, atol=1e-12):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_large_products():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(1, 700, 600)), rng.normal(size=(1, 600, 900))
    np.testing.assert_allclose(gemm.batched_matmul(a, b), a @ b, atol=1e-11)


def test_bad_arguments():
    x = np.ones((3, 4, 4))
    for a, b in ((x[0], x), (x, x[:, :3]), (x, x[:2])):
        with pytest.raises(ValueError, match="shape"):
            gemm.batched_matmul(a, b)
    for a, b in ((x, x.astype(np.float32)), (x.astype(int), x.astype(int))):
        with pytest.raises(TypeError, match="float32 or float64"):
            gemm.batched_matmul(a, b)
    out = np.empty((3, 4, 4))
    for bad in (out[:2], out.transpose(0, 2, 1), np.broadcast_to(out[:1], out.shape)):
        with pytest.raises(ValueError, match="out must be"):
            gemm.batched_matmul(x, x, bad)
    with pytest.raises(TypeError, match="out must be float64"):
        gemm.batched_matmul(x, x, out.astype(np.float32))
    with pytest.raises(ValueError, match="bias must be"):
        gemm.batched_matmul(x, x, bias=np.ones(3))
    with pytest.raises(ValueError, match="needs out"):
        gemm.batched_matmul(x, x, accumulate=True)


@pytest.mark.skipif(not gemm.has_bfloat16(), reason="this processor has no bfloat16 products (AVX512-BF16)")
@pytest.mark.parametrize(
    "sizes",
    [(1, 64, 64, 64), (3, 100, 131, 70), (1, 513, 258, 300), (2, 5, 1001, 40), (1, 1, 1, 1), (2, 13, 33, 31)],
    ids=str,
)
def test_bfloat16_products_are_summed_in_float32(way: object, sizes: tuple[int, int, int, int]) -> None:
    r = np.random.default_rng(0)
    batch, m, k, n = sizes
    a = r.standard_normal((batch, m, k)).astype(ml_dtypes.bfloat16)
    b = r.standard_normal((batch, k, n)).astype(ml_dtypes.bfloat16)
    bias = r.standard_normal(n).astype(np.float32)
    for x in (a, np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2), np.repeat(a, 2, 2)[..., ::2]):
        for y in (b, np.ascontiguousarray(b.swapaxes(1, 2)).swapaxes(1, 2), b[:1]):
            expected = x.astype(np.float64) @ y.astype(np.float64) + bias
            got = gemm.bfloat16_matmul(x, y, bias)
            assert got.dtype == a.dtype and got.shape == (batch, m, n)
            # half of a last place, and the error of the float32 sums
            error = np.abs(got.astype(np.float64) - expected)
            assert (error <= 2**-8 * np.abs(expected) + 1e-6 * k).all()
    if min(sizes[1:3]) > 4:
        special = a.copy()
        special[0, 1, 2] = np.inf
        special[0, 2, 3] = np.nan
        special[0, 3, -1] = np.inf  # of an odd inner dimension what is beside it is nothing
        got = gemm.bfloat16_matmul(special, np.abs(b) + b.dtype.type(1)).astype(np.float32)
        assert np.isposinf(got[0, [1, 3]]).all()
        assert np.isnan(got[0, 2]).all() and np.isfinite(got[0, 4:]).all()


def test_bfloat16_products_name_bad_input() -> None:
    a = np.zeros((1, 2, 4), ml_dtypes.bfloat16)
    with pytest.raises(ValueError, match="in pairs"):
        gemm.bfloat16_matmul(a, a)
    with pytest.raises(ValueError, match="in pairs"):
        gemm.bfloat16_matmul(a[..., :0], a[..., :0].swapaxes(1, 2))
    with pytest.raises(ValueError, match="bias must be a float32 vector of 2 numbers"):
        gemm.bfloat16_matmul(a, a.swapaxes(1, 2), np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="float32"):
        gemm.bfloat16_matmul(a.astype(np.float32), a.swapaxes(1, 2))


@pytest.mark.parametrize("own", [False, True])
def test_bfloat16_tensors_with_and_without_the_instructions(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not own:
        monkeypatch.setattr(gemm, "has_bfloat16", lambda: False)
    acceleration.load()
    r = np.random.default_rng(1)
    a = r.standard_normal((96, 130)).astype(ml_dtypes.bfloat16)
    b = r.standard_normal((130, 70)).astype(ml_dtypes.bfloat16)
    got = products.matmul(a, b)
    want = (a.astype(np.float64) @ b.astype(np.float64)).astype(ml_dtypes.bfloat16)
    assert got.dtype == a.dtype
    off = np.abs(got.astype(np.float64) - want.astype(np.float64))
    assert (
        off <= 2**-7 * np.abs(want.astype(np.float64)) + 1e-3
    ).all()  # a last place, where sums lie between two
