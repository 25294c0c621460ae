"""Normalisations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...core import inplace
from ...core.grad_names import shows
from ...core.interpreters import VMap
from ...core.promotion import convert
from ...core.public import FUNCTIONS, store_out
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of, numel, wrap_dims
from ...ops.contraction import vector_norm
from ...ops.layouts import in_own_order, is_images, like_images
from ...ops.shape import expand_to
from ...prims import base
from ...prims.batch_norm import batch_moments_op, batch_norm_op
from ...prims.group_norm import group_norm_op
from ...prims.half_group_norm import half_group_norm_op
from ...prims.half_standardize import half_standardize_op
from ...prims.layer_norm import layer_norm_op
from ...prims.norm import affine_op, moved_op, standardize_op
from ...prims.pointwise import rsqrt
from ...prims.rms_norm import rms_norm_op
from ...runtime import dtypes
from .padding import constant_pad_nd
from .pooling import avg_pool2d, avg_pool3d


def _per_channel(t: Tensor, nd: int) -> Tensor:
    return base.reshape(t, (1, t._a.shape[0], *(1,) * (nd - 2)))


def _wide(x: Tensor) -> Tensor:
    return convert(x, dtypes.float32) if x._a.dtype.itemsize == 2 else x


def _kept_in(x: Any) -> Any:
    """The dtype in which PyTorch keeps the statistics for the gradient, where that is a 16-bit one."""
    return x._a.dtype if x._a.dtype.itemsize == 2 else None


def all_half(x: Tensor, *others: Tensor | None) -> bool:
    """Whether everything has the input's dtype, and that one is a 16-bit one."""
    own = x._a.dtype
    return own.itemsize == 2 and all(t is None or t._a.dtype == own for t in others)


def _half_standardize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, fit: Any, dims: Any, eps: float, channels: bool
) -> Any:
    """The values, the mean and the variance of 16-bit tensors; `fit` gives the parameters as many dims as `x` has."""
    given = weight if weight is not None else bias
    shape = (1,) * len(x._a.shape) if given is None else tuple(fit(given)._a.shape)
    w, b = (
        base.full(shape, value, x._a.dtype) if t is None else fit(t)
        for t, value in ((weight, 1.0), (bias, 0.0))
    )
    return half_standardize_op(x, w, b, dims=dims, eps=float(eps), channels=channels)


def _check_floating(x: Tensor, name: str) -> None:
    if x._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"{name}" not implemented for {dtype_of(x)}')


def _check_one_dtype(x: Tensor, *others: Tensor | None) -> None:
    """Parameters and statistics have the input's dtype; beside 16-bit input they may be float32.

    Raises: RuntimeError naming the dtypes.
    """
    own = x._a.dtype
    for t in others:
        if t is not None and t._a.dtype != own and not (own.itemsize == 2 and t._a.dtype == np.float32):
            raise RuntimeError(
                "mixed dtype (CPU): all inputs must share same datatype, but the input is "
                f"{dtype_of(x)} and a parameter {dtype_of(t)}: convert one of them"
            )


def _check_running(t: Tensor | None, channels: int, name: str) -> None:
    if t is not None and t._a.shape[0] != channels:
        raise RuntimeError(f"{name} should contain {channels} elements not {t._a.shape[0]}")


def _batch_norm_name(args: Any, kwargs: Any) -> str:
    x = args[0] if args else kwargs["input"]
    return "CloneBackward0" if tuple(x._a.shape) == (0,) else "NativeBatchNormBackward0"


@shows(_batch_norm_name)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation of each channel (dim 1) over batch and space (Ioffe and Szegedy, 2015).

    In training the batch's moments are used, and the running ones updated in place.

    Raises: ValueError for one value per channel in training, RuntimeError for sizes that do not fit.
    """
    if training and eps <= 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    s = tuple(input._a.shape)
    nd = len(s)
    if s == (0,):
        return input.clone()  # type: ignore[no-any-return]
    if nd < 2:
        raise IndexError(
            f"Dimension out of range: batch_norm needs the channels in dim 1, got input of size {list(s)}"
        )
    channels = s[1]
    for t, name in (
        (running_mean, "running_mean"),
        (running_var, "running_var"),
        (weight, "weight"),
        (bias, "bias"),
    ):
        _check_running(t, channels, name)
    n = numel(input) // channels if channels else 0
    if training and n == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
    _check_floating(input, "batch_norm")
    if n:
        _check_one_dtype(input, weight, bias, running_mean, running_var)
    dims = (0, *range(2, nd))
    x = _wide(input)
    half = training and n > 0 and all_half(input, weight, bias, running_mean, running_var)
    at_once = False
    if training:
        if half:
            y, mean, var = _half_standardize(
                input, weight, bias, lambda t: _per_channel(t, nd), dims, eps, True
            )
            mean, var = (base.reshape(t.detach(), (channels,)) for t in (mean, var))
        elif weight is not None and bias is not None and n and not is_images(input) and x is input:
            at_once = True
            mean, var = batch_moments_op(x)
            w, b = (convert(t, dtype_of(x)) for t in (weight, bias))
            y = batch_norm_op(b, x, w, mean, var, eps=float(eps))
        else:
            stats = _kept_in(input)
            if running_mean is not None or weight is not None:
                # PyTorch keeps the statistics in the parameters' dtype
                stats = _kept_in(running_mean if weight is None else weight)
            y, mean, var = standardize_op(x, dims=dims, eps=float(eps), stats=stats, early=True)
            mean, var = (base.reshape(t.detach(), (channels,)) for t in (mean, var))
        if running_mean is not None and n:
            _update(running_mean, mean, momentum)
        if running_var is not None and n:
            _update(running_var, var, momentum, n / max(n - 1, 1))
        if at_once:
            return y  # type: ignore[no-any-return]
    else:
        assert running_mean is not None and running_var is not None
        mean = _per_channel(convert(running_mean, dtype_of(x)), nd)
        y = (x - mean) * rsqrt(_per_channel(convert(running_var, dtype_of(x)), nd) + eps)
    y = like_images(y, input) if is_images(input) else in_own_order(y)
    return y if half else _affine(y, weight, bias, lambda t: _per_channel(t, nd), dtype_of(input))


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None, fit: Any, d: Any) -> Tensor:
    """``y * weight + bias`` in dtype `d`; `fit` gives the two a shape that broadcasts."""
    if weight is not None and bias is not None:
        w, b = (fit(convert(t, dtype_of(y))) for t in (weight, bias))
        return convert(affine_op(y, w, b), d)
    if weight is not None:
        y = y * fit(convert(weight, dtype_of(y)))
    if bias is not None:
        y = y + fit(convert(bias, dtype_of(y)))
    return convert(y, d)


def _update(running: Tensor, value: Tensor, momentum: float, factor: float = 1.0) -> None:
    """The running average, moved towards a new value times a factor."""
    from ...autograd import no_grad

    with no_grad():
        _store(
            running,
            moved_op(running.detach(), convert(value, dtype_of(running)), 1 - momentum, factor * momentum),
        )


def _store(buffer: Tensor, value: Tensor) -> None:
    """Write a buffer at the level that it belongs to: a statistic outside of the differentiated function gets the values only.

    Raises: RuntimeError when the values differ between the examples of a vmap and the buffer is shared by them.
    """
    top = tls.stack[-1] if tls.stack else None
    if top is None or top.owns(buffer if buffer._base is None else buffer._base):
        inplace.write(buffer, value, "batch_norm")
        return
    if isinstance(top, VMap) and top.owns(value) and value._a.batched:
        raise RuntimeError(
            "Batch norm got a batched tensor as input while the running_mean or running_var, which will be updated in place, "
            "were not batched. Map over the statistics too, or set track_running_stats to False."
        )
    with top.lowered():
        _store(buffer, top.inner(value))


@shows("NativeLayerNormBackward0")
def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation over the last dims, which must be `normalized_shape` (Ba et al., 2016).

    Raises: RuntimeError when the shapes do not fit.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    s = tuple(input._a.shape)
    if not shape:
        raise RuntimeError(
            f"Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = {list(shape)}"
        )
    if s[len(s) - len(shape) :] != shape or len(s) < len(shape):
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input of size{list(s)}"
        )
    for t, name in ((weight, "weight"), (bias, "bias")):
        if t is not None and tuple(t._a.shape) != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(t._a.shape)} and normalized_shape = {list(shape)}"
            )
    _check_floating(input, "LayerNormKernelImpl")
    _check_one_dtype(input, weight, bias)
    dims = tuple(range(len(s) - len(shape), len(s)))
    if all_half(input, weight, bias) and numel(input):
        full = (*(1,) * dims[0], *shape)
        return _half_standardize(input, weight, bias, lambda t: base.reshape(t, full), dims, eps, False)[0]  # type: ignore[no-any-return]
    x = _wide(input)
    if weight is not None and bias is not None and tls.capture is None:
        w, b = (convert(t, dtype_of(x)) for t in (weight, bias))
        return convert(layer_norm_op(b, x, w, eps=float(eps), stats=_kept_in(weight))[0], dtype_of(input))
    stats = _kept_in(input if weight is None else weight)
    y = standardize_op(x, dims=dims, eps=float(eps), stats=stats)[0]
    return _affine(y, weight, bias, lambda t: t, dtype_of(input))


def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Division by the root mean square over the last dims (Zhang and Sennrich, 2019)."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    s = tuple(input._a.shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = []"
        )
    if s[len(s) - len(shape) :] != shape or len(s) < len(shape):
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input of size{list(s)}"
        )
    if weight is not None and tuple(weight._a.shape) != shape:
        raise RuntimeError(
            f"Expected weight to be of same shape as normalized_shape, but got weight of shape {list(weight._a.shape)} and normalized_shape = {list(shape)}"
        )
    x = _wide(input)
    e = dtypes.finfo(dtype_of(x)).eps if eps is None else eps
    dims = tuple(range(len(s) - len(shape), len(s)))
    if weight is not None and tls.capture is None and not is_images(input) and x._a.dtype.kind == "f":
        w = convert(weight, dtype_of(x))
        return convert(rms_norm_op(x, w, eps=float(e))[0], dtype_of(input))
    y = x * rsqrt((x * x).mean(dims, True) + e)
    y = like_images(y, input) if is_images(input) else in_own_order(y)
    return _affine(y, weight, None, lambda t: t, dtype_of(input))


@shows("NativeGroupNormBackward0")
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation over groups of channels (Wu and He, 2018).

    Raises: RuntimeError when the channels do not divide into the groups.
    """
    s = tuple(input._a.shape)
    if len(s) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(s)}")
    c = s[1]
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if c % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(s)} and num_groups={num_groups}"
        )
    for t, name in ((weight, "weight"), (bias, "bias")):
        if t is not None and tuple(t._a.shape) != (c,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape {list(t._a.shape)} and input of shape {list(s)}"
            )
    _check_one_dtype(input, weight, bias)
    if not numel(input):
        return input.clone()  # type: ignore[no-any-return]
    if all_half(input, weight, bias):
        return like_images(half_group_norm(input, num_groups, weight, bias, eps)[0], input)
    kernel = tls.capture is None and not is_images(input) and _kept_in(input) is None
    if weight is not None and bias is not None and kernel:
        x = _wide(input)
        w, b = (convert(t, dtype_of(x)) for t in (weight, bias))
        y = group_norm_op(b, x, w, groups=num_groups, eps=float(eps))[0]
        return convert(y, dtype_of(input))
    x = base.reshape(_wide(input), (s[0], num_groups, numel(input) // (s[0] * num_groups)))
    stats = _kept_in(input if weight is None else weight)
    y = base.reshape(standardize_op(x, dims=(2,), eps=float(eps), stats=stats)[0], s)
    y = _affine(y, weight, bias, lambda t: _per_channel(t, len(s)), dtype_of(input))
    return like_images(y, input)


def half_group_norm(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Values, means and 1 / sqrt(var + eps) of 16-bit tensors, the latter two of shape (N, groups)."""
    s = tuple(int(n) for n in x._a.shape)
    each = s[1] // groups
    w, b = (
        base.full((1, groups, each, 1), value, x._a.dtype)
        if t is None
        else base.reshape(t, (1, groups, each, 1))
        for t, value in ((weight, 1.0), (bias, 0.0))
    )
    rows = base.reshape(x, (s[0], groups, each, math.prod(s[2:])))
    y, mean, scale = half_group_norm_op(rows, w, b, eps=float(eps))
    return base.reshape(y, s), *(base.reshape(t, (s[0], groups)) for t in (mean, scale))  # type: ignore[return-value]


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation of each channel of each example over space (Ulyanov et al., 2016)."""
    s = tuple(input._a.shape)
    n, c = s[:2]
    if use_input_stats and math.prod(s[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when use_input_stats is false"
        )

    def tiled(t: Tensor | None) -> Tensor | None:
        return None if t is None else base.reshape(expand_to(t, (n, c)), (n * c,))

    x = base.reshape(input, (1, n * c, *s[2:]))
    means, variances = (None if t is None else tiled(t.detach()).clone() for t in (running_mean, running_var))  # type: ignore[union-attr]
    y = batch_norm(x, means, variances, tiled(weight), tiled(bias), use_input_stats, momentum, eps)
    if use_input_stats:
        for running, new in ((running_mean, means), (running_var, variances)):
            if running is not None and new is not None:
                _store(running, base.reshape(new, (n, c)).mean(0))
    return base.reshape(y, s)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Division by a power of the local mean square over channels (Krizhevsky et al., 2012)."""
    s = tuple(input._a.shape)
    if len(s) < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {len(s)} dimensions)")
    if not numel(input):
        return input
    square = input * input
    if len(s) == 3:
        p = constant_pad_nd(square.unsqueeze(1), (0, 0, size // 2, (size - 1) // 2))
        mean = avg_pool2d(p, (size, 1), stride=1).squeeze(1)
    else:
        flat = square.reshape(s[0], 1, s[1], s[2], -1)
        p = constant_pad_nd(flat, (0, 0, 0, 0, size // 2, (size - 1) // 2))
        mean = avg_pool3d(p, (size, 1, 1), stride=1).squeeze(1).reshape(s)
    return like_images(input / (mean * alpha + k) ** beta, input)


def normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """``x / max(norm(x), eps)`` over a dim."""

    norm = vector_norm(input, float(p), wrap_dims(dim, len(input._a.shape)), True)
    y = input / FUNCTIONS["clamp_min"](norm, eps)
    return store_out(out, y, "normalize") if out is not None else y  # type: ignore[no-any-return]
