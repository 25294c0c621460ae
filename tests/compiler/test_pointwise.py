import functools
import gc
import os
import sys
import threading
import weakref

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("llvmlite")
from flambeau.compiler import engine, launch, native
from flambeau.compiler.pointwise import pointwise_kernel
from flambeau.compiler.types import UnsupportedError

FLOATS = [np.float32, np.float64]
INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8]
SIZES = [0, 1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 127, 255, 256, 1000, 4097]
axpy = {d: pointwise_kernel(lambda k, x, y, a: a * x + y, [d] * 2, [d], 1) for d in FLOATS}


def random(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return rng.normal(0, 2, shape).astype(dtype)


def run(body, inputs, out_dtypes, *scalars, types=0):
    kernel = pointwise_kernel(body, [x.dtype for x in inputs], out_dtypes, types or len(scalars))
    outs = [np.empty(inputs[0].shape, d) for d in out_dtypes]
    kernel(*outs, *inputs, *scalars)
    return outs[0] if len(outs) == 1 else outs


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", SIZES)
def test_every_size_writes_exactly_its_elements(dtype, n):
    x, y = random(dtype, n), random(dtype, n, 1)
    memory = np.full(n + 40, 7, dtype)
    axpy[dtype](memory[20 : 20 + n], x, y, 2.5)
    np.testing.assert_array_equal(memory[20 : 20 + n], dtype(2.5) * x + y)
    assert (memory[:20] == 7).all() and (memory[20 + n :] == 7).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_arithmetic_and_comparisons(dtype):
    x, y = random(dtype, 999), random(dtype, 999, 1)
    y[::7] = x[::7]
    x[3], y[4] = np.nan, np.nan
    for operate in (
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: -a,
        lambda a, b: 1.5 - a,
        lambda a, b: 2.0 / b,
    ):
        np.testing.assert_array_equal(run(lambda k, a, b, f=operate: f(a, b), [x, y], [dtype]), operate(x, y))
    for compare in (
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a == b,
        lambda a, b: a != b,
        lambda a, b: (a < b) & ~(a > 0.5) | (b == a),
    ):
        np.testing.assert_array_equal(run(lambda k, a, b, f=compare: f(a, b), [x, y], [bool]), compare(x, y))


@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_of_the_dialect(dtype):
    x, y = random(dtype, 500), random(dtype, 500, 1)
    x[:6] = [0.5, 1.5, 2.5, -0.5, np.nan, -0.0]
    y[7] = np.nan
    pairs = {
        "floor": np.floor,
        "ceil": np.ceil,
        "trunc": np.trunc,
        "round": np.round,
        "abs": np.abs,
        "isnan": np.isnan,
    }
    for name, reference in pairs.items():
        out = bool if name == "isnan" else dtype
        got = run(lambda k, a, n=name: getattr(k, n)(a), [x], [out])
        np.testing.assert_array_equal(got, reference(x))
    np.testing.assert_array_equal(run(lambda k, a, b: k.max(a, b), [x, y], [dtype]), np.maximum(x, y))
    np.testing.assert_array_equal(run(lambda k, a, b: k.min(a, b), [x, y], [dtype]), np.minimum(x, y))
    got = run(lambda k, a, b: k.select(a < b, a, 2.0), [x, y], [dtype])
    np.testing.assert_array_equal(got, np.where(x < y, x, dtype(2)))
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_array_equal(run(lambda k, a: k.sqrt(a), [x], [dtype]), np.sqrt(x))
        np.testing.assert_array_equal(run(lambda k, a: k.rsqrt(a), [x], [dtype]), 1 / np.sqrt(x))
    wide = x[8:].astype(np.longdouble) * y[8:] + np.float32(0.1).astype(dtype)
    np.testing.assert_allclose(
        run(lambda k, a, b: k.fma(a, b, float(np.float32(0.1))), [x[8:], y[8:]], [dtype]), wide, rtol=2e-7
    )


def test_multiplication_and_addition_are_not_contracted():
    x, y = np.float32([1 + 2**-12]), np.float32([-1])
    got = run(lambda k, a, b: a * a + b, [x, y], [np.float32])
    assert got[0] == np.float32(x * x) + y


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_and_never_trap(dtype):
    x, y = random(dtype, 777), random(dtype, 777, 1)
    x[0], y[0] = np.iinfo(dtype).min, np.int64(-1).astype(dtype)
    y[1:20] = 0
    with np.errstate(all="ignore"):
        for operate in (
            lambda a, b: a + b,
            lambda a, b: a - b,
            lambda a, b: a * b,
            lambda a, b: a & b,
            lambda a, b: (a | 3) ^ b,
            lambda a, b: ~a,
            lambda a, b: -a,
        ):
            got = run(lambda k, a, b, f=operate: f(a, b), [x, y], [dtype])
            np.testing.assert_array_equal(got, operate(x, y))
        safe = y != 0
        quotient = run(lambda k, a, b: k.floor_divide(a, b), [x, y], [dtype])
        np.testing.assert_array_equal(quotient[safe], (x // y)[safe])
        rest = run(lambda k, a, b: k.remainder(a, b), [x, y], [dtype])
        np.testing.assert_array_equal(rest[safe], (x % y)[safe])
    np.testing.assert_array_equal(run(lambda k, a, b: k.max(a, b), [x, y], [dtype]), np.maximum(x, y))
    np.testing.assert_array_equal(run(lambda k, a, b: a < b, [x, y], [bool]), x < y)
    shift = (y.astype(np.int64) % 8).astype(dtype)
    np.testing.assert_array_equal(run(lambda k, a, b: k.shift_left(a, b), [x, shift], [dtype]), x << shift)
    np.testing.assert_array_equal(run(lambda k, a, b: k.shift_right(a, b), [x, shift], [dtype]), x >> shift)
    got = run(lambda k, a, s: a + s, [x], [dtype], 3)
    np.testing.assert_array_equal(got, x + dtype(3))


def test_conversions():
    x = random(np.float64, 300) * 1000
    for name in ("int8", "int16", "int32", "int64", "uint8", "float32", "bool"):
        source = np.clip(x, 0, 100) if name in ("int8", "uint8") else x
        got = run(lambda k, a, n=name: k.cast(a, n), [source], [np.dtype(name)])
        np.testing.assert_array_equal(got, source.astype(name))
        back = run(lambda k, a: k.cast(a, "float64"), [got], [np.float64])
        np.testing.assert_array_equal(back, got.astype(np.float64))
    odd = np.array([np.nan, np.inf, -np.inf, 1e30, -2147483648.5, 2147483647.9])
    got = run(lambda k, a: k.cast(a, "int32"), [odd], [np.int32])
    low = np.iinfo(np.int32).min
    np.testing.assert_array_equal(got, [low, low, low, low, low, 2147483647])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    if dtype == np.float16 and "sse2" in engine.host().names and not engine.host().has("f16c"):
        pytest.skip("no float16 conversions")
    bits = np.arange(65536, dtype=np.uint16).view(dtype)
    np.testing.assert_array_equal(
        run(lambda k, a: k.fma(a, 1.0, 0.0), [bits], [np.float32]), bits.astype(np.float32)
    )
    wide = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    narrow = run(lambda k, a: a, [wide], [dtype])
    with np.errstate(over="ignore", invalid="ignore"):
        expected = wide.astype(dtype)
    nan = np.isnan(wide)
    np.testing.assert_array_equal(narrow[~nan].view(np.uint16), expected[~nan].view(np.uint16))
    assert np.isnan(narrow[nan].astype(np.float32)).all()
    x, y = random(dtype, 333), random(dtype, 333, 1)
    got = run(lambda k, a, b: a * b + 1.0, [x, y], [dtype])
    expected = (x.astype(np.float32) * y.astype(np.float32) + np.float32(1)).astype(dtype)
    np.testing.assert_array_equal(got.view(np.uint16), expected.view(np.uint16))


def test_bool_arrays_and_several_outputs():
    a, b = random(bool, 200), random(bool, 200, 1)
    both, either = run(lambda k, p, q: (p & q, p | q), [a, b], [bool, bool])
    np.testing.assert_array_equal(both, a & b)
    np.testing.assert_array_equal(either, a | b)
    x = random(np.float32, 200)
    got = run(lambda k, m, v: k.select(m, v, 0.0), [a, x], [np.float32])
    np.testing.assert_array_equal(got, np.where(a, x, np.float32(0)))


def test_in_place_and_overlap():
    x = random(np.float32, 1000)
    same = x.copy()
    axpy[np.float32](same, same, same, 1.0)
    np.testing.assert_array_equal(same, x + x)
    shifted = x.copy()
    axpy[np.float32](shifted[1:], shifted[:-1], shifted[:-1], 1.0)
    np.testing.assert_array_equal(shifted[1:], (x + x)[:-1])
    two = pointwise_kernel(lambda k, a: (a, -a), [np.float32], [np.float32] * 2)
    with pytest.raises(ValueError, match="outputs 0 and 1 share memory"):
        two(shifted[1:], shifted[:-1], x[1:])
    widen = pointwise_kernel(lambda k, a: k.cast(a, "float64"), [np.float32], [np.float64])
    memory = np.zeros(100)
    memory.view(np.float32)[:100] = np.arange(100)
    widen(memory, memory.view(np.float32)[:100])
    np.testing.assert_array_equal(memory, np.arange(100.0))


def test_large_arrays_use_the_threads():
    for n in (100_000, 1_234_567):
        x, y, out = random(np.float64, n), random(np.float64, n, 1), np.empty(n)
        axpy[np.float64](out, x, y, -1.0)
        np.testing.assert_array_equal(out, y - x)


def test_table():
    sizes = [3, 0, 70, 5000, 100_001, 1, 4096, 4097]
    xs, ys = ([random(np.float32, n, s + i) for i, n in enumerate(sizes)] for s in (0, 50))
    outs = [np.empty_like(x) for x in xs]
    for columns in ((outs, xs, ys), (tuple(outs), tuple(xs), ys)):
        for out in outs:
            out[:] = np.nan
        axpy[np.float32].table(*columns, 3.0)
        for out, x, y in zip(outs, xs, ys, strict=True):
            np.testing.assert_array_equal(out, np.float32(3) * x + y)
    axpy[np.float32].table([], [], [], 1.0)
    with pytest.raises(ValueError, match="one length"):
        axpy[np.float32].table(outs, xs, ys[1:], 1.0)
    with pytest.raises(TypeError, match="dtype float32"):
        axpy[np.float32].table(outs, xs, [y.astype(np.float64) for y in ys], 1.0)
    before = [sys.getrefcount(x) for x in xs]
    axpy[np.float32].table(outs, xs, ys, 1.0)
    assert [sys.getrefcount(x) for x in xs] == before


@st.composite
def operands(draw):
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=20))
    arrays = []
    for i, shape in enumerate(shapes.input_shapes):
        a = random(np.float32, tuple(n * 2 for n in shape), i)
        steps = tuple(slice(None, n, 1) if draw(st.booleans()) else slice(None, 2 * n, 2) for n in shape)
        a = a[steps]
        if draw(st.booleans()):
            a = a.copy().T.copy().T
        if draw(st.booleans()) and a.ndim:
            a = a[::-1]
        arrays.append(np.asarray(a))
    return shapes.result_shape, arrays, draw(st.booleans())


@given(operands())
@settings(max_examples=150, deadline=None)
def test_broadcasting(case):
    shape, (x, y), transposed = case
    out = np.full(shape[::-1], np.nan, np.float32).T if transposed else np.full(shape, np.nan, np.float32)
    axpy[np.float32].broadcast([out], [x, y], 1.5)
    np.testing.assert_array_equal(out, np.float32(1.5) * x + y)


def test_broadcast_of_large_arrays_and_aliases():
    k = axpy[np.float32]
    x, row, column = (
        random(np.float32, (700, 900)),
        random(np.float32, 900, 1),
        random(np.float32, (700, 1), 2),
    )
    for y in (row, column, np.float32([[2]])):
        out = np.empty_like(x)
        k.broadcast([out], [x, y], 1.0)
        np.testing.assert_array_equal(out, x + y)
    same = x.copy()
    k.broadcast([same], [same, row], 1.0)
    np.testing.assert_array_equal(same, x + row)
    square = x[:700, :700].copy()
    expected = square + square.T
    k.broadcast([square], [square, square.T], 1.0)
    np.testing.assert_array_equal(square, expected)
    mirrored = x.copy()
    k.broadcast([mirrored], [mirrored[::-1], row], 1.0)
    np.testing.assert_array_equal(mirrored, x[::-1] + row)
    with pytest.raises(ValueError, match="share memory"):
        k.broadcast([np.broadcast_to(row, (5, 900))], [x[:5], row], 1.0)
    with pytest.raises(ValueError, match="broadcast"):
        k.broadcast([x], [x, row[:-1]], 1.0)


def test_bad_arguments_change_nothing():
    k, x = axpy[np.float32], random(np.float32, 10)
    out = np.full(10, 7, np.float32)
    frozen = out.copy()
    frozen.flags.writeable = False
    wrong = [
        (TypeError, (out, x, x)),
        (TypeError, (out, x, x, "a")),
        (TypeError, (out, x, list(x), 1.0)),
        (TypeError, (out, x, x.astype(np.float64), 1.0)),
        (TypeError, (out, x, x.astype(">f4"), 1.0)),
        (ValueError, (out, x, x[:-1], 1.0)),
        (ValueError, (frozen, x, x, 1.0)),
        (ValueError, (np.full(20, 7, np.float32)[::2], x, x, 1.0)),
    ]
    for error, arguments in wrong:
        with pytest.raises(error):
            k(*arguments)
        assert (out == 7).all() and (frozen == 7).all()
    with pytest.raises(ValueError, match="read-only"):
        k.broadcast([frozen], [x, x], 1.0)
    strided = np.arange(20, dtype=np.float32)[::2]
    k(out, strided, strided, 1.0)  # inputs of any layout are taken
    np.testing.assert_array_equal(out, 2 * strided)


def test_bad_bodies_are_refused():
    f4 = [np.float32]
    with pytest.raises(UnsupportedError, match="complex64"):
        pointwise_kernel(lambda k, x: x, [np.complex64], f4)
    with pytest.raises(ValueError, match="2 values for 1 outputs"):
        pointwise_kernel(lambda k, x: (x, x), f4, f4)
    with pytest.raises(TypeError, match="types differ"):
        pointwise_kernel(lambda k, x, y: x + y, [np.float32, np.float64], f4)
    with pytest.raises(TypeError, match="cannot branch"):
        pointwise_kernel(lambda k, x: x if x > 0 else -x, f4, f4)
    with pytest.raises(TypeError, match="int32"):
        pointwise_kernel(lambda k, x: k.exp(x), [np.int32], f4)


def test_plain_entry_points_agree_with_the_built_in_functions():
    k = axpy[np.float32]
    x, y = random(np.float32, 100_000), random(np.float32, 100_000, 1)
    fast, slow = np.empty_like(x), np.empty_like(x)
    k.fn(fast, x, y, 2.0)
    k._contiguous_slowly(slow, x, y, 2.0)
    np.testing.assert_array_equal(fast, slow)
    slow[:] = 0
    k._table_slowly([slow[:10], slow[10:]], [x[:10], x[10:]], [y[:10], y[10:]], 2.0)
    np.testing.assert_array_equal(fast, slow)


def test_kernels_and_arguments_are_freed():
    kernel = pointwise_kernel(lambda k, x: -x, [np.float32], [np.float32])
    x = random(np.float32, 8)
    count = sys.getrefcount(x)
    for _ in range(10):
        kernel.fn(x, x)
        with pytest.raises(TypeError):
            kernel.fn(x)
    assert sys.getrefcount(x) == count
    alive, fn = weakref.ref(kernel), kernel.fn
    del kernel
    fn(x, x)  # a function keeps what it needs
    del fn
    gc.collect()
    assert alive() is None


def test_many_python_threads_at_once():
    k, failures = axpy[np.float64], []

    def work(seed):
        x = random(np.float64, 200_000, seed)
        out = np.empty_like(x)
        for _ in range(20):
            k.fn(out, x, x, float(seed))
            if not np.array_equal(out, seed * x + x):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kernels_work_in_a_forked_child():
    x = random(np.float64, 300_000)
    out = np.empty_like(x)
    axpy[np.float64](out, x, x, 1.0)
    child = os.fork()
    if child == 0:
        out[:] = 0
        axpy[np.float64](out, x, x, 2.0)
        os._exit(0 if np.array_equal(out, 2 * x + x) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_layout_of_arrays_is_probed():
    assert native.usable() == bool(launch.launcher("contiguous").builtin)


def test_without_knowledge_of_python_objects(monkeypatch):
    """On an interpreter whose objects cannot be read everything goes through ctypes."""
    monkeypatch.setattr(native, "usable", lambda: False)
    monkeypatch.setattr(launch, "launcher", functools.cache(launch.launcher.__wrapped__))
    kernel = pointwise_kernel(lambda k, x, y, a: a * x + y, [np.float64] * 2, [np.float64], 1)
    x, y, out = random(np.float64, (70, 900)), random(np.float64, 900, 1), np.empty((70, 900))
    kernel.broadcast([out], [x, y], 2.0)
    np.testing.assert_array_equal(out, 2 * x + y)
    kernel(out, x, x, 1.0)
    np.testing.assert_array_equal(out, x + x)
    kernel.table([out[:3], out[3:]], [x[:3], x[3:]], [x[:3], x[3:]], 2.0)
    np.testing.assert_array_equal(out, 2 * x + x)
    with pytest.raises(ValueError, match="share memory"):
        pointwise_kernel(lambda k, v: (v, v), [np.float64], [np.float64] * 2).broadcast([out, out], [x])
