"""Resizing: nearest, linear, cubic, area and Lanczos, each a sparse linear map along one dim after another."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ...core.grad_names import rename
from ...core.promotion import convert
from ...core.state import tls
from ...core.tensor import Tensor
from ...core.where import warn
from ...ops.args import dtype_of
from ...ops.layouts import like_images
from ...prims.base import from_value
from ...prims.indexing import index_get_op
from ...prims.resample import Taps, resample_op
from ...runtime import dtypes
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

MODES = ("nearest", "linear", "bilinear", "bicubic", "trilinear", "lanczos", "area", "nearest-exact")
LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5}


@lru_cache(256)
def _nearest(n: int, m: int, scale: float | None, exact: bool) -> Any:
    """Source positions; PyTorch computes them in float32."""
    i = np.arange(m)
    if not exact and m == n:
        return i
    if not exact and m == 2 * n:
        return i >> 1
    ratio = np.float32(1.0 / scale) if scale is not None and scale > 0 else np.float32(n) / np.float32(m)
    start = np.float32(0.5 if exact else 0)
    return np.minimum(np.floor((i.astype(np.float32) + start) * ratio).astype(np.int64), n - 1)


def _ratio(n: int, m: int, scale: float | None, align: bool, real: Any) -> Any:
    """Source steps for one step in the result."""
    if align:
        return real(n - 1) / real(m - 1) if m > 1 else real(0)
    return real(1.0 / scale) if scale is not None and scale > 0 else real(n) / real(m)


def _cubic(x: Any, a: float) -> Any:
    """The convolution kernel of Keys, "Cubic convolution interpolation", 1981."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _lanczos(x: Any) -> Any:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


FILTERS: dict[str, tuple[int, Any]] = {
    "bilinear": (1, lambda x: np.maximum(0, 1 - np.abs(x))),
    "bicubic": (2, lambda x: _cubic(x, -0.5)),
    "lanczos": (3, _lanczos),
}


@lru_cache(256)
def _taps(n: int, m: int, scale: float | None, align: bool, mode: str, antialias: bool, double: bool) -> Taps:
    """The map from n to m positions of a dim."""
    real = np.float64 if double else np.float32
    ratio = _ratio(n, m, scale, align, real)
    i: Any = np.arange(m)
    if antialias:
        return _smooth(n, m, float(ratio), mode)
    x = i.astype(real) * ratio if align else (i.astype(real) + real(0.5)) * ratio - real(0.5)
    if mode == "cubic":
        first = np.floor(x).astype(np.int64)
        t = (x - first).astype(np.float64)
        at = first[:, None] + np.arange(-1, 3)
        weights = _cubic(t[:, None] - np.arange(-1, 3), -0.75)
        return Taps(np.repeat(i, 4), np.clip(at, 0, n - 1).reshape(-1), weights.reshape(-1), m, n)
    x = np.maximum(x, 0)
    low = np.minimum(np.floor(x).astype(np.int64), n - 1)
    high = np.minimum(low + 1, n - 1)
    t = np.clip(x - low, 0, 1).astype(np.float64)
    if m == n and not t.any():
        return Taps(i, low, np.ones(m), m, n)
    return Taps(
        np.repeat(i, 2), np.stack([low, high], 1).reshape(-1), np.stack([1 - t, t], 1).reshape(-1), m, n
    )


@lru_cache(256)
def _fixed_point(taps: Taps) -> Taps:
    """The weights as the 16-bit integers (over a power of 2) that images of bytes are resized with."""
    digits = 0
    top = float(taps.weights.max())
    while digits < 22 and int(0.5 + top * (1 << (digits + 1))) < 1 << 15:
        digits += 1
    scale = float(1 << digits)
    weights = np.trunc(taps.weights * scale + np.copysign(0.5, taps.weights)) / scale
    return Taps(taps.rows, taps.cols, weights, taps.n_rows, taps.n_cols)


def _smooth(n: int, m: int, ratio: float, mode: str) -> Taps:
    """The filter widened to the step, normalised at the borders, as in Pillow."""
    reach, weight = FILTERS[mode]
    wide = max(ratio, 1.0)
    rows, cols, weights = [], [], []
    for i in range(m):
        center = ratio * (i + 0.5)
        first = max(int(center - reach * wide + 0.5), 0)
        last = min(int(center + reach * wide + 0.5), n)
        at = np.arange(first, last)
        w = weight((at - center + 0.5) / wide)
        total = w.sum()
        rows.append(np.full(len(at), i))
        cols.append(at)
        weights.append(w / total if total else w)
    return Taps(np.concatenate(rows), np.concatenate(cols), np.concatenate(weights), m, n)


def _output_size(input: Tensor, size: Any, scale_factor: Any) -> tuple[list[int] | None, list[float] | None]:
    s = input._a.shape
    dim = len(s) - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (tuple, list)):
            if len(size) != dim:
                raise ValueError(
                    f"Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of {list(s[2:])} and "
                    f"output size of {size}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
                )
            if not all(hasattr(v, "__index__") for v in size):
                raise TypeError(
                    f"expected size to be one of int or Tuple[int], but got size with types {[type(v) for v in size]}"
                )
            return [int(v) for v in size], None
        return [int(size)] * dim, None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (tuple, list)):
        if len(scale_factor) != dim:
            raise ValueError(
                f"Input and scale_factor must have the same number of spatial dimensions, but got input with spatial dimensions of {list(s[2:])} "
                f"and scale_factor of shape {scale_factor}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and scale_factor in "
                "(s1, s2, ...,sK) format."
            )
        return None, [float(v) for v in scale_factor]
    return None, [float(scale_factor)] * dim


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """(N, C, *spatial) resized to `size`, or by `scale_factor`; modes as in `MODES`.

    Raises: ValueError or NotImplementedError for arguments that do not go together, RuntimeError for empty sizes.

    >>> import flambeau as torch
    >>> torch.nn.functional.interpolate(torch.tensor([[[0.0, 1.0]]]), 4, mode="linear")
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
            )
    align = bool(align_corners)
    s = tuple(input._a.shape)
    nd = len(s)
    sizes, scales = _output_size(input, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if sizes is None:
        assert scales is not None
        sizes = [int(math.floor(n * f)) for n, f in zip(s[2:], scales)]
        if recompute_scale_factor or mode == "area":
            scales = None
    if antialias and not (mode in FILTERS and nd == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and nd == 4:
        if align:
            raise ValueError("Lanczos mode does not support align_corners=True")
        if not antialias:
            raise ValueError("Lanczos mode requires antialias=True")
    wanted = LINEAR.get(mode, 4 if mode in ("bicubic", "lanczos") else nd)
    if nd not in (3, 4, 5) or mode not in MODES or wanted != nd:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {nd}D) for the modes: {' | '.join(MODES)} (got {mode}"
            + (f", which needs {wanted}D input)" if wanted != nd else ")")
        )
    if mode != "area" and (min(sizes) <= 0 or 0 in s[2:]):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {list(s[2:])} and output {sizes}"
        )
    if mode != "area" and s[1] == 0:
        raise RuntimeError(f"Non-empty {nd}D data tensor expected but got a tensor with sizes {list(s)}")
    if mode == "area":
        pool: Any = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}[nd]
        return pool(input, sizes if nd > 3 else sizes[0])  # type: ignore[no-any-return]
    factors: list[Any] = [None] * (nd - 2) if scales is None else list(scales)
    if mode.startswith("nearest"):
        half = input._a.dtype.itemsize == 2 and input._a.dtype.kind in "fV"
        x = convert(input, dtypes.float32) if half else input  # gradients are summed, and rounded once
        for k, (n, m, f) in enumerate(zip(s[2:], sizes, factors), 2):
            at = _nearest(n, m, f, mode == "nearest-exact")
            x = index_get_op(x, from_value(at), spec=(*[False] * k, True))
        x = like_images(convert(x, dtype_of(input)), input)
        kind = "Exact" if mode == "nearest-exact" else ""
        return x if tls.stack else rename(x, f"UpsampleNearest{kind}{nd - 2}DBackward0", (input,))
    d = dtype_of(input)
    if input._a.dtype.kind not in "fV" and not (d is dtypes.uint8 and nd == 4):
        raise NotImplementedError(f'"upsample_{mode}" not implemented for {d}')
    half = input._a.dtype.itemsize == 2
    x = convert(input, dtypes.float64 if d is dtypes.uint8 else dtypes.float32 if half else d)
    kind = mode if antialias else "cubic" if mode == "bicubic" else "linear"
    for k in reversed(range(nd - 2)):
        n, m, f = s[2 + k], sizes[k], factors[k]
        taps = _taps(n, m, f, align, kind, antialias, x._a.dtype.itemsize == 8)
        if d is dtypes.uint8:  # every pass gives bytes again
            x = (resample_op(x, dim=2 + k, taps=_fixed_point(taps)) + 0.5).floor().clamp(0, 255)
        else:
            x = resample_op(x, dim=2 + k, taps=taps)
    y = like_images(convert(x, d), input)
    return y if tls.stack else rename(y, f"Upsample{mode.capitalize()}{nd - 2}D{'Aa' * antialias}Backward0")


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """``interpolate``, under its old name."""
    warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` with mode "nearest", under its old name."""
    warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` with mode "bilinear" and aligned corners, under its old name."""
    warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, "bilinear", True)
