"""Implicit functions and differential equations under `vmap`, alone and with derivatives inside and outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from flambeau.scientific import fixed_point, odeint, root

F64 = torch.float64
A = torch.tensor([0.5, 2.0, 30.0], dtype=F64)


def square_root(a: Any) -> Any:
    return root(lambda x, a: x**2 - a, torch.ones((), dtype=F64), a, tol=1e-12)


@pytest.mark.parametrize(
    ("transformed", "exact"),
    [
        (vmap(square_root), lambda a: a**0.5),
        (vmap(grad(square_root)), lambda a: 0.5 * a**-0.5),
        (vmap(hessian(square_root)), lambda a: -0.25 * a**-1.5),
        (vmap(jacfwd(square_root)), lambda a: 0.5 * a**-0.5),
        (lambda a: jacrev(vmap(square_root))(a).diagonal(), lambda a: 0.5 * a**-0.5),
        (lambda a: jvp(vmap(square_root), (a,), (torch.ones_like(a),))[1], lambda a: 0.5 * a**-0.5),
    ],
)
def test_root(transformed: Any, exact: Any) -> None:
    np.testing.assert_allclose(transformed(A).numpy(), exact(A.numpy()), rtol=1e-9)


def test_root_of_systems() -> None:
    b = torch.tensor([[1.0, 2.0], [0.3, -1.0]], dtype=F64)
    m = torch.tensor([[3.0, 1.0], [0.5, 2.0]], dtype=F64)

    def solve(b: Any) -> Any:
        return root(lambda x, b: m @ x + 0.1 * x.sin() - b, torch.zeros(2, dtype=F64), b, tol=1e-12)

    x = vmap(solve)(b)
    np.testing.assert_allclose((x @ m.T + 0.1 * x.sin()).numpy(), b.numpy(), atol=1e-10)
    got = vmap(jacrev(solve))(b)
    want = torch.stack([torch.linalg.inv(m + 0.1 * torch.diag(r.cos())) for r in x])
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-8)


def test_fixed_points() -> None:
    def f(a: Any) -> Any:
        return fixed_point(lambda x, a: a * x.cos(), torch.ones((), dtype=F64), a, tol=1e-13)

    a = torch.tensor([0.2, 0.9], dtype=F64)
    x = vmap(f)(a)
    np.testing.assert_allclose(x.numpy(), (a * x.cos()).numpy(), atol=1e-12)
    np.testing.assert_allclose(vmap(grad(f))(a).numpy(), (x.cos() / (1 + a * x.sin())).numpy(), rtol=1e-9)


def test_odeint() -> None:
    times = torch.tensor([0.0, 0.5, 1.0], dtype=F64)

    def end(rate: Any) -> Any:
        return odeint(lambda t, y: -rate * y, torch.ones((), dtype=F64), times, rtol=1e-9)[-1]

    np.testing.assert_allclose(vmap(end)(A).numpy(), np.exp(-A.numpy()), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(vmap(grad(end))(A).numpy(), -np.exp(-A.numpy()), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(vmap(hessian(end))(A).numpy(), np.exp(-A.numpy()), rtol=1e-4, atol=1e-7)


def test_odeint_by_its_adjoint() -> None:
    """exp(-rate) and its derivatives: batched, forward, reverse, and twice."""
    times = torch.tensor([0.0, 0.5, 1.0], dtype=F64)

    def end(rate: Any) -> Any:
        start = torch.ones((), dtype=F64)
        return odeint(
            lambda t, y, r, k: -r * y * k, start, times, rate, torch.tensor(1), rtol=1e-9, adjoint=True
        )[-1]

    want = np.exp(-A.numpy())
    one = torch.ones((), dtype=F64)
    for sign, f in (
        (1, vmap(end)),
        (-1, vmap(grad(end))),
        (-1, vmap(lambda a: jvp(end, (a,), (one,))[1])),
        (1, vmap(grad(grad(end)))),
        (1, vmap(hessian(end))),
        (-1, lambda a: jvp(vmap(end), (a,), (torch.ones_like(a),))[1]),
    ):
        np.testing.assert_allclose(f(A).numpy(), sign * want, rtol=1e-5, atol=1e-7)


def test_integer_parameters_have_no_gradient() -> None:
    a = torch.tensor([2.0], dtype=F64, requires_grad=True)
    x = root(lambda x, a, k: x**2 - k * a, torch.ones(1, dtype=F64), a, torch.tensor(3), tol=1e-12)
    x.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), 3 / (2 * np.sqrt([6.0])), rtol=1e-9)
