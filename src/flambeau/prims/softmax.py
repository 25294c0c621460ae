"""Softmax, log-softmax and cross entropy, each with its gradient, as primitives: few passes over memory.

The gradients are operations too, with rules of their own, so derivatives of every order stay short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis
from ..core.tensor import Tensor
from .base import reshape, sum_op
from .indexing import gather_op, largest_unsigned, positions
from .pointwise import exp
from .reductions import logsumexp_tangent
from .row_kernels import in_order, kernels


def _centered(x: Any, dim: int) -> Any:
    """`x` minus its maximum along a dim: a new array."""
    return _minus(x, np.maximum.reduce(x, axis=dim, keepdims=True))


def _minus(x: Any, top: Any) -> Any:
    if math.isfinite(np.vdot(top, top)) or np.isfinite(top).all():  # one call for numbers that are not huge
        return x - top
    with np.errstate(invalid="ignore"):  # infinity minus infinity: the whole row becomes NaN
        return x - top


def _last(x: Any, dim: int) -> bool:
    return bool(dim == x.ndim - 1)


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if fam.is_half(x) else x


def _softmax(x: Any, *, dim: Axis) -> Any:
    if not x.size:
        return x.copy()
    x = in_order(x)
    k = kernels(x, 6) if _last(x, dim) else None
    if k is not None:
        return k.softmax(x)
    e = _centered(_wide(x), dim)
    np.exp(e, out=e)
    e /= np.add.reduce(e, axis=dim, keepdims=True)
    return e.astype(x.dtype, copy=False)


def _log_softmax(x: Any, *, dim: Axis) -> Any:
    if not x.size:
        return x.copy()
    x = in_order(x)
    k = kernels(x, 6) if _last(x, dim) else None
    if k is not None:
        return k.log_softmax(x)
    z = _centered(_wide(x), dim)
    total = np.add.reduce(np.exp(z), axis=dim, keepdims=True)
    if fam.is_half(x) and _last(x, dim):  # PyTorch's kernel for rows keeps the sum and its log in 16 bits
        z -= np.log(total.astype(x.dtype)).astype(z.dtype)
    else:
        z -= np.log(total)
    return z.astype(x.dtype, copy=False)


def _softmax_grad(g: Any, y: Any, *, dim: Axis) -> Any:
    k = kernels(g, 3) if _last(g, dim) and y.dtype == g.dtype and y.flags.c_contiguous else None
    if k is not None:
        return k.softmax_backward(g, y)
    wg, wy = _wide(g), _wide(y)
    out = wg - np.add.reduce(wg * wy, axis=dim, keepdims=True)
    out *= wy
    return out.astype(g.dtype, copy=False)


def _log_softmax_grad(g: Any, y: Any, *, dim: Axis) -> Any:
    k = kernels(g, 3) if _last(g, dim) and y.dtype == g.dtype and y.flags.c_contiguous else None
    if k is not None:
        return k.log_softmax_backward(g, y)
    wg = _wide(g)
    out = np.exp(_wide(y))
    out *= np.add.reduce(wg, axis=dim, keepdims=True)
    np.subtract(wg, out, out=out)
    return out.astype(g.dtype, copy=False)


def _sum(x: Tensor, dim: int) -> Tensor:
    return fam.keepdims(sum_op(x, dims=(dim,)), len(x._a.shape), (dim,))


def _mean_tangent(t: Tensor, x: Tensor, dim: int) -> Tensor:
    return fam.keepdims(logsumexp_tangent(t, x, (dim,)), len(x._a.shape), (dim,))


def _softmax_jvp(t: Tensor, x: Tensor, y: Tensor, dim: int) -> Tensor:
    if x._a.dtype.itemsize == 2:  # rounded step by step, as in PyTorch
        return y * (t - _mean_tangent(t, x, dim))  # type: ignore[no-any-return]
    return softmax_grad_op(t, y, dim=dim)  # type: ignore[no-any-return]


def _log_softmax_jvp(t: Tensor, x: Tensor, y: Tensor, dim: int) -> Tensor:
    if x._a.dtype.itemsize == 2:
        return t - _mean_tangent(t, x, dim)  # type: ignore[no-any-return]
    return t - _sum(exp(y) * t, dim)  # type: ignore[no-any-return]


# The Jacobian of softmax is symmetric, so the gradient's adjoint in g is itself.
softmax_grad_op: Any = fam.opaque_op(
    _softmax_grad,
    (
        lambda h, y, dim: softmax_grad_op(h, y, dim=dim),
        lambda h, g, y, dim: g * h - _sum(y * g, dim) * h - g * _sum(y * h, dim),
    ),
    name="softmax_grad",
    grad_name="SoftmaxBackwardDataBackward0",
)
log_softmax_grad_op: Any = fam.opaque_op(
    _log_softmax_grad,
    (
        lambda h, y, dim: h - _sum(h * exp(y), dim),
        lambda h, g, y, dim: -_sum(g, dim) * exp(y) * h,
    ),
    name="log_softmax_grad",
    grad_name="LogSoftmaxBackwardDataBackward0",
)
softmax_op: Any = fam.opaque_op(
    _softmax,
    (lambda g, y, dim: softmax_grad_op(g, y, dim=dim),),
    name="softmax",
    jvp=lambda ts, xs, y, p: _softmax_jvp(ts[0], xs[0], y, p["dim"]),
)
log_softmax_op: Any = fam.opaque_op(
    _log_softmax,
    (lambda g, y, dim: log_softmax_grad_op(g, y, dim=dim),),
    name="log_softmax",
    jvp=lambda ts, xs, y, p: _log_softmax_jvp(ts[0], xs[0], y, p["dim"]),
)

# ---------------------------------------------------------------------------------------------------- cross entropy


def counted(target: Any, classes: int, ignore: int) -> Any:
    """Which targets count; None where all do.

    Raises: IndexError for targets that count and are no class.
    """
    if not target.size or not 0 <= ignore < classes and largest_unsigned(target) < classes:
        return None
    counts = target != ignore
    wrong = counts & ((target < 0) | (target >= classes))
    if wrong.any():
        raise IndexError(f"Target {int(target[wrong][0])} is out of bounds: there are {classes} classes.")
    return counts


def own_class(target: Any, counts: Any) -> tuple[Any, ...]:
    """The key of the targets' classes in the rows; of the first class where a target does not count."""
    safe = target if counts is None else np.where(counts, target, 0)
    return (*[positions(safe.shape, d) for d in range(safe.ndim)], safe)


def _cross_entropy(x: Any, target: Any, *, ignore: int, smoothing: float) -> Any:
    """Rows (..., C) of logits and their classes (...) to the rows' losses, zero for ignored rows, and log-sums.

    With smoothing, that part of a loss is the mean of the losses for all classes.
    """
    k = kernels(x, 12) if x.shape[-1] else None
    if k is not None:
        return k.cross_entropy(x, target, ignore, smoothing)
    counts = counted(target, x.shape[-1], ignore)
    wide = _wide(x)
    top = np.maximum.reduce(wide, axis=-1, keepdims=True)
    z = _minus(wide, top)
    own = z[own_class(target, counts)]
    mean = np.add.reduce(z, axis=-1) / z.dtype.type(z.shape[-1]) if smoothing else None
    level = np.log(np.add.reduce(np.exp(z, out=z), axis=-1))
    loss = level - own
    if mean is not None:
        loss = loss * z.dtype.type(1 - smoothing) + (level - mean) * z.dtype.type(smoothing)
    if counts is not None:
        loss = np.where(counts, loss, loss.dtype.type(0))
    return loss.astype(x.dtype, copy=False), level + top[..., 0]


def _cross_entropy_grad(g: Any, x: Any, target: Any, log_sum: Any, *, ignore: int, smoothing: float) -> Any:
    """``g * (softmax(x) - (1 - smoothing) * one_hot(target) - smoothing / C)``; zero for ignored rows."""
    k = kernels(x, 12) if x.shape[-1] else None
    if k is not None and g.dtype == x.dtype:
        return k.cross_entropy_backward(g, x, target, log_sum, ignore, smoothing)
    counts = counted(target, x.shape[-1], ignore)
    e = _wide(x) - log_sum[..., None]
    np.exp(e, out=e)
    if smoothing:
        e -= e.dtype.type(smoothing / x.shape[-1])
    e[own_class(target, counts)] -= e.dtype.type(1 - smoothing)
    e *= (_wide(g) if counts is None else np.where(counts, _wide(g), e.dtype.type(0)))[..., None]
    if counts is not None:
        e[~counts] = 0
    return e.astype(x.dtype, copy=False)


def _tangent_of(h: Tensor, x: Tensor, target: Tensor, ignore: int, smoothing: float) -> Tensor:
    """``sum(h * (softmax(x) - (1 - smoothing) * one_hot(target) - smoothing / C))`` over classes; zero for ignored rows."""
    from .pointwise import where_op

    ignored = target == ignore
    rows = tuple(target._a.shape)
    safe = reshape(where_op(ignored, 0, target), (*rows, 1))
    own = reshape(gather_op(h, safe, dim=len(rows)), rows)
    part = sum_op(h * softmax_op(x, dim=len(rows)), dims=(len(rows),))
    if smoothing:
        mean = sum_op(h, dims=(len(rows),)) / x._a.shape[-1]
        return where_op(ignored, 0, part - own * (1 - smoothing) - mean * smoothing)  # type: ignore[no-any-return]
    return where_op(ignored, 0, part - own)  # type: ignore[no-any-return]


def _cross_entropy_vjp(
    g: Any, x: Tensor, target: Tensor, y: Any, needs: Any, ignore: int, smoothing: float
) -> list[Any]:
    values = g[0] if isinstance(g, (tuple, list)) else g
    found = cross_entropy_grad_op(values, x, target, y[1].detach(), ignore=ignore, smoothing=smoothing)
    return [found, None]


def _cross_entropy_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    x, target = xs
    return _tangent_of(ts[0], x, target, params["ignore"], params["smoothing"]), fam.zeros_like(y[1])


def _grad_vjp_g(h: Tensor, x: Tensor, target: Tensor, ignore: int, smoothing: float) -> Tensor:
    return _tangent_of(h, x, target, ignore, smoothing)


def _grad_vjp_x(h: Tensor, g: Tensor, x: Tensor, target: Tensor, ignore: int) -> Tensor:
    from .pointwise import where_op

    rows = tuple(target._a.shape)
    factor = reshape(where_op(target == ignore, 0, g), (*rows, 1))
    d = len(rows)
    return softmax_grad_op(h, softmax_op(x, dim=d), dim=d) * factor  # type: ignore[no-any-return]


cross_entropy_grad_op: Any = fam.opaque_op(
    _cross_entropy_grad,
    (_grad_vjp_g, _grad_vjp_x, None, None),
    name="cross_entropy_grad",
    grad_name="CrossEntropyBackwardBackward0",
)
cross_entropy_op: Any = fam.opaque_op(
    _cross_entropy,
    _cross_entropy_vjp,
    name="cross_entropy",
    jvp=_cross_entropy_jvp,
    n_out=2,
    grad_name="NllLossBackward0",
)
