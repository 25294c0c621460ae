"""Random masks with PyTorch's own values, running statistics, embeddings, native forms, CTC, distances, half types."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as fl

F = fl.nn.functional


def data(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", [(6,), (40,), (3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "dropout2d", "feature_alpha_dropout", "rrelu"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_seeded_draws_are_those_of_pytorch(name, shape, dtype):
    torch = pytest.importorskip("torch")
    if name in ("dropout2d", "feature_alpha_dropout") and len(shape) < 3:
        pytest.skip("needs channels")
    x = data(*shape)
    found = []
    for lib in (torch, fl):
        lib.manual_seed(7)
        t = lib.tensor(x).to(getattr(lib, dtype))
        extra = {"training": True} if name == "rrelu" else {"p": 0.3, "training": True}
        y = getattr(lib.nn.functional, name)(t, **extra)
        found.append((y.to(lib.float64).numpy(), lib.rand(3).numpy()))
    tolerance = 2e-2 if dtype == "bfloat16" else 1e-6
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found[1][1], found[0][1])


def test_dropout_keeps_or_doubles():
    fl.manual_seed(0)
    y = F.dropout(fl.ones(1000), 0.5)
    assert set(y.tolist()) == {0.0, 2.0} and 400 < (y > 0).sum().item() < 600
    assert F.dropout(fl.ones(3), 1.0).tolist() == [0.0, 0.0, 0.0]
    assert F.dropout(fl.ones(3), 0.9, training=False).tolist() == [1.0, 1.0, 1.0]
    out, mask = fl.native_dropout(fl.ones(100), 0.25, True)
    np.testing.assert_allclose(out.numpy(), mask.numpy() / 0.75, rtol=1e-6)
    for bad in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="probability"):
            F.dropout(fl.ones(3), bad)


def test_rrelu_refuses_bounds_in_the_wrong_order():
    for training in (True, False):
        with pytest.raises(RuntimeError, match="Lower bound"):
            F.rrelu(fl.ones(2), 0.4, 0.3, training)


def test_running_statistics_follow_their_formula():
    x = data(5, 3, 4)
    mean, var = fl.zeros(3, dtype=fl.float64), fl.ones(3, dtype=fl.float64)
    F.batch_norm(fl.tensor(x), mean, var, training=True, momentum=0.2)
    np.testing.assert_allclose(mean.numpy(), 0.2 * x.mean((0, 2)))
    np.testing.assert_allclose(var.numpy(), 0.8 + 0.2 * x.var((0, 2), ddof=1))


def test_running_statistics_outside_a_transform_are_updated_by_values():
    x = data(5, 3, 4)
    mean, var = fl.zeros(3, dtype=fl.float64), fl.ones(3, dtype=fl.float64)

    def f(t):
        return F.batch_norm(t, mean, var, training=True).square().sum()

    for run in (fl.func.grad(f), lambda t: fl.func.jvp(f, (t,), (t,))):
        before = mean.clone()
        run(fl.tensor(x))
        np.testing.assert_allclose(mean.numpy(), 0.9 * before.numpy() + 0.1 * x.mean((0, 2)))
    before = mean.clone()
    with pytest.raises(RuntimeError, match="batched"):
        fl.vmap(f)(fl.tensor(data(2, 5, 3, 4)))
    assert fl.equal(mean, before)


def test_batch_norm_checks_before_it_updates():
    mean = fl.zeros(3)
    for x, error in ((fl.zeros(1, 3), ValueError), (fl.zeros(4, 2), RuntimeError), (fl.zeros(4), IndexError)):
        with pytest.raises(error):
            F.batch_norm(x, mean, fl.ones(3), training=True)
    assert mean.tolist() == [0.0, 0.0, 0.0]


def test_native_norms_return_their_statistics():
    x = data(4, 6, 5)
    t = fl.tensor(x)
    y, mean, invstd = fl.native_batch_norm(t, None, None, None, None, True, 0.1, 1e-5)
    np.testing.assert_allclose(mean.numpy(), x.mean((0, 2)))
    np.testing.assert_allclose(invstd.numpy(), 1 / np.sqrt(x.var((0, 2)) + 1e-5))
    y, mean, invstd = fl.native_group_norm(t, None, None, 4, 6, 5, 2, 1e-5)
    groups = x.reshape(4, 2, 15)
    np.testing.assert_allclose(mean.numpy(), groups.mean(2), atol=1e-12)
    expected = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y.numpy(), expected.reshape(x.shape), rtol=1e-10)


def test_functions_of_the_top_namespace_take_pytorch_s_order():
    x = fl.tensor(data(4, 3, 5))
    mean, var, w, b = (fl.tensor(abs(data(3, seed=k))) for k in range(4))
    expected = F.batch_norm(x, mean, var, w, b)
    assert fl.equal(fl.batch_norm(x, w, b, mean, var, False, 0.1, 1e-5, False), expected)
    table = fl.tensor(data(5, 2))
    assert fl.equal(fl.embedding(table, fl.tensor([1, 3])), table[[1, 3]])


def test_embedding_max_norm_scales_used_rows_only():
    table = fl.tensor(10 * data(5, 3))
    before = table.clone()
    F.embedding(fl.tensor([[1, 3], [3, 1]]), table, max_norm=1.0)
    np.testing.assert_allclose(table[[1, 3]].norm(dim=1).numpy(), 1, rtol=1e-6)
    assert fl.equal(table[[0, 2, 4]], before[[0, 2, 4]])
    with pytest.raises(IndexError):
        F.embedding(fl.tensor([5]), table, max_norm=1.0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.sampled_from(["sum", "mean", "max"]))
@settings(max_examples=40, deadline=None)
def test_embedding_bag_by_its_definition(counts, mode):
    table = data(7, 3)
    index = np.random.default_rng(1).integers(0, 7, sum(counts))
    offsets = np.cumsum([0, *counts[:-1]])
    y = F.embedding_bag(fl.tensor(index), fl.tensor(table), fl.tensor(offsets), mode=mode)
    for row, start, n in zip(y.numpy(), offsets, counts):
        rows = table[index[start : start + n]]
        expected = np.zeros(3) if not n else getattr(rows, mode)(0)
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_ctc_by_enumeration_of_alignments():
    import itertools

    logits = data(4, 1, 3)
    lp = logits - np.log(np.exp(logits).sum(2, keepdims=True))
    target = [1, 2]

    def collapsed(path):
        kept = [k for i, k in enumerate(path) if i == 0 or path[i - 1] != k]
        return [k for k in kept if k != 0]

    total = sum(
        math.exp(sum(lp[t, 0, k] for t, k in enumerate(path)))
        for path in itertools.product(range(3), repeat=4)
        if collapsed(path) == target
    )
    loss = F.ctc_loss(fl.tensor(lp), fl.tensor([target]), (4,), (2,), reduction="sum")
    np.testing.assert_allclose(loss.item(), -math.log(total), rtol=1e-10)


def test_ctc_gradient_of_logits_by_finite_differences():
    x = fl.tensor(data(5, 2, 4), requires_grad=True)
    targets = fl.tensor([[1, 2], [3, 3]])

    def f(t):
        return F.ctc_loss(F.log_softmax(t, 2), targets, (5, 4), (2, 2), reduction="sum")

    assert fl.autograd.gradcheck(f, (x,))
    with pytest.raises(RuntimeError, match="input_lengths"):
        F.ctc_loss(x, targets, (6, 4), (2, 2))


def test_pdist_and_cosine_similarity_by_numpy():
    x = data(5, 3)
    i, j = np.triu_indices(5, 1)
    for p in (1.0, 2.0, 3.0, math.inf):
        expected = np.linalg.norm(x[i] - x[j], p, axis=1)
        np.testing.assert_allclose(F.pdist(fl.tensor(x), p).numpy(), expected, rtol=1e-12)
    a, b = data(4, 3, seed=1), data(4, 3, seed=2)
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(F.cosine_similarity(fl.tensor(a), fl.tensor(b)).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["elu", "gelu", "silu", "mish", "softplus", "logsigmoid", "hardswish", "hardsigmoid", "selu"]
)
@pytest.mark.parametrize("dtype", [fl.bfloat16, fl.float16])
def test_half_types_are_rounded_once(name, dtype):
    x = fl.tensor(3 * data(50)).to(dtype)
    wide = x.to(fl.float64).requires_grad_()
    x.requires_grad_()
    fn = getattr(F, name)
    y, expected = fn(x), fn(wide)
    y.sum().backward()
    expected.sum().backward()
    eps = fl.finfo(dtype).eps
    for ours, exact in ((y, expected), (x.grad, wide.grad)):
        np.testing.assert_allclose(
            ours.detach().to(fl.float64).numpy(),
            exact.detach().numpy(),
            rtol=0.51 * eps + 1e-5,
            atol=1e-7,
        )


def test_elu_slope_far_below_zero_keeps_its_digits():
    x = fl.tensor([-8.5, -20.0, -60.0], requires_grad=True)
    F.elu(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([-8.5, -20.0, -60.0]), rtol=1e-6)


def test_circular_padding_cuts_before_it_wraps():
    x = fl.arange(6.0).reshape(1, 1, 6)
    assert F.pad(x, (-1, 2), mode="circular")[0, 0].tolist() == [1, 2, 3, 4, 5, 1, 2]
    assert F.pad(x, (2, -1), mode="circular")[0, 0].tolist() == [3, 4, 0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="wrapping"):
        F.pad(x, (7, 0), mode="circular")


def test_linear_cross_entropy_is_the_composition():
    x, w, b = fl.tensor(data(4, 3)), fl.tensor(data(5, 3, seed=1)), fl.tensor(data(5, seed=2))
    target = fl.tensor([0, 4, -100, 2])
    ours = F.linear_cross_entropy(x, w, target, linear_bias=b, reduction="sum")
    np.testing.assert_allclose(
        ours.item(), F.cross_entropy(F.linear(x, w, b), target, reduction="sum").item()
    )


def test_bilinear_of_no_pairs_and_out():
    w = fl.ones(2, 3, 4)
    assert tuple(F.bilinear(fl.ones(0, 3), fl.ones(0, 4), w).shape) == (0, 2)
    out = fl.empty(0)
    assert F.gelu(fl.ones(3), out=out) is out and out.shape == (3,)
    with pytest.raises(RuntimeError, match="out="):
        F.softplus(fl.ones(3, requires_grad=True), out=out)
