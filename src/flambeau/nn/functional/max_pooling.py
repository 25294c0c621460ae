"""Maxima over windows of the last dims, over bins, over windows of random sizes; and their partial inverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import families as fam
from ...core.grad_names import rename
from ...core.pending import seen
from ...core.public import overridable
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...ops.layouts import in_own_order, is_images, like_images, like_signals
from ...ops.random import draw
from ...prims import base
from ...prims.bins import edges
from ...prims.indexing import gather_op, scatter_op
from ...prims.pool import Windows, max_pool_op, positions_op, taps_op
from .conv import spread
from .pooling import targets, windows


def _max_pool(x: Tensor, w: Windows, indices: bool) -> Any:
    if x._a.dtype.kind in "bc":
        raise NotImplementedError(f'"max_pool" not implemented for {dtype_of(x)}')
    y = max_pool_op(x, w=w)
    found: tuple[Tensor, ...] = (y, positions_op(taps_op(x, w=w), w=w)) if indices else (y,)
    images = is_images(x)
    found = tuple([like_images(v, x) if images else in_own_order(v) for v in found])
    return found if indices else found[0]


def _named(n: int, name: str) -> Callable[[Any], Any]:
    """A function that gives results the name that they have in graphs: one dim is computed as two."""

    def rename_result(result: Any) -> Any:
        return result if tls.stack else rename(result, "SqueezeBackward1" if n == 1 else name)

    return rename_result


def _max_pool_nd(n: int, always: bool) -> Any:
    name = f"max_pool{n}d"

    def pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        w = windows(n, input, kernel_size, stride, padding, dilation, ceil_mode, name)
        y = _max_pool(input, w, always or return_indices)
        if n == 1:  # computed as images, but without indices and gradients
            if isinstance(y, tuple):
                y = tuple([like_signals(v, input) for v in y])
            else:
                y = in_own_order(y) if y._node is None else like_signals(y, input)
        return named(y)

    named = _named(n, f"MaxPool{n}DWithIndicesBackward0")
    pool.__name__ = name + "_with_indices" * always
    pool.__doc__ = f"The maximum of each window of the last {n} dims; optionally with flat positions."
    if always:
        pool.__doc__ = f"``{name}`` and the flat positions of the maxima."
    return pool


max_pool1d, max_pool2d, max_pool3d = (overridable(_max_pool_nd(n, False)) for n in (1, 2, 3))
max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = (
    _max_pool_nd(n, True) for n in (1, 2, 3)
)


def _pick(x: Tensor, index: Tensor, n: int) -> Tensor:
    """Values at flat positions of the last n dims."""
    lead = tuple(x._a.shape[:-n])
    flat = base.reshape(x, (*lead, math.prod(x._a.shape[-n:])))
    at = base.reshape(index, (*lead, math.prod(index._a.shape[-n:])))
    return base.reshape(gather_op(flat, at, dim=len(lead)), tuple(index._a.shape))


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
        positions = seen(at)
        if positions.size and (int(positions.min()) < 0 or int(positions.max()) >= total):
            bad = int(positions.min()) if int(positions.min()) < 0 else int(positions.max())
            raise RuntimeError(
                f"Found an invalid max index: {bad} (output volumes are of size {' x '.join(map(str, size))})"
            )
        zero = base.full((*lead, total), 0, input._a.dtype)
        y = base.reshape(scatter_op(zero, flat, at, dim=len(lead), reduce="set"), (*lead, *size))
        return named(like_images(y, input) if n == 2 else y)  # type: ignore[no-any-return]

    named = _named(n, f"MaxUnpool{n}DBackward0")
    unpool.__name__ = f"max_unpool{n}d"
    unpool.__doc__ = (
        f"The partial inverse of ``max_pool{n}d``: values go back to their positions, zeros elsewhere."
    )
    return unpool


max_unpool1d, max_unpool2d, max_unpool3d = (overridable(_unpool(n)) for n in (1, 2, 3))

# ------------------------------------------------------------------------------------------------------------ bins


def _argmax_bins(x: Any, *, out: Any) -> Any:
    n = len(out)
    spatial = x.shape[-n:]
    lead = x.shape[:-n]
    result = np.zeros((*lead, *out), np.int64)
    whole = (slice(None),) * len(lead)
    edges_of = [list(zip(*edges(m, o))) for m, o in zip(spatial, out)]
    nan = x.dtype.kind in "fV" and np.isnan(x).any()
    for at in np.ndindex(*out):
        corners = [edges_of[i][a] for i, a in enumerate(at)]
        window = x[whole + tuple([slice(int(a), int(b)) for a, b in corners])]
        flat_window = window.reshape(*lead, -1)
        best = flat_window.argmax(-1)
        if nan:  # the last of several, as in other pools
            missing = np.isnan(flat_window)
            last = missing.shape[-1] - 1 - missing[..., ::-1].argmax(-1)
            best = np.where(missing.any(-1), last, best)
        offsets = np.unravel_index(best, window.shape[-n:])
        flat = np.zeros(best.shape, np.int64)
        for i in range(n):
            flat = flat * spatial[i] + offsets[i] + int(corners[i][0])
        result[whole + at] = flat
    return result


_argmax_bins_op = fam.opaque_op(_argmax_bins, None, name="adaptive_max_pool_indices", differentiable=False)


def _adaptive_max(n: int, always: bool) -> Any:
    name = f"adaptive_max_pool{n}d"

    def placed(y: Tensor, x: Tensor) -> Tensor:
        """Contiguous, but for signals and images with the channels innermost."""
        if n == 1:
            return like_signals(y, x)
        return like_images(y, x) if n == 2 and is_images(x) else in_own_order(y)

    def pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        out = tuple(targets(n, input, output_size, name))
        indices = always or return_indices
        size = tuple(input._a.shape[-n:])
        if all(o and m % o == 0 for m, o in zip(size, out)):  # equal bins are windows
            step = tuple([m // o for m, o in zip(size, out)])
            windows = Windows(step, step, (0,) * n, (1,) * n, size, out)
            y = _max_pool(input, windows, indices)
            return named((placed(y[0], input), placed(y[1], input)) if indices else placed(y, input))
        index = _argmax_bins_op(input, out=out)
        y = _pick(input, index, n)
        y = named(placed(y, input))
        index = placed(index, input)
        return (y, index) if indices else y

    named = _named(n, f"AdaptiveMaxPool{n}DBackward0")

    pool.__name__ = name + "_with_indices" * always
    pool.__doc__ = (
        f"Maxima over as many bins of the last {n} dims as asked for; optionally with flat positions."
    )
    if always:
        pool.__doc__ = f"``{name}`` and the flat positions of the maxima."
    return pool


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (
    overridable(_adaptive_max(n, False)) for n in (1, 2, 3)
)
adaptive_max_pool1d_with_indices, adaptive_max_pool2d_with_indices, adaptive_max_pool3d_with_indices = (
    _adaptive_max(n, True) for n in (1, 2, 3)
)

# ------------------------------------------------------------------------------------------------ fractional pooling


def _starts(samples: Any, size: int, kernel: int, out: int) -> Any:
    """Where the windows of one dim begin, a pseudorandom sequence for each sample (Graham, 2014, section 2)."""
    if out == 1:
        return np.full((*samples.shape, 1), size - kernel, np.int64)
    alpha = samples.dtype.type((size - kernel) / (out - 1))
    i = np.arange(out)
    found = ((i + samples[..., None]).astype(samples.dtype) * alpha).astype(np.int64)
    found -= (samples * alpha).astype(np.int64)[..., None]
    found[..., -1] = size - kernel
    return found


def _fractional_positions(x: Any, samples: Any, *, kernel: Any, out: Any) -> Any:
    """Flat positions of the maxima: x (..., *size), samples (..., n)."""
    n = len(kernel)
    lead, size = x.shape[:-n], x.shape[-n:]
    flat = x.reshape(*lead, math.prod(size))
    corner: Any = 0
    order = range(n - 1, -1, -1) if n == 2 else range(n)  # samples for 2 dims come with the last dim first
    for d, which in zip(range(n), order):
        starts = _starts(samples[..., which], size[d], kernel[d], out[d])
        corner = corner * size[d] + starts.reshape(*lead, *[out[d] if e == d else 1 for e in range(n)])
    corner = np.broadcast_to(corner, (*lead, *out)).reshape(*lead, math.prod(out))
    best = corner.copy()
    value = np.take_along_axis(flat, best, -1)
    for place in np.ndindex(*kernel):
        offset = int(np.ravel_multi_index(place, size))
        other = np.take_along_axis(flat, corner + offset, -1)
        wins = (other > value) | (other != other)
        best = np.where(wins, corner + offset, best)
        value = np.where(wins, other, value)
    return best.reshape(*lead, *out)


_fractional_op = fam.opaque_op(_fractional_positions, None, name="fractional_max_pool", differentiable=False)


def _fractional(n: int, always: bool) -> Any:
    name = f"fractional_max_pool{n}d"

    def pool(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:
        s = tuple(input._a.shape)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
        if len(s) not in (n + 1, n + 2) or any(m == 0 for m in s[-n - 1 :]):
            raise RuntimeError(
                f"{name}: Expected {n + 1}D or {n + 2}D tensor with non-zero size for non-batch dims, but got: {list(s)}"
            )
        if output_size is None:
            ratios = list(output_ratio) if isinstance(output_ratio, (list, tuple)) else [output_ratio] * n
            if len(ratios) != n:
                raise ValueError(f"{name} requires output_ratio to either be a single Int or tuple of Ints.")
            if not all(0 < r < 1 for r in ratios):
                raise ValueError(f"{name}: output_ratio must be between 0 and 1 (got {output_ratio})")
            output_size = [int(m * r) for m, r in zip(s[-n:], ratios)]
        kernel, out = spread(kernel_size, n, "kernel_size"), spread(output_size, n, "output_size")
        for k, o, m in zip(kernel, out, s[-n:]):
            if k <= 0 or o <= 0:
                raise RuntimeError(
                    f"{name}: kernel and output sizes must be positive, got {kernel} and {out}"
                )
            if o + k - 1 > m:
                raise RuntimeError(
                    f"{name}: pool size {k} and output {o} are too large relative to the input's {m}"
                )
        single = len(s) == n + 1
        x = input.unsqueeze(0) if single else input
        lead = tuple(x._a.shape[:2])
        if _random_samples is None:
            _random_samples = draw("uniform", (*lead, n), input._a.dtype, 0.0, 1.0, like=input)
        else:
            found = tuple(_random_samples._a.shape)
            if len(found) != 3 or found[0] < lead[0] or found[1:] != (lead[1], n):
                raise RuntimeError(
                    f"Expect _random_samples of shape {(*lead, n)} or with more in its first dim, got {found}"
                )
            _random_samples = _random_samples[: lead[0]]
        if _random_samples._a.dtype != input._a.dtype:
            raise RuntimeError("Expect _random_samples to have the same dtype as input")
        index = _fractional_op(x, _random_samples, kernel=kernel, out=out)
        y = _pick(x, index, n)
        if single:
            y, index = y.squeeze(0), index.squeeze(0)
        named(y)
        return (y, index) if always or return_indices else y

    named = _named(n, f"FractionalMaxPool{n}DBackward0")

    pool.__name__ = name + "_with_indices" * always
    pool.__doc__ = f"Maxima over pseudorandom windows of the last {n} dims (Graham, "
    pool.__doc__ += '"Fractional max-pooling", 2014).'
    return pool


fractional_max_pool2d, fractional_max_pool3d = (overridable(_fractional(n, False)) for n in (2, 3))
fractional_max_pool2d_with_indices, fractional_max_pool3d_with_indices = (
    _fractional(n, True) for n in (2, 3)
)
