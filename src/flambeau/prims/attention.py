"""Attention as a primitive: softmax(q k^T scale + mask) v, without keeping the weights for the gradient.

The values, and the logarithm of each query's sum of exponentials, from which the gradient computes the weights again;
with dropout also the random generator's state, from which it draws the same numbers again (`attention_parts`).  Only
the values carry a derivative.  Second derivatives are written with the weights, in operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.tensor import Tensor
from . import attention_parts as parts
from .base import from_value
from .contract import adjoint, matmul_op
from .pointwise import where_op
from .row_kernels import FLOATS
from .softmax import softmax_grad_op, softmax_op

__all__ = [
    "attention_grad_op",
    "attention_op",
    "dropped_attention_grad_op",
    "dropped_attention_op",
    "masked_attention_grad_op",
    "masked_attention_op",
    "pays",
    "safe_softmax",
]

WORTH = 1 << 18  # multiplications from which it is better than its parts
FEW = 16  # queries or keys below which the weights are a small matrix


def pays(q: Any, k: Any, v: Any, mask: Any = None) -> bool:
    """Whether arrays of equal leading dims, and a mask that broadcasts, are worth one operation instead of several."""
    if not (
        q.dtype in FLOATS
        and k.dtype == v.dtype == q.dtype
        and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        and k.shape[-2] == v.shape[-2]
        and q.shape[-1] == k.shape[-1] > 0
        and min(q.shape[-2], k.shape[-2]) >= FEW
        and math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]) >= WORTH
    ):
        return False
    if mask is None:
        return True
    whole = (*q.shape[:-1], k.shape[-2])
    return (
        (mask.dtype.kind == "b" or mask.dtype == q.dtype)
        and len(mask.shape) <= len(whole)
        and all(n in (1, m) for n, m in zip(mask.shape[::-1], whole[::-1]))
    )


# ---------------------------------------------------------------------------------------------------- what runs


def _attention(q: Any, k: Any, v: Any, *, scale: float, causal: bool) -> Any:
    return parts.forward(q, k, v, None, scale, causal)


def _attention_grad(g: Any, q: Any, k: Any, v: Any, o: Any, lse: Any, *, scale: float, causal: bool) -> Any:
    return parts.backward(g, q, k, v, None, o, lse, scale, causal, False)[:3]


def _masked_attention(q: Any, k: Any, v: Any, mask: Any, *, scale: float) -> Any:
    return parts.forward(q, k, v, mask, scale, False)


def _masked_attention_grad(
    g: Any, q: Any, k: Any, v: Any, mask: Any, o: Any, lse: Any, *, scale: float, bias: bool
) -> Any:
    return parts.backward(g, q, k, v, mask, o, lse, scale, False, bias)


def _dropped_attention(
    q: Any, k: Any, v: Any, mask: Any, *, scale: float, causal: bool, p: float, generator: Any
) -> Any:
    return parts.forward_dropped(q, k, v, mask, scale, causal, p, generator)


def _dropped_attention_grad(
    g: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    o: Any,
    lse: Any,
    state: Any,
    *,
    scale: float,
    causal: bool,
    p: float,
    bias: bool,
) -> Any:
    return parts.backward_dropped(g, q, k, v, mask, o, lse, state, scale, causal, p, bias)


def _attention_noise(state: Any, *, shape: fam.Shape, p: float, dtype: Any) -> Any:
    """What dropout multiplies the weights by."""
    return parts.noise(state, tuple(shape), p, dtype)


def _one_draw(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    raise RuntimeError("vmap: the draws of an attention's dropout belong to one call and cannot be batched")


attention_noise_op: Any = fam.opaque_op(
    _attention_noise, None, name="attention_noise", batch=_one_draw, differentiable=False
)

# ---------------------------------------------------------------------------------------------------- derivatives


def safe_softmax(s: Tensor) -> Tensor:
    """Softmax over the last dim; zeros for a row of minus infinity, which stands for a query that sees nothing."""
    last = len(s._a.shape) - 1
    seen = (s != -math.inf).any(-1, keepdim=True)
    # Such scores are replaced before, so that no derivative meets infinity minus infinity.
    return where_op(seen, softmax_op(where_op(seen, s, 0.0), dim=last), 0.0)  # type: ignore[no-any-return]


def _weights_of(q: Tensor, k: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    """The weights."""
    s = matmul_op(q, adjoint(k)) * scale
    if causal:
        s = where_op(from_value(np.tril(np.ones(tuple(s._a.shape)[-2:], bool))), s, -math.inf)
    if mask is None:
        return softmax_op(s, dim=len(s._a.shape) - 1)  # type: ignore[no-any-return]
    return safe_softmax(where_op(mask, s, -math.inf) if mask._a.dtype.kind == "b" else s + mask)


def _slope(t: Tensor, w: Tensor) -> Tensor:
    """The derivative of the softmax with result `w`; it is symmetric."""
    return softmax_grad_op(t, w, dim=len(w._a.shape) - 1)  # type: ignore[no-any-return]


def _kept(weights: Tensor, noise: Tensor | None) -> Tensor:
    return weights if noise is None else weights * noise


def _noise(q: Tensor, k: Tensor, state: Tensor, p: float) -> Tensor:
    shape = (*q._a.shape[:-1], k._a.shape[-2])
    return attention_noise_op(state, shape=shape, p=p, dtype=q._a.dtype)  # type: ignore[no-any-return]


def _tangent(
    ts: Sequence[Any],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    noise: Tensor | None,
    scale: float,
    causal: bool,
) -> Tensor:
    """The tangent of the values."""
    tq, tk, tv = (fam.zeros_like(x) if t is None else t for t, x in zip(ts, (q, k, v)))
    w = _weights_of(q, k, mask, scale, causal)
    s = (matmul_op(tq, adjoint(k)) + matmul_op(q, adjoint(tk))) * scale
    if len(ts) > 3 and ts[3] is not None:
        s = s + ts[3]
    return matmul_op(_kept(_slope(s, w), noise), v) + matmul_op(_kept(w, noise), tv)  # type: ignore[no-any-return]


def _second(
    h: Sequence[Any],
    g: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    noise: Tensor | None,
    scale: float,
    causal: bool,
) -> tuple[list[Any], Tensor]:
    """The gradients in g, q, k and v, and that in the scores, of ``<hq, dq> + <hk, dk> + <hv, dv> + <hm, dm>``.

    With the weights w = softmax(s), dropout's factors n, p = n (g v^T) and d = J(w) p, where J is the softmax's
    (symmetric) Jacobian, the gradients are dq = scale d k, dk = scale d^T q, dv = (n w)^T g and dm = d.
    """
    hq, hk, hv, hm = h
    w = _weights_of(q, k, mask, scale, causal)
    p = _kept(matmul_op(g, adjoint(v)), noise)
    d = _slope(p, w)
    in_d = (matmul_op(hq, adjoint(k)) + matmul_op(q, adjoint(hk))) * scale
    if hm is not None:
        in_d = in_d + hm
    in_p = _kept(_slope(in_d, w), noise)

    def total(x: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True)  # type: ignore[no-any-return]

    in_w = in_d * (p - total(p * w)) - p * total(in_d * w) + _kept(matmul_op(g, adjoint(hv)), noise)
    in_s = _slope(in_w, w)
    scaled, d = in_s * scale, d * scale
    return [
        matmul_op(_kept(w, noise), hv) + matmul_op(in_p, v),
        matmul_op(scaled, k) + matmul_op(d, hk),
        matmul_op(adjoint(scaled), q) + matmul_op(adjoint(d), hq),
        matmul_op(adjoint(in_p), g),
    ], in_s


def _mask_part(in_s: Tensor, mask: Tensor | None, wanted: bool) -> Any:
    return fam.unbroadcast(in_s, tuple(mask._a.shape)) if wanted and mask is not None else None


# ---- plain ----


def _vjp(g: Any, q: Tensor, k: Tensor, v: Tensor, y: Any, scale: float, causal: bool) -> Any:
    return attention_grad_op(g[0], q, k, v, y[0].detach(), y[1].detach(), scale=scale, causal=causal)


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    t = _tangent(ts, xs[0], xs[1], xs[2], None, None, params["scale"], params["causal"])
    return t, fam.zeros_like(y[1])


def _grad_vjp(h: Any, g: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Any:
    return [*_second((*h, None), g, q, k, v, None, None, scale, causal)[0], None, None]


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

# ---- with a mask ----


def _masked_vjp(
    g: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, y: Any, needs: Any, scale: float
) -> Any:
    o, lse = y[0].detach(), y[1].detach()
    found = masked_attention_grad_op(g[0], q, k, v, mask, o, lse, scale=scale, bias=needs[3])
    return [*found[:3], found[3] if needs[3] else None]


def _masked_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    q, k, v, mask = xs
    return _tangent(ts, q, k, v, mask, None, params["scale"], False), fam.zeros_like(y[1])


def _masked_grad_vjp(
    h: Any, g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, needs: Any, scale: float, bias: bool
) -> Any:
    found, in_s = _second((*h[:3], h[3] if bias else None), g, q, k, v, mask, None, scale, False)
    return [*found, _mask_part(in_s, mask, needs[4]), None, None]


masked_attention_grad_op: Any = fam.opaque_op(
    _masked_attention_grad,
    _masked_grad_vjp,
    name="masked_attention_grad",
    n_out=4,
    grad_name="ScaledDotProductFlashAttentionForCpuBackwardBackward0",
)
masked_attention_op: Any = fam.opaque_op(
    _masked_attention,
    _masked_vjp,
    name="masked_attention",
    jvp=_masked_jvp,
    n_out=2,
    grad_name="ScaledDotProductFlashAttentionForCpuBackward0",
)

# ---- with dropout, with or without a mask ----


def _dropped_vjp(
    g: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    y: Any,
    needs: Any,
    scale: float,
    causal: bool,
    p: float,
) -> Any:
    o, lse, state = (x.detach() for x in y)
    bias = len(needs) > 3 and needs[3]
    found = dropped_attention_grad_op(
        g[0], q, k, v, mask, o, lse, state, scale=scale, causal=causal, p=p, bias=bias
    )
    return [*found[:3], found[3] if bias else None]


def _dropped_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    q, k, v, mask = xs
    noise = _noise(q, k, y[2].detach(), params["p"])
    t = _tangent(ts, q, k, v, mask, noise, params["scale"], params["causal"])
    return t, fam.zeros_like(y[1]), fam.zeros_like(y[2])


def _dropped_grad_vjp(
    h: Any,
    g: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    state: Tensor,
    needs: Any,
    scale: float,
    causal: bool,
    p: float,
    bias: bool,
) -> Any:
    noise = _noise(q, k, state, p)
    found, in_s = _second((*h[:3], h[3] if bias else None), g, q, k, v, mask, noise, scale, causal)
    return [*found, _mask_part(in_s, mask, needs[4]), None, None, None]


def _dropped_grad_batch(
    size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]
) -> Any:
    """Cotangents (and more) of several examples; the draws are one call's, and serve them all."""
    if batched[7]:
        return _one_draw(size, batched, args, params)
    scale, bias = params["scale"], params["bias"]
    q, k = ((x[0] if b else x) for x, b in zip(args[1:3], batched[1:3]))
    noise = _noise(q, k, args[7], params["p"])
    g, q, k, v, mask = fam.batch_to_front(args[:5], batched[:5], size)
    w = _weights_of(q, k, mask, scale, params["causal"])
    d = _slope(matmul_op(g, adjoint(v)) * noise, w)
    scaled = d * scale
    more = fam.unbroadcast(d, tuple(mask._a.shape)) if bias else d[..., :0, :0]
    return (matmul_op(scaled, k), matmul_op(adjoint(scaled), q), matmul_op(adjoint(w * noise), g), more), True


dropped_attention_grad_op: Any = fam.opaque_op(
    _dropped_attention_grad,
    _dropped_grad_vjp,
    batch=_dropped_grad_batch,
    name="dropped_attention_grad",
    n_out=4,
    grad_name="ScaledDotProductFlashAttentionForCpuBackwardBackward0",
)
dropped_attention_op: Any = fam.opaque_op(
    _dropped_attention,
    _dropped_vjp,
    name="dropped_attention",
    jvp=_dropped_jvp,
    batch=_one_draw,
    n_out=3,
    grad_name="UnsafeViewBackward0",
)
dropped_attention_op.info["draws"] = True  # not a constant of a replay, though no input may differ
