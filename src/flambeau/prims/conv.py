"""Convolution in any number of dims: three bilinear primitives, closed under differentiation.

conv(x, w)        the convolution
conv_input(g, w)  its adjoint in x (transposed convolution)
conv_weight(x, g) its adjoint in w

Each is linear in both inputs, and the derivative of any of them is another one, so derivatives of every order, forward
mode and batching follow.  The work is one matrix product over unfolded patches ("im2col"; Chellapilla et al.,
"High performance convolutional neural networks for document processing", 2006, section 3), cheap for 1x1 kernels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import multilinear_op
from ..core.op import bind
from ..core.tensor import Tensor
from .base import permute_op, reshape

Sizes = tuple[int, ...]


def output_size(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Sizes:
    return tuple(
        [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
        ]
    )


def _single(x: Any) -> Any:
    return x.astype(np.float32) if fam.is_half(x) else x


def _padded(x: Any, padding: Sizes) -> Any:
    if not any(padding):
        return x
    shape = (*x.shape[:2], *[n + 2 * p for n, p in zip(x.shape[2:], padding)])
    out = np.zeros(shape, x.dtype)
    inside = (slice(None), slice(None)) + tuple([slice(p, p + n) for n, p in zip(x.shape[2:], padding)])
    out[inside] = x
    return out


def _windows(x: Any, kernel: Sizes, stride: Sizes, dilation: Sizes, out: Sizes) -> Any:
    """Patches of a padded input as a strided view: (N, C, *kernel, *out)."""
    n = len(kernel)
    s = x.strides[2:]
    shape = (*x.shape[:2], *kernel, *out)
    strides = (*x.strides[:2], *[a * d for a, d in zip(s, dilation)], *[a * t for a, t in zip(s, stride)])
    del n
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def _columns(
    x: Any, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, out: Sizes, groups: int
) -> Any:
    """Unfolded patches: (groups, C/groups * prod(kernel), N * prod(out))."""
    n, c = x.shape[:2]
    if all(k == 1 for k in kernel) and all(s == 1 for s in stride) and not any(padding):
        cols = x.reshape(n, groups, c // groups, -1).transpose(1, 2, 0, 3)
        return cols.reshape(groups, c // groups, -1)
    w = _windows(_padded(x, padding), kernel, stride, dilation, out)
    k = len(kernel)
    cols = np.moveaxis(w, 0, 1 + k)  # (C, *kernel, N, *out)
    return cols.reshape(groups, c // groups * math.prod(kernel), n * math.prod(out))


def _rows(g: Any, groups: int) -> Any:
    """(N, O, *out) as (groups, O/groups, N * prod(out))."""
    n, o = g.shape[:2]
    return g.reshape(n, groups, o // groups, -1).transpose(1, 2, 0, 3).reshape(groups, o // groups, -1)


def _unrows(y: Any, n: int, out: Sizes) -> Any:
    groups, per = y.shape[:2]
    y = y.reshape(groups * per, n, math.prod(out)).transpose(1, 0, 2)
    return np.ascontiguousarray(y).reshape(n, groups * per, *out)


def _conv(x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    dtype = x.dtype
    x, w = _single(x), _single(w)
    kernel = w.shape[2:]
    out = output_size(x.shape[2:], kernel, stride, padding, dilation)
    cols = _columns(x, kernel, stride, padding, dilation, out, groups)
    y = np.matmul(w.reshape(groups, w.shape[0] // groups, -1), cols)
    return _unrows(y, x.shape[0], out).astype(dtype, copy=False)


def _conv_input(g: Any, w: Any, *, size: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The adjoint in x: columns are made by a product, and added back to where patches came from."""
    dtype = g.dtype
    g, w = _single(g), _single(w)
    n, out, kernel = g.shape[0], g.shape[2:], w.shape[2:]
    per = w.shape[1]
    wt = w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
    cols = np.matmul(wt, _rows(g, groups)).reshape(groups * per, *kernel, n, *out)
    full = np.zeros((groups * per, n, *[s + 2 * p for s, p in zip(size, padding)]), g.dtype)
    whole = (slice(None), slice(None))
    for at in itertools.product(*[range(k) for k in kernel]):
        where = tuple(
            [slice(i * d, i * d + (o - 1) * s + 1, s) for i, d, o, s in zip(at, dilation, out, stride)]
        )
        full[whole + where] += cols[(slice(None),) + at]
    inner = full[whole + tuple([slice(p, p + s) for p, s in zip(padding, size)])]
    return np.ascontiguousarray(inner.swapaxes(0, 1)).astype(dtype, copy=False)


def _conv_weight(
    x: Any, g: Any, *, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    dtype = x.dtype
    x, g = _single(x), _single(g)
    cols = _columns(x, kernel, stride, padding, dilation, g.shape[2:], groups)
    w = np.matmul(_rows(g, groups), cols.transpose(0, 2, 1))
    return w.reshape(g.shape[1], x.shape[1] // groups, *kernel).astype(dtype, copy=False)


def _common(p: dict[str, Any]) -> dict[str, Any]:
    return {k: p[k] for k in ("stride", "padding", "dilation", "groups")}


def _kernel_of(meta: Any) -> Sizes:
    return tuple(meta.shape[2:])


conv_op: Any = multilinear_op(
    "convolution",
    _conv,
    (
        lambda g, w, x_meta, stride, padding, dilation, groups: conv_input_op(
            g,
            _conj(w),
            size=_kernel_of(x_meta),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
        lambda g, x, w_meta, stride, padding, dilation, groups: conv_weight_op(
            _conj(x),
            g,
            kernel=_kernel_of(w_meta),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
    ),
    lambda *a: _batch(conv_op, "conv", *a),
    grad_name="ConvolutionBackward0",
)
conv_input_op: Any = multilinear_op(
    "convolution_input",
    _conv_input,
    (
        lambda g, w, stride, padding, dilation, groups: conv_op(
            g, _conj(w), stride=stride, padding=padding, dilation=dilation, groups=groups
        ),
        # the adjoint of w -> conv_input(g, w): the roles of input and cotangent are exchanged
        lambda h, g, w_meta, stride, padding, dilation, groups: _conj(
            conv_weight_op(
                _conj(h),
                g,
                kernel=_kernel_of(w_meta),
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=groups,
            )
        ),
    ),
    lambda *a: _batch(conv_input_op, "input", *a),
    grad_name="ConvolutionBackwardBackward0",
)
conv_weight_op: Any = multilinear_op(
    "convolution_weight",
    _conv_weight,
    (
        lambda h, g, x_meta, stride, padding, dilation, groups: _conj(
            conv_input_op(g, _conj(h), size=_kernel_of(x_meta), stride=stride, padding=padding, dilation=dilation, groups=groups)
        ) if h._a.dtype.kind == "c" else conv_input_op(
            g, h, size=_kernel_of(x_meta), stride=stride, padding=padding, dilation=dilation, groups=groups
        ),
        lambda h, x, stride, padding, dilation, groups: conv_op(
            _conj(x), h, stride=stride, padding=padding, dilation=dilation, groups=groups
        ),
    ),
    lambda *a: _batch(conv_weight_op, "weight", *a),
    grad_name="ConvolutionBackwardBackward0",
)  # fmt: skip


def _conj(x: Tensor) -> Tensor:
    from .pointwise import conj

    return conj(x)


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
