"""First and second gradients of every family by finite differences in float64."""

import numpy as np
import pytest

import flambeau as fl

F = fl.nn.functional


def data(*shape, seed=0):
    return fl.tensor(np.random.default_rng(seed).standard_normal(shape))


TARGET = fl.tensor([1, 0])
FAMILIES = {
    "gelu": (F.gelu, [(3, 4)]),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), [(3, 4)]),
    "silu": (F.silu, [(3, 4)]),
    "mish": (F.mish, [(3, 4)]),
    "elu": (F.elu, [(3, 4)]),
    "glu": (F.glu, [(3, 4)]),
    "log_softmax": (lambda x: F.log_softmax(x, 1), [(3, 4)]),
    "linear": (F.linear, [(2, 3), (4, 3), (4,)]),
    "bilinear": (F.bilinear, [(2, 3), (2, 2), (2, 3, 2), (2,)]),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2),
        [(1, 2, 4, 4), (2, 1, 3, 3), (2,)],
    ),
    "conv_transpose1d": (
        lambda x, w: F.conv_transpose1d(x, w, stride=2, output_padding=1),
        [(1, 2, 3), (2, 2, 2)],
    ),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), [(1, 1, 3, 3)]),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 3), [(1, 2, 4)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2, 1), [(1, 1, 3, 3)]),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(4, 2), (2,), (2,)]),
    "instance_norm": (F.instance_norm, [(1, 2, 4)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), [(2, 4), (4,), (4,)]),
    "group_norm": (lambda x: F.group_norm(x, 2), [(2, 4, 2)]),
    "rms_norm": (lambda x: F.rms_norm(x, (4,)), [(2, 4)]),
    "cross_entropy": (lambda x: F.cross_entropy(x, TARGET, label_smoothing=0.1), [(2, 3)]),
    "bce": (
        lambda x: F.binary_cross_entropy_with_logits(x, fl.full((2, 3), 0.3, dtype=fl.float64)),
        [(2, 3)],
    ),
    "huber": (F.huber_loss, [(2, 3), (2, 3)]),
    "cosine": (F.cosine_similarity, [(2, 3), (2, 3)]),
    "pdist": (F.pdist, [(3, 2)]),
    "embedding": (lambda w: F.embedding(fl.tensor([[0, 2], [2, 1]]), w), [(3, 2)]),
    "bag": (lambda w: F.embedding_bag(fl.tensor([[0, 2], [2, 1]]), w), [(3, 2)]),
    "attention": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), [(3, 2)] * 3),
    "pad": (lambda x: F.pad(x, (1, 2), mode="reflect"), [(1, 2, 4)]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients(name):
    fn, shapes = FAMILIES[name]
    inputs = tuple(data(*s, seed=k).requires_grad_() for k, s in enumerate(shapes))
    assert fl.autograd.gradcheck(fn, inputs)
    assert fl.autograd.gradgradcheck(fn, inputs)


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "rms_norm", "batch_norm", "instance_norm"])
def test_what_a_normalisation_gives_may_be_written_to(name):
    x = fl.randn(3, 4, 5, requires_grad=True)
    w = fl.randn(5 if name in ("layer_norm", "rms_norm") else 4, requires_grad=True)
    calls = {
        "layer_norm": lambda: F.layer_norm(x, (5,), w, w),
        "group_norm": lambda: F.group_norm(x, 2, w, w),
        "rms_norm": lambda: F.rms_norm(x, (5,), w),
        "batch_norm": lambda: F.batch_norm(x, None, None, w, w, True),
        "instance_norm": lambda: F.instance_norm(x, None, None, w, w),
    }
    want = fl.autograd.grad(calls[name]().relu().sum(), (x, w))
    got = fl.autograd.grad(calls[name]().relu_().sum(), (x, w))
    for a, b in zip(got, want):
        assert fl.equal(a, b)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_numbers_beside_16_bit_tensors_are_rounded_as_in_pytorch(dtype):
    reference = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=300).astype(np.float32)
    c = 5.108374602625908
    calls = [
        lambda x: c - x, lambda x: x + c, lambda x: x * c, lambda x: x / c, lambda x: c**x, lambda x: x.abs() ** c,
        lambda x: x % c, lambda x: c % x, lambda x: x.fmod(c), lambda x: x.xlogy(c),
    ]  # fmt: skip
    for i, call in enumerate(calls):
        a, b = (call(m.tensor(values).to(getattr(m, dtype))).float().numpy() for m in (fl, reference))
        np.testing.assert_array_equal(a, b, err_msg=str(i))
