"""16-bit convolutions with a bias, which is added before the rounding, and their transposes.

The derivatives are 16-bit convolutions, rounded and added in PyTorch's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.op import Op
from ..core.tensor import Tensor
from .base import convert_to, reshape, sum_op
from .conv import (
    _conv,
    _conv_input,
    _input_vjp_g,
    _input_vjp_w,
    _vjp_w,
    _vjp_x,
    conv_input_op,
    conv_op,
)


def _wide(x: Any) -> Any:
    return fam.wide(x)


def _is_padded_far(x: Any, w: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    """Whether ``output_padding`` reaches the stride: there PyTorch takes the way that rounds in between."""
    reach = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1
        for n, s, p, d, k in zip(x.shape[2:], stride, padding, dilation, w.shape[2:])
    ]
    return any(have - r >= s for have, r, s in zip(size, reach, stride))


def _values(x: Any, w: Any, bias: Any, *, transposed: bool, size: Any, **p: Any) -> Any:
    wide = _wide(bias).reshape(-1, *(1,) * (x.ndim - 2))
    if not transposed:
        y = _conv(_wide(x), _wide(w), **p)
    elif x.dtype == np.float16 or _is_padded_far(x, w, size, **p):
        y = _conv_input(x, w, size=size, **p, in_steps=True)
        return (_wide(y) + wide).astype(x.dtype)
    else:
        y = _conv_input(_wide(x), _wide(w), size=size, **p)
    y += wide
    return y.astype(x.dtype)


def _plain(x: Tensor, w: Tensor, transposed: bool, size: Any, p: dict[str, Any]) -> Tensor:
    return conv_input_op(x, w, size=size, **p) if transposed else conv_op(x, w, **p)  # type: ignore[no-any-return]


def _vjp(
    g: Tensor, inputs: Any, needs: Any, transposed: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> list[Any]:  # fmt: skip
    x, w, _ = inputs
    p = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    gx = gw = None
    gb = sum_op(g, dims=(0, *range(2, len(g._a.shape)))) if needs[2] else None
    # In this order, so that in a second derivative the input's part meets the weights' first, as in PyTorch.
    if transposed:
        gw = _input_vjp_w(g, x, w, **p) if needs[1] else None
        gx = _input_vjp_g(g, w, x, **p) if needs[0] else None
    else:
        gw = _vjp_w(g, x, w, **p) if needs[1] else None
        gx = _vjp_x(g, w, x, **p) if needs[0] else None
    return [gx, gw, gb]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (tx, tw, tb), (x, w, _) = ts, xs
    p = dict(params)
    transposed, size = p.pop("transposed"), p.pop("size")
    parts = []
    if tx is not None:
        parts.append(_plain(tx, w, transposed, size, p))
    if tw is not None:
        parts.append(_plain(x, tw, transposed, size, p) if tb is None else half_conv_op(x, tw, tb, **params))
    elif tb is not None:
        parts.append(fam.expand(reshape(tb, (-1, *(1,) * (len(x._a.shape) - 2))), tuple(y._a.shape)))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Examples become images; with weights for each, in float32 without the bias, whose sum is rounded once."""
    p = dict(params)
    if not (batched[1] or batched[2]):
        x, w, b = args
        n = x._a.shape[1]
        y = half_conv_op(reshape(x, (size * n, *x._a.shape[2:])), w, b, **params)
        return reshape(y, (size, n, *y._a.shape[1:])), True
    op, half = conv_op, args[0]._a.dtype
    x, w, b = (convert_to(t, np.dtype(np.float32)) if half.itemsize == 2 else t for t in args)
    if p.pop("transposed"):
        op = conv_input_op
    else:
        p.pop("size")
    y = op.batch(size, batched[:2], [x, w], p)[0]
    spatial = (1,) * (len(y._a.shape) - 3)
    y = y + reshape(b, (size if batched[2] else 1, 1, -1, *spatial))
    return convert_to(y, half) if half.itemsize == 2 else y, True


# 16-bit convolutions with a bias: added before the rounding.
half_conv_op: Any = Op(
    "half_convolution",
    "opaque",
    _values,
    ("x", "w", "bias"),
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    grad_name="ConvolutionBackward0",
)
