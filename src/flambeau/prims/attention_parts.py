"""Attention and its gradients on arrays: by generated code, or NumPy with the weights; dropout by parts.

What dropout keeps is drawn for a part of the queries at a time, in the order in which PyTorch draws for the weights,
and drawn again for the gradients: neither the weights nor the draws ever exist as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..runtime import distributions
from ..runtime.mt19937 import Generator
from . import products
from .row_kernels import FLOATS

__all__ = ["backward", "backward_dropped", "forward", "forward_dropped", "noise"]

DRAWN = 1 << 20  # draws of a part
_BOOL = np.dtype(bool)


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
    if n == 4:
        return x
    return x.reshape(-1, *x.shape[-3:]) if n > 4 else x.reshape((1,) * (4 - n) + x.shape)


def _batched_mask(mask: Any, q: Any) -> Any:
    """With four dims, of which those that serve several keep the size 1; None for None."""
    if mask is None:
        return None
    mask = mask.reshape((1,) * (q.ndim - mask.ndim) + mask.shape)
    if q.ndim > 4 and math.prod(mask.shape[:-3]) != 1:
        mask = np.broadcast_to(mask, (*q.shape[:-3], *mask.shape[-3:]))
    return _batched(mask)


def _laid_out(x: Any, like: Any) -> Any:
    """A result with the dims of `like`; the heads of a place lie side by side, as PyTorch has them."""
    places = x.transpose(0, 2, 1, 3)
    x = (places if places.flags.c_contiguous else np.ascontiguousarray(places)).transpose(0, 2, 1, 3)
    if like.ndim == 4:
        return x
    return np.ascontiguousarray(x.reshape(*like.shape[:-1], x.shape[-1]))


def _sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` summed over the dims that are 1 in `shape`."""
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    dims = (*range(lead), *[d + lead for d, n in enumerate(shape) if n == 1 and x.shape[d + lead] != 1])
    return np.add.reduce(x, axis=dims, keepdims=True).reshape(shape)


# ---------------------------------------------------------------------------------------------------- four dims


def _weights(q: Any, k: Any, mask: Any, scale: float, causal: bool, shift: int) -> tuple[Any, Any]:
    """The weights, and each query's log-sum."""
    s = products.matmul(q, k.swapaxes(-1, -2))
    s *= s.dtype.type(scale)
    if causal:
        s[..., ~np.tri(s.shape[-2], s.shape[-1], shift, dtype=bool)] = -math.inf
    if mask is not None:
        s = np.where(mask, s, s.dtype.type(-math.inf)) if mask.dtype == _BOOL else s + mask
    top = np.maximum.reduce(s, axis=-1, keepdims=True)
    if mask is not None:  # infinity minus infinity is NaN
        top[top == -math.inf] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        s -= top
        np.exp(s, out=s)
        total = np.add.reduce(s, axis=-1, keepdims=True)
        level = top + np.log(total)
        if mask is not None:  # a query that sees nothing gets zeros
            level[total == 0] = math.inf
            total[total == 0] = 1
        s /= total
        return s, level[..., 0]


def _forward4(
    q: Any, k: Any, v: Any, mask: Any, drop: Any, kept: float, scale: float, causal: bool, shift: int
) -> tuple[Any, Any]:
    kernels = _kernels(q, k)
    if kernels is not None:
        return kernels.attention(q, k, v, scale, causal, mask, drop, kept, shift)  # type: ignore[no-any-return]
    weights, lse = _weights(q, k, mask, scale, causal, shift)
    if drop is not None:
        weights *= drop * weights.dtype.type(kept)
    return products.matmul(weights, v), lse


def _backward4(
    g: Any, q: Any, k: Any, v: Any, mask: Any, drop: Any, kept: float, o: Any, lse: Any, scale: float, causal: bool,
    shift: int, mask_grad: Any,
) -> Any:  # fmt: skip
    kernels = _kernels(q, k)
    if kernels is not None:
        return kernels.attention_backward(
            g, q, k, v, o, lse, scale, causal, mask, drop, kept, shift, mask_grad
        )
    weights, _ = _weights(q, k, mask, scale, causal, shift)
    d = products.matmul(g, v.swapaxes(-1, -2))
    used = weights
    if drop is not None:
        factors = drop * weights.dtype.type(kept)
        used = weights * factors
        d *= factors
    gv = products.matmul(used.swapaxes(-1, -2), g)
    d -= np.add.reduce(d * weights, axis=-1, keepdims=True)
    d *= weights
    if mask_grad is not None:
        mask_grad += _sum_to(d, mask_grad.shape)
    d *= d.dtype.type(scale)
    return products.matmul(d, k), products.matmul(d.swapaxes(-1, -2), q), gv


def _mask_room(mask: Any, q: Any, k: Any, bias: bool) -> Any:
    """Zeros for the gradient of a mask of four dims, with all keys; None where none is wanted."""
    return np.zeros((*mask.shape[:3], k.shape[2]), q.dtype) if bias else None


def _mask_result(total: Any, mask: Any, q: Any) -> Any:
    """The gradient with the shape of the mask; nothing, with as many dims, where none is wanted."""
    if total is None:
        return np.empty((*q.shape[:-2], 0, 0), q.dtype)
    if q.ndim > 4 and math.prod(mask.shape[:-3]) != 1:
        total = total.reshape(*q.shape[:-3], *total.shape[-3:])
    return _sum_to(total, mask.shape)


# ---------------------------------------------------------------------------------------------------- any dims


def forward(q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool) -> tuple[Any, Any]:
    """The values and each query's log-sum."""
    a, b, c = (_batched(x) for x in (q, k, v))
    o, lse = _forward4(a, b, c, _batched_mask(mask, q), None, 1.0, scale, causal, 0)
    return _laid_out(o, q), lse.reshape(q.shape[:-1])


def backward(
    g: Any, q: Any, k: Any, v: Any, mask: Any, o: Any, lse: Any, scale: float, causal: bool, bias: bool
) -> tuple[Any, ...]:
    """The gradients of q, k, v and the mask."""
    g4, q4, k4, v4, o4 = (_batched(x) for x in (g, q, k, v, o))
    m4 = _batched_mask(mask, q)
    total = _mask_room(m4, q4, k4, bias)
    grads = _backward4(g4, q4, k4, v4, m4, None, 1.0, o4, lse.reshape(q4.shape[:3]), scale, causal, 0, total)
    found = [_laid_out(x, like) for x, like in zip(grads, (q, k, v))]
    return (*found, _mask_result(total, mask, q))


# ---------------------------------------------------------------------------------------------------- dropout


def _parts(shape: tuple[int, ...], keys: int) -> Iterator[tuple[slice, slice, slice]]:
    """(batch, heads, queries) in the order of the draws, in parts of about `DRAWN` weights."""
    batch, heads, queries = shape
    some = [max(1, DRAWN // (n * keys)) for n in (heads * queries, queries, 1)]
    if some[0] > 1 or heads * queries * keys <= DRAWN:
        some[1:] = heads, queries
    elif some[1] > 1 or queries * keys <= DRAWN:
        some[2] = queries
    for b in range(0, batch, some[0]):
        for h in range(0, heads, some[1]):
            for i in range(0, queries, some[2]):
                yield slice(b, b + some[0]), slice(h, h + some[1]), slice(i, i + some[2])


def _drawn(generator: Generator, like: Any, keys: int, p: float) -> Any:
    """Which weights of a part of the queries dropout keeps."""
    return distributions.bernoulli(generator, (*like.shape[:3], keys), _BOOL, 1 - p)


def _factor(p: float, dtype: Any) -> float:
    """What a kept weight is multiplied by: rounded as PyTorch rounds it."""
    return float(dtype.type(1) / dtype.type(1 - p))


def _mask_part(mask: Any, where: tuple[slice, slice, slice]) -> Any:
    """The part of a mask (or of its gradient) for a part of the queries."""
    if mask is None:
        return None
    return mask[tuple([slice(None) if n == 1 else s for n, s in zip(mask.shape, where)])]


def _restored(state: Any) -> Generator:
    generator = Generator()
    generator.set_state(np.ascontiguousarray(state))
    return generator


def noise(state: Any, shape: tuple[int, ...], p: float, dtype: Any) -> Any:
    """What dropout multiplied the weights by, from the state that it began with."""
    return distributions.dropout_noise(_restored(state), shape, dtype, p)


def forward_dropped(
    q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, p: float, generator: Generator
) -> tuple[Any, Any, Any]:
    """The values, each query's log-sum, and the generator's state before the draws."""
    a, b, c = (_batched(x) for x in (q, k, v))
    m, kept = _batched_mask(mask, q), _factor(p, q.dtype)
    batch, heads, queries, _ = a.shape
    o = np.empty((batch, queries, heads, c.shape[3]), q.dtype).transpose(0, 2, 1, 3)
    lse = np.empty((batch, heads, queries), q.dtype)
    with generator.lock:
        state = Generator.get_state(generator)
        for where in _parts(a.shape[:3], b.shape[2]):
            drop, both = _drawn(generator, a[where], b.shape[2], p), where[:2]
            o[where], lse[where] = _forward4(
                a[where], b[both], c[both], _mask_part(m, where), drop, kept, scale, causal, where[2].start
            )
    return _laid_out(o, q), lse.reshape(q.shape[:-1]), state


def backward_dropped(
    g: Any, q: Any, k: Any, v: Any, mask: Any, o: Any, lse: Any, state: Any, scale: float, causal: bool, p: float,
    bias: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """The gradients of q, k, v and the mask."""
    generator = _restored(state)
    g4, q4, k4, v4, o4 = (_batched(x) for x in (g, q, k, v, o))
    m, kept = _batched_mask(mask, q), _factor(p, q.dtype)
    lse = lse.reshape(q4.shape[:3])
    total = _mask_room(m, q4, k4, bias) if bias else None
    grads = [
        np.empty((*x.shape[:1], x.shape[2], *x.shape[1::2]), x.dtype).transpose(0, 2, 1, 3)
        for x in (q4, k4, v4)
    ]
    for where in _parts(q4.shape[:3], k4.shape[2]):
        drop, both = _drawn(generator, q4[where], k4.shape[2], p), where[:2]
        dq, dk, dv = _backward4(
            *(
                g4[where],
                q4[where],
                k4[both],
                v4[both],
                _mask_part(m, where),
                drop,
                kept,
                o4[where],
                lse[where],
            ),
            *(scale, causal, where[2].start, _mask_part(total, where)),
        )
        grads[0][where] = dq
        for x, d in zip(grads[1:], (dk, dv)):
            if where[2].start:  # the keys serve all parts of the queries
                x[both] += d
            else:
                x[both] = d
    found = [_laid_out(x, like) for x, like in zip(grads, (q, k, v))]
    return (*found, _mask_result(total, mask, q))
