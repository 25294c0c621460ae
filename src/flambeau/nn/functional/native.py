"""The forms in which the functions of networks stand in `flambeau` itself: other orders of arguments, more results."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.promotion import convert
from ...core.public import FUNCTIONS, public
from ...core.tensor import Tensor
from ...ops.args import dtype_of, numel
from ...ops.random import draw_like
from ...ops.reduce import moments
from ...prims import base
from ...prims.pointwise import rsqrt
from ...runtime import dtypes
from . import normalization
from .activation import celu, celu_, hardshrink, rrelu, rrelu_, selu, selu_, threshold, threshold_
from .conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .ctc import ctc_loss
from .distance import cosine_similarity, pairwise_distance
from .dropout import alpha_dropout, check_probability, dropout, dropout2d, feature_alpha_dropout
from .embedding import embedding, renorm_rows
from .linear import bilinear
from .max_pooling import (
    adaptive_max_pool1d_with_indices,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool3d,
)
from .pooling import adaptive_avg_pool1d, avg_pool1d
from .ranking import cosine_embedding_loss, margin_ranking_loss

REDUCTIONS = ("none", "mean", "sum")

SAME = (
    *(
        celu,
        celu_,
        hardshrink,
        rrelu,
        rrelu_,
        selu,
        selu_,
        threshold,
        threshold_,
        bilinear,
        normalization.rms_norm,
    ),
    *(
        conv1d,
        conv2d,
        conv3d,
        conv_transpose1d,
        conv_transpose2d,
        conv_transpose3d,
        cosine_similarity,
        pairwise_distance,
    ),
    *(max_pool1d, max_pool2d, max_pool3d, max_pool1d_with_indices, avg_pool1d, adaptive_avg_pool1d),
)
for _fn in SAME:
    FUNCTIONS.setdefault(_fn.__name__, _fn)


def _half_free(x: Tensor) -> Tensor:
    return convert(x, dtypes.float32) if x._a.dtype.itemsize == 2 else x


def _statistic(t: Tensor, input: Tensor, wide: bool, shape: Any = None) -> Tensor:
    """A mean or deviation as it is handed out: in the input's dtype unless parameters are wider, without derivatives."""
    t = t.detach() if shape is None else base.reshape(t, shape).detach()
    return t if wide else convert(t, dtype_of(input))


@public(method=False, name="batch_norm")
def _batch_norm(
    input: Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float, eps: float,
    cudnn_enabled: bool = False,
) -> Tensor:  # fmt: skip
    """``nn.functional.batch_norm``, the affine parameters first."""
    return normalization.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@public(method=False, name="instance_norm")
def _instance_norm(
    input: Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool, momentum: float, eps: float,
    cudnn_enabled: bool = False,
) -> Tensor:  # fmt: skip
    """``nn.functional.instance_norm``, the affine parameters first."""
    return normalization.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


@public(method=False, name="layer_norm")
def _layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """``nn.functional.layer_norm``."""
    return normalization.layer_norm(input, normalized_shape, weight, bias, eps)


@public(method=False, name="group_norm")
def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """``nn.functional.group_norm``."""
    return normalization.group_norm(input, num_groups, weight, bias, eps)


@public(method=False, out=True, grad_name="NativeLayerNormBackward0")
def native_layer_norm(
    input: Tensor, normalized_shape: Any, weight: Any, bias: Any, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(layer_norm, mean, 1 / standard deviation)."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    y = normalization.layer_norm(input, shape, weight, bias, eps)
    nd = len(input._a.shape)
    var, mean = moments(_half_free(input), tuple(range(nd - len(shape), nd)), 0)
    mixed = weight is not None and weight._a.dtype != input._a.dtype
    return y, _statistic(mean, input, mixed), _statistic(rsqrt(var + eps), input, mixed)


@public(method=False, out=True, grad_name="NativeBatchNormBackward0")
def native_batch_norm(
    input: Tensor,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(batch_norm, the batch's means, 1 / its standard deviations); the last two are empty unless training."""
    y = normalization.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    x = _half_free(input)
    if not training:
        return y, base.full((0,), 0, x._a.dtype), base.full((0,), 0, x._a.dtype)
    channels = (input._a.shape[1],)
    var, mean = moments(x, (0, *range(2, len(x._a.shape))), 0)
    mixed = weight is not None and weight._a.dtype != input._a.dtype
    return y, _statistic(mean, input, mixed, channels), _statistic(rsqrt(var + eps), input, mixed, channels)


@public(method=False, out=True, grad_name="NativeGroupNormBackward0")
def native_group_norm(
    input: Tensor, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(group_norm, mean, 1 / standard deviation) of N images of C channels; the last two of shape (N, group).

    Raises: RuntimeError for sizes that do not fit.
    """
    if numel(input) != N * C * HxW:
        raise RuntimeError(
            f"native_group_norm: expected N * C * HxW = {N} * {C} * {HxW} elements, got input of size {list(input._a.shape)}"
        )
    if numel(input) and normalization.all_half(input, weight, bias):
        y, mean, rstd = normalization.half_group_norm(
            base.reshape(input, (N, C, HxW)), group, weight, bias, eps
        )
        return base.reshape(y, tuple(input._a.shape)), mean, rstd
    y = normalization.group_norm(base.reshape(input, (N, C, HxW)), group, weight, bias, eps)
    x = base.reshape(_half_free(input), (N, group, HxW * C // group))
    var, mean = moments(x, (2,), 0)
    mean, rstd = base.reshape(mean, (N, group)), base.reshape(rsqrt(var + eps), (N, group))
    if weight is None or weight._a.dtype == input._a.dtype:
        mean, rstd = convert(mean, dtype_of(input)), convert(rstd, dtype_of(input))
    return (
        base.reshape(y, tuple(input._a.shape)),
        mean,
        rstd,
    )


@public(method=False, out=True)
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """(dropout, the bool mask of what was kept)."""
    check_probability(p)
    shape = tuple(input._a.shape)
    if train is False or not numel(input):
        return input.clone(), base.full(shape, True, np.dtype(bool))
    mask = draw_like("bernoulli", input, dtypes.bool_, 1.0 - p)
    return input * mask * (0.0 if p == 1 else 1.0 / (1.0 - p)), mask


def _dropout_form(name: str, fn: Any) -> None:
    @public(method=False, name=name)
    def form(input: Tensor, p: float, train: bool) -> Tensor:
        return fn(input, p, train)  # type: ignore[no-any-return]

    @public(method=False, name=name + "_")
    def in_place(input: Tensor, p: float, train: bool) -> Tensor:
        return fn(input, p, train, True)  # type: ignore[no-any-return]

    form.__doc__ = f"``nn.functional.{fn.__name__}``."
    in_place.__doc__ = f"``nn.functional.{fn.__name__}``, in place."


_dropout_form("dropout", dropout)
_dropout_form("feature_dropout", dropout2d)
_dropout_form("alpha_dropout", alpha_dropout)
_dropout_form("feature_alpha_dropout", feature_alpha_dropout)


@public(method=False, name="embedding")
def _embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """``nn.functional.embedding``, the table first; a padding_idx of -1 means none."""
    padding = None if padding_idx < 0 else padding_idx
    return embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


@public(method=False, name="embedding_renorm_")
def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """The rows of a table at `indices` rescaled, in place, to norms of at most `max_norm`."""
    renorm_rows(input, indices, max_norm, norm_type)
    return input


@public(method=False, name="ctc_loss")
def _ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """``nn.functional.ctc_loss``, the reduction as a number (0 none, 1 mean, 2 sum)."""
    return ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, REDUCTIONS[reduction], zero_infinity
    )


def _pairs_form(fn: Any, margin: float) -> None:
    @public(method=False, name=fn.__name__)
    def form(
        input1: Tensor, input2: Tensor, target: Tensor, margin: float = margin, reduction: int = 0
    ) -> Tensor:
        return fn(input1, input2, target, margin=margin, reduction=REDUCTIONS[reduction])  # type: ignore[no-any-return]

    form.__doc__ = f"``nn.functional.{fn.__name__}``, the reduction as a number (0 none, 1 mean, 2 sum)."


_pairs_form(cosine_embedding_loss, 0.0)
_pairs_form(margin_ranking_loss, 0.0)


@public(method=False)
def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """(``nn.functional.adaptive_max_pool1d``, positions)."""
    return adaptive_max_pool1d_with_indices(input, output_size)  # type: ignore[no-any-return]


@public(method=False)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """1-d convolution of (time, batch, channels) with weight (k, channels, out).

    Raises: RuntimeError for other numbers of dims.
    """
    if len(input._a.shape) != 3 or len(weight._a.shape) != 3 or len(bias._a.shape) != 1:
        raise RuntimeError(
            f"conv_tbc: input and weight must have 3 dims and bias 1, got {list(input._a.shape)}, {list(weight._a.shape)} and "
            f"{list(bias._a.shape)}"
        )
    y = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return y.permute(2, 0, 1)  # type: ignore[no-any-return]


@public(method=False)
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """The convolution of 1 to 3 dims that the arguments describe.

    Raises: RuntimeError for other numbers of dims.
    """
    n = len(weight._a.shape) - 2
    if n not in (1, 2, 3):
        raise RuntimeError(f"convolution: expected a weight of 3 to 5 dims, got {list(weight._a.shape)}")
    if transposed:
        fn = (conv_transpose1d, conv_transpose2d, conv_transpose3d)[n - 1]
        return fn(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return (conv1d, conv2d, conv3d)[n - 1](input, weight, bias, stride, padding, dilation, groups)
