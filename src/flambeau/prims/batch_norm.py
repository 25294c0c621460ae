"""Batch normalisation in training: moments of each channel (dim 1), what they normalise, and all its gradients at once.

The derivatives of `batch_norm` are those of a function of input, weight and bias: the moments given to it are the
input's. `standardize` says the same in smaller steps, and serves derivatives of higher order.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.op import bind
from ..core.tensor import Tensor
from .base import permute_op, reshape, sum_op
from .norm import _grad_vjp_x, _scale, standardize_grad_op, standardize_op
from .row_kernels import in_order, kernels

__all__ = ["batch_moments_op", "batch_norm_op"]


def _dims(x: Any) -> tuple[int, ...]:
    return (0, *range(2, len(x.shape)))


def _along(v: Any, x: Any) -> Any:
    """Numbers for each channel, with a shape that broadcasts to the array `x`."""
    return v.reshape(-1, *(1,) * (x.ndim - 2))


def _kernels(x: Any, *others: Any) -> Any:
    """`compiler.channels` when it should do this array's work, else None."""
    if x.shape[1] == 1 or any(a.dtype != x.dtype for a in others) or kernels(x) is None:
        return None  # a channel is one thread's
    return _module()


@functools.cache
def _module() -> Any:
    from ..compiler import channels

    return channels


def _batch_moments(x: Any) -> Any:
    x = in_order(x)
    k = _kernels(x)
    if k is not None:
        return k.moments(x)
    dims, n = _dims(x), x.dtype.type(x.size // max(x.shape[1], 1))
    mean = np.add.reduce(x, axis=dims) / n
    return mean, np.add.reduce(np.square(x - _along(mean, x)), axis=dims) / n


def _batch_norm(bias: Any, x: Any, weight: Any, mean: Any, var: Any, *, eps: float) -> Any:
    x = in_order(x)
    k = _kernels(x, bias, weight, mean, var)
    if k is not None:
        return k.normalise(x, weight, bias, mean, var, eps)
    y = x - _along(mean, x)
    y *= _along(_scale(var, eps) * weight, x)
    y += _along(bias, x)
    return y


def _batch_norm_whole(bias: Any, x: Any, weight: Any, *, eps: float, relu: bool) -> Any:
    """The result, after a relu if asked for, and the moments: what compiled programs make of the two, or three."""
    k = _kernels(x, bias, weight)
    if k is not None:
        return k.batch_norm(x, weight, bias, eps, relu)
    mean, var = _batch_moments(x)
    y = _batch_norm(bias, x, weight, mean, var, eps=eps)
    if relu:
        np.maximum(y, 0, out=y)
    return y, mean, var


def _batch_norm_grad(g: Any, x: Any, weight: Any, mean: Any, var: Any, *, eps: float) -> Any:
    """The gradients in bias, input and weight."""
    g, x = in_order(g), in_order(x)
    k = _kernels(x, g, weight, mean, var)
    if k is not None:
        gx, gw, gb = k.batch_norm_backward(g, x, weight, mean, var, eps)
        return gb, gx, gw
    dims, n = _dims(x), x.dtype.type(max(x.size // max(x.shape[1], 1), 1))
    scale = _scale(var, eps)
    y = x - _along(mean, x)
    y *= _along(scale, x)
    gb, gw = np.add.reduce(g, axis=dims), np.add.reduce(g * y, axis=dims)
    y *= _along(gw / n, x)
    y += _along(gb / n, x)
    np.subtract(g, y, out=y)
    y *= _along(scale * weight, x)
    return gb, y, gw


# ------------------------------------------------------------------------------------------------------------ rules


def _wide(v: Tensor, x: Tensor) -> Tensor:
    return reshape(v, (1, v._a.shape[0], *(1,) * (len(x._a.shape) - 2)))


def _jacobian(t: Tensor, x: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """What standardisation makes of a tangent, or a cotangent: its Jacobian is symmetric."""
    kept = _wide(mean, x).detach(), _wide(var, x).detach()
    return standardize_grad_op(t, x, *kept, dims=_dims(x._a), eps=eps)  # type: ignore[no-any-return]


def _standard(x: Tensor, eps: float) -> Tensor:
    return standardize_op(x, dims=_dims(x._a), eps=eps)[0]  # type: ignore[no-any-return]


def _vjp(g: Tensor, inputs: Any, needs: Any, eps: float) -> list[Any]:
    found = batch_norm_grad_op(g, *inputs[1:], eps=eps)
    return [*[t if need else None for t, need in zip(found, needs)], None, None]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (_, x, w, mean, var), (tb, tx, tw, *_) = xs, ts
    eps = params["eps"]
    total = None
    if tx is not None:
        total = _jacobian(tx, x, mean, var, eps) * _wide(w, x)
    if tw is not None:
        part = _standard(x, eps) * _wide(tw, x)
        total = part if total is None else total + part
    if tb is not None:
        part = fam.expand(_wide(tb, x), tuple(x._a.shape))
        total = part if total is None else total + part
    return total


def _grad_vjp(h: Any, inputs: Any, needs: Any, eps: float) -> list[Any]:
    """The gradients in g, x and w of ``<hb, sum g> + <hx, w J(x) g> + <hw, sum g y>``, y the standardised x."""
    (hb, hx, hw), (g, x, w, mean, var) = h, inputs
    dims = _dims(x._a)
    wide = _wide(w, x)
    moved = _jacobian(hx, x, mean, var, eps)
    result: list[Any] = [None] * 5
    if needs[0]:
        result[0] = moved * wide + _standard(x, eps) * _wide(hw, x) + _wide(hb, x)
    if needs[1]:
        second = _grad_vjp_x(hx, g * wide, x, dims=dims, eps=eps)
        result[1] = second + _jacobian(g * _wide(hw, x), x, mean, var, eps)
    if needs[2]:
        result[2] = sum_op(moved * g, dims=dims)
    return result


# ---------------------------------------------------------------------------------------------------------- batching


def _batch(op: Any, images: Sequence[int], outs: Sequence[bool]) -> Any:
    """Examples become channels. `images` are the arguments with images, `outs` tells which results are."""

    def batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
        front = fam.batch_to_front(args, batched, size)
        own = []
        for i, t in enumerate(front):
            if i in images:  # (B, N, C, ...) -> (N, B * C, ...)
                t = permute_op(t, dims=(1, 0, *range(2, len(t._a.shape))))
                s = t._a.shape
                own.append(reshape(t, (s[0], s[1] * s[2], *s[3:])))
            else:
                own.append(reshape(t, (size * t._a.shape[1],)))
        found = bind(op, tuple(own), params)
        results = []
        for y, is_image in zip(found if len(outs) > 1 else (found,), outs):
            s = y._a.shape
            if is_image:
                y = reshape(y, (s[0], size, s[1] // size, *s[2:]))
                results.append(permute_op(y, dims=(1, 0, *range(2, len(s) + 1))))
            else:
                results.append(reshape(y, (size, s[0] // size)))
        return (tuple(results) if len(outs) > 1 else results[0]), True

    return batch


batch_moments_op: Any = fam.opaque_op(
    _batch_moments,
    None,
    name="batch_moments",
    batch=lambda *a: _batch(batch_moments_op, (0,), (False, False))(*a),
    n_out=2,
    differentiable=False,
)
batch_norm_whole_op: Any = fam.opaque_op(
    _batch_norm_whole,
    None,
    name="batch_norm_whole",
    batch=lambda *a: _batch(batch_norm_whole_op, (1,), (True, False, False))(*a),
    n_out=3,
    differentiable=False,
)
batch_norm_grad_op: Any = fam.opaque_op(
    _batch_norm_grad,
    _grad_vjp,
    name="batch_norm_grad",
    batch=lambda *a: _batch(batch_norm_grad_op, (0, 1), (False, True, False))(*a),
    n_out=3,
    grad_name="NativeBatchNormBackwardBackward0",
)
batch_norm_op: Any = fam.opaque_op(
    _batch_norm,
    _vjp,
    name="batch_norm",
    jvp=_jvp,
    batch=lambda *a: _batch(batch_norm_op, (1,), (True,))(*a),
    grad_name="NativeBatchNormBackward0",
)
batch_norm_op.info["save_from"] = 1
