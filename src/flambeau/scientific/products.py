"""Derivatives times vectors, without forming the matrices.

Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994); Schraudolph, "Fast curvature
matrix-vector products for second-order gradient descent", Neural Computation 14 (2002), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import func

__all__ = ["ggnvp", "hvp", "jvp", "vjp"]


def jvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """``J v``: the derivative of ``f(x)`` in the direction `v`, of x's structure and shapes.

    >>> import flambeau as torch
    >>> torch.scientific.jvp(lambda x: x ** 2, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
    tensor([ 2., 40.])
    """
    return func.jvp(f, (x,), (v,))[1]


def vjp(f: Callable[..., Any], x: Any, u: Any) -> Any:
    """``u J``: the gradient of ``sum(u * f(x))``; `u` has the structure and shapes of ``f(x)``.

    >>> import flambeau as torch
    >>> torch.scientific.vjp(lambda x: x.sum() * x, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0]))
    tensor([4., 1.])
    """
    return func.vjp(f, x)[1](u)[0]


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """``H v`` for a function with one number as its result: forward mode over reverse, about three times f's cost.

    >>> import flambeau as torch
    >>> torch.scientific.hvp(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    tensor([ 6., 12.])
    """
    return func.jvp(func.grad(f), (x,), (v,))[1]


def ggnvp(model: Callable[..., Any], loss: Callable[..., Any], x: Any, v: Any) -> Any:
    """``J^T H J v``: the generalised Gauss-Newton matrix of ``loss(model(x))``, with J of the model and H of the loss.

    Positive semi-definite for a convex loss, where the Hessian need not be.

    >>> import flambeau as torch
    >>> model, loss = lambda x: x ** 2, lambda y: (y ** 2).sum()
    >>> torch.scientific.ggnvp(model, loss, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    tensor([ 8., 32.])
    """
    y, jv = func.jvp(model, (x,), (v,))
    hjv = hvp(loss, y, jv)
    return func.vjp(model, x)[1](hjv)[0]
