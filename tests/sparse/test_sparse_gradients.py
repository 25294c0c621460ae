"""Derivatives through sparse tensors: of the values of their entries, and of the dense operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch

I = [[0, 2, 1, 2, 0], [1, 0, 2, 0, 3]]  # one place twice  # noqa: E741


def values(dtype: Any = torch.float64) -> Any:
    return torch.tensor([0.5, -1.5, 2.0, 0.75, 1.25], dtype=dtype, requires_grad=True)


def other(*shape: int) -> Any:
    a = np.random.default_rng(sum(shape)).uniform(0.5, 2, shape)
    return torch.from_numpy(a).requires_grad_()


def sparse(v: Any, layout: Any = torch.sparse_coo) -> Any:
    return torch.sparse_coo_tensor(I, v, (3, 4)).to_sparse(layout=layout)


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "mm": lambda s, d: s @ d.t(),
    "left": lambda s, d: d.t() @ s,
    "transposed": lambda s, d: s.t() @ d,
    "mv": lambda s, d: s @ d[0],
    "addmm": lambda s, d: torch.addmm(d @ d.t(), s, d.t(), beta=0.5, alpha=2),
    "square": lambda s, d: torch.sparse.mm(s, s.t()).to_dense(),
    "dense": lambda s, d: s.to_dense() * d,
    "coalesced": lambda s, d: s.coalesce().values() if s.is_sparse else s.values(),
    "plus": lambda s, d: d + s,
    "minus": lambda s, d: d - 2 * s,
    "times": lambda s, d: (s * d).to_dense(),
    "times itself": lambda s, d: (s * s).to_dense(),
    "power": lambda s, d: (s**2).sum(),
    "sum": lambda s, d: s.sum(),
    "tanh": lambda s, d: s.tanh().to_dense(),
    "mask": lambda s, d: d.sparse_mask(s).to_dense() * s.to_dense(),
}
COO_ONLY: dict[str, Callable[[Any, Any], Any]] = {
    "sum over rows": lambda s, d: torch.sparse.sum(s, 0).to_dense(),
    "softmax": lambda s, d: torch.sparse.softmax(s, 1).to_dense(),
    "log softmax": lambda s, d: torch.sparse.log_softmax(s, 0).coalesce().values(),
    "cat": lambda s, d: torch.cat([s, s]).to_dense(),
    "select": lambda s, d: s[2].to_dense(),
    "index_select": lambda s, d: s.index_select(1, torch.tensor([0, 0, 3])).to_dense(),
    "norm": lambda s, d: s.norm(),
    "smm": lambda s, d: torch.smm(s, d.t()).to_dense(),
}


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str, layout: Any) -> None:
    def fn(v: Any, d: Any) -> Any:
        return CASES[name](sparse(v, layout), d)

    assert torch.autograd.gradcheck(fn, (values(), other(3, 4)), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(fn, (values(), other(3, 4)))


@pytest.mark.parametrize("name", COO_ONLY)
def test_gradients_of_coo(name: str) -> None:
    assert torch.autograd.gradcheck(lambda v, d: COO_ONLY[name](sparse(v), d), (values(), other(3, 4)))


def test_sampled_product() -> None:
    def fn(v: Any, a: Any, b: Any) -> Any:
        return torch.sparse.sampled_addmm(sparse(v, torch.sparse_csr), a, b, beta=0.5, alpha=2).values()

    assert torch.autograd.gradcheck(fn, (values(), other(3, 2), other(2, 4)))


@pytest.mark.parametrize("reduce", ["mean", "amax", "amin"])
def test_reduced_products(reduce: str) -> None:
    def fn(v: Any, d: Any) -> Any:
        return torch.sparse.mm(sparse(v, torch.sparse_csr), d, reduce)

    assert torch.autograd.gradcheck(fn, (values(), other(4, 2)))


def test_complex_gradients() -> None:
    v = torch.tensor([1 + 2j, -1j, 0.5 - 1j, 2 + 0j, 1 + 1j], dtype=torch.complex128, requires_grad=True)
    d = torch.tensor([[1 - 1j], [2j], [0.5 + 0j], [1 + 3j]], dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, d: sparse(v) @ d, (v, d))


def test_transforms() -> None:
    v, d = values().detach(), other(4, 2).detach()
    gradient = torch.func.grad(lambda v: (sparse(v) @ d).square().sum())(v)
    w = v.clone().requires_grad_()
    (sparse(w) @ d).square().sum().backward()
    torch.testing.assert_close(gradient, w.grad)
    batch = torch.stack([v, 2 * v, -v])
    product = torch.vmap(lambda v: sparse(v) @ d)(batch)
    torch.testing.assert_close(product, torch.stack([sparse(x) @ d for x in batch]))
    many = torch.vmap(lambda d: sparse(v) @ d)(torch.stack([d, 3 * d]))
    torch.testing.assert_close(many, torch.stack([sparse(v) @ d, sparse(v) @ (3 * d)]))
    _, tangent = torch.func.jvp(lambda v: sparse(v) @ d, (v,), (torch.ones_like(v),))
    torch.testing.assert_close(tangent, sparse(torch.ones_like(v)) @ d)


def test_a_leaf_collects_a_sparse_gradient() -> None:
    s = torch.sparse_coo_tensor(I, values().detach(), (3, 4), requires_grad=True)
    assert s.is_leaf and s.requires_grad and s.grad is None
    d = other(4, 2).detach()
    (s @ d).sum().backward()
    assert s.grad.is_sparse and s.grad._indices().tolist() == I
    expected = torch.ones(3, 2, dtype=torch.float64) @ d.t()
    torch.testing.assert_close(s.grad._values(), expected[I[0], I[1]])
    (s @ d).sum().backward()
    torch.testing.assert_close(s.grad._values(), 2 * expected[I[0], I[1]])
    with pytest.raises(RuntimeError, match="leaf Variable"):
        s.mul_(2)
    seen = []
    s.register_hook(lambda g: seen.append(g.layout) or g * 0)
    s.grad = None
    (s @ d).sum().backward()
    assert seen == [torch.sparse_coo] and s.grad.to_dense().abs().sum() == 0


def test_backward_from_a_sparse_tensor() -> None:
    v = values()
    s = sparse(v) * 3
    s.backward(torch.ones(3, 4, dtype=torch.float64))
    assert v.grad.tolist() == [3.0] * 5


def test_writing_into_a_dense_tensor() -> None:
    v, base = values(), other(3, 4)
    out = base * 2
    out.add_(sparse(v), alpha=3)
    out.sum().backward()
    assert v.grad.tolist() == [3.0] * 5 and base.grad.tolist() == [[2.0] * 4] * 3


def test_gradcheck_of_sparse_inputs() -> None:
    s = sparse(values().detach()).coalesce().requires_grad_()
    check = torch.sparse.as_sparse_gradcheck(torch.autograd.gradcheck)
    assert check(lambda s, d: torch.sparse.mm(s, d), (s, other(4, 2)))
