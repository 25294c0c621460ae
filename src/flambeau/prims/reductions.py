"""Reductions over dims, each with the weight that gives its derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axes
from ..core.pending import Pending
from ..core.tensor import Tensor
from .base import convert_to, full, sum_op
from .pointwise import abs as magnitude
from .pointwise import exp, power, sgn, where_op
from .row_kernels import WORTH, elementwise, in_order, reduced

__all__ = [
    "all_op",
    "amax_op",
    "amin_op",
    "any_op",
    "argmax_op",
    "argmin_op",
    "count_op",
    "logsumexp_op",
    "norm2_op",
    "prod_op",
    "sum_op",
]


def _share(x: Tensor, y: Tensor, dims: Any) -> Tensor:
    """The extreme element's gradient, shared evenly among equals, which NaNs are where the extreme is NaN."""
    hit = x == y
    if y._a.dtype.kind in "fV" and not (type(y._a) is np.ndarray and not np.isnan(y._a).any()):
        hit = hit | ((x != x) & (y != y))
    mask = convert_to(hit, x._a.dtype)
    n = fam.keepdims(sum_op(mask, dims=dims), len(x._a.shape), dims)
    return mask / n  # type: ignore[no-any-return]


def _extreme(ufunc: Any, name: str) -> Any:
    kernel = name[1:]

    def impl(x: Any, *, dims: Axes) -> Any:
        y = reduced(x, dims, kernel) if x.nbytes >= WORTH else None
        return in_order(ufunc.reduce(x, axis=tuple(dims))) if y is None else y

    impl.__name__ = name
    return impl


amax_op = fam.reduction_op(_extreme(np.maximum, "amax"), weight=_share)
amin_op = fam.reduction_op(_extreme(np.minimum, "amin"), weight=_share)


def _half_mean(x: Any, *, dims: Axes) -> Any:
    axes = tuple(dims)
    with np.errstate(invalid="ignore"):
        return in_order(np.add.reduce(x, axis=axes) / np.float32(math.prod([x.shape[d] for d in axes])))


def _half_mean_vjp(g: Tensor, x_meta: Any, dims: Any) -> Tensor:
    shape = tuple(x_meta.shape)
    return fam.expand(fam.keepdims(g, len(shape), dims), shape) / math.prod([shape[d] for d in dims])  # type: ignore[no-any-return]


# Means of 16-bit floats: the sum in between is not rounded, and may be larger than float16 can hold.
half_mean_op: Any = fam.opaque_op(
    _half_mean,
    (_half_mean_vjp,),
    jvp=lambda ts, xs, y, p: half_mean_op(ts[0], **p),
    half=True,
    name="half_mean",
    grad_name="MeanBackward1",
)


def _prod(x: Any, *, dims: Axes) -> Any:
    y = reduced(x, dims, "prod") if x.nbytes >= WORTH else None
    return in_order(np.multiply.reduce(x, axis=tuple(dims), dtype=x.dtype)) if y is None else y


def _prod_weight(x: Tensor, y: Tensor, dims: Any) -> Tensor:
    """The product of all other elements: y / x where that is safe, else the products before and after."""
    if type(x._a) is np.ndarray and x._a.all():
        return y / x  # type: ignore[no-any-return]
    return _products_of_others(x, dims)


def _products_of_others(x: Tensor, dims: Any) -> Tensor:
    """Exclusive cumulative products from both sides, right (and differentiable again) with zeros too."""
    from .base import index_view_op, permute_op, reshape
    from .indexing import cat_op, flip_op
    from .scans import cumprod_op

    nd = len(x._a.shape)
    if 0 in x._a.shape:
        return x
    # In the order of memory, so that the result is laid out like y / x.
    order = tuple(range(nd))
    if type(x._a) in (np.ndarray, Pending):
        order = tuple(sorted(order, key=lambda d: -abs(x._a.strides[d])))
    if len(dims) != 1:  # as one dim
        order = (*[d for d in order if d not in dims], *[d for d in order if d in dims])
    moved = permute_op(x, dims=order)
    shape = tuple(moved._a.shape)
    lead = nd - len(dims)
    flat = reshape(moved, (*shape[:lead], math.prod(shape[lead:]))) if len(dims) != 1 else moved
    dim = lead if len(dims) != 1 else order.index(dims[0])
    sizes = list(flat._a.shape)
    key = (*[slice(None)] * dim, slice(0, sizes[dim] - 1))
    sizes[dim] = 1
    one = full(tuple(sizes), 1, x._a.dtype)

    def before(v: Tensor) -> Tensor:
        return cumprod_op(cat_op(one, index_view_op(v, index=key), dim=dim), dim=dim)  # type: ignore[no-any-return]

    after = flip_op(before(flip_op(flat, dims=(dim,))), dims=(dim,))
    back = [0] * nd
    for i, d in enumerate(order):
        back[d] = i
    return permute_op(reshape(before(flat) * after, shape), dims=tuple(back))  # type: ignore[no-any-return]


prod_op = fam.reduction_op(_prod, weight=_prod_weight)


def _norm2(x: Any, *, dims: Axes) -> Any:
    y = reduced(x, dims, "squares") if x.nbytes >= WORTH else None
    return in_order(np.sqrt(np.add.reduce(np.square(x), axis=tuple(dims), dtype=x.dtype) if y is None else y))


def _direction(x: Tensor, y: Tensor, dims: Any) -> Tensor:
    """x / |x|, and zero where the norm is zero: the subgradient that PyTorch takes."""
    zero = y == 0
    return where_op(zero, 0, x / where_op(zero, 1, y))  # type: ignore[no-any-return]


norm2_op = fam.reduction_op(
    _norm2,
    weight=_direction,
    jvp=lambda ts, xs, y, p: _norm2_tangent(ts[0], xs[0], y, p["dims"]),
    half=True,
    grad_name="LinalgVectorNormBackward0",
)


def _norm2_tangent(t: Tensor, x: Tensor, y: Tensor, dims: Any) -> Tensor:
    zero = y == 0
    return where_op(zero, 0, sum_op(x * t, dims=dims) / where_op(zero, 1, y))  # type: ignore[no-any-return]


def _half_norm(x: Any, *, dims: Axes, p: float) -> Any:
    """The p-norm, p not 2 nor infinite."""
    a = np.abs(x)
    if p == 0:
        return in_order(np.add.reduce((a != 0).astype(x.dtype), axis=tuple(dims)))
    with np.errstate(all="ignore"):
        return in_order(np.power(np.add.reduce(np.power(a, p), axis=tuple(dims)), 1 / p))


def _half_norm_vjp(g: Tensor, x: Tensor, y: Tensor, dims: Any, p: float) -> Tensor:
    n = len(x._a.shape)
    g, y = fam.keepdims(g, n, dims), fam.keepdims(y, n, dims)
    if p == 0:
        return x * 0 + g * 0  # type: ignore[no-any-return]
    if p == 1:
        return sgn(x) * g  # type: ignore[no-any-return]
    size = magnitude(x)
    if p < 1:
        scaled = sgn(x) * where_op(x == 0, 0, power(where_op(x == 0, 1, size), p - 1))
        return scaled * g * power(y, 1 - p)  # type: ignore[no-any-return]
    scaled = sgn(x) * power(size, p - 1) if p < 2 else x * power(size, p - 2)
    return scaled * where_op(y == 0, 0, g / power(where_op(y == 0, 1, y), p - 1))  # type: ignore[no-any-return]


def _half_norm_jvp(ts: Any, xs: Any, y: Tensor, params: dict[str, Any]) -> Tensor:
    (t,), (x,) = ts, xs
    dims, p = params["dims"], params["p"]
    if p == 0:
        return y * 0  # type: ignore[no-any-return]
    if p == 1:
        return sum_op(sgn(x) * t, dims=dims)  # type: ignore[no-any-return]
    size = magnitude(x)
    if p < 1:
        each = where_op(x == 0, 0, power(where_op(x == 0, 1, size), p - 1)) * (sgn(x) * t)
        return sum_op(each, dims=dims) * power(y, 1 - p)  # type: ignore[no-any-return]
    each = power(size, p - 1) * (sgn(x) * t) if p < 2 else power(size, p - 2) * (x * t)
    return where_op(y == 0, 0, sum_op(each, dims=dims) / power(where_op(y == 0, 1, y), p - 1))  # type: ignore[no-any-return]


# 16-bit norms: one operation, whose derivatives are rounded at each step as PyTorch's are.
half_norm_op = fam.opaque_op(
    _half_norm,
    (_half_norm_vjp,),
    jvp=_half_norm_jvp,
    half=True,
    name="half_norm",
    grad_name="LinalgVectorNormBackward0",
)


def _half_dist(a: Any, b: Any, *, dims: Axes, p: float) -> Any:
    x = a - b
    return (_norm2(fam.wide(x), dims=dims) if p == 2 else _half_norm(fam.wide(x), dims=dims, p=p)).astype(
        x.dtype
    )


def _half_dist_vjp(g: Tensor, a: Tensor, b: Tensor, y: Tensor, dims: Any, p: float) -> Tensor:
    x = a - b
    if p != 2:
        return _half_norm_vjp(g, x, y, dims, p)
    n = len(x._a.shape)
    return fam.keepdims(g, n, dims) * _direction(x, fam.keepdims(y, n, dims), dims)  # type: ignore[no-any-return]


def _half_dist_jvp(ts: Any, xs: Any, y: Tensor, params: dict[str, Any]) -> Any:
    ta, tb = ts
    t = -tb if ta is None else ta if tb is None else ta - tb
    x = xs[0] - xs[1]
    return (
        _norm2_tangent(t, x, y, params["dims"]) if params["p"] == 2 else _half_norm_jvp((t,), (x,), y, params)
    )


# The 16-bit norm of a difference: one operation, each of whose gradients subtracts anew, as in PyTorch, where the
# terms of their derivatives are added in another order than those of a composite.
half_dist_op = fam.opaque_op(
    _half_dist,
    (
        lambda g, a, b, y, dims, p: fam.unbroadcast(_half_dist_vjp(g, a, b, y, dims, p), a._a.shape),
        lambda g, a, b, y, dims, p: fam.unbroadcast(-_half_dist_vjp(g, a, b, y, dims, p), b._a.shape),
    ),
    jvp=_half_dist_jvp,
    name="half_dist",
    grad_name="DistBackward0",
)


def _logsumexp(x: Any, *, dims: Axes) -> Any:
    """Around the largest element, so that nothing overflows; an infinite one is left where it is."""
    axes = tuple(dims)
    top = reduced(x, axes, "max") if x.nbytes >= WORTH else None
    if top is None:
        top = np.maximum.reduce(x, axis=axes, keepdims=True)
    else:
        top = top.reshape([1 if d in axes else n for d, n in enumerate(x.shape)])
    top = np.where(np.isinf(top), x.dtype.type(0), top)
    parts = elementwise("shifted_exp", lambda k, a, b: k.exp(a - b), x, top)
    if parts is None:
        parts = np.exp(x - top)
    total = reduced(parts, axes, "sum") if x.nbytes >= WORTH else None
    if total is None:
        total = np.add.reduce(parts, axis=axes)
    return in_order(np.log(total) + top.reshape(np.shape(total)))


def logsumexp_tangent(t: Tensor, x: Tensor, dims: Any) -> Tensor:
    """The mean of the tangents, weighted by ``exp(x - max)``."""
    top = fam.keepdims(amax_op(x.detach(), dims=dims), len(x._a.shape), dims)
    weights = exp(x - where_op(_infinite(top), 0, top))
    return sum_op(weights * t, dims=dims) / sum_op(weights, dims=dims)  # type: ignore[no-any-return]


def _infinite(x: Tensor) -> Tensor:
    return (x == math.inf) | (x == -math.inf)  # type: ignore[no-any-return]


logsumexp_op = fam.reduction_op(
    _logsumexp,
    weight=lambda x, y, dims: exp(x - y),
    jvp=lambda ts, xs, y, p: logsumexp_tangent(ts[0], xs[0], p["dims"]),
    half=True,
)


def _any(x: Any, *, dims: Axes) -> Any:
    return in_order(np.logical_or.reduce(x, axis=tuple(dims), dtype=bool))


def _all(x: Any, *, dims: Axes) -> Any:
    return in_order(np.logical_and.reduce(x, axis=tuple(dims), dtype=bool))


def _count(x: Any, *, dims: Axes) -> Any:
    return np.count_nonzero(x, axis=tuple(dims)) if dims else np.asarray(x != 0).astype(np.int64)


def _argmax(x: Any, *, dim: fam.Axis) -> Any:
    return x.argmax(dim)


def _argmin(x: Any, *, dim: fam.Axis) -> Any:
    return x.argmin(dim)


any_op = fam.reduction_op(_any, differentiable=False)
all_op = fam.reduction_op(_all, differentiable=False)
count_op = fam.reduction_op(_count, differentiable=False, name="count_nonzero")
argmax_op = fam.reduction_op(_argmax, differentiable=False)
argmin_op = fam.reduction_op(_argmin, differentiable=False)
