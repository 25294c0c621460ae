"""Patches of images as columns, and back; pixels to channels, and back; shuffled channels."""

from __future__ import annotations

import math
from typing import Any

from ...core.families import contiguous
from ...core.public import public
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.layouts import in_own_order, is_images, like_images
from ...prims import base
from ...prims.base import permute_op
from ...prims.conv_arrays import output_size
from ...prims.patches import col2im_op, im2col_op
from .conv import spread


def _settings(
    name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Any, Any, Any, Any]:
    k, d, p, s = (
        spread(v, 2, n)
        for v, n in (
            (kernel_size, "kernel_size"),
            (dilation, "dilation"),
            (padding, "padding"),
            (stride, "stride"),
        )
    )
    for v, n in ((k, "kernel size"), (d, "dilation"), (s, "stride")):
        if min(v) <= 0:
            raise RuntimeError(f"{name}: {n} should be greater than zero, but got {v}")
    if min(p) < 0:
        raise RuntimeError(f"{name}: padding should be non-negative, but got {p}")
    return k, d, p, s


@public(method=False, function=False)
def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Sliding patches as columns: (N, C, H, W) or (C, H, W) to (N, C * kh * kw, L) or without N.

    Raises: RuntimeError for other numbers of dims, or when no patch fits.

    >>> import flambeau as torch
    >>> torch.nn.functional.unfold(torch.ones(1, 3, 4, 5), (2, 2)).shape
    torch.Size([1, 12, 12])
    """
    k, d, p, s = _settings("unfold", kernel_size, dilation, padding, stride)
    shape = tuple(input._a.shape)
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(shape)}"
        )
    out = output_size(shape[-2:], k, s, p, d)
    if min(out) < 1:
        raise RuntimeError(
            f"Given input with spatial size {shape[-2:]}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, calculated "
            f"shape of the array of sliding blocks as {out}, but its components must be at least one."
        )
    return im2col_op(input, kernel=k, dilation=d, padding=p, stride=s)  # type: ignore[no-any-return]


@public(method=False, function=False)
def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The adjoint of `unfold`: columns (N, C * kh * kw, L) added up to images (N, C, H, W).

    Raises: RuntimeError for sizes that do not fit.

    >>> import flambeau as torch
    >>> torch.nn.functional.fold(torch.ones(1, 4, 4), (3, 3), (2, 2))[0, 0]
    tensor([[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]])
    """
    k, d, p, s = _settings("fold", kernel_size, dilation, padding, stride)
    size = spread(output_size, 2, "output_size")
    shape = tuple(input._a.shape)
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, "
            f"but got: {list(shape)}"
        )
    if min(size) < 1:
        raise RuntimeError(f"Expected output spatial size to be positive, but got: output_size={size}")
    if shape[-2] % math.prod(k):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={shape[-2]} and kernel_size={k}."
        )
    blocks = tuple([(n + 2 * b - e * (a - 1) - 1) // c + 1 for n, a, c, b, e in zip(size, k, s, p, d)])
    if min(blocks) < 1 or math.prod(blocks) != shape[-1]:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, expected size of input's "
            f"dimension 2 to match the calculated number of sliding blocks {blocks[0]} * {blocks[1]} = {math.prod(blocks)}, "
            f"but got input.size(2)={shape[-1]}."
        )
    return col2im_op(input, size=size, kernel=k, dilation=d, padding=p, stride=s)  # type: ignore[no-any-return]


@public(method=False, grad_name="PixelShuffleBackward0")
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C * r * r, H, W) to (*, C, H * r, W * r) (Shi et al., "Real-time single image super-resolution", 2016).

    Raises: RuntimeError for fewer than 3 dims, a factor that is not positive, or channels it does not divide.
    """
    s, r = tuple(input._a.shape), int(upscale_factor)
    if len(s) < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {len(s)} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    c, h, w = s[-3:]
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(s) - 3
    x = base.reshape(input, (*s[:-3], c // (r * r), r, r, h, w))
    x = permute_op(x, dims=(*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return _new_images(base.reshape(x, (*s[:-3], c // (r * r), h * r, w * r)), input)


@public(method=False, grad_name="PixelUnshuffleBackward0")
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`: (*, C, H * r, W * r) to (*, C * r * r, H, W).

    Raises: RuntimeError for fewer than 3 dims, a factor that is not positive, or sizes it does not divide.
    """
    s, r = tuple(input._a.shape), int(downscale_factor)
    if len(s) < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {len(s)} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    c, h, w = s[-3:]
    for size, name, d in ((h, "height", -2), (w, "width", -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({d})={size} is not "
                f"divisible by {r}"
            )
    n = len(s) - 3
    x = base.reshape(input, (*s[:-3], c, h // r, r, w // r, r))
    x = permute_op(x, dims=(*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return _new_images(base.reshape(x, (*s[:-3], c * r * r, h // r, w // r)), input)


def _new_images(y: Tensor, x: Tensor) -> Tensor:
    """The shuffled images `y` of `x`, never a view of them, with the channels innermost if they are there in `x`."""
    if tls.stack:
        return y
    y = contiguous(y) if y._base is not None else y
    return like_images(y, x) if is_images(x) else in_own_order(y)


def _shuffle(input: Tensor, groups: int, name: str) -> Tensor:
    s, g = tuple(input._a.shape), int(groups)
    if len(s) < 3:
        raise RuntimeError(f"{name} expects input with > 2 dims, but got input with sizes {list(s)}")
    if g <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{g}")
    if s[1] % g:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {s[1]} channels and {g} groups."
        )
    x = base.reshape(input, (s[0], g, s[1] // g, *s[2:]))
    return _new_images(base.reshape(permute_op(x, dims=(0, 2, 1, *range(3, len(s) + 1))), s), input)


@public(method=False, grad_name="ChannelShuffleBackward0")
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels (dim 1) of all groups interleaved (Zhang et al., "ShuffleNet", 2018).

    Raises: RuntimeError for fewer than 3 dims, or channels that do not divide into the groups.
    """
    return _shuffle(input, groups, "channel_shuffle")


@public(method=False)
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """``channel_shuffle``."""
    return _shuffle(input, groups, "native_channel_shuffle")
