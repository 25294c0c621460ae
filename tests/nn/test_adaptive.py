"""AdaptiveLogSoftmaxWithLoss against PyTorch."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def model(lib):
    lib.manual_seed(0)
    return lib.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10, 15], div_value=2.0, head_bias=True)


@pytest.mark.parametrize("targets", [[0, 3, 7, 19, 12, 4], [0, 1], [19, 18], [6]], ids=str)
def test_values_and_gradients(targets):
    def scenario(lib):
        m = model(lib)
        x = lib.randn(len(targets), 16).requires_grad_()
        output, loss = m(x, lib.tensor(targets))
        loss.backward()
        single = m(x[0].detach(), lib.tensor(targets[0]))
        tensors = [output, loss, x.grad, m.log_prob(x), m.predict(x), single.output, single.loss]
        grads = [p.grad if p.grad is not None else lib.zeros(1) for p in m.parameters()]
        return [t.detach().numpy() for t in (*tensors, *grads)]

    for a, b in zip(scenario(flambeau), scenario(torch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_errors():
    def scenario(lib):
        m = model(lib)
        out = []
        for call in (
            lambda: lib.nn.AdaptiveLogSoftmaxWithLoss(16, 20, []),
            lambda: lib.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 5]),
            lambda: lib.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [0, 5]),
            lambda: lib.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 20]),
            lambda: m(lib.ones(2, 16), lib.tensor([0, 20])),
            lambda: m(lib.ones(2, 16), lib.tensor([0, -1])),
            lambda: m(lib.ones(2, 16), lib.tensor([0])),
            lambda: m(lib.ones(2, 16), lib.tensor(0)),
            lambda: m(lib.ones(2, 16), lib.tensor([[0]])),
        ):
            with pytest.raises(Exception) as e:
                call()
            out.append(e.type.__name__)
        return out

    assert scenario(flambeau) == scenario(torch)
