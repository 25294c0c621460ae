"""Division by the root mean square over the last dims, times a weight: for large arrays one kernel each way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.state import tls
from ..core.tensor import Tensor, wrap
from .base import reshape, sum_op
from .pointwise import rsqrt
from .row_kernels import in_order, kernels

__all__ = ["rms_norm_op"]


def _rows(x: Any, w: Any) -> Any:
    return x.reshape(-1, w.size)


def _rms_norm(x: Any, weight: Any, *, eps: float) -> Any:
    x = in_order(x)
    kept = (*x.shape[: x.ndim - weight.ndim], *(1,) * weight.ndim)
    k = kernels(x, 6) if x.size and weight.dtype == x.dtype else None
    if k is not None:
        y, scale = k.rms_norm(_rows(x, weight), in_order(weight).reshape(-1), eps)
        return y.reshape(x.shape), scale.reshape(kept)
    dims = tuple(range(x.ndim - weight.ndim, x.ndim))
    n = x.dtype.type(weight.size)
    scale = 1 / np.sqrt(np.add.reduce(np.square(x), axis=dims, keepdims=True) / n + x.dtype.type(eps))
    y = x * scale
    y *= weight
    return y, np.asarray(scale).reshape(kept)


def _at_once(g: Tensor, x: Tensor, w: Tensor, scale: Tensor) -> list[Tensor] | None:
    """The two gradients without operations in between, where nothing but their values is wanted."""
    arrays = [t._a for t in (g, x, w, scale)]
    if tls.grad or tls.stack or tls.capture is not None or any(type(a) is not np.ndarray for a in arrays):
        return None
    ga, xa, wa, sa = arrays
    ga, xa = in_order(ga), in_order(xa)
    k = kernels(xa, 10) if xa.size and ga.dtype == xa.dtype == wa.dtype else None
    if k is not None:
        gx, gw = k.rms_norm_backward(_rows(ga, wa), _rows(xa, wa), sa.reshape(-1), in_order(wa).reshape(-1))
        return [wrap(gx.reshape(xa.shape)), wrap(gw.reshape(wa.shape))]
    lead, dims = (tuple(range(*r)) for r in ((xa.ndim - wa.ndim,), (xa.ndim - wa.ndim, xa.ndim)))
    y = xa * sa
    gy = ga * y
    gw = np.add.reduce(gy, axis=lead)
    gy *= wa
    y *= np.add.reduce(gy, axis=dims, keepdims=True) / xa.dtype.type(max(wa.size, 1))
    gx = ga * wa
    gx -= y
    gx *= sa
    return [wrap(gx), wrap(np.asarray(gw))]


def _scale(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return rsqrt(_mean(x * x, dims) + eps)  # type: ignore[no-any-return]


def _mean(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    n = math.prod([x._a.shape[d] for d in dims])
    return fam.keepdims(sum_op(x, dims=dims), len(x._a.shape), dims) / n  # type: ignore[no-any-return]


def _dims(x: Tensor, w: Tensor) -> tuple[int, ...]:
    nd = len(x._a.shape)
    return tuple(range(nd - len(w._a.shape), nd))


def _slope(t: Tensor, x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """The derivative of x / rms(x) along `t`; it is symmetric."""
    r = _scale(x, dims, eps)
    y = x * r
    return (t - y * _mean(t * y, dims)) * r  # type: ignore[no-any-return]


def _vjp(g: Any, x: Tensor, weight: Tensor, y: Any, needs: Any, eps: float) -> list[Any]:
    values = g[0] if isinstance(g, (tuple, list)) else g
    found = _at_once(values, x, weight, y[1].detach())
    if found is not None:
        return [t if need else None for t, need in zip(found, needs)]
    dims = _dims(x, weight)
    gx = _slope(values * weight, x, dims, eps) if needs[0] else None
    gw = fam.unbroadcast(values * (x * _scale(x, dims, eps)), tuple(weight._a.shape)) if needs[1] else None
    return [gx, gw]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (x, w), (tx, tw), eps = xs, ts, params["eps"]
    dims = _dims(x, w)
    total = None
    if tx is not None:
        total = _slope(tx, x, dims, eps) * w
    if tw is not None:
        part = x * _scale(x, dims, eps) * tw
        total = part if total is None else total + part
    return total, fam.zeros_like(y[1])


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    if not batched[1]:  # more rows of the same
        return rms_norm_op(*args, **params), True
    x, w = fam.batch_to_front(args, batched, size)
    n, nd = len(x._a.shape), len(w._a.shape) - 1
    r = _scale(x, tuple(range(n - nd, n)), params["eps"])
    return (x * r * reshape(w, (size, *(1,) * (n - nd - 1), *w._a.shape[1:])), r), True


rms_norm_op: Any = fam.opaque_op(
    _rms_norm, _vjp, name="rms_norm", jvp=_jvp, batch=_batch, n_out=2, grad_name="MulBackward0"
)
rms_norm_op.info["outputs_read"] = (1,)
