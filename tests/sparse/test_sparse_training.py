"""Sparse gradients of embeddings: what they are, how they add up, and what optimizers make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau

ROWS = [[0, 1], [3, 3]]


def table(library: Any = flambeau) -> Any:
    return library.from_numpy(np.arange(10.0).reshape(5, 2) / 7).requires_grad_()


def look_up(w: Any, library: Any = flambeau, **options: Any) -> Any:
    return library.nn.functional.embedding(library.tensor(ROWS), w, sparse=True, **options)


def loss(w: Any, library: Any = flambeau, **options: Any) -> Any:
    factors = library.arange(8.0, dtype=library.float64).reshape(2, 2, 2)
    return (look_up(w, library, **options) * factors).sum()


def dense_gradient(w: Any) -> Any:
    v = w.detach().clone().requires_grad_()
    factors = flambeau.arange(8.0, dtype=flambeau.float64).reshape(2, 2, 2)
    (v[flambeau.tensor(ROWS)] * factors).sum().backward()
    return v.grad


def test_the_gradient_holds_the_rows_looked_up() -> None:
    w = table()
    y = look_up(w)
    assert type(y) is flambeau.Tensor and y.grad_fn.name() == "EmbeddingBackward0"
    loss(w).backward()
    assert w.grad.layout is flambeau.sparse_coo and w.grad._indices().tolist() == [[0, 1, 3, 3]]
    assert w.grad.to_dense().equal(dense_gradient(w))
    (g,) = flambeau.autograd.grad(loss(w), w)
    assert g.is_sparse and g.to_dense().equal(dense_gradient(w))
    padded = table()
    loss(padded, padding_idx=1).backward()
    assert padded.grad._indices().tolist() == [[0, 3, 3]]


def test_gradients_add_up() -> None:
    w = table()
    once = dense_gradient(w)
    loss(w).backward()
    first = w.grad
    loss(w).backward()
    assert w.grad is first and first.is_sparse and first.to_dense().equal(2 * once)
    (w * 3).sum().backward()
    assert w.grad.layout is flambeau.strided and w.grad.equal(2 * once + 3)
    loss(w).backward()
    assert w.grad.layout is flambeau.strided and w.grad.equal(3 * once + 3)
    w.grad = None
    (loss(w) + (w * 3).sum() + loss(w)).backward()
    assert w.grad.layout is flambeau.strided and w.grad.equal(2 * once + 3)
    w.grad = None
    (loss(w) + loss(w)).backward()
    assert w.grad.is_sparse and w.grad.to_dense().equal(2 * once)


def test_what_is_computed_from_a_leaf_has_a_dense_gradient() -> None:
    w = table()
    loss(w * 2).backward()
    assert w.grad.layout is flambeau.strided and w.grad.equal(2 * dense_gradient(w))


def test_second_derivatives() -> None:
    w = table()
    (g,) = flambeau.autograd.grad((look_up(w) ** 3).sum(), w, create_graph=True)
    assert g.is_sparse
    (g.to_dense() ** 2).sum().backward()
    v = w.detach().clone().requires_grad_()
    (h,) = flambeau.autograd.grad((v[flambeau.tensor(ROWS)] ** 3).sum(), v, create_graph=True)
    (h**2).sum().backward()
    flambeau.testing.assert_close(w.grad.to_dense(), v.grad)


def test_hooks_clipping_and_zeroing() -> None:
    w = table()
    layouts: list[Any] = []
    w.register_hook(lambda g: layouts.append(g.layout) or g * 2)
    loss(w).backward()
    assert layouts == [flambeau.sparse_coo] and w.grad.to_dense().equal(2 * dense_gradient(w))
    norm = flambeau.nn.utils.clip_grad_norm_([w], 1.0)
    flambeau.testing.assert_close(norm, (2 * dense_gradient(w)).norm())
    flambeau.testing.assert_close(w.grad.to_dense().norm().item(), 1.0, rtol=1e-5, atol=0)
    with pytest.raises(NotImplementedError, match="to_dense"):
        flambeau.nn.utils.clip_grad_value_([w], 0.1)
    flambeau.optim.SGD([w]).zero_grad(set_to_none=False)
    assert w.grad.is_sparse and w.grad._nnz() == 0


def test_transforms_have_dense_gradients() -> None:
    w = table().detach()
    assert flambeau.func.grad(loss)(w).equal(dense_gradient(w))


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags(mode: str) -> None:
    w, v = table(), table()
    rows = flambeau.tensor(ROWS)
    for t, sparse in ((w, True), (v, False)):
        bag = flambeau.nn.functional.embedding_bag(rows, t, mode=mode, sparse=sparse, padding_idx=1)
        (bag**2).sum().backward()
    assert w.grad.is_sparse and v.grad.layout is flambeau.strided
    assert sorted(w.grad._indices()[0].tolist()) == [0, 3, 3]
    flambeau.testing.assert_close(w.grad.to_dense(), v.grad)
    layer = flambeau.nn.EmbeddingBag(5, 2, sparse=True, mode=mode)
    layer(rows).sum().backward()
    assert layer.weight.grad.is_sparse


REFUSING = {
    **{
        n: f"{n} does not support sparse gradients"
        for n in ("RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD")
    },
    **{n: f"{n} does not support sparse gradients" for n in ("Rprop", "Adafactor", "Muon")},
    **{
        n: "Adam does not support sparse gradients, please consider SparseAdam instead"
        for n in ("Adam", "AdamW")
    },
}


@pytest.mark.parametrize("name", REFUSING)
def test_optimizers_that_refuse(name: str) -> None:
    w = table()
    before = w.detach().clone()
    loss(w).backward()
    with pytest.raises(RuntimeError) as found:
        getattr(flambeau.optim, name)([w], lr=0.1).step()
    assert str(found.value) == REFUSING[name] and w.equal(before)
    w.grad = None
    w.sum().backward()
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
        flambeau.optim.SparseAdam([w]).step()


ACCEPTING: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"maximize": True}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"maximize": True}),
    ("SparseAdam", {}),
    ("SparseAdam", {"maximize": True}),
]


@pytest.mark.parametrize(("name", "options"), ACCEPTING, ids=str)
def test_optimizers_that_accept(name: str, options: dict[str, Any]) -> None:
    """As PyTorch, and SGD as with dense gradients."""
    torch = pytest.importorskip("torch")
    found = []
    for library in (flambeau, torch):
        w = table(library)
        other = library.ones(
            3, dtype=library.float64
        ).requires_grad_()  # with a dense gradient, but for SparseAdam
        optimizer = getattr(library.optim, name)(
            [w] if name == "SparseAdam" else [w, other], lr=0.1, **options
        )
        for _ in range(3):
            optimizer.zero_grad()
            (loss(w, library) + (0 if name == "SparseAdam" else (other**2).sum())).backward()
            optimizer.step()
        found.append((w.detach().numpy(), other.detach().numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_sgd_steps_as_with_dense_gradients(options: dict[str, Any]) -> None:
    w, v = table(), table()
    for t in (w, v):
        optimizer = flambeau.optim.SGD([t], lr=0.1, **options)
        for _ in range(3):
            optimizer.zero_grad()
            loss(t if t is w else t * 1).backward()
            optimizer.step()
    flambeau.testing.assert_close(w, v)


def test_sgd_refuses_weight_decay() -> None:
    w = table()
    loss(w).backward()
    with pytest.raises(RuntimeError, match="weight_decay"):
        flambeau.optim.SGD([w], lr=0.1, weight_decay=0.1).step()


def test_a_module_learns() -> None:
    flambeau.manual_seed(0)
    model = flambeau.nn.Sequential(flambeau.nn.Embedding(20, 4, sparse=True), flambeau.nn.Linear(4, 1))
    sparse = flambeau.optim.SparseAdam(model[0].parameters(), lr=0.05)
    dense = flambeau.optim.Adam(model[1].parameters(), lr=0.05)
    x, y = flambeau.arange(20), (flambeau.arange(20) % 2).float().unsqueeze(1)
    losses = []
    for _ in range(30):
        sparse.zero_grad()
        dense.zero_grad()
        error = (model(x) - y).square().mean()
        error.backward()
        sparse.step()
        dense.step()
        losses.append(error.item())
    assert losses[-1] < 0.3 * losses[0]
