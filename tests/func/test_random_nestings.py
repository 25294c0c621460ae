"""Random functions under three random transforms, against finite differences in 120 digits.

A function is a list of steps, among them in-place writes, views, writes through views and reads of tensors outside. Each
transform makes a function of a vector from another one, so that any three can be stacked. The reference runs the same
steps on NumPy arrays of mpmath numbers, and differentiates by central differences, whose steps are so small, and whose
digits so many, that the error is below that of double precision after six of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.func import functionalize, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap

DIGITS, STEP = 120, "1e-14"
MATRIX = [[0.7, -0.4], [0.3, 0.9]]
WEIGHTS = [0.8, -1.3]
Function = Callable[[Any], Any]

sin, cos, exp, tanh = (np.frompyfunc(getattr(mpmath, f), 1, 1) for f in ("sin", "cos", "exp", "tanh"))


def matrix() -> Any:
    return torch.tensor(MATRIX, dtype=torch.float64)


def weights() -> Any:
    return torch.tensor(WEIGHTS, dtype=torch.float64)


# ---------------------------------------------------------------------------------- steps: on a tensor, on an array


def write_element(x: Any) -> Any:
    y = x.clone()
    y[0] = x[1] * x[0]
    return y


def write_element_np(x: Any) -> Any:
    return np.array([x[1] * x[0], x[1]])


def write_through_view(x: Any) -> Any:
    y = x * 1
    view = y.view(1, 2)
    view[:, 1:].mul_(x[0])
    view.add_(x)
    return y


def write_through_view_np(x: Any) -> Any:
    return np.array([2 * x[0], x[1] * x[0] + x[1]])


def fill_new(x: Any) -> Any:
    y = torch.zeros(2, 2, dtype=torch.float64)
    y[0] = x
    y.T[1].copy_(x.sin())
    return y.sum(0)


def fill_new_np(x: Any) -> Any:
    y = np.array([[x[0], mpmath.sin(x[0])], [mpmath.mpf(0), mpmath.sin(x[1])]])
    return y.sum(0)


def base_after_view(x: Any) -> Any:
    y = x.clone()
    last = y[1:]
    y.mul_(x)
    return torch.cat([last, last * y[:1]])


def alias_twice(x: Any) -> Any:
    y = torch.stack([x, x])
    a, b = y.unbind(0)
    y[0].sin_()
    return a + b * b


def masked(x: Any) -> Any:
    return torch.where(x > 0, x.sin(), x * x)


def masked_write(x: Any) -> Any:
    y = x.clone()
    y.masked_fill_(x > 0, 0.5)
    return y + x


def scattered(x: Any) -> Any:
    y = torch.zeros_like(x)
    y.index_add_(0, torch.tensor([1, 1]), x)
    return y + x.flip(0)


STEPS: dict[str, tuple[Function, Function]] = {
    "sin": (torch.sin, sin),
    "bell": (lambda x: (-x * x).exp(), lambda x: exp(-x * x)),
    "square": (lambda x: x * x * 0.5 - x, lambda x: x * x * mpmath.mpf(0.5) - x),
    "tanh, in place": (lambda x: (x + 0).tanh_(), tanh),
    "product": (lambda x: matrix() @ x, lambda x: np.array(MATRIX, object) @ x),
    "flip": (lambda x: x.flip(0) * x, lambda x: x[::-1] * x),
    "cumsum": (lambda x: x.cumsum(0), np.cumsum),
    "softmax": (lambda x: x.softmax(0), lambda x: exp(x) / exp(x).sum()),
    "outer": (lambda x: (x[:, None] * x).sin().sum(1), lambda x: sin(x[:, None] * x).sum(1)),
    "index": (lambda x: x[torch.tensor([1, 0])] + x.prod(), lambda x: x[::-1] + x[0] * x[1]),
    "write an element": (write_element, write_element_np),
    "write through a view": (write_through_view, write_through_view_np),
    "fill a new tensor": (fill_new, fill_new_np),
    "write the base of a view": (base_after_view, lambda x: np.array([x[1] ** 2, x[1] ** 2 * x[0] ** 2])),
    "write one of two rows": (alias_twice, lambda x: sin(x) + x * x),
    "where": (masked, lambda x: np.array([mpmath.sin(v) if v > 0 else v * v for v in x])),
    "masked write": (masked_write, lambda x: np.array([v + (mpmath.mpf(0.5) if v > 0 else v) for v in x])),
    "index_add": (scattered, lambda x: np.array([x[1], x[0] + x[1] + x[0]])),
}


# ------------------------------------------------------------------------ transforms: of tensors, and of differences


def directional(f: Function, x: Any, t: Any) -> Any:
    h = mpmath.mpf(STEP)
    return (f(x + h * t) - f(x - h * t)) / (2 * h)


def units() -> list[Any]:
    return [np.array([mpmath.mpf(i == k) for i in range(2)]) for k in range(2)]


def pulled(f: Function, x: Any, w: Any) -> Any:
    return np.array([(directional(f, x, e) * w).sum() for e in units()])


def fixed() -> Any:
    return np.array([mpmath.mpf(w) for w in WEIGHTS])


def weighted(f: Function) -> Function:
    return lambda y: (f(y) * weights()).sum()


def with_constant(f: Function) -> Function:
    """no_grad stops the level that it stands in, and no other."""

    def inner(y: Any) -> Any:
        with torch.no_grad():
            c = y.sin()
        return (f(y) * c).sum()

    return grad(inner)


def autograd_inside(f: Function) -> Function:
    def inner(z: Any) -> Any:
        # of a linear function the gradient would be a constant, which autograd.grad refuses to differentiate
        return torch.autograd.grad(weighted(f)(z) + 0 * (z**4).sum(), z, create_graph=True)[0]

    return lambda x: vjp(inner, x)[1](weights())[0]


def curvature(f: Function) -> Function:
    return lambda x: pulled(lambda y: pulled(f, y, fixed()), x, fixed())


def leaf_inside_vmap(f: Function) -> Function:
    """A tensor of an outer level, read inside of vmap."""
    return lambda x: vmap(lambda s: f(s * x) * x)(torch.tensor([1.0, 0.5], dtype=torch.float64)).sum(0)


def written_argument(f: Function) -> Function:
    """vmap over rows that the function writes to: the rows outside change, too."""

    def run(x: Any) -> Any:
        rows = torch.stack([x, 0.5 * x])

        def inner(row: Any) -> Any:
            row.add_(f(row.clone()))  # what f saves of its argument must stay
            return row * row

        return vmap(inner)(rows).sum(0) + rows.sum(0)

    return run


def written_argument_np(f: Function) -> Function:
    def run(x: Any) -> Any:
        rows = [v + f(v) for v in (x, x / 2)]
        return sum(r * r + r for r in rows)

    return run


TRANSFORMS: dict[str, tuple[int, Callable[[Function], Function], Callable[[Function], Function]]] = {
    # name: (order of differentiation, the transform, the reference)
    "vmap": (
        0,
        lambda f: lambda x: vmap(f)(torch.stack([x, 0.5 * x])).sum(0),
        lambda f: lambda x: f(x) + f(x / 2),
    ),
    "vmap, last dims": (
        0,
        lambda f: lambda x: vmap(f, 1, 1)(torch.stack([x, 0.5 * x], 1))[:, 1],
        lambda f: lambda x: f(x / 2),
    ),
    "vmap, chunks": (
        0,
        lambda f: lambda x: vmap(f, chunk_size=2)(torch.stack([x, 0.5 * x, -x])).sum(0),
        lambda f: lambda x: f(x) + f(x / 2) + f(-x),
    ),
    "vmap, closure": (0, leaf_inside_vmap, lambda f: lambda x: f(x) * x + f(x / 2) * x),
    "vmap, written": (0, written_argument, written_argument_np),
    "functionalize": (0, functionalize, lambda f: f),
    "compile": (0, torch.compile, lambda f: f),
    "grad": (1, lambda f: grad(weighted(f)), lambda f: lambda x: pulled(f, x, fixed())),
    "grad, closure": (
        1,
        lambda f: lambda x: grad(lambda y: (f(y) * x).sum())(x),
        lambda f: lambda x: pulled(f, x, x),
    ),
    "grad, no_grad inside": (1, with_constant, lambda f: lambda x: pulled(f, x, sin(x))),
    "vjp": (1, lambda f: lambda x: vjp(f, x)[1](weights())[0], lambda f: lambda x: pulled(f, x, fixed())),
    "jvp": (
        1,
        lambda f: lambda x: jvp(f, (x,), (weights(),))[1],
        lambda f: lambda x: directional(f, x, fixed()),
    ),
    "jvp, along x": (
        1,
        lambda f: lambda x: jvp(f, (x,), (x.sin(),))[1],
        lambda f: lambda x: directional(f, x, sin(x)),
    ),
    "linearize": (
        1,
        lambda f: lambda x: linearize(f, x)[1](weights()),
        lambda f: lambda x: directional(f, x, fixed()),
    ),
    "jacrev": (1, lambda f: lambda x: jacrev(f)(x) @ x, lambda f: lambda x: directional(f, x, x)),
    "jacfwd": (1, lambda f: lambda x: jacfwd(f)(x).T @ weights(), lambda f: lambda x: pulled(f, x, fixed())),
    "hessian": (2, lambda f: lambda x: hessian(weighted(f))(x) @ weights(), curvature),
    "autograd.grad inside": (2, autograd_inside, curvature),
}


@st.composite
def nestings(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """(steps, transforms): of order five at most, to keep the reference quick."""
    steps = draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))
    names: list[str] = []
    for _ in range(3):
        order = sum(TRANSFORMS[n][0] for n in names)
        names.append(draw(st.sampled_from([n for n in sorted(TRANSFORMS) if TRANSFORMS[n][0] + order <= 4])))
    return steps, names


def chain(steps: list[str], side: int) -> Function:
    def f(x: Any) -> Any:
        for name in steps:
            x = STEPS[name][side](x)
        return x

    return f


def check(steps: list[str], names: list[str], point: list[float]) -> None:
    ours, theirs = chain(steps, 0), chain(steps, 1)
    for name in names:
        _, transform, reference = TRANSFORMS[name]
        ours, theirs = transform(ours), reference(theirs)
    with mpmath.workdps(DIGITS):
        x = np.array([mpmath.mpf(v) for v in point])
        want = theirs(x)
        slope = pulled(theirs, x, fixed())
    leaf = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    got = ours(leaf)
    if (
        got.requires_grad
    ):  # gradients flow out of the transforms; nothing is recorded where all of them are zero
        weighted(lambda y: y)(got).backward()
    gradient = torch.zeros(2, dtype=torch.float64) if leaf.grad is None else leaf.grad
    for a, b in ((got.detach(), want), (gradient, slope)):
        b = np.array([float(v) for v in b])
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-8, atol=1e-8 * max(1.0, np.abs(b).max()))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(nestings(), st.sampled_from([[0.41, -0.73], [-0.37, 0.59], [0.93, 0.35]]))
def test_three_levels(nesting: tuple[list[str], list[str]], point: list[float]) -> None:
    check(*nesting, point)


@pytest.mark.parametrize("outer", TRANSFORMS)
@pytest.mark.parametrize("inner", TRANSFORMS)
def test_every_pair(outer: str, inner: str) -> None:
    """One function with writes and views under each transform of each transform."""
    check(["write through a view", "tanh, in place", "fill a new tensor"], [inner, outer], [0.4, -0.7])
