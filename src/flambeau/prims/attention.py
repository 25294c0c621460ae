"""Attention as a primitive: softmax(q k^T scale) v, without keeping the weights for the gradient.

Two results: the values, and the logarithm of each query's sum of exponentials, from which the gradient computes the
weights again.  Only the values carry a derivative.  Second derivatives are written with the weights, in operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.tensor import Tensor
from . import products
from .base import from_value
from .contract import adjoint, matmul_op
from .pointwise import where_op
from .row_kernels import FLOATS
from .softmax import softmax_grad_op, softmax_op

__all__ = ["attention_grad_op", "attention_op", "pays"]

WORTH = 1 << 18  # multiplications from which it is better than its parts
FEW = 16  # queries or keys below which the weights are a small matrix


def pays(q: Any, k: Any, v: Any) -> bool:
    """Whether arrays of equal leading dims are worth one operation instead of several."""
    return (
        q.dtype in FLOATS
        and k.dtype == v.dtype == q.dtype
        and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        and k.shape[-2] == v.shape[-2]
        and q.shape[-1] == k.shape[-1] > 0
        and min(q.shape[-2], k.shape[-2]) >= FEW
        and math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]) >= WORTH
    )


def _kernels(q: Any, k: Any) -> Any:
    """`compiler.attention` where generated code does this, else None."""
    work = q.size * k.shape[-2]
    if q.dtype not in FLOATS or products.kernels(work) is None:
        return None
    from ..compiler import attention

    return attention


def _batched(x: Any) -> Any:
    """With four dims: (batch, heads, length, size)."""
    n = x.ndim
    return (
        x if n == 4 else x.reshape(-1, *x.shape[-3:]) if n > 4 else x.reshape((1,) * (4 - n) + x.shape[-4:])
    )


def _laid_out(x: Any, like: Any) -> Any:
    """A result with the dims of `like`; the heads of a place lie side by side, as PyTorch has them."""
    places = x.transpose(0, 2, 1, 3)
    x = (places if places.flags.c_contiguous else np.ascontiguousarray(places)).transpose(0, 2, 1, 3)
    if like.ndim == 4:
        return x
    return np.ascontiguousarray(x.reshape(*like.shape[:-1], x.shape[-1]))


def _weights(q: Any, k: Any, scale: float, causal: bool) -> tuple[Any, Any]:
    """The weights, and each query's log-sum."""
    s = products.matmul(q, k.swapaxes(-1, -2))
    s *= s.dtype.type(scale)
    if causal:
        s[..., ~np.tril(np.ones(s.shape[-2:], bool))] = -math.inf
    top = np.maximum.reduce(s, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        s -= top
        np.exp(s, out=s)
        total = np.add.reduce(s, axis=-1, keepdims=True)
        s /= total
        return s, (top + np.log(total))[..., 0]


def _attention(q: Any, k: Any, v: Any, *, scale: float, causal: bool) -> Any:
    a, b, c = (_batched(x) for x in (q, k, v))
    kernels = _kernels(a, b)
    if kernels is not None:
        o, lse = kernels.attention(a, b, c, scale, causal)
    else:
        weights, lse = _weights(a, b, scale, causal)
        o = products.matmul(weights, c)
    return _laid_out(o, q), lse.reshape(q.shape[:-1])


def _attention_grad(g: Any, q: Any, k: Any, v: Any, o: Any, lse: Any, *, scale: float, causal: bool) -> Any:
    g4, q4, k4, v4, o4 = (_batched(x) for x in (g, q, k, v, o))
    kernels = _kernels(q4, k4)
    if kernels is not None:
        grads = kernels.attention_backward(g4, q4, k4, v4, o4, lse.reshape(q4.shape[:3]), scale, causal)
    else:
        weights, _ = _weights(q4, k4, scale, causal)
        gv = products.matmul(weights.swapaxes(-1, -2), g4)
        d = products.matmul(g4, v4.swapaxes(-1, -2))
        d -= np.add.reduce(d * weights, axis=-1, keepdims=True)
        d *= weights
        d *= d.dtype.type(scale)
        grads = products.matmul(d, k4), products.matmul(d.swapaxes(-1, -2), q4), gv
    return tuple([_laid_out(x, like) for x, like in zip(grads, (q, k, v))])


def _weights_of(q: Tensor, k: Tensor, scale: float, causal: bool) -> Tensor:
    s = matmul_op(q, adjoint(k)) * scale
    if causal:
        s = where_op(from_value(np.tril(np.ones(tuple(s._a.shape)[-2:], bool))), s, -math.inf)
    return softmax_op(s, dim=len(s._a.shape) - 1)  # type: ignore[no-any-return]


def _slope(t: Tensor, w: Tensor) -> Tensor:
    """The derivative of the softmax with result `w`; it is symmetric."""
    return softmax_grad_op(t, w, dim=len(w._a.shape) - 1)  # type: ignore[no-any-return]


def _vjp(g: Any, q: Tensor, k: Tensor, v: Tensor, y: Any, scale: float, causal: bool) -> Any:
    return attention_grad_op(g[0], q, k, v, y[0].detach(), y[1].detach(), scale=scale, causal=causal)


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (q, k, v), scale = xs, params["scale"]
    tq, tk, tv = (fam.zeros_like(x) if t is None else t for t, x in zip(ts, xs))
    w = _weights_of(q, k, scale, params["causal"])
    s = (matmul_op(tq, adjoint(k)) + matmul_op(q, adjoint(tk))) * scale
    return matmul_op(_slope(s, w), v) + matmul_op(w, tv), fam.zeros_like(y[1])


def _grad_vjp(h: Any, g: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Any:
    """The gradients in g, q, k and v of ``<hq, dq> + <hk, dk> + <hv, dv>``.

    With the weights w = softmax(s), p = g v^T and d = J(w) p, where J is the softmax's (symmetric) Jacobian, the
    gradients are dq = scale d k, dk = scale d^T q and dv = w^T g.
    """
    hq, hk, hv = h
    w = _weights_of(q, k, scale, causal)
    p = matmul_op(g, adjoint(v))
    d = _slope(p, w)
    in_d = (matmul_op(hq, adjoint(k)) + matmul_op(q, adjoint(hk))) * scale
    in_p = _slope(in_d, w)

    def total(x: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True)  # type: ignore[no-any-return]

    in_w = in_d * (p - total(p * w)) - p * total(in_d * w) + matmul_op(g, adjoint(hv))
    in_s = _slope(in_w, w) * scale
    d = d * scale
    return [
        matmul_op(w, hv) + matmul_op(in_p, v),
        matmul_op(in_s, k) + matmul_op(d, hk),
        matmul_op(adjoint(in_s), q) + matmul_op(adjoint(d), hq),
        matmul_op(adjoint(in_p), g),
        None,
        None,
    ]


attention_grad_op: Any = fam.opaque_op(
    _attention_grad,
    _grad_vjp,
    name="attention_grad",
    n_out=3,
    grad_name="ScaledDotProductFlashAttentionForCpuBackwardBackward0",
)
attention_op: Any = fam.opaque_op(
    _attention,
    _vjp,
    name="attention",
    jvp=_jvp,
    n_out=2,
    grad_name="ScaledDotProductFlashAttentionForCpuBackward0",
)
