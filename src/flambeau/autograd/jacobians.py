"""Jacobians three ways: by central differences, by rows (reverse mode), and by columns (forward mode).

All are arrays over the elements of an input and of an output.  A complex input has two columns per element, along its
real and its imaginary part, and a complex output two rows; in the convention of PyTorch ("Gradcheck mechanics" in its
notes, after Wirtinger) the gradient of a real loss L is dL/d Re(z) + i dL/d Im(z).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.tensor import Tensor, composed
from ..prims.base import from_value
from .differentiate import grad

__all__ = [
    "dense",
    "directional",
    "elements",
    "evaluate",
    "forward_column",
    "gradient_of",
    "numerical",
    "reverse",
    "tensors",
]


def tensors(x: Any) -> tuple[Tensor, ...]:
    """The tensors among what a function returned."""
    return (x,) if isinstance(x, Tensor) else tuple(t for t in x if isinstance(t, Tensor))


def dense(t: Tensor) -> Any:
    """The values of a tensor of any layout as an array."""
    return np.array(raw(t.detach().to_dense(masked_grad=False)) if composed(t) else raw(t))


def evaluate(fn: Callable[..., Any], args: Sequence[Any], keep: Sequence[int]) -> list[Any]:
    """The outputs of these numbers, as arrays; grad mode stays on, as `fn` may itself differentiate."""
    outs = tensors(fn(*args))
    return [dense(outs[i]) for i in keep]


def elements(x: Tensor, masked: bool) -> list[int]:
    """The elements of an input that are varied: of a sparse tensor, if `masked`, those that it has entries for."""
    if not (composed(x) and masked):
        return list(range(x.numel()))
    entries: Any = x.detach()
    ones = entries._with(from_value(np.ones(entries._vals._a.shape)))
    return np.flatnonzero(raw(ones.to_dense(masked_grad=False))).tolist()


def changed(x: Tensor, step: Any) -> Tensor:
    """A sparse `x`, moved by the array `step`."""
    a = dense(x)
    moved: Any = from_value((a + step).astype(a.dtype))
    coo = str(x.layout) == "torch.sparse_coo"
    again = moved.to_sparse(x.sparse_dim()) if coo else moved.to_sparse(layout=x.layout)
    return again.requires_grad_(x.requires_grad)  # type: ignore[no-any-return]


def directional(
    fn: Callable[..., Any], args: Sequence[Any], at: int, keep: Sequence[int], step: Any, eps: float
) -> list[Any]:
    """The derivatives of the outputs along `step`, an array of the shape of input number `at`.

    Raises: AssertionError when outputs change their shape or dtype on the way.
    """
    x = args[at]
    found = []
    if composed(x):
        for sign in (eps, -eps):
            found.append(evaluate(fn, [*args[:at], changed(x, sign * step), *args[at + 1 :]], keep))
    else:
        a = raw(x)  # in its place, so that what shares its memory moves too
        old = a.copy()
        try:
            for sign in (eps, -eps):
                a[...] = old + sign * step
                found.append(evaluate(fn, args, keep))
        finally:
            a[...] = old
    slopes = []
    for up, down in zip(*found):
        for what in ("shape", "dtype"):
            if getattr(up, what) != getattr(down, what):
                raise AssertionError(
                    f"Expected `func` to return outputs with the same {what} when inputs are perturbed, but got "
                    f"{getattr(up, what)} and {getattr(down, what)}"
                )
        slopes.append((up - down) / (2 * eps))
    return slopes


def numerical(
    fn: Callable[..., Any], args: Sequence[Any], at: int, keep: Sequence[int], eps: float, masked: bool
) -> list[list[Any]]:
    """For each output the columns along real and, of a complex input, imaginary steps: arrays (numel(x), numel(y))."""
    x = args[at]
    shape = tuple(x.shape)
    kinds = (1, 1j) if x.is_complex() else (1,)
    step = np.zeros(shape, np.complex128 if x.is_complex() else np.float64)
    flat = step.reshape(-1)
    sizes = [y.size for y in evaluate(fn, args, keep)]
    result = [[np.zeros((flat.size, n), np.complex128) for _ in kinds] for n in sizes]
    for j in elements(x, masked):
        for s, kind in enumerate(kinds):
            flat[j] = kind
            for k, slope in enumerate(directional(fn, args, at, keep, step, eps)):
                if slope.size != sizes[k]:
                    raise AssertionError(
                        "Expected `func` to return outputs with the same shape when inputs are perturbed"
                    )
                result[k][s][j] = slope.reshape(-1)
        flat[j] = 0
    return result


def gradient_of(out: Tensor, x: Tensor, cotangent: Any, masked: bool = False) -> Any:
    """The gradient of one output, for the cotangent given as an array, as an array of the shape of `x`."""
    g = grad(out, x, from_value(np.asarray(cotangent, out._a.dtype)), retain_graph=True, allow_unused=True)[0]
    if g is None:
        return np.zeros(tuple(x.shape), np.complex128 if x.is_complex() else np.float64)
    a = dense(g)
    if composed(x) and masked:
        mask = np.zeros(a.size, bool)
        mask[elements(x, True)] = True
        a = np.where(mask.reshape(a.shape), a, 0)
    return a


def reverse(out: Tensor, x: Tensor, masked: bool) -> tuple[Any, Any]:
    """Gradients for the cotangents e_i, and for i * e_i of a complex output: arrays (numel(out), numel(x))."""
    shape = tuple(out.shape)
    n = out.numel()
    blocks = []
    for kind in (1, 1j) if out.is_complex() else (1,):
        rows = []
        e = np.zeros(n, out._a.dtype)
        for i in range(n):
            e[i] = kind
            rows.append(gradient_of(out, x, e.reshape(shape), masked).reshape(-1))
            e[i] = 0
        blocks.append(np.array(rows).reshape(n, x.numel()))
    return blocks[0], blocks[1] if len(blocks) > 1 else None


def forward_column(
    fn: Callable[..., Any], args: Sequence[Any], places: Sequence[int], at: int, k: int, tangent: Any
) -> Any:
    """The tangent of output `k` for this one of input `at`, and zeros for those of the others that have any.

    The numbers are dual, as users make them.
    """
    from .forward_ad import dual_level, make_dual, unpack_dual

    plain = [a.detach() if isinstance(a, Tensor) else a for a in args]
    with dual_level():
        for i in places:
            x = plain[i]
            shape = tuple(x.shape)
            along = np.reshape(tangent, shape) if i == at else np.zeros(shape)
            plain[i] = make_dual(x, from_value(np.asarray(along, x._a.dtype)))
        y, t = unpack_dual(tensors(fn(*plain))[k])
        return np.zeros(tuple(y.shape)) if t is None else np.array(raw(t))
