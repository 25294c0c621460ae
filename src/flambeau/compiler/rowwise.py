"""Softmax, layer normalisation, cross entropy and reductions over the last axis of arrays.

Arrays are float32, float64, float16 or bfloat16 (computed in float32), of any shape, taken as rows; they are
copied if they are not C-contiguous. Sums add in a fixed order that does not depend on the number of threads,
but for the weight gradients of layer normalisation, where it is fixed for a fixed number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import inf, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from .dialect import Value
from .row_kernel import RowKernel, RowWriter, add, larger, maximum
from .types import COMPUTE, Storage, UnsupportedError, storage

__all__ = ["cross_entropy", "cross_entropy_backward", "layer_norm", "layer_norm_backward", "log_softmax"]
__all__ += [
    "log_softmax_backward",
    "max_last",
    "mean_last",
    "rms_norm",
    "rms_norm_backward",
    "softmax",
    "softmax_backward",
    "sum_all",
    "sum_last",
]

Array = npt.NDArray[Any]
_CHUNK = 1 << 16  # elements of a partial sum of `sum_all`


def _storage(x: Array) -> Storage:
    found = storage(x.dtype)
    if found.compute.kind != "f":
        raise UnsupportedError(f"kernels over rows are for floating dtypes, got {x.dtype}")
    return found


def _rows(x: Array, *, columns_needed: bool = False) -> tuple[Array, int, int]:
    """`x` contiguous, and its rows and columns."""
    if x.ndim == 0:
        raise ValueError("an array with at least one dimension is needed, got a 0-d array")
    columns = x.shape[-1]
    if columns_needed and columns == 0:
        raise ValueError(f"the maximum over a dimension of size 0 does not exist (shape {x.shape})")
    rows = x.size // columns if columns else prod(x.shape[:-1])
    return (x if x.flags.c_contiguous else np.ascontiguousarray(x)), rows, columns


def _same(x: Array, other: Array, name: str) -> Array:
    if other.shape != x.shape or other.dtype != x.dtype:
        raise ValueError(
            f"{name} must have shape {x.shape} and dtype {x.dtype}, got {other.shape} and {other.dtype}"
        )
    return other if other.flags.c_contiguous else np.ascontiguousarray(other)


def _output(x: Array, out: Array | None, *inputs: Array) -> Array:
    """`out`, checked, or a new array like `x`. It may be an input, but not overlap one otherwise."""
    if out is None:
        return empty(x.shape, x.dtype)
    if out.shape != x.shape or out.dtype != x.dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"out must be C-contiguous with shape {x.shape} and dtype {x.dtype}, got {out.shape} and "
            f"{out.dtype}"
        )
    for a in inputs:
        if np.may_share_memory(out, a) and out.ctypes.data != a.ctypes.data:
            raise ValueError("out overlaps an input without being it")
    return out


# ---- softmax ----


@cache
def _softmax_kernel(kind: Storage, logarithm: bool) -> RowKernel:
    narrow = kind.compute.bits > 8 * kind.itemsize  # intermediate results would be rounded in `out`

    def write(r: RowWriter) -> None:
        k = r.k
        (top,) = r.sweep([1], lambda v, s: ([], [larger(v[0], s[0])]), (), [(-inf, larger)], 4)

        def accumulate(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            e = k.exp(v[0] - top)
            return ([] if logarithm or narrow else [e]), [s[0] + e]

        (total,) = r.sweep([1], accumulate, [] if logarithm or narrow else [0], [(0.0, add)])
        if logarithm:
            shift = k.log(total)
            r.sweep([1], lambda v, s: ([v[0] - top - shift], []), [0], (), 4, [1])
            return
        inverse = 1.0 / total
        if narrow:
            r.sweep([1], lambda v, s: ([k.exp(v[0] - top) * inverse], []), [0])
        else:
            r.sweep([0], lambda v, s: ([v[0] * inverse], []), [0], (), 4, [1])

    return RowKernel([(kind, "matrix")] * 2, 1, write, cost=0.5)


def softmax(x: Array, out: Array | None = None) -> Array:
    """``exp(x) / sum(exp(x))`` over the last axis. `out` may be `x`.

    Raises: ValueError for 0-d arrays and an unsuitable `out`; UnsupportedError for dtypes that are not
    floating.

    >>> import numpy as np
    >>> from flambeau.compiler.rowwise import softmax
    >>> softmax(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    return _softmax(x, out, False)


def log_softmax(x: Array, out: Array | None = None) -> Array:
    """``x - log(sum(exp(x)))`` over the last axis. `out` may be `x`.

    Raises: as `softmax`.
    """
    return _softmax(x, out, True)


def _softmax(x: Array, out: Array | None, logarithm: bool) -> Array:
    kind = _storage(x)
    x, rows, columns = _rows(x)
    out = _output(x, out, x)
    kernel = _softmax_kernel(kind, logarithm)
    kernel.fn(out, x, *kernel.shape(rows, columns))
    return out


@cache
def _softmax_backward_kernel(kind: Storage, logarithm: bool) -> RowKernel:
    def write(r: RowWriter) -> None:
        k = r.k
        if logarithm:
            (total,) = r.sweep([1], lambda v, s: ([], [s[0] + v[0]]), (), [(0.0, add)], 4)
            r.sweep([1, 2], lambda v, s: ([v[0] - k.exp(v[1]) * total], []), [0])
            return
        (total,) = r.sweep([1, 2], lambda v, s: ([], [k.fma(v[0], v[1], s[0])]), (), [(0.0, add)], 4)
        r.sweep([1, 2], lambda v, s: ([v[1] * (v[0] - total)], []), [0], (), 4)

    return RowKernel([(kind, "matrix")] * 3, 1, write, cost=0.4)


def softmax_backward(grad: Array, result: Array, out: Array | None = None) -> Array:
    """The gradient of `softmax`'s input, from that of its `result`. `out` may be `grad` or `result`.

    Raises: ValueError for arrays that differ in shape or dtype, or an unsuitable `out`.
    """
    return _softmax_gradient(grad, result, out, False)


def log_softmax_backward(grad: Array, result: Array, out: Array | None = None) -> Array:
    """The gradient of `log_softmax`'s input, from that of its `result`.

    Raises: as `softmax_backward`.
    """
    return _softmax_gradient(grad, result, out, True)


def _softmax_gradient(grad: Array, result: Array, out: Array | None, logarithm: bool) -> Array:
    kind = _storage(grad)
    grad, rows, columns = _rows(grad)
    result = _same(grad, result, "the result")
    out = _output(grad, out, grad, result)
    kernel = _softmax_backward_kernel(kind, logarithm)
    kernel.fn(out, grad, result, *kernel.shape(rows, columns))
    return out


# ---- layer normalisation ----


@cache
def _layer_norm_kernel(kind: Storage, has_weight: bool, has_bias: bool) -> RowKernel:
    wide = storage(kind.compute.name)

    def write(r: RowWriter, eps: Value) -> None:
        k = r.k
        (total,) = r.sweep([3], lambda v, s: ([], [s[0] + v[0]]), (), [(0.0, add)], 4)
        count = r.count()
        mean = total / count

        def squares(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            centred = v[0] - mean
            return [], [k.fma(centred, centred, s[0])]

        (square,) = r.sweep([3], squares, (), [(0.0, add)], 4)
        scale = k.rsqrt(square / count + eps)

        def normalise(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            y = (v[0] - mean) * scale
            if has_weight and has_bias:
                return [k.fma(y, v[1], v[2])], []
            return [y * v[1] if has_weight else y + v[1] if has_bias else y], []

        r.sweep([3, *range(4, 4 + has_weight + has_bias)], normalise, [0], (), 2, [3])
        r.set_scalar(1, mean)
        r.set_scalar(2, scale)

    arrays = [(kind, "matrix"), (wide, "scalar"), (wide, "scalar"), (kind, "matrix")]
    arrays += [(kind, "shared")] * (has_weight + has_bias)
    return RowKernel(arrays, 3, write, [kind.compute], cost=0.25)


def layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Each row made to have mean 0 and variance 1, then times `weight` plus `bias` (J. L. Ba et al., *Layer
    Normalization*, 2016): (result, mean, 1 / standard deviation), the latter two of shape ``x.shape[:-1]``.

    Raises: ValueError for a weight or bias that is not one row of `x`'s dtype; otherwise as `softmax`.
    """
    kind = _storage(x)
    x, rows, columns = _rows(x)
    shared = [_shared(x, a, name) for a, name in ((weight, "weight"), (bias, "bias")) if a is not None]
    out = _output(x, out, x, *shared)
    mean, scale = (np.empty(x.shape[:-1], kind.compute.name) for _ in range(2))
    kernel = _layer_norm_kernel(kind, weight is not None, bias is not None)
    kernel.fn(out, mean, scale, x, *shared, *kernel.shape(rows, columns), eps)
    return out, mean, scale


def _shared(x: Array, a: Array, name: str) -> Array:
    if a.size != x.shape[-1] or a.dtype != x.dtype:
        raise ValueError(
            f"the {name} must have {x.shape[-1]} elements of dtype {x.dtype}, got {a.size} of {a.dtype}"
        )
    return np.ascontiguousarray(a)


@cache
def _layer_norm_backward_kernel(kind: Storage, has_weight: bool, parameters: bool) -> RowKernel:
    wide = storage(kind.compute.name)
    first = 3 if parameters else 1  # after the outputs: gradient, input, mean, scale, weight

    def write(r: RowWriter) -> None:
        k = r.k
        mean, scale = r.scalar(first + 2), r.scalar(first + 3)
        reads = [first, first + 1, *([first + 4] if has_weight else [])]

        def weighted(v: list[Value]) -> tuple[Value, Value]:
            return (v[0] * v[2] if has_weight else v[0]), (v[1] - mean) * scale

        def accumulate(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            g, y = weighted(v)
            stores = [k.fma(v[0], y, v[-2]), v[-1] + v[0]] if parameters else []
            return stores, [s[0] + g, k.fma(g, y, s[1])]

        extra = [1, 2] if parameters else []
        sum_g, sum_gy = r.sweep(reads + extra, accumulate, extra, [(0.0, add), (0.0, add)])
        count = r.count()
        mean_g, mean_gy = sum_g / count, sum_gy / count

        def finish(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            g, y = weighted(v)
            return [scale * (g - mean_g - y * mean_gy)], []

        r.sweep(reads, finish, [0], (), 2, reads[:2])

    arrays = [(kind, "matrix"), *([(wide, "chunk")] * 2 if parameters else [])]
    arrays += [(kind, "matrix"), (kind, "matrix"), (wide, "scalar"), (wide, "scalar")]
    arrays += [(kind, "shared")] if has_weight else []
    return RowKernel(arrays, first, write, cost=0.4)


def layer_norm_backward(
    grad: Array, x: Array, mean: Array, scale: Array, weight: Array | None = None, parameters: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """The gradients of `layer_norm`: of its input, and with `parameters` of weight and bias, else None.

    `mean` and `scale` are what `layer_norm` returned.

    Raises: ValueError for shapes and dtypes that do not belong together.
    """
    kind = _storage(grad)
    grad, rows, columns = _rows(grad)
    x = _same(grad, x, "the input")
    for a in (mean, scale):
        if a.shape != grad.shape[:-1] or a.dtype.name != kind.compute.name:
            raise ValueError(
                f"mean and scale must have shape {grad.shape[:-1]} and dtype {kind.compute.name}, got "
                f"{a.shape} and {a.dtype}"
            )
    shared = [] if weight is None else [_shared(grad, weight, "weight")]
    out = empty(grad.shape, grad.dtype)
    kernel = _layer_norm_backward_kernel(kind, weight is not None, parameters)
    shape = kernel.shape(rows, columns)
    chunks = max(1, -(-rows // shape[2]))
    sums = [np.zeros((chunks, columns), kind.compute.name) for _ in range(2 if parameters else 0)]
    states = [np.ascontiguousarray(a) for a in (mean, scale)]
    kernel.fn(out, *sums, grad, x, *states, *shared, *shape)
    if not parameters:
        return out, None, None
    whole = [s[0] if chunks == 1 else s.sum(axis=0) for s in sums]
    weight_grad, bias_grad = (s.astype(grad.dtype, copy=False) for s in whole)
    return out, weight_grad, bias_grad


# ---- division by the root mean square ----


@cache
def _rms_norm_kernel(kind: Storage) -> RowKernel:
    wide = storage(kind.compute.name)

    def write(r: RowWriter, eps: Value) -> None:
        k = r.k
        (square,) = r.sweep([2], lambda v, s: ([], [k.fma(v[0], v[0], s[0])]), (), [(0.0, add)], 4)
        scale = k.rsqrt(square / r.count() + eps)
        r.sweep([2, 3], lambda v, s: ([v[0] * scale * v[1]], []), [0], (), 2, [2])
        r.set_scalar(1, scale)

    arrays = [(kind, "matrix"), (wide, "scalar"), (kind, "matrix"), (kind, "shared")]
    return RowKernel(arrays, 2, write, [kind.compute], cost=0.2)


def rms_norm(x: Array, weight: Array, eps: float) -> tuple[Array, Array]:
    """Each row divided by its root mean square, times `weight` (B. Zhang and R. Sennrich, *Root Mean Square Layer
    Normalization*, 2019): the result, and what the rows were multiplied by.

    Raises: as `layer_norm`.

    >>> import numpy as np
    >>> from flambeau.compiler.rowwise import rms_norm
    >>> rms_norm(np.array([[3.0, 3.0]]), np.array([1.0, 2.0]), 0.0)[0]
    array([[1., 2.]])
    """
    kind = _storage(x)
    x, rows, columns = _rows(x)
    out, kernel = _output(x, None), _rms_norm_kernel(kind)
    scale: Array = np.empty(x.shape[:-1], kind.compute.name)
    kernel.fn(out, scale, x, _shared(x, weight, "weight"), *kernel.shape(rows, columns), eps)
    return out, scale


@cache
def _rms_norm_backward_kernel(kind: Storage) -> RowKernel:
    wide = storage(kind.compute.name)

    def write(r: RowWriter) -> None:  # the gradients of input and weight; gradient, input, scale, weight
        k = r.k
        scale = r.scalar(4)

        def accumulate(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            g, x, w, total = v
            y = x * scale
            return [k.fma(g, y, total)], [k.fma(g * w, y, s[0])]

        (along,) = r.sweep([2, 3, 5, 1], accumulate, [1], [(0.0, add)])
        share = along / r.count() * scale

        def finish(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            g, x, w = v
            return [scale * (g * w - x * share)], []

        r.sweep([2, 3, 5], finish, [0], (), 2, [2, 3])

    arrays = [(kind, "matrix"), (wide, "chunk"), (kind, "matrix"), (kind, "matrix")]
    return RowKernel([*arrays, (wide, "scalar"), (kind, "shared")], 2, write, cost=0.35)


def rms_norm_backward(grad: Array, x: Array, scale: Array, weight: Array) -> tuple[Array, Array]:
    """The gradients of the input and the weight of `rms_norm`; `scale` is what it returned.

    Raises: ValueError for shapes and dtypes that do not belong together.
    """
    kind = _storage(grad)
    grad, rows, columns = _rows(grad)
    x = _same(grad, x, "the input")
    if scale.shape != grad.shape[:-1] or scale.dtype.name != kind.compute.name:
        raise ValueError(
            f"the scales must have shape {grad.shape[:-1]} and dtype {kind.compute.name}, got {scale.shape} and "
            f"{scale.dtype}"
        )
    out, kernel = empty(grad.shape, grad.dtype), _rms_norm_backward_kernel(kind)
    shape = kernel.shape(rows, columns)
    sums = np.zeros((max(1, -(-rows // shape[2])), columns), kind.compute.name)
    kernel.fn(out, sums, grad, x, np.ascontiguousarray(scale), _shared(grad, weight, "weight"), *shape)
    total = sums[0] if len(sums) == 1 else sums.sum(axis=0)
    return out, total.astype(grad.dtype, copy=False)


# ---- reductions ----


@cache
def _reduce_kernel(kind: Storage, name: str) -> RowKernel:
    def write(r: RowWriter) -> None:
        if name == "max":
            k = r.k

            def accumulate(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
                # NaN is remembered by itself: a chain of simple maxima is faster than one that heeds it.
                return [], [larger(v[0], s[0]), k.select(k.isnan(v[0]), v[0], s[1])]

            top, seen = r.sweep([1], accumulate, (), [(-inf, larger), (0.0, maximum)], 4)
            total = k.select(k.isnan(seen), seen, top)
        else:
            (total,) = r.sweep([1], lambda v, s: ([], [s[0] + v[0]]), (), [(0.0, add)], 8)
        r.set_scalar(0, total / r.count() if name == "mean" else total)

    return RowKernel([(kind, "scalar"), (kind, "matrix")], 1, write, cost=0.08)


def _reduce(x: Array, name: str) -> Array:
    kind = _storage(x)
    x, rows, columns = _rows(x, columns_needed=name == "max")
    out: Array = np.empty(x.shape[:-1], x.dtype)
    kernel = _reduce_kernel(kind, name)
    kernel.fn(out, x, *kernel.shape(rows, columns))
    return out


def sum_last(x: Array) -> Array:
    """Sum over the last axis.

    Raises: ValueError for 0-d arrays; UnsupportedError for dtypes that are not floating.
    """
    return _reduce(x, "sum")


def mean_last(x: Array) -> Array:
    """Mean over the last axis; NaN of nothing.

    Raises: as `sum_last`.
    """
    return _reduce(x, "mean")


def max_last(x: Array) -> Array:
    """Maximum over the last axis; NaN if there is one.

    Raises: ValueError if the axis is empty; otherwise as `sum_last`.
    """
    return _reduce(x, "max")


def sum_all(x: Array) -> float:
    """Sum of all elements, in an order that depends on nothing but their number.

    Raises: UnsupportedError for dtypes that are not floating.

    >>> import numpy as np
    >>> from flambeau.compiler.rowwise import sum_all
    >>> sum_all(np.arange(10, dtype=np.float32))
    45.0
    """
    kind = _storage(x)
    flat = np.ascontiguousarray(x).reshape(-1)
    if flat.size <= _CHUNK:
        one: Array = np.empty(1, kind.compute.name)
        _partial_sum_kernel(kind).fn(one, flat, 1, flat.size, 1)
        return float(one[0])
    whole = flat.size // _CHUNK * _CHUNK
    parts = [flat[:whole].reshape(-1, _CHUNK), flat[whole:].reshape(1, -1)]
    total = 0.0
    for part in parts:
        if not part.size:
            continue
        partial: Array = np.empty(len(part), kind.compute.name)
        kernel = _partial_sum_kernel(kind)
        kernel.fn(partial, part, *kernel.shape(*part.shape))
        total += float(partial.sum(dtype=np.float64))
    return total


@cache
def _partial_sum_kernel(kind: Storage) -> RowKernel:
    def write(r: RowWriter) -> None:
        (total,) = r.sweep([1], lambda v, s: ([], [s[0] + v[0]]), (), [(0.0, add)], 8)
        r.set_scalar(0, total)

    return RowKernel([(storage(kind.compute.name), "scalar"), (kind, "matrix")], 1, write, cost=0.08)


# ---- cross entropy ----


@cache
def _cross_entropy_kernel(kind: Storage, smoothed: bool) -> RowKernel:
    wide = storage(kind.compute.name)

    def write(r: RowWriter, ignored: Value, smoothing: Value) -> None:
        k = r.k
        (top,) = r.sweep([2], lambda v, s: ([], [larger(v[0], s[0])]), (), [(-inf, larger)], 4)

        def accumulate(v: list[Value], s: list[Value]) -> tuple[list[Value], list[Value]]:
            z = v[0] - top
            return [], [s[0] + k.exp(z), *([s[1] + z] if smoothed else [])]

        total, *levels = r.sweep([2], accumulate, (), [(0.0, add)] * (1 + smoothed))
        shift = k.log(total)
        counts, index = _target(r, 3, ignored, 4)
        loss = top - r.element(2, index) + shift
        if smoothed:
            loss = loss * (1.0 - smoothing) + (shift - levels[0] / r.count()) * smoothing
        r.set_scalar(0, k.select(counts, loss, 0.0))
        r.set_scalar(1, top + shift)

    integer = storage("int64")
    arrays = [(wide, "scalar"), (wide, "scalar"), (kind, "matrix"), (integer, "scalar"), (integer, "fixed")]
    return RowKernel(arrays, 2, write, [COMPUTE["int64"], kind.compute], cost=0.4)


def _target(r: RowWriter, array: int, ignored: Value, wrong: int) -> tuple[Value, str]:
    """Whether the row counts, and a column that exists; a target that is no class goes into array `wrong`."""
    k = r.k
    target = r.scalar(array)
    counts = target != ignored
    lane = k.emit(f"extractelement {k.vector('i1')} {counts.ref}, i32 0")
    word = r.word(array)
    outside = k.emit(f"and i1 {lane}, {k.compare('uge', word, r.columns)}")
    with k.when(outside):  # any of several threads may win: each stores a whole word
        k.store("i64", word, r.addresses[wrong], 1)
        k.store("i64", 1, r.addresses[wrong], 0)
    usable = k.emit(f"and i1 {lane}, {k.compare('ult', word, r.columns)}")
    return counts, k.emit(f"select i1 {usable}, i64 {word}, i64 0")


@cache
def _cross_entropy_backward_kernel(kind: Storage, smoothed: bool) -> RowKernel:
    wide = storage(kind.compute.name)

    def write(r: RowWriter, ignored: Value, smoothing: Value) -> None:
        k = r.k
        counts, index = _target(r, 2, ignored, 5)
        log_sum, grad = r.scalar(3), k.select(counts, r.scalar(4), 0.0)
        spread = smoothing / r.count()
        own = (k.exp(r.element(1, index) - log_sum) - (1.0 - smoothing) - spread) * grad
        if smoothed:
            r.sweep([1], lambda v, s: ([(k.exp(v[0] - log_sum) - spread) * grad], []), [0])
        else:
            r.sweep([1], lambda v, s: ([k.exp(v[0] - log_sum) * grad], []), [0])
        r.set_scalar(0, own, index)

    integer = storage("int64")
    arrays = [(kind, "matrix"), (kind, "matrix"), (integer, "scalar")]
    arrays += [(wide, "scalar"), (wide, "scalar"), (integer, "fixed")]
    return RowKernel(arrays, 1, write, [COMPUTE["int64"], kind.compute], cost=0.3)


def _check_shapes(logits: Array, target: Array) -> Array:
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits need at least one class, got shape {logits.shape}")
    if target.shape != logits.shape[:-1] or target.dtype != np.int64:
        raise ValueError(
            f"targets must have shape {logits.shape[:-1]} and dtype int64, got {target.shape} and "
            f"{target.dtype}"
        )
    return target if target.flags.c_contiguous else np.ascontiguousarray(target)


def _check_targets(wrong: Array, classes: int) -> None:
    if wrong[0]:
        raise IndexError(f"Target {int(wrong[1])} is out of bounds for {classes} classes.")


def cross_entropy(
    logits: Array, target: Array, ignore_index: int = -100, smoothing: float = 0.0
) -> tuple[Array, Array]:
    """``-log_softmax(logits)[target]`` for each row, and the logarithm of each row's sum of exponentials.

    The loss is 0 where the target is `ignore_index`. With `smoothing`, that part of it is the mean over all classes. Both have the shape ``logits.shape[:-1]``, and are
    float32 for 16-bit logits. `target` is int64.

    Raises: IndexError for targets that are no class; ValueError for shapes and dtypes.

    >>> import numpy as np
    >>> from flambeau.compiler.rowwise import cross_entropy
    >>> cross_entropy(np.zeros((2, 4)), np.array([1, -100]))[0].round(4)
    array([1.3863, 0.    ])
    """
    kind = _storage(logits)
    target = _check_shapes(logits, target)
    logits, rows, columns = _rows(logits)
    loss, log_sum = (np.empty(target.shape, kind.compute.name) for _ in range(2))
    kernel = _cross_entropy_kernel(kind, smoothing != 0)
    wrong: Array = np.zeros(2, np.int64)
    shape = kernel.shape(rows, columns)
    kernel.fn(loss, log_sum, logits, target, wrong, *shape, ignore_index, float(smoothing))
    _check_targets(wrong, columns)
    return loss, log_sum


def cross_entropy_backward(
    grad: Array,
    logits: Array,
    target: Array,
    log_sum: Array,
    ignore_index: int = -100,
    smoothing: float = 0.0,
) -> Array:
    """The gradient of the logits, from the rows' `grad` and what `cross_entropy` returned.

    Raises: as `cross_entropy`.
    """
    kind = _storage(logits)
    target = _check_shapes(logits, target)
    logits, rows, columns = _rows(logits)
    name = kind.compute.name
    rowwise: Sequence[Array] = [np.ascontiguousarray(a) for a in (log_sum, grad)]
    for a in rowwise:
        if a.shape != target.shape or a.dtype.name != name:
            raise ValueError(
                f"grad and log_sum must have shape {target.shape} and dtype {name}, got {a.shape} and "
                f"{a.dtype}"
            )
    out = empty(logits.shape, logits.dtype)
    kernel = _cross_entropy_backward_kernel(kind, smoothing != 0)
    wrong: Array = np.zeros(2, np.int64)
    shape = kernel.shape(rows, columns)
    kernel.fn(out, logits, target, *rowwise, wrong, *shape, ignore_index, float(smoothing))
    _check_targets(wrong, columns)
    return out
