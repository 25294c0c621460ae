import itertools

import numpy as np
import pytest

pytest.importorskip("llvmlite")
from flambeau.compiler.optim_kernels import adam_update, sgd_update

SHAPES = [(3,), (70, 5), (1,), (0,), (4097,), (33, 129)]


def arrays(dtype, seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, s).astype(dtype) for s in SHAPES]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("beta1", [0.9, 0.3])
def test_adam_equals_torch(dtype, amsgrad, decoupled, weight_decay, beta1):
    torch = pytest.importorskip("torch")
    maximize = weight_decay != 0
    params = arrays(dtype, 0)
    twins = [torch.tensor(p, requires_grad=True) for p in params]
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    reference = kind(
        twins, lr=0.05, betas=(beta1, 0.99), eps=1e-7, weight_decay=weight_decay, amsgrad=amsgrad,
        maximize=maximize, foreach=False,
    )  # fmt: skip
    averages, squares, maxima = ([np.zeros_like(p) for p in params] for _ in range(3))
    for step in range(1, 6):
        grads = arrays(dtype, step)
        for t, g in zip(twins, grads, strict=True):
            t.grad = torch.tensor(g)
        reference.step()
        adam_update(
            params, grads, averages, squares, maxima if amsgrad else (), step=step, lr=0.05, beta1=beta1,
            beta2=0.99, eps=1e-7, weight_decay=weight_decay, decoupled=decoupled, maximize=maximize,
        )  # fmt: skip
    tolerance = 4 * np.finfo(dtype).eps
    for p, m, v, t in zip(params, averages, squares, twins, strict=True):
        state = reference.state[t]
        np.testing.assert_allclose(p, t.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(m, state["exp_avg"].numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(v, state["exp_avg_sq"].numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("momentum,nesterov", [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_equals_torch(dtype, momentum, nesterov, weight_decay):
    torch = pytest.importorskip("torch")
    dampening = 0.0 if nesterov or not momentum else 0.2
    params = arrays(dtype, 0)
    twins = [torch.tensor(p, requires_grad=True) for p in params]
    options = {"lr": 0.05, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
    reference = torch.optim.SGD(twins, nesterov=nesterov, foreach=False, **options)
    buffers = [np.full_like(p, np.nan) for p in params] if momentum else []
    for step in range(5):
        grads = arrays(dtype, step + 1)
        for t, g in zip(twins, grads, strict=True):
            t.grad = torch.tensor(g)
        reference.step()
        sgd_update(params, grads, buffers, nesterov=nesterov, first=step == 0, **options)
    tolerance = 4 * np.finfo(dtype).eps
    for p, t in zip(params, twins, strict=True):
        np.testing.assert_allclose(p, t.detach().numpy(), rtol=tolerance, atol=tolerance)
    for b, t in zip(buffers, twins, strict=False):
        np.testing.assert_allclose(
            b, reference.state[t]["momentum_buffer"].numpy(), rtol=tolerance, atol=tolerance
        )


def test_adam_against_the_formula():
    rng = np.random.default_rng(0)
    p, m = np.ones(50), np.zeros(50)
    v, q = np.zeros(50), np.ones(50)
    mean, square = np.zeros(50), np.zeros(50)
    for step in range(1, 20):
        g = rng.normal(size=50)
        adam_update([p], [g], [m], [v], step=step, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        q -= 0.01 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(p, q, rtol=1e-13)


def test_mixed_dtypes_and_steps():
    params = [np.ones(3, np.float32), np.ones(4), np.ones(5)]
    sets = [[np.zeros_like(p) for p in params] for _ in range(2)]
    grads = [np.full_like(p, 0.5) for p in params]
    options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    adam_update(params, grads, *sets, step=[1, 1, 7], **options)
    for i, (p, step) in enumerate(zip(params, (1, 1, 7), strict=True)):
        alone = np.ones_like(p)
        adam_update([alone], [grads[i]], [np.zeros_like(p)], [np.zeros_like(p)], step=step, **options)
        np.testing.assert_array_equal(p, alone)
    sgd_update(params, grads, lr=1.0)
    adam_update([], [], [], [], step=1, **options)


def test_bad_arguments_change_nothing():
    options = {"step": 1, "lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    good = [np.ones(4), np.ones(5)]
    for bad in (
        [np.ones(4), np.ones(6)],
        [np.ones(4), np.ones(5, np.float32)],
        [np.ones(4)],
        [np.ones(4), np.arange(5)],
    ):
        for where, mixed in itertools.product(range(4), (False, True)):
            sets = [[a.copy() for a in good] for _ in range(4)]
            sets[where] = [a.copy() for a in bad]
            if mixed:
                sets = [[np.ones(2, np.float32), *column] for column in sets]
            before = [[a.copy() for a in column] for column in sets]
            with pytest.raises((TypeError, ValueError)):
                adam_update(*sets, **options)
            for column, old in zip(sets, before, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(column, old, strict=True))
