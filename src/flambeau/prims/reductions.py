"""Reductions over dims, each with the weight that gives its derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axes
from ..core.tensor import Tensor
from .base import convert_to, full, sum_op
from .pointwise import where_op

__all__ = ["all_op", "amax_op", "amin_op", "any_op", "argmax_op", "argmin_op", "count_op", "prod_op", "sum_op"]


def _share(x: Tensor, y: Tensor, dims: Any) -> Tensor:
    """The extreme element's gradient, shared evenly among equals."""
    hit = x == y
    mask = convert_to(hit, x._a.dtype)
    n = fam.keepdims(sum_op(mask, dims=dims), len(x._a.shape), dims)
    return mask / n


def _extreme(ufunc: Any, name: str) -> Any:
    def impl(x: Any, *, dims: Axes) -> Any:
        return ufunc.reduce(x, axis=tuple(dims))

    impl.__name__ = name
    return impl


amax_op = fam.reduction_op(_extreme(np.maximum, "amax"), weight=_share)
amin_op = fam.reduction_op(_extreme(np.minimum, "amin"), weight=_share)


def _prod(x: Any, *, dims: Axes) -> Any:
    return np.multiply.reduce(x, axis=tuple(dims), dtype=np.int64 if x.dtype.kind in "bui" else None)


def _prod_weight(x: Tensor, y: Tensor, dims: Any) -> Tensor:
    """The product of all other elements: y / x, or an exclusive product where there are zeros."""
    zero = x == 0
    count = fam.keepdims(sum_op(convert_to(zero, x._a.dtype), dims=dims), len(x._a.shape), dims)
    filled = where_op(zero, 1, x)
    others = fam.keepdims(prod_op(filled, dims=dims), len(x._a.shape), dims)
    # no zeros: y / x.   one zero: the product of the rest, at that zero only.   more: nothing.
    at_zero = where_op(count == 1, others, 0)
    return where_op(zero, at_zero, where_op(count == 0, others / filled, 0))  # type: ignore[no-any-return]


prod_op = fam.reduction_op(_prod, weight=_prod_weight)


def _any(x: Any, *, dims: Axes) -> Any:
    return np.any(x, axis=tuple(dims))


def _all(x: Any, *, dims: Axes) -> Any:
    return np.all(x, axis=tuple(dims))


def _count(x: Any, *, dims: Axes) -> Any:
    return np.count_nonzero(x, axis=tuple(dims)) if dims else np.asarray(x != 0).astype(np.int64)


def _argmax(x: Any, *, dim: fam.Axis) -> Any:
    return np.argmax(x, axis=dim)


def _argmin(x: Any, *, dim: fam.Axis) -> Any:
    return np.argmin(x, axis=dim)


any_op = fam.reduction_op(_any, differentiable=False)
all_op = fam.reduction_op(_all, differentiable=False)
count_op = fam.reduction_op(_count, differentiable=False, name="count_nonzero")
argmax_op = fam.reduction_op(_argmax, differentiable=False)
argmin_op = fam.reduction_op(_argmin, differentiable=False)
_ = full
