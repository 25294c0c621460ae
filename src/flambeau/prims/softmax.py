"""Softmax and log-softmax over a dim, each as one primitive: few passes forward, a short rule backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis
from ..core.tensor import Tensor
from .base import sum_op
from .pointwise import exp


def _stable(x: Any, dim: int) -> tuple[Any, Any]:
    top = x.max(axis=dim, keepdims=True) if x.shape and x.shape[dim] else np.zeros((), x.dtype)
    return x - np.where(np.isfinite(top), top, 0), top


def _softmax(x: Any, *, dim: Axis) -> Any:
    dtype = x.dtype
    wide = x.astype(np.float32) if fam.is_half(x) else x
    if not wide.size:
        return x.copy()
    e, _ = _stable(wide, dim)
    np.exp(e, out=e)
    e /= e.sum(axis=dim, keepdims=True)
    return e.astype(dtype, copy=False)


def _log_softmax(x: Any, *, dim: Axis) -> Any:
    dtype = x.dtype
    wide = x.astype(np.float32) if fam.is_half(x) else x
    if not wide.size:
        return x.copy()
    z, _ = _stable(wide, dim)
    z -= np.log(np.exp(z).sum(axis=dim, keepdims=True))
    return z.astype(dtype, copy=False)


def _sum(x: Tensor, dim: int) -> Tensor:
    return fam.keepdims(sum_op(x, dims=(dim,)), len(x._a.shape), (dim,))


softmax_op = fam.opaque_op(
    _softmax,
    (lambda g, y, dim: y * (g - _sum(g * y, dim)),),
    name="softmax",
    jvp=lambda ts, xs, y, p: y * (ts[0] - _sum(y * ts[0], p["dim"])),
)
log_softmax_op = fam.opaque_op(
    _log_softmax,
    (lambda g, y, dim: g - exp(y) * _sum(g, dim),),
    name="log_softmax",
    jvp=lambda ts, xs, y, p: ts[0] - _sum(exp(y) * ts[0], p["dim"]),
)
