"""Averages of models."""

import numpy as np
import pytest

import flambeau
from flambeau.optim import swa_utils

nn = flambeau.nn


def test_the_mean_of_models():
    model = nn.Linear(2, 1)
    averaged = swa_utils.AveragedModel(model)
    seen = []
    for i in range(4):
        with flambeau.no_grad():
            model.weight.fill_(float(i * i))
        averaged.update_parameters(model)
        seen.append(i * i)
        np.testing.assert_allclose(averaged.module.weight.detach().numpy(), np.mean(seen), rtol=1e-6)
    assert averaged.n_averaged.item() == 4
    x = flambeau.ones(1, 2)
    assert averaged(x).tolist() == averaged.module(x).tolist()


@pytest.mark.parametrize("multi", [False, True])
def test_exponential_moving_average(multi):
    model = nn.Linear(1, 1, bias=False)
    if multi:
        options = {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)}
    else:
        options = {"avg_fn": swa_utils.get_ema_avg_fn(0.9)}
    averaged = swa_utils.AveragedModel(model, **options)
    expected = None
    for value in (1.0, 2.0, 5.0):
        with flambeau.no_grad():
            model.weight.fill_(value)
        averaged.update_parameters(model)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    assert averaged.module.weight.item() == pytest.approx(expected)


def test_update_bn_takes_means_over_batches():
    model = nn.Sequential(nn.BatchNorm1d(3))
    rng = np.random.default_rng(0)
    batches = [flambeau.tensor(rng.normal(2, 3, (8, 3)), dtype=flambeau.float32) for _ in range(4)]
    model.eval()
    swa_utils.update_bn([(b, None) for b in batches], model)
    means = np.mean([b.numpy().mean(0) for b in batches], 0)
    np.testing.assert_allclose(model[0].running_mean.numpy(), means, rtol=1e-5)
    assert model[0].momentum == 0.1 and not model.training


def test_like_pytorch():
    torch = pytest.importorskip("torch")

    def run(lib):
        lib.manual_seed(0)
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4), lib.nn.Linear(4, 1))
        averaged = lib.optim.swa_utils.AveragedModel(model, use_buffers=True)
        optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
        x = lib.randn(8, 3)
        for _ in range(4):
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            optimizer.step()
            averaged.update_parameters(model)
        return [v.double().reshape(-1).tolist() for v in averaged.state_dict().values()]

    for a, b in zip(run(flambeau), run(torch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match="decay"):
        swa_utils.get_ema_avg_fn(2)
    with pytest.raises(AssertionError, match="Only one"):
        swa_utils.AveragedModel(
            nn.Linear(1, 1), avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn()
        )
