"""Averages over windows of the last dims, or over bins; and what all poolings share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...core.grad_names import rename, shows
from ...core.public import FUNCTIONS, overridable, store_out
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...ops.layouts import in_own_order, is_images, like_images, like_signals
from ...prims import base
from ...prims.base import from_value, sum_op
from ...prims.bins import bin_means_op, edges
from ...prims.half_pool import Bins, half_mean_pool
from ...prims.pointwise import power
from ...prims.pool import Windows, sum_pool_op
from ...runtime.draws import not_implemented
from .conv import spread


def _size(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    total = n + 2 * p - d * (k - 1) - 1
    out = (total + (s - 1 if ceil else 0)) // s + 1
    if ceil and (out - 1) * s >= n + p:
        out -= 1  # the last window must start inside the input or the left padding
    return out


def _check(x: Tensor, n: int, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    nd = len(x._a.shape)
    if nd not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but got: {list(x._a.shape)}"
        )
    if any(v == 0 for v in x._a.shape[nd - n - 1 :]):
        raise RuntimeError(
            f"{name}: Expected a tensor with non-zero size for dims other than the batch, but got: {list(x._a.shape)}"
        )


def _settings(
    n: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, name: str
) -> tuple[Any, ...]:
    k = spread(kernel_size, n, "kernel_size")
    s = k if stride is None or stride == [] or stride == () else spread(stride, n, "stride")
    p, d = spread(padding, n, "padding"), spread(dilation, n, "dilation")
    if any(v <= 0 for v in k):
        raise RuntimeError(f"{name}: kernel size should be greater than zero, but got {k}")
    if any(v <= 0 for v in s):
        raise RuntimeError(f"{name}: stride should not be zero or negative, got {s}")
    if any(v <= 0 for v in d):
        raise RuntimeError(f"{name}: dilation should be greater than zero, but got {d}")
    for a, b, e in zip(p, k, d):
        if a < 0:
            raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {a}")
        if a > ((b - 1) * e + 1) // 2:
            raise RuntimeError(
                f"{name}: pad should be at most half of effective kernel size, but got pad={a}, kernel_size={b} and dilation={e}"
            )
    return k, s, p, d


def windows(
    n: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    name: str,
) -> Windows:
    """The windows over `x`, checked.

    Raises: RuntimeError for settings or sizes that do not fit.
    """
    k, s, p, d = _settings(n, kernel_size, stride, padding, dilation, name)
    _check(x, n, name)
    size = tuple(x._a.shape[-n:])
    out = tuple([_size(m, a, b, c, e, ceil_mode) for m, a, b, c, e in zip(size, k, s, p, d)])
    if any(v <= 0 for v in out):
        raise RuntimeError(
            f"Given input size: {list(x._a.shape)}. Calculated output size: {list(out)}. Output size is too small"
        )
    return Windows(k, s, p, d, size, out)


def _half_bins(w: Windows, include: bool, divisor: Any) -> Bins:
    """Windows as `prims.half_pool` wants them."""
    start = [np.arange(o) * s - p for o, s, p in zip(w.out, w.stride, w.padding)]
    low = [tuple(np.maximum(a, 0).tolist()) for a in start]
    high = [tuple(np.minimum(a + k, m).tolist()) for a, k, m in zip(start, w.kernel, w.size)]
    counts = [tuple(_counts(w, d, include).tolist()) for d in range(len(w.size))]
    return Bins(w.size, tuple(low), tuple(high), tuple(counts), divisor, True)


def _avg_pool(
    x: Tensor,
    n: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Any,
) -> Tensor:
    name = f"avg_pool{n}d"
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    w = windows(n, x, kernel_size, stride, padding, 1, ceil_mode, name)
    if x._a.dtype.kind in "bu" or x._a.dtype.kind == "i" and x._a.dtype != np.int64:
        raise NotImplementedError(f'"{name}" not implemented for {dtype_of(x)}')
    if x._a.dtype.itemsize == 2 and x._a.dtype.kind in "fV":
        y = half_mean_pool(x, _half_bins(w, count_include_pad, divisor))
        return _placed(y, x, n)
    total = _placed(sum_pool_op(x, w=w), x, n)
    if divisor is None:
        counts = [_counts(w, i, count_include_pad) for i in range(n)]
        if any(len(set(c.tolist())) > 1 for c in counts):
            grid = counts[0]
            for c in counts[1:]:
                grid = grid[..., None] * c
            return _divided(total, from_value(grid.astype(x._a.dtype)))
        divisor = math.prod([int(c[0]) for c in counts])
    return _divided(total, divisor)


def _placed(y: Tensor, x: Tensor, n: int) -> Tensor:
    """Means of windows: contiguous, but for images with the channels innermost."""
    if n == 1:
        return like_signals(y, x)
    return like_images(y, x) if n == 2 and is_images(x) else in_own_order(y)


def _divided(total: Tensor, by: Any) -> Tensor:
    if total._a.dtype.kind == "i":
        return FUNCTIONS["div"](total, by, rounding_mode="trunc")  # type: ignore[no-any-return]
    return total / by  # type: ignore[no-any-return]


def _counts(w: Windows, dim: int, include: bool) -> Any:
    """How many elements (padding among them or not) each window of a dim covers."""
    start = np.arange(w.out[dim]) * w.stride[dim] - w.padding[dim]
    end = np.minimum(start + w.kernel[dim], w.size[dim] + w.padding[dim])
    return end - start if include else np.minimum(end, w.size[dim]) - np.maximum(start, 0)


@shows("SqueezeBackward1")
def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of the last dim."""
    return _avg_pool(input, 1, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@shows("AvgPool2DBackward0")
def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The mean of each window of the last 2 dims."""
    y = _avg_pool(input, 2, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return y if out is None else store_out(out, y, "avg_pool2d")


@overridable
@shows("AvgPool3DBackward0")
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The mean of each window of the last 3 dims."""
    y = _avg_pool(input, 3, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return y if out is None else store_out(out, y, "avg_pool3d")


def targets(n: int, x: Tensor, output_size: Any, name: str) -> list[int]:
    if isinstance(x, Tensor) and len(x._a.shape) <= n > 1:
        raise ValueError(f"Input dimension should be at least {n + 1}, got {list(x._a.shape)} ({name})")
    _check(x, n, name)
    sizes = [output_size] * n if output_size is None or isinstance(output_size, int) else list(output_size)
    if len(sizes) != n:
        raise RuntimeError(f"{name}: output_size must be {n} values, got {sizes}")
    found = [x._a.shape[-n + i] if v is None else int(v) for i, v in enumerate(sizes)]
    if any(v < 0 for v in found):
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {found}"
        )
    return found


def _adaptive_avg(x: Tensor, n: int, output_size: Any) -> Tensor:
    """Equal bins are windows."""
    out = tuple(targets(n, x, output_size, f"adaptive_avg_pool{n}d"))
    if x._a.dtype.kind in "biu":
        raise not_implemented("adaptive_avg_pool3d_cpu" if n == 3 else "adaptive_avg_pool2d", x._a.dtype)
    nd = len(x._a.shape)
    size = tuple(x._a.shape[-n:])
    if x._a.dtype.itemsize == 2 and x._a.dtype.kind in "fV":
        if set(out) == {1}:
            return x.mean(tuple(range(-n, 0)), True)  # type: ignore[no-any-return]
        start, end = zip(*[edges(m, o) for m, o in zip(size, out)])
        low, high = (tuple([tuple(v.tolist()) for v in side]) for side in (start, end))
        counts = tuple([tuple((e - a).tolist()) for a, e in zip(start, end)])
        return half_mean_pool(x, Bins(size, low, high, counts, None, False, n == 3))
    if all(o and m % o == 0 for m, o in zip(size, out)):
        step = tuple([m // o for m, o in zip(size, out)])
        if set(out) == {1}:
            total = base.reshape(sum_op(x, dims=tuple(range(nd - n, nd))), (*x._a.shape[:-n], *out))
        else:
            total = sum_pool_op(x, w=Windows(step, step, (0,) * n, (1,) * n, size, out))
        return total / math.prod(step)  # type: ignore[no-any-return]
    return bin_means_op(x, size=size, out=out)  # type: ignore[no-any-return]


def _adaptive_shown(y: Tensor, x: Tensor, n: int) -> Tensor:
    if tls.stack:
        return y
    whole = all(m == 1 for m in y._a.shape[-n:])  # a single bin is the mean
    y = like_images(y, x) if n == 2 and not whole and is_images(x) else in_own_order(y)
    return rename(y, "MeanBackward1" if whole else f"AdaptiveAvgPool{n}DBackward0", (x,))  # type: ignore[no-any-return]


@shows("SqueezeBackward1")
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Averages over as many bins of the last dim as asked for."""
    return like_signals(_adaptive_avg(input, 1, output_size), input)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Averages over as many bins of the last 2 dims as asked for (None: the size stays)."""
    return _adaptive_shown(_adaptive_avg(input, 2, output_size), input, 2)


@overridable
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Averages over as many bins of the last 3 dims as asked for (None: the size stays)."""
    return _adaptive_shown(_adaptive_avg(input, 3, output_size), input, 3)


def _lp(n: int) -> Any:
    def pool(
        input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Tensor:
        k = spread(kernel_size, n, "kernel_size")
        if norm_type in (math.inf, -math.inf):
            sign = 1 if norm_type > 0 else -1
            largest = FUNCTIONS[f"max_pool{n}d"](input.abs() * sign, kernel_size, stride, 0, 1, ceil_mode)
            return largest * sign  # type: ignore[no-any-return]
        mean = _avg_pool(power(input, norm_type), n, kernel_size, stride, 0, ceil_mode, True, None)
        total = mean.sign() * FUNCTIONS["relu"](mean.abs()) * math.prod(k)
        return power(total, 1.0 / norm_type)  # type: ignore[no-any-return]

    pool.__name__ = f"lp_pool{n}d"
    pool.__doc__ = f"The power mean of each window of the last {n} dims."
    return pool


lp_pool1d, lp_pool2d, lp_pool3d = _lp(1), _lp(2), _lp(3)
