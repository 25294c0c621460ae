"""Convolution in any number of dims: three bilinear primitives, closed under differentiation.

conv(x, w)        the convolution
conv_input(g, w)  its adjoint in x (transposed convolution)
conv_weight(x, g) its adjoint in w

Each is linear in both inputs, and the derivative of any of them is another one, so derivatives of every order, forward
mode and batching follow.  `conv_arrays` does the work.  ``biased_conv(x, w, bias)`` adds a number to each output channel
while it is written; its derivatives are those of the sum.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import multilinear_op
from ..core.op import bind
from ..core.tensor import Tensor
from .base import index_view_op, permute_op, reshape, sum_op
from .conv_arrays import (
    Geometry,
    Sizes,
    convolve,
    convolve_input,
    convolve_weight,
    half_convolve_input,
    output_size,
)
from .pointwise import conj


def _geometry(size: Any, kernel: Any, out: Any, stride: Any, padding: Any, dilation: Any) -> Geometry:
    return Geometry(*[tuple(v) for v in (size, kernel, out, stride, padding, dilation)])


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if fam.is_half(x) else x


def _conv(x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    size, kernel = x.shape[2:], w.shape[2:]
    out = output_size(size, kernel, stride, padding, dilation)
    q = _geometry(size, kernel, out, stride, padding, dilation)
    return convolve(_wide(x), _wide(w), q, groups).astype(x.dtype, copy=False)


def _conv_input(
    g: Any,
    w: Any,
    *,
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    in_steps: bool = False,
) -> Any:
    q = _geometry(size, w.shape[2:], g.shape[2:], stride, padding, dilation)
    if (g.dtype == np.float16 or in_steps) and g.size and w.size:
        return half_convolve_input(g, w, q, groups)
    return convolve_input(_wide(g), _wide(w), q, groups).astype(g.dtype, copy=False)


def _conv_weight(
    x: Any, g: Any, *, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    q = _geometry(x.shape[2:], kernel, g.shape[2:], stride, padding, dilation)
    return convolve_weight(_wide(x), _wide(g), q, groups).astype(x.dtype, copy=False)


def _spatial(meta: Any) -> Sizes:
    return tuple(meta.shape[2:])


def _vjp_x(g: Tensor, w: Tensor, x_meta: Any, **p: Any) -> Tensor:
    return conv_input_op(g, conj(w), size=_spatial(x_meta), **p)  # type: ignore[no-any-return]


def _vjp_w(g: Tensor, x: Tensor, w_meta: Any, **p: Any) -> Tensor:
    return conv_weight_op(conj(x), g, kernel=_spatial(w_meta), **p)  # type: ignore[no-any-return]


def _conv_to(x: Tensor, w: Tensor, meta: Any, p: dict[str, Any]) -> Tensor:
    """The convolution, without what a larger input than needed (``output_padding``) adds at the ends."""
    y: Tensor = conv_op(x, w, **p)
    out = _spatial(meta)
    if tuple(y._a.shape[2:]) == out:
        return y
    return index_view_op(y, index=(slice(None), slice(None), *[slice(0, n) for n in out]))  # type: ignore[no-any-return]


def _input_vjp_g(h: Tensor, w: Tensor, g_meta: Any, **p: Any) -> Tensor:
    return _conv_to(h, conj(w), g_meta, p)


def _input_vjp_w(h: Tensor, g: Tensor, w_meta: Any, **p: Any) -> Tensor:
    """The roles of input and cotangent are exchanged."""
    return conv_weight_op(h, conj(g), kernel=_spatial(w_meta), **p)  # type: ignore[no-any-return]


def _weight_vjp_x(h: Tensor, g: Tensor, x_meta: Any, **p: Any) -> Tensor:
    return conv_input_op(conj(g), h, size=_spatial(x_meta), **p)  # type: ignore[no-any-return]


def _weight_vjp_g(h: Tensor, x: Tensor, g_meta: Any, **p: Any) -> Tensor:
    return _conv_to(conj(x), h, g_meta, p)


def _biased_conv(x: Any, w: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    size, kernel = x.shape[2:], w.shape[2:]
    out = output_size(size, kernel, stride, padding, dilation)
    q = _geometry(size, kernel, out, stride, padding, dilation)
    return convolve(x, w, q, groups, bias)


SETTINGS = ("stride", "padding", "dilation", "groups")


def _rule(fn: Any, *names: str) -> Any:
    """`fn` as a rule that reads these and the settings."""

    def rule(g: Tensor, *values: Any) -> Tensor:
        own = len(names)
        return fn(g, *values[:own], **dict(zip(SETTINGS, values[own:])))  # type: ignore[no-any-return]

    rule.names = ("g", *names, *SETTINGS)  # type: ignore[attr-defined]
    return rule


conv_op: Any = multilinear_op(
    "convolution",
    _conv,
    (_rule(_vjp_x, "w", "x_meta"), _rule(_vjp_w, "x", "w_meta")),
    lambda *a: _batch(conv_op, "conv", *a),
    grad_name="ConvolutionBackward0",
)
conv_input_op: Any = multilinear_op(
    "convolution_input",
    _conv_input,
    (_rule(_input_vjp_g, "w", "g_meta"), _rule(_input_vjp_w, "g", "w_meta")),
    lambda *a: _batch(conv_input_op, "input", *a),
    grad_name="ConvolutionBackwardBackward0",
)
conv_weight_op: Any = multilinear_op(
    "convolution_weight",
    _conv_weight,
    (_rule(_weight_vjp_x, "g", "x_meta"), _rule(_weight_vjp_g, "x", "g_meta")),
    lambda *a: _batch(conv_weight_op, "weight", *a),
    grad_name="ConvolutionBackwardBackward0",
)


def _over(bias: Tensor, lead: int, y: Tensor) -> Tensor:
    """A bias that broadcasts to a result; it has `lead` dims before that of the channels."""
    shape = bias._a.shape
    ones = (1,) * (len(y._a.shape) - lead - 2)
    return reshape(bias, (*shape[:lead], 1, *shape[lead:], *ones))


def _bias_vjp(g: Tensor) -> Tensor:
    return sum_op(g, dims=(0, *range(2, len(g._a.shape))))  # type: ignore[no-any-return]


def _biased_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (x, w, _), (tx, tw, tb) = xs, ts
    parts = [] if tx is None else [conv_op(tx, w, **params)]
    if tw is not None:
        parts.append(conv_op(x, tw, **params))
    if tb is not None:
        parts.append(fam.expand(_over(tb, 0, y), tuple(y._a.shape)))
    return functools.reduce(operator.add, parts)


def _biased_batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    x, w, bias = args
    if any(batched[:2]):
        y, _ = _batch(conv_op, "conv", size, batched[:2], (x, w), params)
        lead = _over(bias, 1, y) if batched[2] else reshape(bias, (1, 1, -1, *(1,) * (len(y._a.shape) - 3)))
        return y + lead, True
    y = conv_op(x, w, **params)
    y = reshape(y, (1, *y._a.shape))
    return y + _over(bias, 1, y), True


biased_conv_op: Any = fam.opaque_op(
    _biased_conv,
    (_rule(_vjp_x, "w", "x_meta"), _rule(_vjp_w, "x", "w_meta"), _bias_vjp),
    name="biased_convolution",
    jvp=_biased_jvp,
    batch=_biased_batch,
    grad_name="ConvolutionBackward0",
)


def _batch(
    op: Any, kind: str, size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]
) -> Any:
    """Examples become more images (only the data is batched), or more groups (the weights are too)."""
    a, b = args
    if kind != "weight" and batched[0] and not batched[1]:
        s = a._a.shape
        y = bind(op, (reshape(a, (s[0] * s[1], *s[2:])), b), params)
        return reshape(y, (size, s[1], *y._a.shape[1:])), True
    a, b = fam.batch_to_front(args, batched, size)
    more = {**params, "groups": params["groups"] * size}

    def channels(x: Tensor) -> Tensor:  # (B, N, C, ...) -> (N, B * C, ...)
        n = len(x._a.shape)
        moved = permute_op(x, dims=(1, 0, *range(2, n)))
        s = moved._a.shape
        return reshape(moved, (s[0], s[1] * s[2], *s[3:]))

    def weights(x: Tensor) -> Tensor:  # (B, O, ...) -> (B * O, ...)
        s = x._a.shape
        return reshape(x, (s[0] * s[1], *s[2:]))

    if kind == "weight":
        y = bind(op, (channels(a), channels(b)), more)
        return reshape(y, (size, y._a.shape[0] // size, *y._a.shape[1:])), True
    y = bind(op, (channels(a), weights(b)), more)
    s = y._a.shape
    y = reshape(y, (s[0], size, s[1] // size, *s[2:]))
    return permute_op(y, dims=(1, 0, *range(2, len(s) + 1))), True
