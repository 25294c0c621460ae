"""Functions that are given by an equation, with derivatives from the implicit function theorem.

If ``f(x(p), p) = 0`` then ``dx = -(df/dx)^-1 (df/dp) dp``: only the solution is needed, not the way to it.
Griewank and Walther, "Evaluating Derivatives" (SIAM, 2008), section 15; Blondel et al., "Efficient and modular implicit
differentiation", arXiv:2105.15183, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import func
from ..autograd.function import Function
from ..autograd.grad_mode import no_grad
from ..core.tensor import Tensor
from ..ops.linalg import solve as solve_linear
from .decisions import largest

__all__ = ["fixed_point", "root"]

Equation = Callable[..., Any]


def _matrix(f: Equation, x: Tensor, params: tuple[Any, ...]) -> Tensor:
    """df/dx as a square matrix over the flattened x."""
    n = x.numel()
    return func.jacrev(lambda v: f(v.reshape(x.shape), *params).reshape(-1))(x.reshape(-1)).reshape(n, n)  # type: ignore[no-any-return]


def newton(f: Equation, x: Tensor, params: tuple[Any, ...], tol: float, steps: int) -> Tensor:
    """Newton's method, with steps halved while the residual grows.

    Raises: RuntimeError when the residual is not below `tol` after `steps` steps.
    """
    value = f(x, *params)
    size = largest(value.abs())
    for _ in range(steps):
        if size <= tol:
            return x
        step = solve_linear(_matrix(f, x, params), value.reshape(-1)).reshape(x.shape)
        scale = 1.0
        for _ in range(20):
            trial = x - scale * step
            value = f(trial, *params)
            if largest(value.abs()) < size or scale < 1e-5:
                break
            scale *= 0.5
        x, size = trial, largest(value.abs())
    if size <= tol:
        return x
    raise RuntimeError(
        f"root(): the residual is {size:.3g} after {steps} steps of Newton's method, above {tol}"
    )


class _Solution(Function):
    """The solution as a function of the parameters; derivatives of every order, as backward and jvp are made of operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(f: Equation, solve: Callable[..., Tensor], x0: Tensor, *params: Any) -> Tensor:
        with no_grad():
            return solve(x0, *params)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.f, _, _, *params = inputs
        ctx.save_for_backward(output, *params)
        ctx.save_for_forward(output, *params)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, *params = ctx.saved_tensors
        u = solve_linear(_matrix(ctx.f, x, tuple(params)).T, g.reshape(-1)).reshape(x.shape)
        moving = [i for i, p in enumerate(params) if p.is_floating_point() or p.is_complex()]

        def of_moving(*values: Any) -> Any:
            full = list(params)
            for i, v in zip(moving, values):
                full[i] = v
            return ctx.f(x, *full)

        _, back = func.vjp(of_moving, *[params[i] for i in moving])
        grads: list[Any] = [None] * len(params)
        for i, v in zip(moving, back(u)):
            grads[i] = -v
        return (None, None, None, *grads)

    @staticmethod
    def jvp(ctx: Any, _f: Any, _solve: Any, _x0: Any, *tangents: Any) -> Tensor:
        x, *params = ctx.saved_tensors
        moving = [i for i, t in enumerate(tangents) if t is not None]

        def of_moving(*values: Any) -> Any:
            full = list(params)
            for i, v in zip(moving, values):
                full[i] = v
            return ctx.f(x, *full)

        _, df = func.jvp(of_moving, tuple([params[i] for i in moving]), tuple([tangents[i] for i in moving]))
        return -solve_linear(_matrix(ctx.f, x, tuple(params)), df.reshape(-1)).reshape(x.shape)  # type: ignore[no-any-return]


def root(
    f: Equation,
    x0: Tensor,
    *params: Tensor,
    solver: Callable[..., Tensor] | None = None,
    tol: float = 1e-6,
    steps: int = 100,
) -> Tensor:
    """x with ``f(x, *params) = 0``, near `x0`; differentiable with respect to `params`, not to `x0`.

    `f` maps a tensor and the parameters to a tensor of the first one's shape.  ``solver(x0, *params)`` finds the
    solution (default: Newton's method, to a residual of `tol`); how it does that does not matter for the derivatives.
    Tensors that `f` takes from around it are constants.

    Raises: RuntimeError when Newton's method does not converge; what `solver` raises.

    >>> import flambeau as torch
    >>> two = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    >>> x = torch.scientific.root(lambda x, a: x ** 2 - a, torch.ones(1, dtype=torch.float64), two)
    >>> x.sum().backward()
    >>> x.detach(), two.grad  # sqrt(a) and 1 / (2 sqrt(a))
    (tensor([1.4142], dtype=torch.float64), tensor([0.3536], dtype=torch.float64))
    """
    solve = solver or (lambda x, *p: newton(f, x, p, tol, steps))
    return _Solution.apply(f, solve, x0, *params)  # type: ignore[no-any-return]


def fixed_point(g: Equation, x0: Tensor, *params: Tensor, tol: float = 1e-6, steps: int = 1000) -> Tensor:
    """x with ``g(x, *params) = x``, by iterating `g` from `x0`; differentiable as `root` is.

    Raises: RuntimeError when x still changes by more than `tol` after `steps` iterations.

    >>> import flambeau as torch
    >>> torch.scientific.fixed_point(lambda x: x.cos(), torch.tensor([1.0]))
    tensor([0.7391])
    """

    def iterate(x: Tensor, *p: Any) -> Tensor:
        for _ in range(steps):
            following = g(x, *p)
            if largest((following - x).abs()) <= tol:
                return following  # type: ignore[no-any-return]
            x = following
        raise RuntimeError(f"fixed_point(): x still changes by more than {tol} after {steps} iterations")

    return root(lambda x, *p: g(x, *p) - x, x0, *params, solver=iterate)
