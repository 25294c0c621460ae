"""Gradients with respect to a dict of tensors."""

from collections import OrderedDict

import pytest

import flambeau as torch


def test_grad_of_a_dict_is_a_dict():
    model = torch.nn.Linear(3, 2)
    x = torch.arange(6.0).reshape(2, 3)
    named = dict(model.named_parameters())
    got = torch.autograd.grad(model(x).sum(), named)
    assert list(got) == ["weight", "bias"]
    assert got["weight"].tolist() == [[3.0, 5.0, 7.0]] * 2 and got["bias"].tolist() == [2.0, 2.0]
    named["other"] = torch.ones(2, requires_grad=True)
    got = torch.autograd.grad(model(x).sum(), named, allow_unused=True)
    assert got["other"] is None
    got = torch.autograd.grad(model(x).sum(), named, materialize_grads=True)
    assert got["other"].tolist() == [0.0, 0.0]


def test_batched_cotangents_with_a_dict():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    got = torch.autograd.grad(x * x, {"x": x}, torch.eye(2), is_grads_batched=True)
    assert got["x"].tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_backward_into_a_dict():
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    (a * b).sum().backward(inputs={"a": a})
    assert a.grad.tolist() == [1.0, 1.0] and b.grad is None


def test_other_mappings_and_no_inputs_are_errors():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match="must be a dict, not OrderedDict"):
        torch.autograd.grad(x.sum(), OrderedDict(x=x))
    with pytest.raises(TypeError, match="must be a dict, not OrderedDict"):
        x.sum().backward(inputs=OrderedDict(x=x))
    for empty in ({}, [], ()):
        with pytest.raises(RuntimeError, match="cannot be empty"):
            torch.autograd.grad(x.sum(), empty)
        with pytest.raises(RuntimeError, match="cannot be empty"):
            x.sum().backward(inputs=empty)
