"""Detached tensors share memory with what they were detached from, inside transforms as outside."""

import pytest

import flambeau as torch
from flambeau.func import functionalize, grad, jvp, vjp, vmap


def through_alias(x):
    y = x * 2
    y.detach().mul_(10)
    return y


def through_data(x):
    y = x * 2
    y.data.add_(3)
    y[0].data.mul_(2)
    return y


def through_base(x):
    y = x * 2
    before = y[1:].detach()
    y.mul_(3)
    return y + before.sum()


@pytest.mark.parametrize("f", [through_alias, through_data, through_base])
def test_values_and_derivatives_are_those_of_eager_mode(f):
    x = torch.tensor([1.0, 2.0, 4.0])
    leaf = x.clone().requires_grad_()
    want = f(leaf)
    want.sum().backward()
    assert vmap(f)(torch.stack([x, 2 * x]))[0].equal(want)
    assert functionalize(f)(x).equal(want)
    value, tangent = jvp(f, (x,), (torch.ones(3),))
    assert value.equal(want) and tangent.equal(leaf.grad)
    value, pullback = vjp(f, x)
    assert value.equal(want) and pullback(torch.ones(3))[0].equal(leaf.grad)
    assert vmap(grad(lambda t: f(t).sum()))(x[None])[0].equal(leaf.grad)
    assert grad(lambda t: vmap(f)(t[None]).sum())(x).equal(leaf.grad)
