"""nn.utils against PyTorch."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def model(lib):
    lib.manual_seed(0)
    m = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Linear(4, 2), lib.nn.Linear(2, 2))
    m[1](m[0](lib.ones(5, 3))).square().sum().backward()  # the last layer has no gradients
    return m


def same(scenario):
    for a, b in zip(scenario(flambeau), scenario(torch), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-7)


def grads(m):
    return [p.grad.numpy() for p in m.parameters() if p.grad is not None]


@pytest.mark.parametrize("norm_type", [2, 2.0, 1, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1000.0])
def test_clip_grad_norm(norm_type, max_norm):
    def scenario(lib):
        m = model(lib)
        total = lib.nn.utils.clip_grad_norm_(m.parameters(), max_norm, norm_type)
        return [total.numpy(), *grads(m)]

    same(scenario)


def test_clip_one_tensor_and_nothing():
    def scenario(lib):
        m = model(lib)
        one = lib.nn.utils.clip_grad_norm_(m[0].weight, 0.5)
        none = lib.nn.utils.clip_grad_norm_([], 0.5)
        return [one.numpy(), none.numpy(), *grads(m)]

    same(scenario)


def test_clip_non_finite():
    def scenario(lib):
        m = model(lib)
        m[0].weight.grad[0, 0] = float("inf")
        with pytest.raises(RuntimeError, match="non-finite"):
            lib.nn.utils.clip_grad_norm_(m.parameters(), 1.0, error_if_nonfinite=True)
        untouched = grads(m)[1].copy()
        total = lib.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        return [untouched, total.numpy(), *grads(m)]

    same(scenario)


def test_clip_grad_value():
    def scenario(lib):
        m = model(lib)
        lib.nn.utils.clip_grad_value_(m.parameters(), 0.3)
        return grads(m)

    same(scenario)


def test_parameters_to_vector_and_back():
    def scenario(lib):
        m = model(lib)
        v = lib.nn.utils.parameters_to_vector(m.parameters())
        lib.nn.utils.vector_to_parameters(v.detach() * 2, m.parameters())
        return [v.detach().numpy(), *[p.detach().numpy() for p in m.parameters()]]

    same(scenario)


def test_vector_too_short_changes_nothing():
    m = model(flambeau)
    before = [p.detach().numpy().copy() for p in m.parameters()]
    with pytest.raises(RuntimeError):
        flambeau.nn.utils.vector_to_parameters(flambeau.zeros(5), m.parameters())
    for p, b in zip(m.parameters(), before, strict=False):
        np.testing.assert_array_equal(p.detach().numpy(), b)
