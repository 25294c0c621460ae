"""Convolutions and linear layers that have taken over the batch normalisation behind them, for inference."""

from __future__ import annotations

import copy
from typing import Any

from ... import ops
from ...runtime.absent import names_of as _names_of
from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

__getattr__ = _names_of(__name__)


def _ready(layer: Any, bn: Any) -> None:
    """Raises: AssertionError for modules in training mode, or statistics that are not tracked."""
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def _fused(w: Any, b: Any, mean: Any, var: Any, eps: float, gain: Any, shift: Any, dim: int) -> Any:
    scale = (var + eps).rsqrt() * (1 if gain is None else gain)
    shape = [1] * w.dim()
    shape[dim] = -1
    bias = ((0 if b is None else b) - mean) * scale + (0 if shift is None else shift)
    weight = (w * scale.reshape(shape)).to(w.dtype)
    tracked = b.requires_grad if b is not None else False
    return Parameter(weight, w.requires_grad), Parameter(bias.to(w.dtype if b is None else b.dtype), tracked)


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Any,
    bn_rv: Any,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution (a transposed one with `transpose`) with the normalisation in them."""
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, int(transpose))  # type: ignore[no-any-return]


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of `conv` that computes ``bn(conv(x))``.

    Raises: AssertionError for modules in training mode.

    >>> import flambeau as torch
    >>> conv, bn = torch.nn.Conv2d(1, 2, 3).eval(), torch.nn.BatchNorm2d(2).eval()
    >>> x = torch.randn(1, 1, 5, 5)
    >>> torch.allclose(torch.nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-6)
    True
    """
    _ready(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer with the normalisation in them."""
    rows = linear_w.shape[0]
    spread = [ops.broadcast_to(v, (rows,)) if v is not None else None for v in (bn_rm, bn_rv, bn_w, bn_b)]
    mean, var, gain, shift = spread
    return _fused(linear_w, linear_b, mean, var, bn_eps, gain, shift, 0)  # type: ignore[no-any-return]


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of `linear` that computes ``bn(linear(x))``.

    Raises: AssertionError for modules in training mode, or of sizes that do not fit.
    """
    _ready(linear, bn)
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
