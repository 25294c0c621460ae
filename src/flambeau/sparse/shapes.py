"""Rearranging sparse tensors: transposition, selection, concatenation."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..core.pending import seen
from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..ops.args import wrap_dim
from ..prims.base import from_value
from ..runtime import dtypes, types
from .conversion import dense_dim
from .tensors import CompressedTensor, CooTensor, SparseTensor, compressed, coo, handles, refuse, sparse_dims


def _turned(x: CompressedTensor) -> CompressedTensor:
    layout = types.sparse_csc if x._layout is types.sparse_csr else types.sparse_csr
    return compressed(x._begins, x._plain, x._vals, x._sizes[::-1], layout)


@handles("transpose", "swapaxes", "swapdims")
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    n = input.ndim
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    order = list(range(n))
    order[a], order[b] = order[b], order[a]
    return permute(input, tuple(order))


@handles("permute")
def permute(input: Any, *dims: Any) -> Any:
    if len(dims) == 1 and not isinstance(dims[0], int):
        dims = tuple(dims[0])
    n = input.ndim
    order = tuple(wrap_dim(operator.index(d), n) for d in dims)
    if len(order) != n:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(order)}"
        )
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    if order == tuple(range(n)):
        return input
    if isinstance(input, CompressedTensor):
        if n > 2:
            raise RuntimeError(
                "transpose(): hybrid sparse compressed tensors with dense dimensions are not supported; convert with "
                ".to_sparse() first"
            )
        return _turned(input)
    sparse = sparse_dims(input)
    if any((d < sparse) != (i < sparse) for i, d in enumerate(order)):
        raise RuntimeError(
            "transpose: cannot exchange sparse and dense dims of a hybrid tensor; convert with .to_dense() first"
        )
    values = input._vals
    if order[sparse:] != tuple(range(sparse, n)):
        values = values.permute(0, *(d - sparse + 1 for d in order[sparse:]))
    array = input._array()
    moved = order[:sparse] != tuple(range(sparse))
    indices = from_value(array[list(order[:sparse])]) if moved else input._ind
    sizes = tuple(input._sizes[d] for d in order)
    y = coo(indices, values, sizes, input._coalesced and not moved)
    if sparse == 2 and n == 2:
        y._kept_places = input._places().turned()  # what a product finds out serves both
    return y


@handles("t")
def t(input: Any) -> Any:
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 sparse dimensions, but self is {input.ndim}D")
    return input if input.ndim < 2 else transpose(input, 0, 1)


@handles("adjoint")
def adjoint(input: Any) -> Any:
    return transpose(input, -2, -1).conj()


# ------------------------------------------------------------------------------------------------------- selection


@handles("index_select")
def index_select(input: Any, dim: int, index: Tensor) -> Any:
    if not isinstance(input, CooTensor):
        refuse("index_select", input, index)
    if isinstance(index, SparseTensor) or index.dtype not in (dtypes.int64, dtypes.int32) or index.ndim > 1:
        raise RuntimeError("index_select(): the index must be a strided int32 or int64 tensor of one dim")
    d = wrap_dim(dim, input.ndim)
    wanted = np.atleast_1d(seen(index)).astype(np.int64)
    size = input._sizes[d]
    if wanted.size and (wanted.min() < -size or wanted.max() >= size):
        bad = wanted[(wanted < -size) | (wanted >= size)][0]
        raise IndexError(
            f"index_select(): index contains {bad} that is out of range for tensor of size {list(input._sizes)} at dimension {d}"
        )
    wanted = np.where(wanted < 0, wanted + size, wanted)
    sizes = (*input._sizes[:d], wanted.size, *input._sizes[d + 1 :])
    sparse = sparse_dims(input)
    if d >= sparse:
        return coo(
            input._ind, input._vals.index_select(d - sparse + 1, from_value(wanted)), sizes, input._coalesced
        )
    indices = input._array()
    # of each entry: where in `wanted` its index stands, any number of times
    order = np.argsort(wanted, kind="stable")
    low = np.searchsorted(wanted[order], indices[d], "left")
    count = np.searchsorted(wanted[order], indices[d], "right") - low
    entry = np.repeat(np.arange(indices.shape[1]), count)
    within = np.arange(entry.size) - np.repeat(np.cumsum(count) - count, count)
    new = indices[:, entry]
    new[d] = order[low[entry] + within] if entry.size else new[d]
    back = np.argsort(new[d], kind="stable")
    return coo(
        from_value(np.ascontiguousarray(new[:, back])),
        input._vals.index_select(0, from_value(entry[back])),
        sizes,
        False,
    )


@handles("select")
def select(input: Any, dim: int, index: int) -> Any:
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    x: CooTensor = input._coo()
    d = wrap_dim(dim, x.ndim)
    at, size = operator.index(index), x._sizes[d]
    if not -size <= at < size:
        raise IndexError(
            f"select(): index {at} out of range for tensor of size {list(x._sizes)} at dimension {d}"
        )
    at %= size
    sparse = sparse_dims(x)
    sizes = x._sizes[:d] + x._sizes[d + 1 :]
    if d >= sparse:
        return coo(x._ind, x._vals.select(d - sparse + 1, at), sizes, x._coalesced)
    indices = x._array()
    hits = np.nonzero(indices[d] == at)[0]
    values = x._vals.index_select(0, from_value(hits))
    if sparse == 1:
        return values.sum(0, dtype=values.dtype)
    rest = np.delete(indices[:, hits], d, axis=0)
    return coo(from_value(np.ascontiguousarray(rest)), values, sizes, x._coalesced)


@handles("narrow_copy")
def narrow_copy(input: Any, dim: int, start: int, length: int) -> Any:
    if not isinstance(input, CooTensor):
        refuse("narrow_copy", input)
    d = wrap_dim(dim, input.ndim)
    size = input._sizes[d]
    first = start + size if start < 0 else start
    if not (0 <= first <= size and 0 <= length <= size - first):
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    sizes = (*input._sizes[:d], length, *input._sizes[d + 1 :])
    sparse = sparse_dims(input)
    if d >= sparse:
        return coo(input._ind, input._vals.narrow(d - sparse + 1, first, length), sizes, input._coalesced)
    indices = input._array()
    hits = np.nonzero((indices[d] >= first) & (indices[d] < first + length))[0]
    new = indices[:, hits]
    new[d] -= first
    return coo(from_value(new), input._vals.index_select(0, from_value(hits)), sizes, input._coalesced)


@handles("unbind")
def unbind(input: Any, dim: int = 0) -> Any:
    d = wrap_dim(dim, input.ndim)
    return tuple(select(input, d, i) for i in range(input.shape[d]))


@handles("unsqueeze")
def unsqueeze(input: Any, dim: int) -> Any:
    if not isinstance(input, CooTensor):
        refuse("unsqueeze", input)
    d = wrap_dim(dim, input.ndim + 1)
    sparse = sparse_dims(input)
    sizes = (*input._sizes[:d], 1, *input._sizes[d:])
    if d > sparse:
        return coo(input._ind, input._vals.unsqueeze(d - sparse + 1), sizes, input._coalesced)
    indices = np.insert(input._array(), d, 0, axis=0)
    return coo(from_value(indices), input._vals, sizes, input._coalesced)


@handles("__getitem__", "getitem")
def getitem(self: Any, key: Any) -> Any:
    """Integers, None, whole slices and an ellipsis."""
    parts = key if isinstance(key, tuple) else (key,)
    count = sum(1 for p in parts if p is not None and p is not Ellipsis)
    if count > self.ndim:
        raise IndexError(f"too many indices for tensor of dimension {self.ndim}")
    out: Any = self
    d = 0
    for p in parts:
        if p is None:
            out = unsqueeze(out, d) if isinstance(out, SparseTensor) else out.unsqueeze(d)
            d += 1
        elif p is Ellipsis:
            d += self.ndim - count
        elif isinstance(p, slice):
            if p.indices(out.shape[d]) != (0, out.shape[d], 1):
                refuse("as_strided", self)
            d += 1
        elif isinstance(p, bool) or isinstance(p, Tensor) and (p.ndim or p.dtype is dtypes.bool_):
            refuse("index.Tensor", self)
        elif hasattr(p, "__index__"):
            out = out.select(d, operator.index(p))
        else:
            refuse("index.Tensor", self)
    return out


# --------------------------------------------------------------------------------------------------- concatenation


def _all_alike(name: str, tensors: Any) -> list[CooTensor]:
    xs = list(tensors)
    if not xs or not all(isinstance(x, CooTensor) for x in xs):
        kinds = ", ".join(dict.fromkeys(str(x.layout) for x in xs))
        raise RuntimeError(
            f"{name}: all tensors must be sparse COO ones, but their layouts are {kinds}. Convert with .to_sparse() or "
            ".to_dense() first"
        )
    first = xs[0]
    for i, x in enumerate(xs):
        if sparse_dims(x) != sparse_dims(first) or dense_dim(x) != dense_dim(first):
            raise RuntimeError(
                f"All tensors must have the same sparse_dim and dense_dim: {sparse_dims(first)}, {dense_dim(first)}, but "
                f"tensor at position {i} has {sparse_dims(x)}, {dense_dim(x)}."
            )
    return xs


@handles("cat", "concat", "concatenate")
def cat(tensors: Any, dim: int = 0) -> Any:
    xs = _all_alike("cat", tensors)
    d = wrap_dim(dim, xs[0].ndim)
    for i, x in enumerate(xs):
        if x._sizes[:d] + x._sizes[d + 1 :] != xs[0]._sizes[:d] + xs[0]._sizes[d + 1 :]:
            raise RuntimeError(
                f"All tensors must have the same shape: {list(xs[0]._sizes)} (except in the concatenating dimension), but "
                f"found shape: {list(x._sizes)} at position {i}"
            )
    sparse = sparse_dims(xs[0])
    sizes = (*xs[0]._sizes[:d], sum(x._sizes[d] for x in xs), *xs[0]._sizes[d + 1 :])
    begins = np.cumsum([0, *(x._sizes[d] for x in xs)])
    parts, values = [], []
    for x, begin in zip(xs, begins):
        part, value = x._array(), x._vals
        if d < sparse:
            part = part.copy()
            part[d] += begin
        else:  # zeros beside the values
            shape = list(value.shape)
            at = d - sparse + 1
            shape[at] = int(begin)
            before = value.new_zeros(shape)
            shape[at] = sizes[d] - int(begin) - int(value.shape[at])
            value = FUNCTIONS["cat"]((before, value, value.new_zeros(shape)), at)
        parts.append(part)
        values.append(value)
    return coo(from_value(np.concatenate(parts, axis=1)), FUNCTIONS["cat"](tuple(values)), sizes, False)


@handles("stack")
def stack(tensors: Any, dim: int = 0) -> Any:
    xs = _all_alike("stack", tensors)
    for i, x in enumerate(xs):
        if x._sizes != xs[0]._sizes:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(xs[0]._sizes)} at entry 0 and "
                f"{list(x._sizes)} at entry {i}"
            )
    return cat([unsqueeze(x, dim) for x in xs], wrap_dim(dim, xs[0].ndim + 1))


@handles("hstack")
def hstack(tensors: Any) -> Any:
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


@handles("vstack", "row_stack")
def vstack(tensors: Any) -> Any:
    return cat([unsqueeze(x, 0) if x.ndim == 1 else x for x in tensors], 0)


# -------------------------------------------------------------------------------------------------------- resizing


@handles("sparse_resize_")
def sparse_resize_(self: Any, size: Any, sparse_dim: int, dense_dim: int) -> Any:
    """Other sizes for a tensor without history, none smaller than before while it has entries."""
    if self.requires_grad:
        raise RuntimeError("sparse_resize_: cannot resize a tensor that requires grad; use .detach() first")
    sizes = tuple(int(n) for n in size)
    if sparse_dim + dense_dim != len(sizes):
        raise RuntimeError(
            f"number of dimensions must be sparse_dim ({sparse_dim}) + dense_dim ({dense_dim}), but got {len(sizes)}"
        )
    have = sparse_dims(self)
    if self._vals.shape[0]:
        if (sparse_dim, dense_dim) != (have, self._vals.ndim - 1):
            raise RuntimeError(
                "changing the number of sparse or dense dimensions on a non-empty sparse tensor is not supported."
            )
        if any(new < old for new, old in zip(sizes, self._sizes)):
            raise RuntimeError(
                "shrinking the size of dimensions on a non-empty sparse tensor is not supported."
            )
        if sizes[have:] != self._sizes[have:]:
            grown = self._vals.new_zeros((self._vals.shape[0], *sizes[have:]))
            grown[(slice(None), *(slice(0, n) for n in self._sizes[have:]))] = self._vals
            self._vals = grown
        self._sizes, self._kept_places = sizes, None
        return self
    return sparse_resize_and_clear_(self, sizes, sparse_dim, dense_dim)


@handles("sparse_resize_and_clear_")
def sparse_resize_and_clear_(self: Any, size: Any, sparse_dim: int, dense_dim: int) -> Any:
    from .conversion import zeros

    sizes = tuple(int(n) for n in size)
    if sparse_dim + dense_dim != len(sizes):
        raise RuntimeError(
            f"number of dimensions must be sparse_dim ({sparse_dim}) + dense_dim ({dense_dim}), but got {len(sizes)}"
        )
    self._take(zeros(sizes, self.dtype, sparse_dim, dense_dim))
    return self


@handles("flatten", "reshape")
def reshape(input: Any, *args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("reshape is not implemented for sparse tensors; convert with .to_dense() first")


@handles("expand", "expand_as", "broadcast_to", "repeat", "tile")
def expand(input: Any, *args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("expand is unsupported for Sparse tensors; convert with .to_dense() first")
