"""Products with derivatives, implicit functions, differential equations: against closed forms, SciPy, differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from flambeau.scientific import fixed_point, ggnvp, hvp, odeint, root
from flambeau.scientific import jvp as jvp_
from flambeau.scientific import vjp as vjp_

F64 = torch.float64


def rand(*shape: int) -> Any:
    torch.manual_seed(0)
    return torch.rand(*shape, dtype=F64)


def test_products_against_full_matrices() -> None:
    x, v = rand(5), rand(5) + 1
    f = lambda x: torch.stack([x.prod(), (x.sin() * x.sum()).sum(), x[0] / x[1]])  # noqa: E731
    J, u = jacrev(f)(x), torch.arange(1.0, 4.0, dtype=F64)
    assert torch.allclose(jvp_(f, x, v), J @ v) and torch.allclose(vjp_(f, x, u), u @ J)
    s = lambda x: (f(x) ** 2).sum()  # noqa: E731
    assert torch.allclose(hvp(s, x, v), hessian(s)(x) @ v)
    assert torch.allclose(ggnvp(f, lambda y: (y**2).sum(), x, v), 2 * J.T @ (J @ v))


def cubic(x: Any, a: Any, b: Any) -> Any:
    return x**3 + a * x - b


def test_root_values_and_derivatives() -> None:
    a, b = rand(3).requires_grad_(), (rand(3) + 1).requires_grad_()

    def solution(a: Any, b: Any) -> Any:
        return root(cubic, torch.ones(3, dtype=F64), a, b, tol=1e-13)

    want = [
        brentq(lambda x, p=p, q=q: x**3 + p * x - q, 0, 3, xtol=1e-14) for p, q in zip(a.tolist(), b.tolist())
    ]
    np.testing.assert_allclose(solution(a, b).detach().numpy(), want, rtol=1e-12)
    assert gradcheck(solution, [a, b])
    assert gradgradcheck(solution, [a, b], atol=1e-4)
    a, b = a.detach(), b.detach()
    x = solution(a, b)
    assert torch.allclose(jacrev(solution, 1)(a, b).diagonal(), 1 / (3 * x**2 + a))
    assert torch.allclose(jacfwd(solution, 1)(a, b).diagonal(), 1 / (3 * x**2 + a))
    _, t = jvp(solution, (a, b), (a, b))
    assert torch.allclose(t, (b - a * x) / (3 * x**2 + a))


def test_root_of_a_system() -> None:
    A = rand(4, 4) + 4 * torch.eye(4, dtype=F64)
    b = rand(4).requires_grad_()
    f = lambda x, b: A @ x + 0.1 * x.sin() - b  # noqa: E731
    x = root(f, torch.zeros(4, dtype=F64), b, tol=1e-13)
    (g,) = torch.autograd.grad(x.sum(), b)
    J = A + 0.1 * torch.diag(x.detach().cos())
    assert torch.allclose(g, torch.linalg.solve(J.T, torch.ones(4, dtype=F64)))


def test_fixed_points() -> None:
    a = torch.tensor([0.5, 0.9], dtype=F64, requires_grad=True)
    x = fixed_point(lambda x, a: a * x.cos(), torch.ones(2, dtype=F64), a, tol=1e-14)
    assert torch.allclose(x, a * x.cos())
    assert gradcheck(
        lambda a: fixed_point(lambda x, a: a * x.cos(), torch.ones(2, dtype=F64), a, tol=1e-14), [a]
    )
    with pytest.raises(RuntimeError, match="after 5 iterations"):
        fixed_point(lambda x: x + 1, torch.ones(1), steps=5)
    with pytest.raises(RuntimeError, match="Newton"):
        root(lambda x: x**2 + 1, torch.full((1,), 0.7), steps=5)


def test_odeint_against_scipy() -> None:
    def lotka(t: Any, y: Any) -> Any:
        return torch.stack([1.5 * y[0] - y[0] * y[1], -3 * y[1] + y[0] * y[1]])

    times = torch.linspace(0, 4, 9, dtype=F64)
    got = odeint(lotka, torch.tensor([10.0, 5.0], dtype=F64), times, rtol=1e-9, atol=1e-9)
    want = solve_ivp(
        lambda t, y: [1.5 * y[0] - y[0] * y[1], -3 * y[1] + y[0] * y[1]], (0, 4), [10, 5], t_eval=times.tolist(),
        method="DOP853", rtol=1e-12, atol=1e-12,
    ).y.T  # fmt: skip
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)


def test_odeint_backwards_in_time_and_time_dependent() -> None:
    y = odeint(
        lambda t, y: y * math.cos(t), torch.ones(2, dtype=F64), torch.tensor([1.0, 0.0, -1.0], dtype=F64)
    )
    want = [math.exp(math.sin(t) - math.sin(1)) for t in (1, 0, -1)]
    np.testing.assert_allclose(y[:, 0].numpy(), want, rtol=1e-6)


@pytest.mark.parametrize("adjoint", [False, True])
def test_odeint_gradients(adjoint: bool) -> None:
    y0, w = rand(3).requires_grad_(), (rand(3, 3) - 0.5).requires_grad_()
    times = torch.tensor([0.0, 0.4, 1.0], dtype=F64)

    def solution(y0: Any, w: Any) -> Any:
        return odeint(
            lambda t, y, w: (w @ y).tanh() - y, y0, times, w, rtol=1e-10, atol=1e-10, adjoint=adjoint
        )

    assert gradcheck(solution, [y0, w], atol=1e-6)


def test_odeint_under_transforms() -> None:
    rate = rand(4)
    times = torch.tensor([0.0, 1.0], dtype=F64)
    end = lambda r: odeint(lambda t, y, r: -r * y, torch.ones(1, dtype=F64), times, r)[-1, 0]  # noqa: E731
    np.testing.assert_allclose(grad(end)(rate[0]).item(), -math.exp(-rate[0].item()), rtol=1e-5)
    _, t = jvp(end, (rate[0],), (torch.ones((), dtype=F64),))
    np.testing.assert_allclose(t.item(), -math.exp(-rate[0].item()), rtol=1e-5)
    h = hessian(end)(rate[0])
    np.testing.assert_allclose(h.item(), math.exp(-rate[0].item()), rtol=1e-4)
    f = vmap(lambda v: hvp(lambda x: (x**3).sum(), rate, v))
    assert torch.allclose(f(torch.eye(4, dtype=F64)), torch.diag(6 * rate))


def test_odeint_refuses() -> None:
    y = torch.ones(1)
    for t in (torch.tensor(1.0), torch.ones(1), torch.tensor([0.0, 1.0, 0.5]), torch.tensor([0.0, 0.0])):
        with pytest.raises(ValueError, match="odeint"):
            odeint(lambda t, y: y, y, t)
    with pytest.raises(RuntimeError, match="steps were not enough|step size"):
        odeint(lambda t, y: y**2, y, torch.tensor([0.0, 2.0]), steps=200)
