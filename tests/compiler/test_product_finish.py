"""What is computed from products in their own kernel, against NumPy in float64."""

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite")
from flambeau.compiler import gemm
from flambeau.compiler.product_finish import Finish, Start
from flambeau.compiler.types import COMPUTE, storage


@pytest.fixture(params=["in place", "packed", "in stretches", "one tile"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gemm, "_IN_PLACE", 1 << 30 if request.param == "in place" else 0)
    monkeypatch.setattr(gemm, "_FEW_ROWS", 1 << 30)
    if request.param == "in stretches":
        monkeypatch.setattr(gemm, "_STRETCH", 11)
        monkeypatch.setattr(gemm, "_ROOM", 2000)
    for known in (gemm._plan, gemm.prepared):
        known.cache_clear()
    yield request.param
    for known in (gemm._plan, gemm.prepared):
        known.cache_clear()


def finish_for(dtype):
    """Activation, residual, scales, masks: all levels of inputs, outputs of three dtypes, and two numbers."""
    kind, mask, half = storage(dtype), storage("bool"), storage("bfloat16")

    def body(k, x, shared, row, one, matrix, keep, low, factor):
        y = k.select(keep, k.max(x + shared, low) * row + one, matrix * factor)
        return y, x, y > 0.5, k.cast(y, "float32")

    return Finish(
        body,
        (kind, kind, mask, half),
        ((kind, "shared"), (kind, "row"), (kind, "one"), (kind, "matrix"), (mask, "matrix")),
        (COMPUTE[dtype], COMPUTE[dtype]),
    )


FINISHES = {t: finish_for(t) for t in ("float32", "float64")}
SHAPES = [
    *[(1, 1, 1, 1), (1, 64, 48, 96), (3, 13, 21, 33), (2, 100, 170, 70), (1, 1, 300, 5), (1, 257, 3, 600)],
    (9, 8, 16, 40),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_are_those_of_the_product(way: str, dtype: str, shape: tuple[int, ...], threads: int) -> None:
    batch, m, k, n = shape
    r = np.random.default_rng(0)
    finish = FINISHES[dtype]
    schedule = gemm.NATURAL._replace(share=0) if way == "one tile" else gemm.NATURAL
    shared, row, one, matrix = (
        r.standard_normal(s).astype(dtype) for s in ((n,), (batch, m, 1), (), (batch, m, n))
    )
    keep = r.random((batch, m, n)) < 0.7
    for turned in (False, True):
        a = r.standard_normal((batch, m, k)).astype(dtype)
        b = r.standard_normal((1 if turned else batch, n, k) if turned else (batch, k, n)).astype(dtype)
        b = b.swapaxes(1, 2) if turned else b
        outs = [np.empty((batch, m, n), t) for t in (dtype, dtype, np.bool_, ml_dtypes.bfloat16)]
        product = gemm.prepared(dtype, a.shape, a.strides, b.shape, b.strides, threads, finish, schedule)
        product(a, b, outs, None, None, (shared, row, one, matrix, keep), (0.25, 3.0))
        x = a.astype(np.float64) @ b.astype(np.float64)
        y = np.where(keep, np.maximum(x + shared, 0.25) * row + one, matrix * 3.0)
        limit = 60 * np.finfo(dtype).eps * max(k, 4) ** 0.5
        np.testing.assert_allclose(outs[1], x, atol=limit)
        np.testing.assert_allclose(outs[0], y, atol=10 * limit)
        np.testing.assert_array_equal(outs[2], outs[0] > 0.5)
        np.testing.assert_allclose(outs[3].astype(np.float64), y, atol=10 * limit, rtol=2**-8)


def test_arrays_that_are_not_aligned() -> None:
    r = np.random.default_rng(0)
    room = np.zeros(4 * 16 * 16 + 1, np.uint8)
    a = room[1:].view(np.float32).reshape(1, 16, 16)
    a[...] = r.standard_normal(a.shape)
    out = np.empty((1, 16, 16), np.float32)
    finish = Finish(lambda k, x: k.max(x, 0.0), (storage("float32"),))
    gemm.prepared("float32", a.shape, a.strides, a.shape, a.strides, 1, finish)(a, a, (out,))
    np.testing.assert_allclose(out, np.maximum(a @ a, 0), atol=1e-5)


def start_for(dtype):
    kind, mask = storage(dtype), storage("bool")
    return Start(
        lambda k, x, column, row, keep, low: k.select(keep, k.max(x * column, low), x + row),
        ((kind, "matrix"), (kind, "shared"), (kind, "row"), (mask, "matrix")),
        (COMPUTE[dtype],),
    )


STARTS = {t: start_for(t) for t in ("float32", "float64")}


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 30, 1300, 9)], ids=str)
def test_a_first_factor_that_is_computed(
    way: str, dtype: str, shape: tuple[int, ...], finished: bool
) -> None:
    batch, m, k, n = shape
    r = np.random.default_rng(0)
    for turned in (False, True):
        several = 1 if turned and batch > 3 else batch
        x, column, row = (
            r.standard_normal(s).astype(dtype) for s in ((several, m, k), (k,), (several, m, 1))
        )
        keep = r.random(x.shape) < 0.7
        b = r.standard_normal((batch, n, k) if turned else (batch, k, n)).astype(dtype)
        b = b.swapaxes(1, 2) if turned else b
        scale = np.array(2.0, dtype)
        kind = storage(dtype)
        finish = Finish(lambda k, y, s, low: y * s - low, (kind,), ((kind, "one"),), (COMPUTE[dtype],))
        product = gemm.prepared(
            *(dtype, x.shape, x.strides, b.shape, b.strides, 2, finish if finished else None),
            start=STARTS[dtype],
        )
        out = np.empty((batch, m, n), dtype)
        if finished:
            product(b, b, (out,), None, None, (scale, x, column, row, keep), (0.5, 0.25))
        else:
            product(b, b, (), out, None, (x, column, row, keep), (0.25,))
        a = np.where(keep, np.maximum(x.astype(np.float64) * column, 0.25), x.astype(np.float64) + row)
        want = a @ b.astype(np.float64)
        limit = 60 * np.finfo(dtype).eps * max(k, 4) ** 0.5
        np.testing.assert_allclose(out, want * 2 - 0.5 if finished else want, atol=10 * limit)
