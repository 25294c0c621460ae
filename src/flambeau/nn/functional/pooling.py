"""Pooling over windows of the last dims, adaptive pooling, unpooling."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ...core import families as fam
from ...core.public import FUNCTIONS
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...prims import base
from ...prims.base import from_value, index_view_op, sum_op
from ...prims.indexing import gather_op, scatter_op, window_op
from ...prims.pointwise import power
from .conv import spread
from .padding import constant_pad_nd


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
    if any(v == 0 for v in x._a.shape[nd - n - (1 if nd == n + 2 else 0) :]):
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


# ------------------------------------------------------------------------------------------------------- maximum


def _argmax_windows(x: Any, *, kernel: Any, stride: Any, padding: Any, dilation: Any, out: Any) -> Any:
    """Flat position, in the last dims of `x`, of each window's first maximum (NaN counts as one)."""
    n = len(kernel)
    spatial = x.shape[-n:]
    lead = x.shape[:-n]
    low = -np.inf if x.dtype.kind in "fV" else np.iinfo(x.dtype).min
    ends = [
        max(0, (o - 1) * s + d * (k - 1) + 1 - (m + p))
        for o, s, d, k, m, p in zip(out, stride, dilation, kernel, spatial, padding)
    ]
    full = np.full(
        (*lead, *[m + p + e for m, p, e in zip(spatial, padding, ends)]),
        low,
        np.float32 if fam.is_half(x) else x.dtype,
    )
    inside = (slice(None),) * len(lead) + tuple([slice(p, p + m) for p, m in zip(padding, spatial)])
    full[inside] = x
    st = full.strides[-n:]
    shape = (*lead, *out, *kernel)
    strides = (
        *full.strides[:-n],
        *[a * s for a, s in zip(st, stride)],
        *[a * d for a, d in zip(st, dilation)],
    )
    windows = np.lib.stride_tricks.as_strided(full, shape, strides)
    best = windows.reshape(*lead, *out, -1).argmax(-1)
    flat = np.zeros(best.shape, np.int64)
    offsets = np.unravel_index(best, kernel)
    for i in range(n):
        grid = np.arange(out[i]).reshape((-1,) + (1,) * (n - 1 - i)) * stride[i] - padding[i]
        flat = flat * spatial[i] + (grid + offsets[i] * dilation[i])
    return flat


_argmax_windows_op = fam.opaque_op(_argmax_windows, None, name="max_pool_indices", differentiable=False)


def _max_pool(
    n: int, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    name = f"max_pool{n}d"
    k, s, p, d = _settings(n, kernel_size, stride, padding, dilation, name)
    _check(x, n, name)
    spatial = tuple(x._a.shape[-n:])
    out = tuple([_size(m, a, b, c, e, ceil_mode) for m, a, b, c, e in zip(spatial, k, s, p, d)])
    if any(v <= 0 for v in out):
        raise RuntimeError(
            f"Given input size: {list(x._a.shape)}. Calculated output size: {list(out)}. Output size is too small"
        )
    index = _argmax_windows_op(x, kernel=k, stride=s, padding=p, dilation=d, out=out)
    return _pick(x, index, n), index


def _pick(x: Tensor, index: Tensor, n: int) -> Tensor:
    lead = tuple(x._a.shape[:-n])
    flat = base.reshape(x, (*lead, math.prod(x._a.shape[-n:])))
    at = base.reshape(index, (*lead, math.prod(index._a.shape[-n:])))
    y = gather_op(flat, at, dim=len(lead))
    return base.reshape(y, tuple(index._a.shape))


def _max_pool_nd(n: int) -> Any:
    def pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        y, index = _max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode)
        return (y, index) if return_indices else y

    pool.__name__ = f"max_pool{n}d"
    pool.__doc__ = f"The maximum of each window of the last {n} dims; optionally with flat positions."
    return pool


max_pool1d, max_pool2d, max_pool3d = _max_pool_nd(1), _max_pool_nd(2), _max_pool_nd(3)


def _with_indices(n: int) -> Any:
    def pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return _max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode)

    pool.__name__ = f"max_pool{n}d_with_indices"
    pool.__doc__ = f"``max_pool{n}d`` and the flat positions of the maxima."
    return pool


max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = (
    _with_indices(n) for n in (1, 2, 3)
)


def _unpool(n: int) -> Any:
    def unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
    ) -> Tensor:
        k = spread(kernel_size, n, "kernel_size")
        s = k if stride is None else spread(stride, n, "stride")
        p = spread(padding, n, "padding")
        spatial = input._a.shape[-n:]
        if indices._a.dtype != np.int64:
            raise RuntimeError(f"elements in indices should be type int64 but got: {dtype_of(indices)}")
        if tuple(indices._a.shape) != tuple(input._a.shape):
            raise RuntimeError(
                f"Expected shape of indices to be same as that of the input tensor ({list(input._a.shape)}) but got indices tensor with shape: {list(indices._a.shape)}"
            )
        default = [(m - 1) * b - 2 * c + a for m, a, b, c in zip(spatial, k, s, p)]
        size = list(output_size)[-n:] if output_size is not None else default
        for got, want, step in zip(size, default, s):
            if not want - step < got < want + step:
                raise ValueError(f"invalid output_size {size} (dim size must be within {step} of {default})")
        lead = tuple(input._a.shape[:-n])
        flat = base.reshape(input, (*lead, math.prod(spatial)))
        at = base.reshape(indices, (*lead, math.prod(spatial)))
        total = math.prod(size)
        if type(at._a) is np.ndarray and at._a.size and (int(at._a.min()) < 0 or int(at._a.max()) >= total):
            raise RuntimeError(
                f"Found an invalid max index: {int(at._a.max())} (output volumes are of size {' x '.join(map(str, size))})"
            )
        zero = base.full((*lead, total), 0, input._a.dtype)
        return base.reshape(scatter_op(zero, flat, at, dim=len(lead), reduce="set"), (*lead, *size))

    unpool.__name__ = f"max_unpool{n}d"
    unpool.__doc__ = (
        f"The partial inverse of ``max_pool{n}d``: values go back to their positions, zeros elsewhere."
    )
    return unpool


max_unpool1d, max_unpool2d, max_unpool3d = _unpool(1), _unpool(2), _unpool(3)

# -------------------------------------------------------------------------------------------------------- averages


def _windows(x: Tensor, k: Any, s: Any) -> Tensor:
    """Windows of the last dims, in new last dims."""
    n = len(k)
    nd = len(x._a.shape)
    for i in range(n):
        x = window_op(x, dim=nd - n + i, size=k[i], step=s[i])
    return x


def _sum_windows(x: Tensor, k: Any, s: Any) -> Tensor:
    n = len(k)
    w = _windows(x, k, s)
    nd = len(w._a.shape)
    return sum_op(w, dims=tuple(range(nd - n, nd)))  # type: ignore[no-any-return]


def _avg_pool(
    n: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Any,
) -> Tensor:
    name = f"avg_pool{n}d"
    k, s, p, _ = _settings(n, kernel_size, stride, padding, 1, name)
    _check(x, n, name)
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    spatial = tuple(x._a.shape[-n:])
    out = [_size(m, a, b, c, 1, ceil_mode) for m, a, b, c in zip(spatial, k, s, p)]
    if any(v <= 0 for v in out):
        raise RuntimeError(
            f"Given input size: {list(x._a.shape)}. Calculated output size: {out}. Output size is too small"
        )
    ends = [max(0, (o - 1) * b + a - (m + c)) for o, a, b, c, m in zip(out, k, s, p, spatial)]
    pads = [v for c, e in zip(reversed(p), reversed(ends)) for v in (c, e)]
    full = constant_pad_nd(x, pads) if any(pads) else x
    total = _sum_windows(full, k, s)
    for i in range(n):  # windows beyond the last one asked for
        d = len(total._a.shape) - n + i
        if total._a.shape[d] > out[i]:
            total = index_view_op(total, index=(*[slice(None)] * d, slice(0, out[i])))
    if divisor is not None:
        return total / divisor  # type: ignore[no-any-return]
    if not any(p) and not any(ends):
        return total / math.prod(k)  # type: ignore[no-any-return]
    counts = [_counts(m, a, b, c, o, count_include_pad) for m, a, b, c, o in zip(spatial, k, s, p, out)]
    grid = counts[0]
    for c in counts[1:]:
        grid = grid[..., None] * c
    return total / from_value(grid.astype(x._a.dtype))  # type: ignore[no-any-return]


def _counts(m: int, k: int, s: int, p: int, out: int, include: bool) -> Any:
    start = np.arange(out) * s - p
    end = np.minimum(start + k, m + p)
    return end - start if include else np.minimum(end, m) - np.maximum(start, 0)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of the last dim."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of the last 2 dims."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of the last 3 dims."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _targets(n: int, x: Tensor, output_size: Any, name: str) -> list[int]:
    _check(x, n, name)
    sizes = [output_size] * n if output_size is None or isinstance(output_size, int) else list(output_size)
    if len(sizes) == 1:
        sizes = sizes * n
    if len(sizes) != n:
        raise RuntimeError(f"{name}: output_size must be {n} values, got {sizes}")
    found = [x._a.shape[-n + i] if v is None else int(v) for i, v in enumerate(sizes)]
    if any(v < 0 for v in found):
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {found}"
        )
    return found


def _bins(m: int, out: int) -> tuple[Any, Any]:
    i = np.arange(out)
    return (i * m) // out if out else i, -((-(i + 1) * m) // out) if out else i


def _adaptive_avg(n: int, x: Tensor, output_size: Any) -> Tensor:
    """Each dim in turn: the mean over unequal bins is a product with a small constant matrix."""
    out = _targets(n, x, output_size, f"adaptive_avg_pool{n}d")
    nd = len(x._a.shape)
    for i, o in enumerate(out):
        d = nd - n + i
        m = x._a.shape[d]
        if o == m:
            continue
        if o and m % o == 0:
            shape = (*x._a.shape[:d], o, m // o, *x._a.shape[d + 1 :])
            x = sum_op(base.reshape(x, shape), dims=(d + 1,)) / (m // o)
            continue
        start, end = _bins(m, o)
        j = np.arange(m)
        weights = ((j >= start[:, None]) & (j < end[:, None])) / np.maximum(end - start, 1)[:, None]
        w = from_value(weights.T.astype(x._a.dtype))
        x = FUNCTIONS["matmul"](x.movedim(d, -1), w).movedim(-1, d)
    return x


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Averages over as many bins of the last dim as asked for."""
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Averages over as many bins of the last 2 dims as asked for (None: the size stays)."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Averages over as many bins of the last 3 dims as asked for (None: the size stays)."""
    return _adaptive_avg(3, input, output_size)


def _argmax_bins(x: Any, *, out: Any) -> Any:
    n = len(out)
    spatial = x.shape[-n:]
    lead = x.shape[:-n]
    result = np.zeros((*lead, *out), np.int64)
    whole = (slice(None),) * len(lead)
    bins = [list(zip(*_bins(m, o))) for m, o in zip(spatial, out)]
    for at in np.ndindex(*out):
        edges = [bins[i][a] for i, a in enumerate(at)]
        window = x[whole + tuple([slice(int(a), int(b)) for a, b in edges])]
        best = window.reshape(*lead, -1).argmax(-1)
        offsets = np.unravel_index(best, window.shape[-n:])
        flat = np.zeros(best.shape, np.int64)
        for i in range(n):
            flat = flat * spatial[i] + offsets[i] + int(edges[i][0])
        result[whole + at] = flat
    return result


_argmax_bins_op = fam.opaque_op(_argmax_bins, None, name="adaptive_max_pool_indices", differentiable=False)


def _adaptive_max(n: int) -> Any:
    def pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        out = _targets(n, input, output_size, f"adaptive_max_pool{n}d")
        index = _argmax_bins_op(input, out=tuple(out))
        y = _pick(input, index, n)
        return (y, index) if return_indices else y

    pool.__name__ = f"adaptive_max_pool{n}d"
    pool.__doc__ = (
        f"Maxima over as many bins of the last {n} dims as asked for; optionally with flat positions."
    )
    return pool


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (_adaptive_max(n) for n in (1, 2, 3))


def _with_indices_adaptive(n: int, pool: Any) -> Any:
    def both(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return pool(input, output_size, True)

    both.__name__ = f"adaptive_max_pool{n}d_with_indices"
    both.__doc__ = f"``adaptive_max_pool{n}d`` and the flat positions of the maxima."
    return both


adaptive_max_pool1d_with_indices = _with_indices_adaptive(1, adaptive_max_pool1d)
adaptive_max_pool2d_with_indices = _with_indices_adaptive(2, adaptive_max_pool2d)
adaptive_max_pool3d_with_indices = _with_indices_adaptive(3, adaptive_max_pool3d)


def _lp(n: int) -> Any:
    def pool(
        input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Tensor:
        k = spread(kernel_size, n, "kernel_size")
        mean = _avg_pool(n, power(input, norm_type), kernel_size, stride, 0, ceil_mode, True, None)
        total = mean.sign() * FUNCTIONS["relu"](mean.abs()) * math.prod(k)
        return power(total, 1.0 / norm_type)  # type: ignore[no-any-return]

    pool.__name__ = f"lp_pool{n}d"
    pool.__doc__ = f"The power mean of each window of the last {n} dims."
    return pool


lp_pool1d, lp_pool2d, lp_pool3d = _lp(1), _lp(2), _lp(3)
_ = warnings
