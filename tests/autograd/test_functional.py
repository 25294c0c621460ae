"""`autograd.functional` against PyTorch's, errors included."""

from __future__ import annotations

from typing import Any

import pytest

from parity import attempt, scenario


def rows(x: Any) -> Any:
    return x.exp().sum(dim=1)


def two(x: Any, y: Any) -> Any:
    return (2 * x + 3 * y).exp(), (x * y).sum()


def number(x: Any) -> Any:
    return x.pow(3).sum()


def of_two(x: Any, y: Any) -> Any:
    return (x * y**2).sum()


def inputs(torch: Any) -> Any:
    x = torch.arange(4.0).reshape(2, 2) / 4
    return x, x * 2 + 0.1


@pytest.mark.parametrize(
    "options",
    [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}, {"create_graph": True}],
    ids=str,
)
def test_jacobian(options: Any) -> None:
    @scenario
    def run(torch: Any) -> Any:
        x, y = inputs(torch)
        jacobian = torch.autograd.functional.jacobian
        yield jacobian(rows, x, **options)
        yield jacobian(two, (x, y), **options)
        yield jacobian(lambda a, b: a * 2, (x, y), **options)

    run()


@pytest.mark.parametrize(
    "options",
    [{}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}],
    ids=str,
)
def test_hessian(options: Any) -> None:
    @scenario
    def run(torch: Any) -> Any:
        x, y = inputs(torch)
        yield torch.autograd.functional.hessian(number, x, **options).detach()  # PyTorch's may require grad
        for row in torch.autograd.functional.hessian(of_two, (x, y), **options):
            yield [h.detach() for h in row]

    run()


@scenario
def test_products(torch: Any) -> Any:
    x, y = inputs(torch)
    f = torch.autograd.functional
    yield f.vjp(rows, x, torch.ones(2))
    yield f.vjp(two, (x, y), (x, torch.tensor(1.0)))
    yield f.vjp(number, x)
    yield f.jvp(rows, x, torch.ones(2, 2))
    yield f.jvp(two, (x, y), (x, y))
    yield f.jvp(number, torch.tensor(2.0))
    for product in (f.vhp, f.hvp):
        yield product(number, x, torch.ones(2, 2))
        yield product(of_two, (x, y), (x, y))


@scenario
def test_the_callers_graph(torch: Any) -> Any:
    x, _ = inputs(torch)
    x.requires_grad_()
    w = torch.tensor(2.0, requires_grad=True)
    j = torch.autograd.functional.jacobian(lambda a: w * rows(a), x, create_graph=True)
    j.sum().backward()
    yield j, x.grad, w.grad
    value, product = torch.autograd.functional.vhp(number, x, torch.ones(2, 2), create_graph=True)
    yield value, product, torch.autograd.grad(product.sum(), x)
    yield torch.autograd.functional.jacobian(rows, x)


@scenario
def test_errors(torch: Any) -> Any:
    x, y = inputs(torch)
    f = torch.autograd.functional
    for call in (
        lambda: f.hessian(rows, x),
        lambda: f.vjp(rows, x),
        lambda: f.vjp(rows, x, torch.ones(3)),
        lambda: f.vjp(two, (x, y), (x,)),
        lambda: f.jvp(rows, x),
        lambda: f.jacobian(lambda a: torch.ones(2), x),
        lambda: f.jacobian(lambda a: torch.ones(2), x, strict=True),
        lambda: f.jacobian(lambda a, b: a * 2, (x, y), strict=True),
        lambda: f.jacobian(lambda a: 3, x),
        lambda: f.jacobian(rows, [1.0]),
        lambda: f.jacobian(rows, x, strict=True, vectorize=True),
        lambda: f.jacobian(rows, x, strategy="forward-mode"),
        lambda: f.jacobian(rows, x, strategy="sideways"),
        lambda: f.hessian(lambda a: a.sum(), x, strict=True),
        lambda: f.hessian(lambda a: a.sum(), x),
        lambda: f.hvp(lambda a: a.sum(), x, x, strict=True),
        lambda: f.jvp(lambda a: torch.ones(()), x, x, strict=True),
        lambda: f.vhp(rows, x, x),
    ):
        yield attempt(call)
