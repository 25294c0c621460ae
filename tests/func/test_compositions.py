"""Where PyTorch's transforms have had holes: attention, in-place writes, transforms in transforms, autograd inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from flambeau.nn.functional import scaled_dot_product_attention

RNG = np.random.default_rng(1)


def numbers(*shape: int) -> Any:
    return torch.tensor(RNG.standard_normal(shape))


def close(a: Any, b: Any, tol: float = 1e-9) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def slope(f: Any, x: Any, t: Any, eps: float = 1e-6) -> Any:
    return (f(x + eps * t) - f(x - eps * t)) / (2 * eps)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_forward_mode_and_second_order(causal: bool) -> None:
    """pytorch#98164, #117629, #116350, #182842."""
    q, k, v, t = (numbers(2, 3, 4) for _ in range(4))

    def f(q: Any) -> Any:
        return scaled_dot_product_attention(q, k, v, is_causal=causal)

    close(jvp(f, (q,), (t,))[1], slope(f, q, t), 1e-6)

    def g(q: Any) -> Any:
        return grad(lambda q: f(q).square().sum())(q)

    close(jvp(g, (q,), (t,))[1], slope(g, q, t), 1e-5)
    close(vjp(g, q)[1](t)[0], jvp(g, (q,), (t,))[1])  # a Hessian is symmetric
    ts = torch.stack([t, -t, q])
    columns = vmap(lambda t: jvp(f, (q,), (t,))[1])(ts)
    close(columns, torch.stack([jvp(f, (q,), (t,))[1] for t in ts]))
    x = q.clone().requires_grad_()
    (first,) = torch.autograd.grad(f(x).square().sum(), x, create_graph=True)
    close(torch.autograd.grad((first * t).sum(), x)[0], vjp(g, q)[1](t)[0])


def test_in_place_under_vmap() -> None:
    """pytorch#103329, #97248: batched into unbatched made inside, views, indices, and the caller's own tensor."""
    xs = numbers(4, 3)

    def fill(x: Any) -> Any:
        y = torch.zeros(3, dtype=torch.float64)
        y[0] = x[1]
        y[1:].add_(x[:2])
        y.view(3, 1).mul_(2)
        return y

    close(vmap(fill)(xs), torch.stack([fill(x) for x in xs]))
    close(vmap(jacrev(fill))(xs), torch.stack([jacrev(fill)(x) for x in xs]))
    close(jacfwd(vmap(fill))(xs), jacrev(vmap(fill))(xs))
    ours = xs.clone()
    vmap(lambda x: x.add_(1))(ours)
    close(ours, xs + 1)


F3 = [
    lambda f, x: vmap(grad(lambda y: jvp(f, (y,), (torch.ones_like(y),))[1].sum()))(x),
    lambda f, x: jvp(vmap(grad(lambda y: f(y).sum())), (x,), (torch.ones_like(x),))[1],
    lambda f, x: vmap(lambda y: jvp(grad(lambda z: f(z).sum()), (y,), (torch.ones_like(y),))[1])(x),
    lambda f, x: grad(lambda y: vmap(lambda z: jvp(f, (z,), (torch.ones_like(z),))[1])(y).sum())(x),
    lambda f, x: vmap(
        lambda y: vjp(lambda z: vjp(f, z)[1](torch.ones_like(z))[0], y)[1](torch.ones_like(y))[0]
    )(x),
]


@pytest.mark.parametrize("k", range(len(F3)))
def test_three_levels_agree(k: int) -> None:
    def f(x: Any) -> Any:
        return torch.sin(x) * x.flip(0)

    x = numbers(3, 4)
    want = torch.stack([hessian(lambda y: f(y).sum())(row).sum(-1) for row in x])
    close(F3[k](f, x), want)


def test_third_derivatives_by_every_mode() -> None:
    x = numbers(2)

    def f(x: Any) -> Any:
        return (x**3).prod()

    want = jacrev(jacrev(jacrev(f)))(x)
    for a in (jacfwd, jacrev):
        for b in (jacfwd, jacrev):
            for c in (jacfwd, jacrev):
                close(a(b(c(f)))(x), want)


def test_closures_over_outer_levels() -> None:
    x = numbers(3)

    def outer(x: Any) -> Any:
        return grad(lambda y: (y * x).sum() * x.sum())(x * 2).sum()

    close(grad(outer)(x), torch.full((3,), 1.0, dtype=torch.float64) * 2 * x.sum())
    table = vmap(lambda a: vmap(lambda b: (a * b).sum())(torch.stack([x, 2 * x])))(torch.stack([x, -x]))
    s = (x * x).sum()
    close(table, torch.stack([torch.stack([s, 2 * s]), torch.stack([-s, -2 * s])]))


def test_no_grad_inside() -> None:
    """no_grad stops the level that it is in; outer levels go on."""
    x = numbers(3)

    def f(x: Any) -> Any:
        with torch.no_grad():
            c = x * 2
        return (c * x).sum()

    close(grad(f)(x), 2 * x)
    with torch.no_grad():
        close(grad(lambda x: (x * x).sum())(x), 2 * x)
    close(jvp(lambda y: grad(f)(y), (x,), (torch.ones_like(x),))[1], torch.full_like(x, 2.0))


def test_autograd_inside() -> None:
    """backward() is refused; autograd.grad of what was recorded at this level works, to second order."""
    x = numbers(3)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    for transform in (grad, vmap, lambda f: lambda x: jvp(f, (x,), (x,))):
        with pytest.raises(RuntimeError, match="backward\\(\\) called inside"):
            transform(lambda x: ((x * w).sum().backward(), x.sum())[1])(x)
    assert w.grad is None

    def inner(x: Any) -> Any:
        (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
        return g.sum()

    close(grad(inner)(x), 6 * x)
    close(vmap(grad(inner))(torch.stack([x, 2 * x])), torch.stack([6 * x, 12 * x]))
    close(grad(lambda x: torch.autograd.grad((x**3).sum(), x)[0].sum())(x), torch.zeros_like(x))


def test_gradients_flow_through_transforms_to_the_outside() -> None:
    x = numbers(3).requires_grad_()
    vmap(grad(lambda a: a**3))(x).sum().backward()
    close(x.grad, 6 * x)
    w = numbers(3).requires_grad_()
    jvp(lambda a: a * w, (x.detach(),), (torch.ones(3, dtype=torch.float64),))[1].sum().backward()
    close(w.grad, torch.ones(3, dtype=torch.float64))
