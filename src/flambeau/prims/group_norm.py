"""Group normalisation with its weight and bias: for large arrays one kernel each way.

`standardize` and `affine` say the same in two operations; they serve compiled functions and higher derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.state import tls
from ..core.tensor import Tensor, wrap
from .base import reshape, sum_op
from .norm import _scale, affine_op, standardize_grad_op, standardize_op
from .row_kernels import in_order, kernels

__all__ = ["group_norm_op"]


def _kernels(x: Any, *others: Any) -> Any:
    """`compiler.groups` when it should do this array's work, else None."""
    if any(a.dtype != x.dtype for a in others) or kernels(x, 12) is None:
        return None
    from ..compiler import groups

    return groups


def _fit(v: Any, nd: int) -> Any:
    """An array with a number for each channel, so that it broadcasts."""
    return v.reshape(-1, *(1,) * (nd - 2))


def _grouped(x: Any, groups: int) -> tuple[int, int, int]:
    size = 1
    for n in x.shape:
        size *= n
    return x.shape[0], groups, size // (x.shape[0] * groups)


def _group_norm(bias: Any, x: Any, weight: Any, *, groups: int, eps: float) -> Any:
    x = in_order(x)
    k = _kernels(x, weight, bias)
    if k is not None:
        return k.group_norm(x, weight, bias, groups, eps)
    rows = x.reshape(_grouped(x, groups))
    n = x.dtype.type(rows.shape[2])
    mean = np.add.reduce(rows, axis=2, keepdims=True) / n
    y = rows - mean
    var = np.add.reduce(np.square(y), axis=2, keepdims=True) / n
    y *= _scale(var, eps)
    y = y.reshape(x.shape)
    y *= _fit(weight, x.ndim)
    y += _fit(bias, x.ndim)
    return y, mean[..., 0], var[..., 0]


def _at_once(g: Tensor, x: Tensor, w: Tensor, mean: Tensor, var: Tensor, eps: float) -> list[Tensor] | None:
    """The three gradients without operations in between, where nothing but their values is wanted."""
    arrays = [t._a for t in (g, x, w, mean, var)]
    if tls.grad or tls.stack or tls.capture is not None or any(type(a) is not np.ndarray for a in arrays):
        return None
    ga, xa, wa, ma, va = arrays
    ga, xa = in_order(ga), in_order(xa)
    k = _kernels(xa, ga, wa, ma, va)
    if k is not None:
        gx, gw, gb = k.group_norm_backward(ga, xa, wa, ma, va, eps)
        return [wrap(gb), wrap(gx), wrap(gw)]
    shape = _grouped(xa, ma.shape[1])
    scale, n = _scale(va, eps)[..., None], xa.dtype.type(shape[2])
    y = xa.reshape(shape) - ma[..., None]
    y *= scale
    dims = (0, *range(2, xa.ndim))
    gb, gw = np.add.reduce(ga, axis=dims), np.add.reduce(ga * y.reshape(xa.shape), axis=dims)
    gy = (ga * _fit(wa, xa.ndim)).reshape(shape)
    share = np.add.reduce(gy * y, axis=2, keepdims=True) / n
    y *= share
    gy -= np.add.reduce(gy, axis=2, keepdims=True) / n
    gy -= y
    gy *= scale
    return [wrap(np.asarray(gb)), wrap(gy.reshape(xa.shape)), wrap(np.asarray(gw))]


def _wide(v: Tensor, x: Tensor) -> Tensor:
    return reshape(v, (v._a.shape[0], *(1,) * (len(x._a.shape) - 2)))


def _standard(x: Tensor, groups: int, eps: float) -> Tensor:
    rows = reshape(x, _grouped(x._a, groups))
    return reshape(standardize_op(rows, dims=(2,), eps=eps)[0], tuple(x._a.shape))


def _jacobian(t: Tensor, x: Tensor, mean: Tensor, var: Tensor, groups: int, eps: float) -> Tensor:
    """What standardisation makes of a tangent, or a cotangent: its Jacobian is symmetric."""
    shape = _grouped(x._a, groups)
    kept = [reshape(v, (*shape[:2], 1)) for v in (mean, var)]
    found = standardize_grad_op(reshape(t, shape), reshape(x, shape), *kept, dims=(2,), eps=eps)
    return reshape(found, tuple(x._a.shape))


def _vjp(g: Any, inputs: Any, y: Any, needs: Any, groups: int, eps: float) -> list[Any]:
    x, w = inputs[1:]
    values = g[0] if isinstance(g, (tuple, list)) else g
    mean, var = y[1].detach(), y[2].detach()
    found = _at_once(values, x, w, mean, var, eps)
    if found is not None:
        return [t if need else None for t, need in zip(found, needs)]
    dims = (0, *range(2, len(x._a.shape)))
    gb = sum_op(values, dims=dims) if needs[0] else None
    gx = _jacobian(values * _wide(w, x), x, mean, var, groups, eps) if needs[1] else None
    gw = sum_op(values * _standard(x, groups, eps), dims=dims) if needs[2] else None
    return [gb, gx, gw]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (_, x, w), (tb, tx, tw) = xs, ts
    groups, eps = params["groups"], params["eps"]
    total = None
    if tx is not None:
        total = _jacobian(tx, x, y[1].detach(), y[2].detach(), groups, eps) * _wide(w, x)
    if tw is not None:
        part = _standard(x, groups, eps) * _wide(tw, x)
        total = part if total is None else total + part
    if tb is not None:
        part = fam.expand(_wide(tb, x), tuple(x._a.shape))
        total = part if total is None else total + part
    return total, fam.zeros_like(y[1]), fam.zeros_like(y[2])


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Examples become images."""
    groups, eps = params["groups"], params["eps"]
    b, x, w = args
    s = tuple(x._a.shape)
    if not (batched[0] or batched[2]):
        y, mean, var = group_norm_op(b, reshape(x, (s[0] * s[1], *s[2:])), w, **params)
        return (reshape(y, s), *[reshape(v, (s[0], s[1], groups)) for v in (mean, var)]), True
    b, x, w = fam.batch_to_front(args, batched, size)
    s = tuple(x._a.shape)
    flat = reshape(x, (s[0] * s[1], *s[2:]))
    rows = reshape(flat, _grouped(flat._a, groups))
    y, mean, var = standardize_op(rows, dims=(2,), eps=eps)
    shape = (size, 1, s[2], *(1,) * (len(s) - 3))
    y = affine_op(reshape(y, s), reshape(w, shape), reshape(b, shape))
    return (y, *[reshape(v, (s[0], s[1], groups)) for v in (mean, var)]), True


group_norm_op: Any = fam.opaque_op(
    _group_norm,
    _vjp,
    name="group_norm",
    jvp=_jvp,
    batch=_batch,
    n_out=3,
    grad_name="NativeGroupNormBackward0",
)
group_norm_op.info["save_from"] = 1
group_norm_op.info["outputs_read"] = (1, 2)
