"""Normalisation of 16-bit floats: values and first gradients are rounded once, further derivatives in PyTorch's steps.

`channels` says which of two forms: batch norm's, whose statistics are those of channels and rounded before they are
used, or layer norm's. The second derivatives are those of Ioffe and Szegedy's and Ba et al.'s formulas, written with
centred values ``d = x - mean`` and ``r = 1 / sqrt(var + eps)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axes
from ..core.state import tls
from ..core.tensor import Tensor
from .base import convert_to, sum_op
from .norm import _rounded as rounded
from .norm import _scale as scale_of
from .norm import _standardize, _standardize_grad
from .pointwise import rsqrt
from .reductions import half_mean_op

__all__ = ["half_standardize_op"]


def _half_standardize(x: Any, w: Any, b: Any, *, dims: Axes, eps: float, channels: bool) -> Any:
    """`w` and `b` have as many dims as `x`, of size 1 where they are shared; mean and variance are float32."""
    own, axes = x.dtype, Axes(dims)
    x, w, b = (fam.wide(a) for a in (x, w, b))
    if channels:
        n = math.prod([x.shape[d] for d in axes])
        mean = np.add.reduce(x, axis=axes, keepdims=True) / x.dtype.type(n)
        squares = np.add.reduce(np.square(x - mean), axis=axes, keepdims=True)
        if own.kind == "V":  # bfloat16, whose variance PyTorch rounds; float16's it does not
            squares = rounded(squares, own)
        var = squares / x.dtype.type(n)
        if own.kind == "V":
            var = rounded(var, own)
        y = (x - rounded(mean, own)) * rounded(scale_of(var, eps), own)
    else:
        y, mean, var = _standardize(x, dims=axes, eps=eps)
    y *= w
    y += b
    return y.astype(own), mean, var


def _half_standardize_grad(
    g: Any, x: Any, w: Any, mean: Any, scale: Any, *, dims: Axes, eps: float, channels: bool
) -> Any:
    """The gradients in `x`, `w` and `b`."""
    own = x.dtype
    g, x, w, mean, scale = (fam.wide(a) for a in (g, x, w, mean, scale))
    var = 1 / np.square(scale) - scale.dtype.type(eps)
    gx = _standardize_grad(np.ascontiguousarray(g * w), x, mean, var, dims=Axes(dims), eps=eps)
    shared = tuple([d for d, n in enumerate(w.shape) if n == 1])
    along = np.add.reduce(g * ((x - mean) * scale), axis=shared, keepdims=True)
    level = np.add.reduce(g, axis=shared, keepdims=True)
    return gx.astype(own), along.astype(own), level.astype(own)


def _kept(x: Tensor, y: Any, eps: float) -> tuple[Tensor, Tensor]:
    """The mean and 1 / sqrt(var + eps) in the input's dtype, as PyTorch keeps them for the gradient."""
    mean, var = y[1].detach(), y[2].detach()
    mean, scale = (convert_to(t, x._a.dtype) for t in (mean, rsqrt(var + eps)))
    return mean, scale


def _total(t: Tensor, dims: Any, channels: bool) -> Tensor:
    """Sums, rounded once, or after each dim, the first one and then the last ones: so PyTorch sums over channels."""
    nd = len(t._a.shape)
    for part in ((dims[0],), *[(d,) for d in reversed(dims[1:])]) if channels else (dims,):
        t = fam.keepdims(sum_op(t, dims=part), nd, part)
    return t


def _mean(t: Tensor, dims: Any) -> Tensor:
    return fam.keepdims(half_mean_op(t, dims=dims), len(t._a.shape), dims)


def _vjp(g: Any, inputs: Any, y: Any, needs: Any, dims: Any, eps: float, channels: bool) -> list[Any]:
    x, w = inputs[:2]
    values = g[0] if isinstance(g, (tuple, list)) else g
    found = half_standardize_grad_op(values, x, w, *_kept(x, y, eps), dims=dims, eps=eps, channels=channels)
    return [t if need else None for t, need in zip(found, needs)]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (x, w, _), (tx, tw, tb) = xs, ts
    dims = params["dims"]
    n = math.prod([x._a.shape[d] for d in dims])
    mean, r = _kept(x, y, params["eps"])
    total: Any = None
    if tx is not None:
        moved = tx - _mean(tx, dims)
        tr = _total(-(r**3) * moved * (x - mean), dims, False) / n
        total = (moved * r + (x - mean) * tr) * w
    if tw is not None:
        part = (x - mean) * r * tw
        total = part if total is None else total + part
    if tb is not None:
        total = fam.expand(tb, tuple(x._a.shape)) if total is None else total + tb
    return total, fam.zeros_like(y[1]), fam.zeros_like(y[2])


def _second(hs: Any, inputs: Any, y: Any, needs: Any, dims: Any, eps: float, channels: bool) -> list[Any]:
    """From the cotangents of the three gradients to those of `g`, `x` and `w`."""
    g, x, w, mean, r = inputs
    hx, hw, hb = (fam.zeros_like(t) if h is None else h for h, t in zip(hs, (x, w, w)))
    n = math.prod([x._a.shape[d] for d in dims])
    if tls.grad or tls.stack:  # to be differentiated again: as functions of x, with the values that they have
        own = _mean(x, dims)
        scale = rsqrt(_mean((x - own) * (x - own), dims) + eps)
        mean, r = mean + (own - own.detach()), r + (scale - scale.detach())
    d = x - mean
    r2, r3 = r**2, r**3
    dr3 = d * r3

    def total(t: Tensor) -> Tensor:
        return _total(t, dims, channels)

    def first(t: Any, scale: Any) -> Any:
        """The first gradient in x, of a cotangent `t`."""
        return scale / n * (t * n - total(t) - d * r2 * total(t * d))

    def in_x() -> Any:
        e = g if channels else g * w
        level, along = total(e), total(e * d)
        h_level, h_along = total(hx), total(hx * d)
        inner = h_level * level / n - total(hx * e) + r2 * along * h_along * (3.0 / n)
        found = dr3 * inner / n + h_along * r3 / n * (level / n - e) + along * r3 / n * (h_level / n - hx)
        e = g if channels else g * hw
        of_w = e * r + r * total(e) / -n + dr3 * total(e * d) / -n
        return w * found + hw * of_w if channels else found + of_w

    def in_w() -> Any:
        part = hx * first(g, r) if channels else g * first(hx, r)
        shared = tuple([i for i, size in enumerate(w._a.shape) if size == 1])
        return _total(part, shared, channels) if shared else part

    def in_g() -> Any:
        return first(hx, w * r) + hw * d * r + hb

    rules = (in_g, in_x, in_w)
    return [rule() if need else None for rule, need in zip(rules, needs)] + [None, None]


half_standardize_grad_op: Any = fam.opaque_op(
    _half_standardize_grad,
    _second,
    name="half_standardize_grad",
    n_out=3,
    grad_name="NativeLayerNormBackwardBackward0",
)
half_standardize_op: Any = fam.opaque_op(
    _half_standardize,
    _vjp,
    name="half_standardize",
    jvp=_jvp,
    n_out=3,
    grad_name="NativeLayerNormBackward0",
)
half_standardize_op.info["outputs_read"] = (1, 2)  # programs add to the result in place
