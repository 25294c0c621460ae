"""Sparse gradients that users hand in: from the backward of a Function, and as the gradient of an output."""

from __future__ import annotations

from typing import Any

from parity import attempt, scenario


def fixed(t: Any) -> Any:
    class Fixed(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, g: Any) -> Any:
            ctx.g = g
            return x.clone()

        @staticmethod
        def backward(ctx: Any, _: Any) -> Any:
            return ctx.g, None

    return Fixed.apply


def rows(t: Any, *at: int) -> Any:
    return t.sparse_coo_tensor(t.tensor([at]), t.ones(len(at), 3), (4, 3), check_invariants=True)


@scenario
def test_from_a_function(t: Any) -> Any:
    apply, dense = fixed(t), t.full((4, 3), 2.0)
    for gs in ([rows(t, 0, 2)], [rows(t, 0, 2), rows(t, 2)], [rows(t, 0), dense], [dense, rows(t, 0)]):
        x = t.ones(4, 3, requires_grad=True)
        sum(apply(x, g).sum() for g in gs).backward()
        yield str(x.grad.layout), x.grad.to_dense()
        y = t.ones(4, 3, requires_grad=True)
        for g in gs:
            apply(y, g).sum().backward()
        yield str(y.grad.layout), y.grad.to_dense()
        z = t.ones(4, 3, requires_grad=True)
        sum(apply(z * 2, g).sum() for g in gs).backward()
        yield z.grad.to_dense()
    x = t.ones(5, 3, requires_grad=True)
    yield attempt(lambda: apply(x, rows(t, 0)).sum().backward())


@scenario
def test_of_an_output(t: Any) -> Any:
    g = rows(t, 0, 2)
    x = t.ones(4, 3, requires_grad=True)
    x.backward(g)
    yield str(x.grad.layout), x.grad.to_dense()
    (x * 3).backward(g)
    yield x.grad.to_dense()
    yield t.autograd.grad(x.to_sparse(), x, g)[0].to_dense()
    yield attempt(lambda: (x * 2).backward(rows(t, 0).to_dense()[:2].to_sparse()))
    steps = t.optim.SGD([x], lr=0.5)
    x.grad = None
    fixed(t)(x, g).sum().backward()
    steps.step()
    yield x
