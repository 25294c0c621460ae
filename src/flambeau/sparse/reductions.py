"""Sums, norms and softmax of sparse tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..ops.args import as_dtype, wrap_dim
from ..prims.base import from_value, full
from .conversion import coalesce, grouped, like, rearranged
from .tensors import CooTensor, SparseTensor, handles, ordered, refuse, sparse_dims


def _dims(name: str, dim: Any, n: int) -> tuple[int, ...]:
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    wrapped = tuple(wrap_dim(d, n) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(
            f"dim {max(wrapped, key=wrapped.count)} appears multiple times in the list of dims"
        )
    return wrapped


@handles("sum")
def total(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Sums over dims; over all of them, or all sparse ones, a strided tensor."""
    values = input._vals
    d = None if dtype is None else as_dtype(dtype)
    if dim is None or not isinstance(dim, int) and not len(dim):
        return values.sum() if d is None else values.sum(dtype=d)
    x: CooTensor = input._coo()
    sparse, n = sparse_dims(x), x.ndim
    dims = _dims("sum", dim, n)
    values = values.to(d) if d is not None else values
    if not (values.dtype.is_floating_point or values.dtype.is_complex) and d is None:
        values = values.long()
    inner = tuple(a - sparse + 1 for a in dims if a >= sparse)
    outer = [a for a in dims if a < sparse]
    if inner:
        values = values.sum(inner, keepdim=keepdim)
    sizes = tuple(1 if a in dims else size for a, size in enumerate(x._sizes) if keepdim or a not in dims)
    if len(outer) == sparse and not keepdim:
        return values.sum(0)
    indices = x._array()
    if not outer:
        return rearranged(indices, values, sizes[:sparse], sizes)
    if keepdim:
        indices = indices.copy()
        indices[outer] = 0
    else:
        indices = np.delete(indices, outer, axis=0)
    y = rearranged(indices, values, sizes[: indices.shape[0]], sizes)
    return like(y, input.layout)


@handles("any")
def any_(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if dim is not None:
        refuse("any", input)
    x = coalesce(input) if isinstance(input, CooTensor) else input
    return x._vals.any()


@handles("norm", "native_norm")
def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    if dim is not None and _dims("norm", dim, input.ndim) != tuple(range(input.ndim)):
        raise RuntimeError(
            "norm_sparse currently only supports full reductions, so 'dim' must either be empty or contain all dimensions of the input"
        )
    if keepdim:
        raise RuntimeError("norm_sparse currently does not support keepdim=True")
    x = coalesce(input) if isinstance(input, CooTensor) else input
    power = 2 if p in ("fro", None) else p
    if not isinstance(power, (int, float)) or power < 0:  # of the zeros, too
        refuse("norm", input)
    values = x._vals.reshape(-1)
    return values.norm(power) if dtype is None else values.norm(power, dtype=dtype)


# --------------------------------------------------------------------------------------------------------- softmax


def _softmax(input: Any, dim: int, dtype: Any, log: bool, name: str) -> Any:
    if not isinstance(input, CooTensor):
        if isinstance(input, SparseTensor):
            return like(_softmax(input._coo(), dim, dtype, log, name), input.layout)
        raise RuntimeError(
            f"{name}: expected a sparse tensor, but got layout {input.layout}; use torch.{name} for it"
        )
    if dtype is not None:
        input = input.to(as_dtype(dtype))
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f'"softmax" not implemented for dtype {input.dtype}')
    d = wrap_dim(dim, input.ndim)
    x: CooTensor = coalesce(input)
    sparse = sparse_dims(x)
    values = x._vals
    if d >= sparse:
        along = FUNCTIONS["log_softmax" if log else "softmax"]
        return x._with(along(values, d - sparse + 1))
    rest = np.delete(x._array(), d, axis=0)
    sizes = x._sizes[:d] + x._sizes[d + 1 : sparse]
    order, new, sorted_group = ordered(rest, sizes)
    group = sorted_group
    if order is not None:
        group = np.empty_like(sorted_group)
        group[order] = sorted_group
    count = int(new.sum())
    place = from_value(group)
    shape = values.shape
    wide = place.reshape(-1, *(1,) * (len(shape) - 1)).expand(shape)
    low = full((count, *shape[1:]), -np.inf, values.dtype.numpy)
    top = low.scatter_reduce(0, wide, values.detach(), "amax").index_select(0, place)
    top = FUNCTIONS["where"](top.isinf(), FUNCTIONS["zeros_like"](top), top)  # a group of -inf alone
    e = (values - top).exp()
    sums = grouped(e, group, count).index_select(0, place)
    return x._with(values - top - sums.log() if log else e / sums)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The softmax along `dim` over the entries of a sparse tensor: what has no entry counts as minus infinity.

    Raises: RuntimeError for strided tensors, IndexError for a dim out of range, NotImplementedError for integers.

    >>> import flambeau as torch
    >>> s = torch.sparse_coo_tensor([[0, 0], [0, 2]], [1.0, 1.0], (1, 3))
    >>> torch.sparse.softmax(s, 1).to_dense()
    tensor([[0.5000, 0.0000, 0.5000]])
    """
    return _softmax(input, dim, dtype, False, "softmax")  # type: ignore[no-any-return]


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, at its entries.

    Raises: as `softmax`.

    >>> import flambeau as torch
    >>> s = torch.sparse_coo_tensor([[0, 0], [0, 2]], [1.0, 1.0], (1, 3))
    >>> torch.sparse.log_softmax(s, 1).values()
    tensor([-0.6931, -0.6931])
    """
    return _softmax(input, dim, dtype, True, "log_softmax")  # type: ignore[no-any-return]


def sum(input: Tensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """The sum over all elements, or over some dims; sparse while a sparse dim is left.

    Raises: IndexError for a dim out of range, RuntimeError for one that is given twice.

    >>> import flambeau as torch
    >>> s = torch.sparse_coo_tensor([[0, 1], [0, 2]], [1.0, 2.0], (2, 3))
    >>> torch.sparse.sum(s, 0).to_dense()
    tensor([1., 0., 2.])
    """
    if not isinstance(input, SparseTensor):
        raise RuntimeError(
            f"torch.sparse.sum: expected a sparse tensor, but got layout {input.layout}; use torch.sum for it"
        )
    return total(input, dim, dtype=dtype)  # type: ignore[no-any-return]
