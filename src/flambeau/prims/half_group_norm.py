"""Group normalisation of 16-bit floats: values and gradients are rounded once; what is differentiated again is rounded in
PyTorch's steps. The mean and 1 / sqrt(var + eps) are results with derivatives of their own.

Images come as ``(N, groups, channels of a group, space)``, weight and bias as ``(1, groups, channels of a group, 1)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.state import tls
from ..core.tensor import Tensor
from .base import sum_op
from .reductions import half_mean_op

__all__ = ["half_group_norm_op"]

INNER = (-2, -1)


def _half_group_norm(x: Any, w: Any, b: Any, *, eps: float) -> Any:
    own = x.dtype
    x, w, b = (fam.wide(a) for a in (x, w, b))
    n = x.dtype.type(x.shape[-1] * x.shape[-2])
    mean = np.add.reduce(x, axis=INNER, keepdims=True) / n
    var = np.add.reduce(np.square(x - mean), axis=INNER, keepdims=True) / n
    scale = 1 / np.sqrt(var + var.dtype.type(eps))
    slope = scale * w
    y = x * slope + (b - slope * mean)
    return y.astype(own), mean.astype(own), scale.astype(own)


def _half_group_norm_grad(g: Any, x: Any, w: Any, mean: Any, scale: Any) -> Any:
    """The gradients in `x`, `w` and `b`."""
    own = x.dtype
    g, x, w, mean, scale = (fam.wide(a) for a in (g, x, w, mean, scale))
    n = x.dtype.type(x.shape[-1] * x.shape[-2])
    along = np.add.reduce(g * x, axis=-1, keepdims=True)
    level = np.add.reduce(g, axis=-1, keepdims=True)
    a, c = (np.add.reduce(t * w, axis=-2, keepdims=True) for t in (along, level))
    a = (c * mean - a) * scale**3 / n
    c = -a * mean - c * scale / n
    gw = np.add.reduce((along - level * mean) * scale, axis=-4, keepdims=True)
    gb = np.add.reduce(level, axis=-4, keepdims=True)
    return tuple(t.astype(own) for t in (scale * w * g + a * x + c, gw, gb))


# Where its derivatives could be wanted, `_in_steps` stands in its place.
half_group_norm_grad_op: Any = fam.opaque_op(
    _half_group_norm_grad, name="half_group_norm_grad", n_out=3, differentiable=False
)


def _over(t: Tensor, *dims: int) -> Tensor:
    nd = len(t._a.shape)
    at = tuple([d % nd for d in dims])
    return fam.keepdims(sum_op(t, dims=at), nd, at)


def _mean(t: Tensor) -> Tensor:
    nd = len(t._a.shape)
    at = (nd - 2, nd - 1)
    return fam.keepdims(half_mean_op(t, dims=at), nd, at)


def _in_steps(gs: Any, x: Tensor, w: Tensor, mean: Tensor, scale: Tensor) -> list[Tensor]:
    g, g_mean, g_scale = gs
    part = 1.0 / (int(x._a.shape[-1]) * int(x._a.shape[-2]))
    g = fam.zeros_like(x) if g is None else g
    along, level = _over(g * x, -1), _over(g, -1)
    cube = scale * scale * scale
    slope = scale * w  # in this order, for in the opposite one their gradients are added
    a, c = _over(along * w, -2), _over(level * w, -2)
    a = (c * mean - a) * cube * part
    c = -a * mean - c * scale * part
    gx = slope * g + a * x + c
    if g_mean is not None or g_scale is not None:
        g_mean, g_scale = (fam.zeros_like(mean) if t is None else t for t in (g_mean, g_scale))
        gx = gx + (2.0 * part * (-0.5 * cube * g_scale) * (x - _mean(x)) + g_mean * part)
    return [gx, _over((along - level * mean) * scale, -4), _over(level, -4)]


def _given(t: Any) -> Any:
    """A cotangent, or None for the zeros that stand for a result which nothing was made of."""
    return None if type(t._a) is np.ndarray and not t._a.any() else t


def _vjp(g: Any, inputs: Any, y: Any, needs: Any, eps: float) -> list[Any]:
    x, w = inputs[:2]
    gs = (g[0], _given(g[1]), _given(g[2]))
    if tls.grad or tls.stack or gs[1] is not None or gs[2] is not None:
        found = _in_steps(gs, x, w, y[1], y[2])
    else:
        found = half_group_norm_grad_op(gs[0], x, w, y[1].detach(), y[2].detach())
    return [t if need else None for t, need in zip(found, needs)]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (x, w, _), (tx, tw, tb) = xs, ts
    mean, scale = y[1], y[2]
    n = int(x._a.shape[-1]) * int(x._a.shape[-2])
    total: Any = None
    t_mean, t_scale = fam.zeros_like(mean), fam.zeros_like(scale)
    if tx is not None:
        t_mean = _mean(tx)
        slope = _over(-(scale**3) * (tx - t_mean) * (x - mean), -2, -1) / n
        total = ((tx - t_mean) * scale + (x - mean) * slope) * w
        # the same with the roles of the factors exchanged: equal but for rounding
        t_scale = _over(-(scale**3) * (x - _mean(x)) * (tx - mean), -2, -1) / n
    if tw is not None:
        part = (x - mean) * scale * tw
        total = part if total is None else total + part
    if tb is not None:
        total = fam.expand(tb, tuple(x._a.shape)) if total is None else total + tb
    return total, t_mean, t_scale


half_group_norm_op: Any = fam.opaque_op(
    _half_group_norm,
    _vjp,
    name="half_group_norm",
    jvp=_jvp,
    n_out=3,
    grad_name="NativeGroupNormBackward0",
)
half_group_norm_op.info["outputs_read"] = (1, 2)  # programs add to the result in place
