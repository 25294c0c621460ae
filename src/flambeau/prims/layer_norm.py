"""Layer normalisation with its weight and bias, over the last dims: for large arrays one kernel each way.

`standardize` and `affine` say the same in two operations; they serve batches, compiled functions and higher derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.state import tls
from ..core.tensor import Tensor, wrap
from .base import reshape
from .norm import (
    _kept,
    _rows,
    _scale,
    _standardize,
    _standardize_grad,
    affine_op,
    saved_statistics,
    standardize_grad_op,
    standardize_op,
)
from .row_kernels import in_order, kernels

__all__ = ["layer_norm_op"]


def _last_dims(x: Any, w: Any) -> Any:
    nd = len(x.shape)
    return tuple(range(nd - len(w.shape), nd))


def _layer_norm(bias: Any, x: Any, weight: Any, *, eps: float, stats: Any = None) -> Any:
    dims = _last_dims(x, weight)
    x = in_order(x)
    rows = _rows(x, dims) if x.size else None
    k = kernels(rows, 9) if rows is not None else None
    if k is None or rows is None:
        y, mean, var = _standardize(x, dims=dims, eps=eps)
        y *= weight
        y += bias
        return y, mean, var
    y, mean, scale = k.layer_norm(rows, in_order(weight).reshape(-1), in_order(bias).reshape(-1), eps=eps)
    kept = _kept(x, dims)
    var = np.maximum(1 / np.square(scale) - scale.dtype.type(eps), 0)
    return y.reshape(x.shape), mean.reshape(kept), var.reshape(kept)


def _at_once(g: Tensor, x: Tensor, w: Tensor, mean: Tensor, var: Tensor, eps: float) -> list[Tensor] | None:
    """The three gradients without operations in between, where nothing but their values is wanted."""
    arrays = [t._a for t in (g, x, w, mean, var)]
    if tls.grad or tls.stack or tls.capture is not None or any(type(a) is not np.ndarray for a in arrays):
        return None
    ga, xa, wa, ma, va = arrays
    dims = _last_dims(xa, wa)
    rows = _rows(xa, dims) if ga.flags.c_contiguous and ga.dtype == xa.dtype else None
    if rows is None:
        return None
    k = kernels(rows, 15)
    if k is None:
        lead = tuple(range(dims[0]))
        z = xa - ma
        z *= _scale(va, eps)
        z *= ga
        sums = np.add.reduce(ga, axis=lead), np.add.reduce(z, axis=lead)
        gx = _standardize_grad(ga * wa, xa, ma, va, dims=dims, eps=eps)
        return [wrap(np.asarray(sums[0])), wrap(gx), wrap(np.asarray(sums[1]))]
    states = ma.reshape(-1), _scale(va, eps).reshape(-1)
    gx, gw, gb = k.layer_norm_backward(ga.reshape(rows.shape), rows, *states, in_order(wa).reshape(-1))
    return [wrap(gb.reshape(wa.shape)), wrap(gx.reshape(xa.shape)), wrap(gw.reshape(wa.shape))]


def _vjp(g: Any, inputs: Any, y: Any, needs: Any, eps: float, stats: Any) -> list[Any]:
    x, w = inputs[1:]
    values = g[0] if isinstance(g, (tuple, list)) else g
    mean, var = saved_statistics(y, eps, stats)
    found = _at_once(values, x, w, mean, var, eps)
    if found is not None:
        return [t if need else None for t, need in zip(found, needs)]
    dims, shape = _last_dims(x._a, w._a), tuple(w._a.shape)
    gb = fam.unbroadcast(values, shape) if needs[0] else None
    gx = standardize_grad_op(values * w, x, mean, var, dims=dims, eps=eps) if needs[1] else None
    gw = None
    if needs[2]:
        gw = fam.unbroadcast(values * standardize_op(x, dims=dims, eps=eps)[0], shape)
    return [gb, gx, gw]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (_, x, w), (tb, tx, tw) = xs, ts
    eps, dims = params["eps"], _last_dims(x._a, w._a)
    total = None
    if tx is not None:
        statistics = saved_statistics(y, eps, params.get("stats"))
        total = standardize_grad_op(tx, x, *statistics, dims=dims, eps=eps) * w
    if tw is not None:
        part = standardize_op(x, dims=dims, eps=eps)[0] * tw
        total = part if total is None else total + part
    if tb is not None:
        part = fam.expand(tb, tuple(x._a.shape))
        total = part if total is None else total + part
    return total, fam.zeros_like(y[1]), fam.zeros_like(y[2])


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    if not (batched[0] or batched[2]):  # more rows of the same
        return layer_norm_op(*args, **params), True
    nd = len(args[2]._a.shape) - batched[2]
    b, x, w = fam.batch_to_front(args, batched, size)
    n = len(x._a.shape)
    y, mean, var = standardize_op(x, dims=tuple(range(n - nd, n)), eps=params["eps"])
    shape = (size, *(1,) * (n - nd - 1), *w._a.shape[1:])
    return (affine_op(y, reshape(w, shape), reshape(b, shape)), mean, var), True


layer_norm_op: Any = fam.opaque_op(
    _layer_norm,
    _vjp,
    name="layer_norm",
    jvp=_jvp,
    batch=_batch,
    n_out=3,
    grad_name="NativeLayerNormBackward0",
)
layer_norm_op.info["save_from"] = 1
layer_norm_op.info["outputs_read"] = (1, 2)
