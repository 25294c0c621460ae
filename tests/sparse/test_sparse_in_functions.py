"""Sparse tensors in autograd.Function and autograd.grad: saved, as inputs and as outputs."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch


def matrix(requires_grad: bool = False) -> Any:
    values = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    return torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], values, (2, 3), requires_grad=requires_grad)


class Product(torch.autograd.Function):
    """Of a sparse and a dense matrix, as linear_operator and pyGAT write it."""

    @staticmethod
    def forward(ctx: Any, s: Any, d: Any) -> Any:
        ctx.save_for_backward(s, d)
        return torch.mm(s, d)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        s, d = ctx.saved_tensors
        assert s.is_sparse
        return (g @ d.t()).sparse_mask(s) if ctx.needs_input_grad[0] else None, s.t() @ g


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Any) -> Any:
        return s * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        assert g.is_sparse
        return g * 2


@pytest.mark.parametrize("leaf", [False, True])
def test_saved_and_input(leaf: bool) -> None:
    s, t = matrix(leaf), matrix(leaf)
    d = torch.arange(6.0, dtype=torch.float64).reshape(3, 2).requires_grad_()
    e = d.detach().clone().requires_grad_()
    (Product.apply(s, d) ** 2).sum().backward()
    ((t @ e) ** 2).sum().backward()
    torch.testing.assert_close(d.grad, e.grad)
    if leaf:
        torch.testing.assert_close(s.grad._values(), t.grad._values())


def test_output() -> None:
    v = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    s = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], v, (2, 3))
    y = Doubled.apply(s)
    assert y.is_sparse and y.requires_grad and not y.is_leaf
    (y.to_dense() ** 2).sum().backward()
    assert v.grad.tolist() == [8.0, 16.0, 24.0]


def test_saved_and_written_to() -> None:
    s = matrix()
    d = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    y = Product.apply(s, d).sum()
    s.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_grad_of_a_sparse_input() -> None:
    s = matrix(requires_grad=True)
    (g,) = torch.autograd.grad((s.to_dense() ** 2).sum(), s)
    assert g.is_sparse and g._values().tolist() == [2.0, 4.0, 6.0]
