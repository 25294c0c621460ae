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
from .pointwise import exp, where_op
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
    """The extreme element's gradient, shared evenly among equals."""
    hit = x == y
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


norm2_op = fam.reduction_op(_norm2, weight=_direction, grad_name="LinalgVectorNormBackward0")


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


logsumexp_op = fam.reduction_op(_logsumexp, weight=lambda x, y, dims: exp(x - y))


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
