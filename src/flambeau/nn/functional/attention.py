"""Attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...core.grad_names import shows
from ...core.pending import Pending
from ...core.promotion import convert
from ...core.public import FUNCTIONS, half_in_single, overridable
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...ops.layouts import in_order_of
from ...ops.random import default_generator
from ...prims import base
from ...prims.attention import attention_op, dropped_attention_op, masked_attention_op, pays, safe_softmax
from ...prims.base import from_value
from ...prims.pointwise import where_op
from .activation import softmax
from .dropout import dropout
from .linear import linear


def _attention_name(args: Any, kwargs: Any) -> str | None:
    """PyTorch takes one kernel for batches of heads without a mask, and steps otherwise."""
    mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
    p = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
    tensors = (*args[:3], *(kwargs[k] for k in ("query", "key", "value") if k in kwargs))
    whole = mask is None and not p and all(len(t._a.shape) == 4 for t in tensors)
    return "ScaledDotProductFlashAttentionForCpuBackward0" if whole else "UnsafeViewBackward0"


@overridable
@shows(_attention_name)
@half_in_single
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(q k^T * scale + mask) v``: q (..., L, E), k (..., S, E), v (..., S, Ev).

    A bool mask keeps the places where it holds, another is added to the scores; it broadcasts to (..., L, S).  A query
    that sees nothing gets zeros.  From a moderate size on the L x S weights never exist as a whole, nor what dropout
    draws for them: memory grows with L + S, for the gradients too.

    Raises: RuntimeError for shapes or dtypes that do not fit, or a mask together with is_causal.
    """
    for x, name in ((query, "query"), (key, "key"), (value, "value")):
        if len(x._a.shape) < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: Expected query, key, and value to all be  at least 2 dimensional, but got {name} of dim {len(x._a.shape)}"
            )
    if not query._a.dtype == key._a.dtype == value._a.dtype:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {dtype_of(query)} key.dtype: {dtype_of(key)} and value.dtype: {dtype_of(value)} instead."
        )
    if attn_mask is not None and is_causal:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    if attn_mask is not None and attn_mask._a.dtype.kind != "b" and attn_mask._a.dtype != query._a.dtype:
        raise RuntimeError(
            f"Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: {dtype_of(attn_mask)} and  query.dtype: {dtype_of(query)} instead."
        )
    if enable_gqa:
        heads = query._a.shape[-3]
        key = FUNCTIONS["repeat_interleave"](key, heads // key._a.shape[-3], -3)
        value = FUNCTIONS["repeat_interleave"](value, heads // value._a.shape[-3], -3)
    n, s = query._a.shape[-2], key._a.shape[-2]
    factor = 1 / math.sqrt(max(query._a.shape[-1], 1)) if scale is None else scale
    if pays(query._a, key._a, value._a, None if attn_mask is None else attn_mask._a):
        known = {"scale": float(factor), "causal": bool(is_causal)}
        if not dropout_p and attn_mask is None:
            return _placed(attention_op(query, key, value, **known)[0], query)
        mask = attn_mask
        if mask is not None:  # with as many dims as the weights: how many are in front is then the same
            mask = base.reshape(
                mask, (1,) * (len(query._a.shape) - len(mask._a.shape)) + tuple(mask._a.shape)
            )
        if not dropout_p:
            return _placed(masked_attention_op(query, key, value, mask, scale=float(factor))[0], query)
        if 0 < dropout_p < 1 and not tls.stack:  # under vmap draws may have to differ, or not to
            drawn = {"p": float(dropout_p), "generator": default_generator}
            return dropped_attention_op(query, key, value, mask, **known, **drawn)[0]  # type: ignore[no-any-return]
    d = dtype_of(query)
    logits = FUNCTIONS["matmul"](query, key.transpose(-2, -1)) * factor  # rounded once
    if is_causal:
        weights = softmax(where_op(from_value(np.tril(np.ones((n, s), bool))), logits, -math.inf), -1)
    elif attn_mask is None:
        weights = softmax(logits, -1)
    elif attn_mask._a.dtype.kind == "b":
        weights = safe_softmax(where_op(attn_mask, logits, -math.inf))
    else:
        weights = safe_softmax(logits + attn_mask)
    if dropout_p > 0:
        weights = dropout(weights, dropout_p)
    y: Tensor = FUNCTIONS["matmul"](convert(weights, d), value)
    return y if dropout_p else _placed(y, query)


def _placed(y: Tensor, query: Tensor) -> Tensor:
    """With the heads where the query has them, if PyTorch's kernel for the CPU would take it."""
    q = query._a
    fits = len(q.shape) == 4 and y._a.shape == q.shape and type(q) in (np.ndarray, Pending)
    return in_order_of(y, query) if fits and q.strides[-1] == q.itemsize else y


def _check_shapes(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, num_heads: int
) -> bool:
    """Whether there is a batch dimension.

    Raises: AssertionError for numbers of dimensions that do not go together.
    """
    nd = len(query.shape)
    if nd not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {nd}-D query tensor"
        )
    kind = "batched (3-D)" if nd == 3 else "unbatched (2-D)"
    have = len(key.shape), len(value.shape)
    if have != (nd, nd):
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {nd}-D but found {have[0]}-D and {have[1]}-D tensors respectively"
        )
    if padding is not None and len(padding.shape) != nd - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {nd - 1}-D but found {len(padding.shape)}-D tensor "
            "instead"
        )
    if mask is not None:
        if len(mask.shape) not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {len(mask.shape)}-D tensor instead"
            )
        wanted = (num_heads, query.shape[0], key.shape[0])
        if nd == 2 and len(mask.shape) == 3 and tuple(mask.shape) != wanted:
            raise AssertionError(f"Expected `attn_mask` shape to be {wanted} but got {tuple(mask.shape)}")
    return nd == 3


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention (Vaswani et al., 2017, section 3.2.2): inputs (L, N, E) or (L, E); see nn.MultiheadAttention.

    Raises: AssertionError or RuntimeError for shapes that do not fit, as PyTorch does.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, n, e = query._a.shape
    source = key._a.shape[0]
    if e != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {e}")
    head = e // num_heads
    if head * num_heads != e:
        raise AssertionError(f"embed_dim {e} not divisible by num_heads {num_heads}")
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if use_separate_proj_weight:
        assert q_proj_weight is not None and k_proj_weight is not None and v_proj_weight is not None
        parts = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (
            linear(x, w, b)
            for x, w, b in zip((query, key, value), (q_proj_weight, k_proj_weight, v_proj_weight), parts)
        )
    else:
        assert in_proj_weight is not None
        ws = in_proj_weight.chunk(3)
        bs = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        if query is key and key is value:
            q, k, v = linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
        else:
            q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), ws, bs))
    mask = _float_mask(attn_mask, q, "attn_mask")
    padding = _float_mask(key_padding_mask, q, "key_padding_mask")
    if mask is not None:
        if len(mask._a.shape) == 2:
            mask = mask.unsqueeze(0)
        elif tuple(mask._a.shape) != (n * num_heads, length, source):
            raise RuntimeError(
                f"The shape of the 3D attn_mask is {tuple(mask._a.shape)}, but should be {(n * num_heads, length, source)}."
            )
    pad = FUNCTIONS["constant_pad_nd"]
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k = FUNCTIONS["cat"]([k, bias_k.expand(1, n, e)])
        v = FUNCTIONS["cat"]([v, bias_v.expand(1, n, e)])
        mask = None if mask is None else pad(mask, (0, 1))
        padding = None if padding is None else pad(padding, (0, 1))

    def heads(x: Tensor) -> Tensor:
        return x.contiguous().view(x._a.shape[0], n * num_heads, head).transpose(0, 1)  # type: ignore[no-any-return]

    q = heads(q)
    k = heads(k) if static_k is None else static_k
    v = heads(v) if static_v is None else static_v
    if add_zero_attn:
        zero = base.full((n * num_heads, 1, head), 0, k._a.dtype)
        k, v = FUNCTIONS["cat"]([k, zero], 1), FUNCTIONS["cat"]([v, zero], 1)
        mask = None if mask is None else pad(mask, (0, 1))
        padding = None if padding is None else pad(padding, (0, 1))
    source = k._a.shape[1]
    if not need_weights:  # then they never exist as a whole
        q, k, v = (x.view(n, num_heads, x._a.shape[1], head) for x in (q, k, v))
        if mask is not None:
            shared = mask._a.shape[0] == 1
            mask = mask.view(*((1, 1) if shared else (n, num_heads)), length, source)
        if padding is not None:
            rows = padding.view(n, 1, 1, source)
            mask = rows if mask is None else mask + rows
        y = scaled_dot_product_attention(q, k, v, mask, dropout_p if training else 0.0)
        y = y.permute(2, 0, 1, 3).contiguous().view(length * n, e)
    else:
        if padding is not None:
            rows = padding.view(n, 1, 1, source).expand(-1, num_heads, -1, -1)
            rows = rows.reshape(n * num_heads, 1, source)
            mask = rows if mask is None else mask + rows
        logits = FUNCTIONS["matmul"](q * math.sqrt(1.0 / head), k.transpose(-2, -1))
        if mask is not None:
            logits = logits + mask
        weights = softmax(logits, -1)
        if training and dropout_p > 0:
            weights = dropout(weights, dropout_p)
        y = FUNCTIONS["matmul"](weights, v)
        y = y.transpose(0, 1).contiguous().view(length * n, e)
    y = linear(y, out_proj_weight, out_proj_bias).view(length, n, out_proj_weight._a.shape[0])
    shown: Tensor | None = None
    if need_weights:
        shown = weights.view(n, num_heads, length, source)
        if average_attn_weights:
            shown = shown.mean(1)
        if not batched:
            shown = shown.squeeze(0)
    if not batched:
        y = y.squeeze(1)
    return y, shown


def _float_mask(mask: Tensor | None, like: Tensor, name: str) -> Tensor | None:
    if mask is None:
        return None
    if mask._a.dtype.kind == "b":
        return where_op(mask, -math.inf, base.full((), 0, like._a.dtype))  # type: ignore[no-any-return]
    if mask._a.dtype.kind not in "fV":
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return convert(mask, dtype_of(like))


_ = Any
