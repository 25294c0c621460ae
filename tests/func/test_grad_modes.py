"""no_grad around transforms: the levels outside do not see what is computed in it."""

import flambeau as torch
from flambeau.func import grad, vjp


def test_a_gradient_under_no_grad_is_a_constant_to_the_levels_outside():
    def h(x):
        with torch.no_grad():
            shift = grad(lambda x: 0.25 * x**4)(x)  # x**3
        return x**3 - shift

    x = torch.tensor(1.5, requires_grad=True)
    y = grad(h)(x)
    assert y.item() == 3 * 1.5**2
    assert torch.autograd.grad(y, x)[0].item() == 6 * 1.5


def test_the_same_two_levels_further_down():
    def f(x):
        with torch.no_grad():
            shift = x**3
        return x**3 - shift

    def g(x):
        first = grad(f)(x)
        with torch.no_grad():
            shift = grad(f)(x)
        return first - shift

    x = torch.tensor(0.5, requires_grad=True)
    y = grad(g)(x)
    assert y.item() == 3.0  # of 3 x**2
    assert torch.autograd.grad(y, x)[0].item() == 6.0


def test_gradients_taken_under_no_grad_require_none():
    x = torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        assert not grad(lambda x: x**2)(x).requires_grad
    out, pull = vjp(lambda x: x**2, x)
    assert out.requires_grad and pull(torch.tensor(1.0))[0].requires_grad
    with torch.no_grad():
        assert not pull(torch.tensor(1.0))[0].requires_grad
