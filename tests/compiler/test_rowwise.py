import ml_dtypes
import numpy as np
import pytest
from scipy import special

pytest.importorskip("llvmlite")
from flambeau.compiler import engine, rowwise
from flambeau.runtime import threads

SHAPES = [(1, 1), (3, 5), (7, 16), (2, 3, 33), (5, 64), (4, 130), (300, 1000), (2, 9000), (0, 4), (9,)]
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
if "sse2" in engine.host().names and not engine.host().has("f16c"):
    DTYPES.remove(np.float16)


def make(shape, dtype, seed=0, scale=3.0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(dtype)


def tolerance(dtype):
    return float(ml_dtypes.finfo(dtype).eps) * (2 if np.dtype(dtype).itemsize == 2 else 20)


def close(got, exact, dtype, size=1.0):
    assert got.dtype == np.dtype(dtype)
    limit = tolerance(dtype)
    np.testing.assert_allclose(got.astype(np.float64), exact, rtol=limit, atol=limit * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_forward_and_backward(shape, dtype):
    x, g = make(shape, dtype), make(shape, dtype, 1)
    wide, gw = x.astype(np.float64), g.astype(np.float64)
    for forward, backward, reference in (
        (rowwise.softmax, rowwise.softmax_backward, special.softmax),
        (rowwise.log_softmax, rowwise.log_softmax_backward, special.log_softmax),
    ):
        exact = reference(wide, axis=-1) if x.size else wide
        result = forward(x)
        close(result, exact, dtype)
        y = result.astype(np.float64)
        if forward is rowwise.softmax:
            expected = y * (gw - (gw * y).sum(-1, keepdims=True))
        else:
            expected = gw - np.exp(y) * gw.sum(-1, keepdims=True)
        close(backward(g, result), expected, dtype, 30)
        same = x.copy()
        assert forward(same, out=same) is same
        np.testing.assert_array_equal(same.view(np.uint8), result.view(np.uint8))


def test_softmax_of_special_values():
    inf, nan = np.inf, np.nan
    x = np.array([[1, nan, 2], [-inf, 0, 0], [-inf] * 3, [inf, 0, 1], [1e4, -1e4, 0]], np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(rowwise.softmax(x), special.softmax(x.astype(np.float64), -1), rtol=1e-6)
    wide = np.tile(x, (1, 50))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(
            rowwise.softmax(wide), special.softmax(wide.astype(np.float64), -1), rtol=1e-6
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", ["both", "weight", "bias", "none"])
def test_layer_norm(shape, dtype, affine):
    x, g = make(shape, dtype) + dtype(2), make(shape, dtype, 1)
    weight = make(shape[-1:], dtype, 2) if affine in ("both", "weight") else None
    bias = make(shape[-1:], dtype, 3) if affine in ("both", "bias") else None
    wide, gw = x.astype(np.float64), g.astype(np.float64)
    ww = 1.0 if weight is None else weight.astype(np.float64)
    mean = wide.mean(-1, keepdims=True) if x.size else np.zeros((*shape[:-1], 1))
    scale = 1 / np.sqrt(wide.var(-1, keepdims=True) + 1e-5) if x.size else mean
    hat = (wide - mean) * scale
    result, m, s = rowwise.layer_norm(x, weight, bias)
    close(result, hat * ww + (0.0 if bias is None else bias.astype(np.float64)), dtype, 30)
    compute = np.float64 if dtype == np.float64 else np.float32
    close(m, mean[..., 0], compute, 3)
    np.testing.assert_allclose(s, scale[..., 0], rtol=1e-4)
    gx, gweight, gbias = rowwise.layer_norm_backward(g, x, m, s, weight)
    gy = gw * ww
    expected = scale * (gy - gy.mean(-1, keepdims=True) - hat * (gy * hat).mean(-1, keepdims=True))
    if x.size and shape[-1] > 1:
        close(gx, expected, dtype, 30 * float(np.max(np.abs(expected))))
        axes = tuple(range(len(shape) - 1))
        close(gweight, (gw * hat).sum(axes), dtype, 500)
        close(gbias, gw.sum(axes), dtype, 500)
    alone = rowwise.layer_norm_backward(g, x, m, s, weight, parameters=False)
    np.testing.assert_array_equal(alone[0].view(np.uint8), gx.view(np.uint8))
    assert alone[1:] == (None, None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_reductions(shape, dtype):
    x = make(shape, dtype)
    wide = x.astype(np.float64)
    close(rowwise.sum_last(x), wide.sum(-1), dtype, 100)
    close(rowwise.max_last(x), wide.max(-1), dtype)
    close(rowwise.mean_last(x), wide.mean(-1), dtype, 3)
    np.testing.assert_allclose(rowwise.sum_all(x), wide.sum(), rtol=1e-5, atol=1e-2)


def test_reductions_of_special_values():
    x = np.array([[1, np.nan, 2], [-np.inf, -np.inf, -np.inf], [np.inf, 1, -np.inf]], np.float32)
    np.testing.assert_array_equal(rowwise.max_last(x), x.max(-1))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(rowwise.sum_last(x), x.sum(-1))
    assert rowwise.sum_all(np.zeros(0, np.float32)) == 0.0
    np.testing.assert_array_equal(rowwise.sum_last(np.zeros((3, 0))), np.zeros(3))
    assert np.isnan(rowwise.mean_last(np.zeros((2, 0)))).all()
    with pytest.raises(ValueError, match="size 0"):
        rowwise.max_last(np.zeros((3, 0)))


def test_sums_do_not_depend_on_the_number_of_threads():
    x = make((3_000_001,), np.float32)
    before = threads.get_num_threads()
    try:
        results = []
        for number in (1, 2, 4):
            threads.set_num_threads(number)
            results.append((rowwise.sum_all(x), rowwise.sum_last(x[:3_000_000].reshape(3, -1)).tobytes()))
    finally:
        threads.set_num_threads(before)
    assert len(set(results)) == 1
    exact, size = x.sum(dtype=np.float64), np.abs(x).sum(dtype=np.float64)
    np.testing.assert_allclose(results[0][0], exact, atol=1e-7 * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (64, 10), (4, 7, 33), (100, 5000)])
def test_cross_entropy(shape, dtype):
    rng = np.random.default_rng(0)
    x, target = make(shape, dtype), rng.integers(0, shape[-1], shape[:-1])
    target[rng.random(target.shape) < 0.2] = -100
    wide = special.log_softmax(x.astype(np.float64), -1)
    safe = np.where(target < 0, 0, target)
    picked = -np.take_along_axis(wide, safe[..., None], -1)[..., 0]
    loss, log_sum = rowwise.cross_entropy(x, target)
    compute = np.float64 if dtype == np.float64 else np.float32
    close(loss, np.where(target < 0, 0, picked), compute, 10)
    g = rng.normal(size=shape[:-1]).astype(compute)
    grad = rowwise.cross_entropy_backward(g, x, target, log_sum)
    one_hot = np.arange(shape[-1]) == safe[..., None]
    expected = (np.exp(wide) - one_hot) * np.where(target < 0, 0, g)[..., None]
    close(grad, expected, dtype, 3)


def test_cross_entropy_equals_torch():
    torch = pytest.importorskip("torch")
    x, target = make((200, 10), np.float32), np.random.default_rng(1).integers(0, 10, 200)
    t = torch.tensor(x, requires_grad=True)
    reference = torch.nn.functional.cross_entropy(t, torch.tensor(target))
    reference.backward()
    loss, log_sum = rowwise.cross_entropy(x, target)
    np.testing.assert_allclose(loss.mean(), reference.item(), rtol=1e-6)
    grad = rowwise.cross_entropy_backward(np.full(200, 1 / 200, np.float32), x, target, log_sum)
    np.testing.assert_allclose(grad, t.grad.numpy(), rtol=1e-5, atol=1e-8)


def test_arguments_of_any_layout():
    x = make((40, 30), np.float64)
    np.testing.assert_allclose(rowwise.softmax(x.T), special.softmax(x.T, -1), rtol=1e-13)
    np.testing.assert_allclose(rowwise.sum_last(x[::2, ::-1]), x[::2].sum(-1), rtol=1e-12)


def test_bad_arguments():
    x = make((4, 5), np.float32)
    with pytest.raises(TypeError, match="int64"):
        rowwise.softmax(np.arange(4))
    with pytest.raises(ValueError, match="0-d"):
        rowwise.softmax(np.float32(1).reshape(()))
    with pytest.raises(ValueError, match="out must be"):
        rowwise.softmax(x, out=np.empty((5, 4), np.float32))
    with pytest.raises(ValueError, match="read-only"):
        frozen = x.copy()
        frozen.flags.writeable = False
        rowwise.softmax(x, out=frozen)
    memory = np.zeros(30, np.float32)
    with pytest.raises(ValueError, match="overlaps"):
        rowwise.softmax(memory[:20].reshape(4, 5), out=memory[3:23].reshape(4, 5))
    with pytest.raises(ValueError, match="weight"):
        rowwise.layer_norm(x, np.ones(4, np.float32))
    with pytest.raises(ValueError, match="the result"):
        rowwise.softmax_backward(x, x[:2])
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        rowwise.cross_entropy(x, np.array([0, 1, 5, 2]))
    with pytest.raises(ValueError, match="int64"):
        rowwise.cross_entropy(x, np.zeros(4, np.int32))
