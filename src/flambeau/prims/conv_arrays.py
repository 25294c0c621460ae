"""Convolution of NumPy arrays: y = conv(x, w) and its two adjoints, for any number of spatial dims.

The work is a matrix product with unfolded patches ("im2col"; Chellapilla et al., "High performance convolutional
neural networks for document processing", 2006, section 3), laid out in one of four ways:

* one image after the other, so that an image's patches stay in the cache: large images, and groups;
* all images at once with channels last, so that a patch is copied in few long pieces: small images;
* no loops, with remembered positions: a few hundred numbers (`conv_tiny`);
* no patches at all where each channel has its own kernel (depthwise): one multiply-add for each tap.

Generated code does without patches (`compiler.shifted_conv`, `compiler.shifted_weights`); these are for what it has no
case for: other dtypes, images of a few places, long strides, more than three dims.
"""

from __future__ import annotations

import functools
import itertools
import math
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import conv_tiny, products
from .products import matmul

Sizes = tuple[int, ...]
FEW_OUTPUTS = 64  # of an image, below which generated code would compute too much that is not asked for
SMALL_IMAGE = 200  # outputs of an image below which all images are done at once
SMALL_ADJOINT = 15_000  # the same for the adjoint in the input, times channels: it goes through every tap


class Geometry(NamedTuple):
    """Spatial sizes and settings, one entry for each spatial dim."""

    size: Sizes  # of the input
    kernel: Sizes
    out: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes

    @property
    def padded(self) -> Sizes:
        return tuple([n + 2 * p for n, p in zip(self.size, self.padding)])

    @property
    def inner(self) -> tuple[slice, ...]:
        """Where the input lies in the padded one."""
        return tuple([slice(p, p + n) for n, p in zip(self.size, self.padding)])

    def taps(self) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
        """(place in the kernel, the padded inputs it meets for all outputs)."""
        for at in itertools.product(*[range(k) for k in self.kernel]):
            yield (
                at,
                tuple(
                    [
                        slice(i * d, i * d + (o - 1) * s + 1, s)
                        for i, d, o, s in zip(at, self.dilation, self.out, self.stride)
                    ]
                ),
            )


def output_size(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Sizes:
    """Spatial sizes of a convolution's result; zero or less where the kernel does not fit."""
    return tuple(
        [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
        ]
    )


def _windows(x: Any, at: int, q: Geometry, kernel_first: bool) -> Any:
    """Patches of a padded array as a view: its spatial dims, from dim `at`, become (*kernel, *out) or the reverse."""
    n = len(q.kernel)
    s = x.strides[at : at + n]
    steps = [[a * d for a, d in zip(s, q.dilation)], [a * t for a, t in zip(s, q.stride)]]
    sizes = [q.kernel, q.out]
    if not kernel_first:
        steps.reverse()
        sizes.reverse()
    shape = (*x.shape[:at], *sizes[0], *sizes[1], *x.shape[at + n :])
    strides = (*x.strides[:at], *steps[0], *steps[1], *x.strides[at + n :])
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def _is_matmul(q: Geometry) -> bool:
    """A kernel of one tap that moves nothing."""
    return math.prod(q.kernel) == 1 and set(q.stride) == {1} and not any(q.padding)


# ------------------------------------------------------------------------------------------------ generated code


def _generated(run: Callable[[Any], Any], x: Any, w: Any, q: Geometry, work: int) -> Any:
    """What a function of `compiler.shifted_conv` gives, or None where that has no case or does not pay."""
    if _is_matmul(q) or x.dtype not in products.FLOATS or x.dtype != w.dtype or min(q.out) < 1:
        return None
    outputs = math.prod(q.out)
    # rows of results are as long as those of the input with its padding, by the stride
    rows = [o + d * (k - 1) // s for o, d, k, s in zip(q.out, q.dilation, q.kernel, q.stride)]
    if outputs < FEW_OUTPUTS or 5 * outputs < 3 * q.out[0] * math.prod(rows[1:]):
        return None
    if work < products.WORTH or products.kernels(work) is None:
        return None
    made = _made()
    try:
        return run(made)
    except made.UnsupportedError:
        return None


@functools.cache
def _made() -> Any:
    """The functions of generated code: an import statement takes as long as a check of a call."""
    from ..compiler.shifted_conv import shifted_input, shifted_sums
    from ..compiler.shifted_weights import shifted_products
    from ..compiler.types import UnsupportedError

    return types.SimpleNamespace(
        sums=shifted_sums, input=shifted_input, products=shifted_products, UnsupportedError=UnsupportedError
    )


def _shifted(x: Any, w: Any, q: Geometry, groups: int, bias: Any = None) -> Any:
    def run(made: Any) -> Any:
        return made.sums(x, w, groups, q.stride, q.padding, q.dilation, bias)

    return _generated(run, x, w, q, x.shape[0] * w.size * math.prod(q.out))


def _shifted_input(g: Any, w: Any, q: Geometry, groups: int) -> Any:
    def run(made: Any) -> Any:
        return made.input(g, w, groups, q.size, q.stride, q.padding, q.dilation)

    return _generated(run, g, w, q, g.shape[0] * w.size * math.prod(q.out))


def _shifted_weight(x: Any, g: Any, q: Geometry, groups: int) -> Any:
    def run(made: Any) -> Any:
        return made.products(x, g, groups, q.kernel, q.stride, q.padding, q.dilation)

    taps = x.shape[1] // groups * math.prod(q.kernel)
    w = _generated(run, x, g, q, x.shape[0] * g.shape[1] * taps * math.prod(q.out))
    # a NaN or an infinity times the zeros between rows: only the other way knows which taps saw it
    return w if w is not None and np.isfinite(w).all() else None


# ------------------------------------------------------------------------------------------------------- one tap


def _is_thinned(q: Geometry) -> bool:
    """A kernel of one tap that only leaves out places: what is left is a product of matrices."""
    return math.prod(q.kernel) == 1 and set(q.stride) != {1} and not any(q.padding)


def _thinned(x: Any, q: Geometry) -> tuple[Any, Geometry]:
    """The places that are met, and their geometry."""
    ones = (1,) * len(q.out)
    met = x[(..., *[slice(0, (o - 1) * s + 1, s) for o, s in zip(q.out, q.stride)])]
    return met, Geometry(q.out, q.kernel, q.out, ones, (0,) * len(ones), ones)


# -------------------------------------------------------------------------------------- channels last, all at once


def _columns_last(x: Any, q: Geometry) -> Any:
    """(N, C, *size) to (N * prod(out), prod(kernel) * C)."""
    n, c = x.shape[:2]
    spatial = len(q.kernel)
    last = (0, *range(2, 2 + spatial), 1)
    if any(q.padding):
        padded = np.zeros((n, *q.padded, c), x.dtype)
        padded[(slice(None), *q.inner)] = x.transpose(last)
    else:
        padded = np.ascontiguousarray(x.transpose(last))
    windows = _windows(padded, 1, q, kernel_first=False)
    return windows.reshape(n * math.prod(q.out), math.prod(q.kernel) * c)


def _rows_last(g: Any) -> Any:
    """(N, O, *out) to (N * prod(out), O)."""
    n, o = g.shape[:2]
    return g.reshape(n, o, -1).transpose(0, 2, 1).reshape(-1, o)


def _small(x: Any, w: Any, q: Geometry) -> Any:
    n, o = x.shape[0], w.shape[0]
    taps_first = np.moveaxis(w, (0, 1), (-1, -2)).reshape(-1, o)
    y = matmul(_columns_last(x, q), taps_first).reshape(n, -1, o)
    return np.ascontiguousarray(y.transpose(0, 2, 1)).reshape(n, o, *q.out)


def _small_input(g: Any, w: Any, q: Geometry) -> Any:
    n, c = g.shape[0], w.shape[1]
    taps_first = np.moveaxis(w, 1, -1).reshape(w.shape[0], -1)
    columns = matmul(_rows_last(g), taps_first).reshape(n, *q.out, *q.kernel, c)
    padded = np.zeros((n, *q.padded, c), g.dtype)
    lead = (slice(None),) * (1 + len(q.out))
    for at, where in q.taps():
        padded[(slice(None), *where)] += columns[lead + at]
    inner = padded[(slice(None), *q.inner)]
    return np.ascontiguousarray(np.moveaxis(inner, -1, 1))


def _small_weight(x: Any, g: Any, q: Geometry) -> Any:
    w = matmul(_rows_last(g).T, _columns_last(x, q))
    return np.ascontiguousarray(np.moveaxis(w.reshape(g.shape[1], *q.kernel, x.shape[1]), -1, 1))


# -------------------------------------------------------------------------------------- one image after the other


class _Unfolder:
    """The patches (groups, C / groups * prod(kernel), prod(out)) of one image at a time, in the same memory."""

    def __init__(self, channels: int, groups: int, dtype: Any, q: Geometry) -> None:
        self.q = q
        self.padded = np.zeros((channels, *q.padded), dtype)
        self.windows = _windows(self.padded, 1, q, kernel_first=True)
        self.columns = np.empty(self.windows.shape, dtype)
        rows = channels // groups * math.prod(q.kernel)
        self.matrices = self.columns.reshape(groups, rows, math.prod(q.out))

    def __call__(self, image: Any) -> Any:
        self.padded[(slice(None), *self.q.inner)] = image
        np.copyto(self.columns, self.windows)
        return self.matrices


def _images(x: Any, w: Any, q: Geometry, groups: int) -> Any:
    n, o = x.shape[0], w.shape[0]
    y = np.empty((n, groups, o // groups, math.prod(q.out)), x.dtype)
    factor = w.reshape(groups, o // groups, -1)
    if _is_matmul(q):
        matmul(factor, x.reshape(n, groups, x.shape[1] // groups, -1), out=y)
    else:
        unfold = _Unfolder(x.shape[1], groups, x.dtype, q)
        for i in range(n):
            matmul(factor, unfold(x[i]), out=y[i])
    return y.reshape(n, o, *q.out)


def _images_input(g: Any, w: Any, q: Geometry, groups: int) -> Any:
    n, o = g.shape[:2]
    channels = w.shape[1] * groups
    factor = w.reshape(groups, o // groups, -1).transpose(0, 2, 1)
    flat = g.reshape(n, groups, o // groups, -1)
    x = np.empty((n, channels, *q.size), g.dtype)
    if _is_matmul(q):
        matmul(factor, flat, out=x.reshape(n, groups, w.shape[1], -1))
        return x
    padded = np.empty((channels, *q.padded), g.dtype)
    columns = np.empty((channels, *q.kernel, *q.out), g.dtype)
    matrices = columns.reshape(groups, -1, math.prod(q.out))
    whole = (slice(None),)
    for i in range(n):
        matmul(factor, flat[i], out=matrices)
        padded[...] = 0
        for at, where in q.taps():
            padded[whole + where] += columns[whole + at]
        x[i] = padded[whole + q.inner]
    return x


def _images_weight(x: Any, g: Any, q: Geometry, groups: int) -> Any:
    n, o = g.shape[:2]
    flat = g.reshape(n, groups, o // groups, -1)
    if _is_matmul(q):
        parts = matmul(flat, x.reshape(n, groups, x.shape[1] // groups, -1).swapaxes(-1, -2))
        w = parts.sum(axis=0)
    else:
        unfold = _Unfolder(x.shape[1], groups, x.dtype, q)
        w = np.zeros((groups, o // groups, unfold.matrices.shape[1]), x.dtype)
        part = np.empty_like(w)
        for i in range(n):
            w += matmul(flat[i], unfold(x[i]).transpose(0, 2, 1), out=part)
    return w.reshape(o, x.shape[1] // groups, *q.kernel)


# ------------------------------------------------------------------------------------------------------- depthwise


def _depthwise(x: Any, w: Any, q: Geometry) -> Any:
    n, c = x.shape[:2]
    y = np.zeros((n, c, *q.out), x.dtype)
    padded = np.zeros((c, *q.padded), x.dtype)
    part = np.empty((c, *q.out), x.dtype)
    column = (c, *(1,) * len(q.kernel))
    for i in range(n):
        padded[(slice(None), *q.inner)] = x[i]
        for at, where in q.taps():
            np.multiply(padded[(slice(None), *where)], w[(slice(None), 0, *at)].reshape(column), out=part)
            y[i] += part
    return y


def _depthwise_input(g: Any, w: Any, q: Geometry) -> Any:
    n, c = g.shape[:2]
    x = np.empty((n, c, *q.size), g.dtype)
    padded = np.empty((c, *q.padded), g.dtype)
    column = (c, *(1,) * len(q.kernel))
    for i in range(n):
        padded[...] = 0
        for at, where in q.taps():
            padded[(slice(None), *where)] += g[i] * w[(slice(None), 0, *at)].reshape(column)
        x[i] = padded[(slice(None), *q.inner)]
    return x


def _depthwise_weight(x: Any, g: Any, q: Geometry) -> Any:
    n, c = g.shape[:2]
    w: Any = np.zeros((c, *q.kernel), x.dtype)
    padded = np.zeros((c, *q.padded), x.dtype)
    part = np.empty((c, *q.out), x.dtype)
    flat = part.reshape(c, -1)
    for i in range(n):
        padded[(slice(None), *q.inner)] = x[i]
        for at, where in q.taps():
            np.multiply(padded[(slice(None), *where)], g[i], out=part)
            w[(slice(None), *at)] += flat.sum(axis=1)
    return w[:, None]


# ------------------------------------------------------------------------------------------------- the three maps


def _is_depthwise(channels: int, out_channels: int, groups: int) -> bool:
    return 1 < groups == channels == out_channels


def _is_small(q: Geometry, groups: int) -> bool:
    return groups == 1 and math.prod(q.out) < SMALL_IMAGE and not _is_matmul(q)


def convolve(x: Any, w: Any, q: Geometry, groups: int, bias: Any = None) -> Any:
    """x (N, C, *size), w (O, C / groups, *kernel), bias (O,) or None: y (N, O, *out)."""
    if conv_tiny.is_tiny(x, q, groups) and w.size and x.dtype == w.dtype:
        return conv_tiny.convolve(x, w, q, bias)
    if bias is not None:
        same = x.size and w.size and not _is_thinned(q) and bias.dtype == x.dtype
        y = _shifted(x, w, q, groups, bias) if same else None
        if y is None:
            y = convolve(x, w, q, groups)
            y += bias.reshape(-1, *(1,) * len(q.out))
        return y
    if not (x.size and w.size):
        return np.zeros((x.shape[0], w.shape[0], *q.out), x.dtype)
    if _is_thinned(q):
        met, inner = _thinned(x, q)
        return convolve(np.ascontiguousarray(met), w, inner, groups)
    y = _shifted(x, w, q, groups)
    if y is not None:
        return y
    if _is_depthwise(x.shape[1], w.shape[0], groups):
        return _depthwise(x, w, q)
    return _small(x, w, q) if _is_small(q, groups) else _images(x, w, q, groups)


def convolve_input(g: Any, w: Any, q: Geometry, groups: int) -> Any:
    """The adjoint in x: g (N, O, *out), w (O, C / groups, *kernel) to (N, C, *size)."""
    if not (g.size and w.size):
        return np.zeros((g.shape[0], w.shape[1] * groups, *q.size), g.dtype)
    if _is_thinned(q):
        x = np.zeros((g.shape[0], w.shape[1] * groups, *q.size), g.dtype)
        met, inner = _thinned(x, q)
        met[...] = convolve_input(g, w, inner, groups)
        return x
    x = _shifted_input(g, w, q, groups)
    if x is not None:
        return x
    if _is_depthwise(w.shape[1] * groups, w.shape[0], groups):
        return _depthwise_input(g, w, q)
    reach = [d * (k - 1) - p for d, k, p in zip(q.dilation, q.kernel, q.padding)]
    covers = all(
        o + 2 * r - d * (k - 1) == n for o, r, d, k, n in zip(q.out, reach, q.dilation, q.kernel, q.size)
    )
    if groups == 1 and set(q.stride) == {1} and min(reach) >= 0 and covers and w.shape[0] <= 2 * w.shape[1]:
        # itself a convolution, with the kernel turned around
        turned = w.swapaxes(0, 1)[(..., *[slice(None, None, -1)] * len(q.size))]
        return convolve(g, turned, Geometry(q.out, q.kernel, q.size, q.stride, tuple(reach), q.dilation), 1)
    if groups == 1 and math.prod(q.out) * w.shape[1] < SMALL_ADJOINT and not _is_matmul(q):
        return _small_input(g, w, q)
    return _images_input(g, w, q, groups)


def half_convolve_input(g: Any, w: Any, q: Geometry, groups: int) -> Any:
    """`convolve_input` of 16-bit floats: each tap's product and each sum is rounded, as in PyTorch."""
    n, channels = g.shape[0], w.shape[1] * groups
    rows = g.astype(np.float32).reshape(n, groups, g.shape[1] // groups, -1)
    taps = w.astype(np.float32).reshape(groups, w.shape[0] // groups, w.shape[1], *q.kernel)
    out: Any = np.zeros((n, channels, *q.padded), g.dtype)
    for at, place in q.taps():
        part = np.matmul(taps[(slice(None), slice(None), slice(None), *at)].swapaxes(-1, -2), rows).astype(
            g.dtype
        )
        out[(..., *place)] += part.reshape(n, channels, *q.out)
    return np.ascontiguousarray(out[(..., *q.inner)])


def convolve_weight(x: Any, g: Any, q: Geometry, groups: int) -> Any:
    """The adjoint in w: x (N, C, *size), g (N, O, *out) to (O, C / groups, *kernel)."""
    if not (x.size and g.size):
        return np.zeros((g.shape[1], x.shape[1] // groups, *q.kernel), x.dtype)
    if conv_tiny.is_tiny(x, q, groups) and x.dtype == g.dtype:
        return conv_tiny.weight(x, g, q)
    if _is_thinned(q):
        met, inner = _thinned(x, q)
        return convolve_weight(np.ascontiguousarray(met), g, inner, groups)
    w = _shifted_weight(x, g, q, groups)
    if w is not None:
        return w
    if _is_depthwise(x.shape[1], g.shape[1], groups):
        return _depthwise_weight(x, g, q)
    return _small_weight(x, g, q) if _is_small(q, groups) else _images_weight(x, g, q, groups)
