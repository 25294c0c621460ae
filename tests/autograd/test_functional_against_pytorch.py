"""`autograd.functional` against PyTorch: values, structure, what stays in the graph, and errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal(3), RNG.standard_normal((2, 2))


def one(m: Any) -> Any:
    return lambda x: x**3 * x.sum()


def many(m: Any) -> Any:
    return lambda x, y: (x.sin() * y.sum(), (y @ y) * x[0])


def number(m: Any) -> Any:
    return lambda x: (x.exp() * x.flip(0)).sum()


def number_of_two(m: Any) -> Any:
    return lambda x, y: (x * x).sum() * (y @ y).sum() + x.prod()


def constant(m: Any) -> Any:
    return lambda x: m.ones(3, dtype=m.float64)


def linear(m: Any) -> Any:
    return lambda x: x.sum()


def unused(m: Any) -> Any:
    return lambda x, y: (x * x).sum()


def arrays(result: Any) -> Any:
    """Structure and values."""
    if isinstance(result, tuple):
        return tuple(arrays(r) for r in result)
    return result.detach().numpy()


def flat(tree: Any) -> list[Any]:
    return [x for t in tree for x in flat(t)] if isinstance(tree, tuple) else [tree]


def tuples(tree: Any) -> Any:
    """PyTorch's forward mode answers with lists and leaves its results in a graph; its documentation says otherwise."""
    return tuple(map(tuples, tree)) if isinstance(tree, (list, tuple)) else tree.detach()


def same(ours: Any, theirs: Any) -> None:
    def skeleton(t: Any) -> Any:
        return tuple(map(skeleton, t)) if isinstance(t, tuple) else (t.shape, t.requires_grad)

    assert str(skeleton(ours)) == str(skeleton(theirs))
    for a, b in zip(flat(arrays(ours)), flat(arrays(theirs))):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def tensors(m: Any, values: Any, requires_grad: bool = False) -> Any:
    found = tuple(m.tensor(a, dtype=m.float64, requires_grad=requires_grad) for a in values)
    return found if len(found) > 1 else found[0]


PRODUCTS = [
    ("vjp", one, (A,), (A * 2,)),
    ("vjp", many, (A, B), (A * 2, B)),
    ("jvp", one, (A,), (A * 2,)),
    ("jvp", many, (A, B), (A * 2, B)),
    ("vjp", number, (A,), None),
    ("vhp", number, (A,), (A + 1,)),
    ("vhp", number_of_two, (A, B), (A + 1, B)),
    ("hvp", number, (A,), (A + 1,)),
    ("hvp", number_of_two, (A, B), (A + 1, B)),
]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("name", "f", "xs", "v"), PRODUCTS)
def test_products(name: str, f: Any, xs: Any, v: Any, strict: bool, create_graph: bool) -> None:
    def run(m: Any) -> Any:
        x = tensors(m, xs, create_graph)
        vec = None if v is None else tensors(m, v)
        call = getattr(m.autograd.functional, name)
        return x, call(f(m), x, vec, create_graph=create_graph, strict=strict)

    (x, ours), (x_, theirs) = run(flambeau), run(torch)
    same(ours, theirs)
    if create_graph:  # and the result can be differentiated again
        grads = [
            m.autograd.grad(sum((y * y).sum() for y in flat(r[1])), xs_ if isinstance(xs_, tuple) else (xs_,))
            for m, r, xs_ in ((flambeau, ours, x), (torch, theirs, x_))
        ]
        same(*map(tuple, grads))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize(("f", "xs"), [(one, (A,)), (many, (A, B)), (constant, (A,)), (number, (A,))])
def test_jacobian(f: Any, xs: Any, vectorize: bool, create_graph: bool) -> None:
    if f is constant and create_graph:
        pytest.skip(
            "PyTorch's result there is in no graph either way; shapes are compared without create_graph"
        )
    results = [
        m.autograd.functional.jacobian(
            f(m), tensors(m, xs, create_graph), create_graph=create_graph, vectorize=vectorize
        )
        for m in (flambeau, torch)
    ]
    same(*results)


@pytest.mark.parametrize(("f", "xs"), [(one, (A,)), (many, (A, B)), (number, (A,))])
def test_jacobian_by_forward_mode(f: Any, xs: Any) -> None:
    same(
        *(
            tuples(
                m.autograd.functional.jacobian(f(m), tensors(m, xs), vectorize=True, strategy="forward-mode")
            )
            for m in (flambeau, torch)
        )
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"vectorize": True}, {"create_graph": True}, {"strict": True}]
    + [{"vectorize": True, "outer_jacobian_strategy": "forward-mode"}],
)
@pytest.mark.parametrize(("f", "xs"), [(number, (A,)), (number_of_two, (A, B))])
def test_hessian(f: Any, xs: Any, settings: Any) -> None:
    record = settings.get("create_graph", False)
    ours, theirs = (
        m.autograd.functional.hessian(f(m), tensors(m, xs, record), **settings) for m in (flambeau, torch)
    )
    same(ours, tuples(theirs) if "outer_jacobian_strategy" in settings else theirs)


def raised(m: Any, call: Any) -> Any:
    with pytest.raises(Exception) as e:  # noqa: PT011
        call(m)
    return e.type


BAD: list[Any] = [
    lambda m: m.autograd.functional.vjp(one(m), [1.0]),
    lambda m: m.autograd.functional.vjp(lambda x: 3.0, tensors(m, (A,)), tensors(m, (A,))),
    lambda m: m.autograd.functional.vjp(one(m), tensors(m, (A,))),
    lambda m: m.autograd.functional.vjp(one(m), tensors(m, (A,)), tensors(m, (B,))),
    lambda m: m.autograd.functional.vjp(many(m), tensors(m, (A, B)), tensors(m, (A,))),
    lambda m: m.autograd.functional.jvp(one(m), tensors(m, (A,))),
    lambda m: m.autograd.functional.hvp(one(m), tensors(m, (A,)), tensors(m, (A,))),
    lambda m: m.autograd.functional.vhp(lambda x: (x.sum(), x.sum()), tensors(m, (A,)), tensors(m, (A,))),
    lambda m: m.autograd.functional.hessian(one(m), tensors(m, (A,))),
    lambda m: m.autograd.functional.jacobian(one(m), tensors(m, (A,)), strategy="sideways"),
    lambda m: m.autograd.functional.jacobian(one(m), tensors(m, (A,)), strategy="forward-mode"),
    lambda m: m.autograd.functional.jacobian(
        one(m), tensors(m, (A,)), vectorize=True, strict=True, strategy="forward-mode"
    ),
    lambda m: m.autograd.functional.jacobian(one(m), tensors(m, (A,)), vectorize=True, strict=True),
    *(
        lambda m, f=f, name=name: getattr(m.autograd.functional, name)(
            f(m),
            tensors(m, (A,)),
            *([] if name in ("jacobian", "hessian") else [tensors(m, (A,))]),
            strict=True,
        )
        for f, name in itertools.product((constant,), ("vjp", "jvp", "vhp", "hvp", "jacobian", "hessian"))
    ),
    lambda m: m.autograd.functional.hessian(linear(m), tensors(m, (A,)), strict=True),
    lambda m: m.autograd.functional.jacobian(linear(m), tensors(m, (A,)), strict=True, create_graph=True),
    lambda m: m.autograd.functional.vjp(
        unused(m), tensors(m, (A, B)), m.tensor(1.0, dtype=m.float64), strict=True
    ),
]


@pytest.mark.parametrize("k", range(len(BAD)))
def test_errors_are_pytorchs(k: int) -> None:
    assert raised(flambeau, BAD[k]) is raised(torch, BAD[k])
