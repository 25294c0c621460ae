"""Standardisation, ``(x - mean) / sqrt(var + eps)`` over some dims: the core of batch, layer, group and instance norm.

Three results, so that nothing is computed twice: the values, the mean and the variance.  Only the values carry a
derivative; the other two are for running statistics and for the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axes, pointwise_op
from ..core.tensor import Tensor
from .base import convert_to, sum_op
from .pointwise import rsqrt, where_op
from .reductions import half_mean_op
from .row_kernels import WORTH, elementwise, in_order, kernels, reduced


def _rows(x: Any, dims: Any) -> Any:
    """`x` as a matrix whose rows are reduced, where the dims are the last ones; None elsewhere."""
    n = len(dims)
    if not n or tuple(dims) != tuple(range(x.ndim - n, x.ndim)) or not x.flags.c_contiguous:
        return None
    return x.reshape(-1, math.prod(x.shape[-n:]))


def _kept(x: Any, dims: Any) -> tuple[int, ...]:
    return tuple([1 if d in dims else n for d, n in enumerate(x.shape)])


def _standardize(x: Any, *, dims: Axes, eps: float, stats: Any = None, early: bool = False) -> Any:
    if early and stats is not None:
        mean, var = _standardize(x, dims=dims, eps=eps)[1:]
        return (x - _rounded(mean, stats)) * _rounded(_scale(var, eps), stats), mean, var
    if dims and dims[0] == x.ndim - len(dims):  # the last ones, as in layer norm; batch norm keeps the layout
        x = in_order(x)
    rows = _rows(x, dims) if x.size else None
    k = kernels(rows) if rows is not None else None
    if k is not None:
        y, mean, scale = k.layer_norm(rows, eps=eps)
        kept = _kept(x, dims)
        var = np.maximum(1 / np.square(scale) - scale.dtype.type(eps), 0)
        return y.reshape(x.shape), mean.reshape(kept), var.reshape(kept)
    n = math.prod([x.shape[d] for d in dims])
    if x.nbytes >= WORTH:
        fast = _standardize_large(x, dims, eps, n)
        if fast is not None:
            return fast
    number = x.dtype.type(n)
    mean = np.add.reduce(x, axis=dims, keepdims=True)
    mean /= number
    y = x - mean
    var = np.add.reduce(np.square(y), axis=dims, keepdims=True)
    var /= number
    y *= _scale(var, eps)
    return y, mean, var


def _standardize_large(x: Any, dims: Any, eps: float, n: int) -> Any:
    """`_standardize` by kernels, or None: the variance is that of what is left after subtracting the mean."""
    total = reduced(x, dims, "sum")
    if total is None:
        return None
    mean = (total / x.dtype.type(n)).reshape(_kept(x, dims))
    centered = elementwise("difference", lambda k, a, b: a - b, x, mean)
    if centered is None:
        return None
    var = (reduced(centered, dims, "squares") / x.dtype.type(n)).reshape(mean.shape)
    y = elementwise("product", lambda k, a, b: a * b, centered, _scale(var, eps))
    return y, mean, var


def _standardize_grad_large(g: Any, x: Any, mean: Any, scale: Any, dims: Any, n: int) -> Any:
    """`_standardize_grad` by kernels, or None."""
    total = reduced(g, dims, "sum")
    if total is None:
        return None
    part = elementwise("covariance", lambda k, g, x, m, s: g * ((x - m) * s), g, x, mean, scale)
    if part is None:
        return None
    size = x.dtype.type(n)
    along, level = ((t / size).reshape(mean.shape) for t in (reduced(part, dims, "sum"), total))
    return elementwise(
        "standardize_grad",
        lambda k, g, x, m, s, a, b: (g - (x - m) * s * a - b) * s,
        *(g, x, mean, scale, along, level),
    )


def _rounded(x: Any, dtype: Any) -> Any:
    """An array with no more digits than `dtype` has."""
    return x.astype(dtype).astype(x.dtype)


def _scale(var: Any, eps: float) -> Any:
    return np.reciprocal(np.sqrt(var + var.dtype.type(eps)))


def _standardize_grad(g: Any, x: Any, mean: Any, var: Any, *, dims: Axes, eps: float) -> Any:
    scale = _scale(var, eps)
    rows = _rows(x, dims) if g.flags.c_contiguous and g.dtype == x.dtype else None
    k = kernels(rows) if rows is not None else None
    if rows is not None and k is not None:
        columns = rows.shape[1]
        states = mean.reshape(-1), scale.reshape(-1)
        out = k.layer_norm_backward(g.reshape(-1, columns), rows, *states, None, False)
        return out[0].reshape(x.shape)
    size = math.prod([x.shape[d] for d in dims])
    if x.nbytes >= WORTH and x.flags.c_contiguous and g.flags.c_contiguous and g.dtype == x.dtype:
        fast = _standardize_grad_large(g, x, mean, scale, dims, size)
        if fast is not None:
            return fast
    n = x.dtype.type(size)
    y = x - mean
    y *= scale
    part = g * y
    share = np.add.reduce(part, axis=dims, keepdims=True) / n
    y *= share
    np.subtract(g, y, out=part)
    part -= np.add.reduce(g, axis=dims, keepdims=True) / n
    part *= scale
    return part


# What follows the standardisation, and the gradient of a variance: elementwise, but with operands of fewer dims, so
# that they are operations of their own and not composites that `fused` makes one kernel of.
affine_op: Any = pointwise_op(
    "affine", lambda k, x, w, b: x * w + b, (lambda t, w: t * w, lambda t, x: t * x, lambda t: t)
)


def _times_difference(g: Any, x: Any, m: Any) -> Any:
    return g * (x - m)  # 16-bit floats are rounded twice, as in PyTorch


_times_difference.knows_halves = True  # type: ignore[attr-defined]
times_difference_op: Any = pointwise_op(
    "times_difference",
    lambda k, g, x, m: g * (x - m),
    (lambda t, x, m: t * (x - m), lambda t, g: t * g, lambda t, g: -(t * g)),
    impl=_times_difference,
)

# a running average, moved: old values times one number plus new ones times another
moved_op: Any = pointwise_op(
    "moved",
    lambda k, old, new, keep, take: old * keep + new * take,
    (lambda t, keep: t * keep, lambda t, take: t * take, None, None),
)


def _variance(x: Any, *, dims: Axes, correction: float) -> Any:
    """In two passes, around the mean: nothing cancels."""
    axes = tuple(dims)
    size = math.prod([x.shape[d] for d in axes])
    n, left = x.dtype.type(size), x.dtype.type(max(size - correction, 0))
    total = reduced(x, axes, "sum") if x.nbytes >= WORTH else None
    if total is not None:
        centered = elementwise("difference", lambda k, a, b: a - b, x, (total / n).reshape(_kept(x, axes)))
        squares = None if centered is None else reduced(centered, axes, "squares")
        if squares is not None:
            return squares / left
    centered = x - np.add.reduce(x, axis=axes, keepdims=True) / n
    np.multiply(centered, centered, out=centered)
    return in_order(np.add.reduce(centered, axis=axes) / left)


def _degrees(x: Tensor, dims: Any, correction: float) -> float:
    """What the sum of squares is divided by."""
    return float(max(math.prod([x._a.shape[d] for d in dims]) - correction, 0))


def _mean(x: Tensor, dims: Any) -> Any:
    if x._a.dtype.itemsize == 2:
        return fam.keepdims(half_mean_op(x, dims=dims), len(x._a.shape), dims)
    n = math.prod([x._a.shape[d] for d in dims])
    return _total(x, dims) / n if n else _total(x, dims) * math.nan


def _variance_vjp(g: Tensor, x: Tensor, dims: Any, correction: float) -> Tensor:
    each = fam.keepdims(g, len(x._a.shape), dims) * _twice_over(_degrees(x, dims, correction))
    return times_difference_op(each, x, _mean(x, dims))  # type: ignore[no-any-return]


def _variance_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    dims, correction = params["dims"], params["correction"]
    each = ts[0] * _twice_over(_degrees(xs[0], dims, correction))
    return sum_op(times_difference_op(each, xs[0], _mean(xs[0], dims)), dims=dims)


def _twice_over(n: float) -> float:
    return 2.0 / n if n else math.inf


variance_op: Any = fam.opaque_op(
    _variance, (_variance_vjp,), name="variance", jvp=_variance_jvp, half=True, grad_name="VarBackward0"
)


def _deviation(x: Any, *, dims: Axes, correction: float) -> Any:
    return np.sqrt(_variance(x, dims=dims, correction=correction))


def _over_twice(t: Tensor, y: Tensor) -> Tensor:
    """``t / (2 y)``, and zero where y is zero."""
    zero = y == 0
    return where_op(zero, 0, t / (where_op(zero, 1, y) * 2))  # type: ignore[no-any-return]


# The derivative at 0, which is what equal observations have, is 0: both terms of the chain rule are of the form inf * 0.
# The variance in between is not rounded to 16 bits.
deviation_op: Any = fam.opaque_op(
    _deviation,
    (lambda g, x, y, dims, correction: _variance_vjp(_over_twice(g, y), x, dims, correction),),
    name="deviation",
    jvp=lambda ts, xs, y, p: _over_twice(_variance_jvp(ts, xs, y, p), y),
    half=True,
    grad_name="StdBackward0",
)


def _total(x: Tensor, dims: Any) -> Tensor:
    return fam.keepdims(sum_op(x, dims=dims), len(x._a.shape), dims)


def _scale_of(x: Tensor, dims: Any, eps: float, n: int) -> Tensor:
    """1 / sqrt(var + eps) with its derivatives."""
    c = x - _total(x, dims) / n
    return rsqrt(_total(c * c, dims) / n + eps)  # type: ignore[no-any-return]


def saved_statistics(y: Any, eps: float, stats: Any) -> tuple[Tensor, Tensor]:
    """The mean and the variance as the gradient sees them.

    `stats` is the dtype of 16-bit input: PyTorch keeps the mean and 1 / sqrt(var + eps) in it.
    """
    mean, var = y[1].detach(), y[2].detach()
    if stats is None:
        return mean, var
    own = mean._a.dtype
    mean, scale = (convert_to(convert_to(t, stats), own) for t in (mean, rsqrt(var + eps)))
    return mean, 1 / (scale * scale) - eps


def _vjp(g: Any, x: Tensor, y: Any, dims: Any, eps: float, stats: Any) -> Tensor:
    values = g[0] if isinstance(g, (tuple, list)) else g
    return standardize_grad_op(values, x, *saved_statistics(y, eps, stats), dims=dims, eps=eps)  # type: ignore[no-any-return]


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    dims, eps = params["dims"], params["eps"]
    statistics = saved_statistics(y, eps, params.get("stats"))
    t = standardize_grad_op(ts[0], xs[0], *statistics, dims=dims, eps=eps)
    return t, fam.zeros_like(y[1]), fam.zeros_like(y[2])


def _grad_vjp_g(h: Tensor, x: Tensor, mean: Tensor, var: Tensor, dims: Any, eps: float) -> Tensor:
    """The Jacobian J(x) of standardisation is symmetric."""
    return standardize_grad_op(h, x, mean, var, dims=dims, eps=eps)  # type: ignore[no-any-return]


def _grad_vjp_x(h: Tensor, g: Tensor, x: Tensor, dims: Any, eps: float) -> Tensor:
    """The gradient in x of <h, J(x) g> = r (<h, g> - <h><g>/n - <h, y><g, y>/n), with r and y functions of x."""
    n = math.prod([x._a.shape[d] for d in dims])
    y, mean, var = standardize_op(x, dims=dims, eps=eps)
    r = _scale_of(x, dims, eps, n)
    hy, gy = _total(h * y, dims), _total(g * y, dims)
    inner = _total(h * g, dims) - (_total(h, dims) * _total(g, dims) + hy * gy) / n
    through_y = (h * gy + g * hy) * (-r / n)
    part = standardize_grad_op(through_y, x, mean.detach(), var.detach(), dims=dims, eps=eps)
    return part - inner * r * r * y / n  # type: ignore[no-any-return]


standardize_grad_op: Any = fam.opaque_op(
    _standardize_grad,
    (_grad_vjp_g, _grad_vjp_x, None, None),
    name="standardize_grad",
    grad_name="NativeLayerNormBackwardBackward0",
)
# `stats` and `early` are for 16-bit input that was converted: see `saved_statistics`; batch norm rounds before use.
standardize_op: Any = fam.opaque_op(_standardize, (_vjp,), name="standardize", jvp=_jvp, n_out=3)
standardize_op.info["outputs_read"] = (1, 2)  # programs add to the result in place
