"""Between layouts and dtypes: dense and sparse, COO and CSR, coalescing, casts, copies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.pending import known
from ..core.public import FUNCTIONS, METHODS
from ..core.tensor import Tensor
from ..ops.args import as_dtype
from ..prims.base import from_value, full
from ..runtime import dtypes, types
from .tensors import (
    CompressedTensor,
    CooTensor,
    SparseTensor,
    compressed,
    coo,
    flat,
    handles,
    layout_word,
    ordered,
    sparse_dims,
)

LAYOUTS = (types.sparse_coo, types.sparse_csr, types.sparse_csc)


# ---------------------------------------------------------------------------------------------------- coalescing


def grouped(values: Tensor, group: Any, count: int) -> Tensor:
    """The sums of the rows of `values` with the same number in `group`."""
    start = full((count, *values.shape[1:]), 0, values.dtype.numpy)
    if values.dtype is dtypes.bool_:
        return grouped(values.to(dtypes.uint8), group, count) != 0  # type: ignore[no-any-return]
    return start.index_add(0, from_value(group), values)  # type: ignore[no-any-return]


def rearranged(indices: Any, values: Tensor, sizes: Any, shape: Any) -> CooTensor:
    """The coalesced tensor of `shape` with these entries; `sizes` are those of the sparse dims."""
    order, new, group = ordered(indices, sizes)
    if order is not None:
        indices = indices[:, order]
        values = values.index_select(0, from_value(order))
    if not new.all():
        indices = indices[:, new]
        values = grouped(values, group, indices.shape[1])
    return coo(from_value(np.ascontiguousarray(indices)), values, shape, True)


@handles()
def coalesce(self: Tensor) -> Any:
    """The tensor with its entries in order and one for each place, the sum of those there; itself if it is so already."""
    x = _expect_coo("coalesce", self)
    indices = x._array()
    if x._coalesced:
        return self
    return rearranged(indices, x._vals, x._sizes[: indices.shape[0]], x._sizes)


@handles()
def is_coalesced(self: Tensor) -> bool:
    x = _expect_coo("is_coalesced", self)
    x._array()
    return x._coalesced


@handles()
def _coalesced_(self: Tensor, coalesced: bool) -> Any:
    x = _expect_coo("_coalesced_", self)
    order, new, _ = ordered(x._array(), x._sizes[: sparse_dims(x)])
    if coalesced and (not new.all() or order is not None):
        raise RuntimeError("cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor")
    x._coalesced = coalesced
    return self


def _expect_coo(name: str, x: Any) -> CooTensor:
    if not isinstance(x, CooTensor):
        raise RuntimeError(f"{name} expected sparse coordinate tensor layout but got {layout_word(x)}")
    return x


def _expect(name: str, x: Any, layout: types.layout, word: str) -> CompressedTensor:
    if not isinstance(x, CompressedTensor) or x._layout is not layout:
        raise RuntimeError(f"{name} expected sparse {word} compressed tensor layout but got {layout_word(x)}")
    return x


# -------------------------------------------------------------------------------------------------------- the parts


@handles()
def indices(self: Tensor) -> Tensor:
    x = _expect_coo("indices", self)
    _must_be_coalesced("indices", x)
    return x._ind


@handles()
def values(self: Tensor) -> Tensor:
    if isinstance(self, CooTensor):
        _must_be_coalesced("values", self)
    elif not isinstance(self, CompressedTensor):
        raise RuntimeError(f"values expected sparse tensor layout but got {layout_word(self)}")
    x: Any = self
    return x._vals  # type: ignore[no-any-return]


def _must_be_coalesced(name: str, x: CooTensor) -> None:
    if not is_coalesced(x):
        raise RuntimeError(f"Cannot get {name} on an uncoalesced tensor, please call .coalesce() first")


@handles()
def _indices(self: Tensor) -> Tensor:
    return _expect_coo("_indices", self)._ind


@handles()
def _values(self: Any) -> Tensor:
    x: Any = self
    return x._vals.detach()  # type: ignore[no-any-return]


@handles()
def crow_indices(self: Tensor) -> Tensor:
    return _expect("crow_indices", self, types.sparse_csr, "row")._begins


@handles()
def col_indices(self: Tensor) -> Tensor:
    return _expect("col_indices", self, types.sparse_csr, "row")._plain


@handles()
def ccol_indices(self: Tensor) -> Tensor:
    return _expect("ccol_indices", self, types.sparse_csc, "column")._begins


@handles()
def row_indices(self: Tensor) -> Tensor:
    return _expect("row_indices", self, types.sparse_csc, "column")._plain


@handles()
def _nnz(self: Any) -> int:
    return int(self._vals.shape[0])


@handles("sparse_dim", "_dimI")
def sparse_dim(self: Any) -> int:
    return self.ndim if not isinstance(self, SparseTensor) else self.ndim - dense_dim(self)


@handles("dense_dim", "_dimV")
def dense_dim(self: Any) -> int:
    return int(self._vals.ndim) - 1


# --------------------------------------------------------------------------------------------------------- to dense


@handles()
def to_dense(self: Any, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The strided tensor; entries at one place are added up."""
    x: CooTensor = self._coo()
    if x._vals.dtype is dtypes.bool_:
        x = coalesce(x)
    indices = x._array()
    sparse = x._sizes[: indices.shape[0]]
    if math.prod(x._sizes) * x.itemsize >= 2**62:
        raise RuntimeError(f"to_dense: a tensor of shape {list(x._sizes)} is too large for memory")
    n = math.prod(sparse)
    place = flat(indices, sparse)
    dense = x._vals.shape[1:]
    start = full((n, *dense), 0, x._vals.dtype.numpy)
    if x._coalesced:
        out = start.index_copy(0, from_value(place), x._vals)
    else:
        out = start.index_add(0, from_value(place), x._vals)
    out = out.reshape(x._sizes)
    return out if dtype is None else out.to(as_dtype(dtype))  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------------------- to sparse


def from_dense(x: Tensor, sparse: int) -> CooTensor:
    """The COO tensor of the elements (of the slices, with dense dims) of a strided tensor that are not zero."""
    array = known(x)
    if array is None:
        from ..core.pending import seen

        array = seen(x)
        if array.ndim != x.ndim:
            raise RuntimeError(
                "to_sparse: which elements are zero differs between the examples of vmap; use it outside"
            )
    nonzero = array != 0 if array.dtype.kind != "V" else array.astype(np.float32) != 0
    if sparse < x.ndim:
        nonzero = nonzero.any(axis=tuple(range(sparse, x.ndim)))
    places = np.stack(np.nonzero(nonzero)) if sparse else np.zeros((0, int(nonzero)), np.int64)
    places = places.astype(np.int64, copy=False)
    return at_places(x, places, True)


def at_places(x: Tensor, places: Any, coalesced: bool) -> CooTensor:
    """The COO tensor with the elements of a strided tensor at the places given."""
    sparse, n = places.shape
    sizes = tuple(x.shape)
    if not sparse:
        return coo(from_value(places), x.reshape(1, *sizes).expand(n, *sizes), sizes, coalesced)
    rows = x.reshape(math.prod(sizes[:sparse]), *sizes[sparse:])
    values = rows.index_select(0, from_value(flat(places, sizes[:sparse])))
    return coo(from_value(places), values, sizes, coalesced)


def _sparse_dim_arg(x: Tensor, sparse: Any) -> int:
    if sparse is None:
        return x.ndim
    if not isinstance(sparse, int):
        raise TypeError(f"to_sparse(): argument 'sparse_dim' must be int, not {type(sparse).__name__}")
    if sparse > x.ndim:
        raise RuntimeError(
            f"dense_to_sparse: sparse_dim argument must be less than or equal to the number of dims, {x.ndim}, not {sparse}"
        )
    if sparse <= 0 and x.ndim > 0 or sparse < 0:
        raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0")
    return sparse


@handles()
def to_sparse(
    self: Tensor,
    sparse_dim: Any = None,
    *,
    layout: Any = None,
    blocksize: Any = None,
    dense_dim: int | None = None,
) -> Any:
    """The tensor in a sparse layout, COO unless `layout` says otherwise."""
    if not isinstance(sparse_dim, int) and isinstance(sparse_dim, types.layout):
        sparse_dim, layout = None, sparse_dim
    if layout is types.strided:
        return self.to_dense()
    if layout is not None and layout is not types.sparse_coo:
        if blocksize is not None or layout not in LAYOUTS:
            raise NotImplementedError(
                f"to_sparse: tensors of layout {layout} do not exist here; use torch.sparse_csr"
            )
        return to_compressed(self, layout, dense_dim)
    if isinstance(self, SparseTensor):
        if sparse_dim is not None and sparse_dim != self.sparse_dim():
            raise RuntimeError(
                f"to_sparse: conversion from {layout_word(self)} to Sparse with sparse_dim argument "
                "!=self.sparse_dim() is not supported"
            )
        return self if isinstance(self, CooTensor) else self._coo()
    return from_dense(self, _sparse_dim_arg(self, sparse_dim))


@handles("to_sparse_coo")
def to_sparse_coo(self: Tensor) -> Any:
    return to_sparse(self)


@handles("to_sparse_csr", "_to_sparse_csr")
def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> Any:
    return to_sparse(self, layout=types.sparse_csr, dense_dim=dense_dim)


@handles("to_sparse_csc", "_to_sparse_csc")
def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> Any:
    return to_sparse(self, layout=types.sparse_csc, dense_dim=dense_dim)


def to_compressed(x: Tensor, layout: types.layout, dense: int | None = None) -> CompressedTensor:
    """A tensor of two sparse dims in CSR or CSC, with the other dims dense: of a strided tensor the last `dense` ones."""
    if isinstance(x, CompressedTensor) and x._layout is layout:
        return x
    if x.ndim - (dense_dim(x) if isinstance(x, SparseTensor) else dense or 0) != 2:
        raise RuntimeError(
            f"to_sparse: conversion to {layout} is for matrices here, but the tensor has shape {list(x.shape)}"
            if x.ndim > 2
            else f"to_sparse: conversion to {layout} expects a tensor of at least 2 dims, but got {x.ndim}"
        )
    c: CooTensor = x._coo() if isinstance(x, SparseTensor) else from_dense(x, 2)
    if layout is types.sparse_csc:
        c = coo(from_value(c._array()[::-1].copy()), c._vals, (*c._sizes[1::-1], *c._sizes[2:]), False)
    c = coalesce(c)
    slow, fast = c._array()
    begins = np.zeros(c._sizes[0] + 1, np.int64)
    np.cumsum(np.bincount(slow, minlength=c._sizes[0]), out=begins[1:])
    return compressed(from_value(begins), from_value(fast.copy()), c._vals, tuple(x.shape), layout)


def like(x: CooTensor, layout: types.layout) -> Any:
    """A COO result in the layout of the operand it came from."""
    return x if layout is types.sparse_coo or sparse_dims(x) != 2 else to_compressed(x, layout)


@handles()
def sparse_mask(self: Tensor, mask: Any) -> Any:
    """The elements of `self` at the places of the sparse tensor `mask`."""
    if not isinstance(mask, SparseTensor):
        raise NotImplementedError(
            f"sparse_mask: the mask must be a sparse tensor, but has layout {layout_word(mask)}"
        )
    if tuple(self.shape) != mask._sizes:
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(self.shape)} but mask has size "
            f"{list(mask._sizes)}"
        )
    if not isinstance(mask, CooTensor):
        c: CooTensor = mask._coo()
        return mask._with(sparse_mask(self, c)._vals)
    if not isinstance(self, SparseTensor):
        return at_places(self, mask._array(), is_coalesced(mask))
    x: CooTensor = coalesce(self._coo())
    if sparse_dims(x) != sparse_dims(mask):
        raise RuntimeError("sparse_mask: both sparse tensors must have the same number of sparse dims")
    return mask._with(looked_up(x, mask._array()))


def looked_up(x: CooTensor, places: Any) -> Tensor:
    """The values of a coalesced tensor at some places; zero where it has no entry."""
    sizes = x._sizes[: places.shape[0]]
    have, want = flat(x._array(), sizes), flat(places, sizes)
    if have is None or want is None:
        raise RuntimeError(f"the places in a tensor of shape {list(x._sizes)} are too many to be numbered")
    at = np.searchsorted(have, want)
    found = at < have.size
    found[found] = have[at[found]] == want[found]
    start = full((want.size, *x._vals.shape[1:]), 0, x._vals.dtype.numpy)
    hits = x._vals.index_select(0, from_value(at[found]))
    return start.index_copy(0, from_value(np.nonzero(found)[0]), hits)  # type: ignore[no-any-return]


# --------------------------------------------------------------------------------------------------- casts and copies


def _cast(name: str) -> None:
    method = METHODS[name]

    def cast(self: Any, *args: Any, **kwargs: Any) -> Any:
        new = method(self._vals, *args, **kwargs)
        return self if new is self._vals else self._with(new)

    handles(name)(cast)


for _name in (
    *(
        "float",
        "double",
        "half",
        "bfloat16",
        "long",
        "int",
        "short",
        "char",
        "byte",
        "bool",
        "cfloat",
        "cdouble",
    ),
    *("cpu", "cuda", "pin_memory"),
):
    _cast(_name)


@handles()
def to(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Another dtype; the layout stays."""
    if not isinstance(self, SparseTensor):
        other = args[0] if args else kwargs.pop("other")  # dense.to(sparse): its dtype
        return METHODS["to"](self, other.dtype, *args[1:], **kwargs)
    args = tuple(a._vals if isinstance(a, SparseTensor) else a for a in args)
    kwargs = {k: v._vals if isinstance(v, SparseTensor) else v for k, v in kwargs.items()}
    new = METHODS["to"](self._vals, *args, **kwargs)
    return self if new is self._vals else self._with(new)


@handles("type")
def type_(self: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    if dtype is None:
        return METHODS["type"](self._vals).replace("torch.", "torch.sparse.")
    if isinstance(dtype, str):
        dtype = dtype.replace("torch.sparse.", "torch.")
    return self._with(METHODS["type"](self._vals, dtype, non_blocking))


@handles()
def type_as(self: Any, other: Any) -> Any:
    return self.to(other.dtype)


@handles()
def clone(input: Any, *, memory_format: Any = None) -> Any:
    t = input._with(input._vals.clone())
    if isinstance(t, CooTensor):
        t._ind = t._ind.clone()
        t._checked = 0
    return t


@handles()
def detach(self: Any) -> Any:
    return self._with(self._vals.detach())


@handles("conj", "conj_physical", "resolve_conj", "resolve_neg")
def conj(input: Any) -> Any:
    return input if not input.is_complex() else input._with(input._vals.conj())


@handles("contiguous")
def contiguous(self: Any, memory_format: Any = None) -> Any:
    raise RuntimeError(
        f"unsupported memory format option Contiguous: a tensor of layout {self.layout} has no strides. Convert with "
        ".to_dense() first"
    )


def zeros(sizes: Any, dtype: Any, sparse: int, dense: int) -> CooTensor:
    """A COO tensor without entries."""
    values = full((0, *sizes[sparse : sparse + dense]), 0, dtype.numpy)
    return coo(from_value(np.zeros((sparse, 0), np.int64)), values, sizes, True)


@handles("zeros_like", "empty_like")
def zeros_like(
    input: Any, *, dtype: Any = None, layout: Any = None, requires_grad: bool = False, **_: Any
) -> Any:
    d = input.dtype if dtype is None else as_dtype(dtype)
    if layout is types.strided:
        return FUNCTIONS["zeros"](tuple(input.shape), dtype=d, requires_grad=requires_grad)
    t = zeros(input._sizes, d, sparse_dim(input), dense_dim(input))
    r = like(t, input.layout if layout is None else layout)
    return r.requires_grad_() if requires_grad else r


@handles("new_zeros", "new_empty")
def new_zeros(self: Any, *size: Any, dtype: Any = None, layout: Any = None, **_: Any) -> Any:
    sizes = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    d = self.dtype if dtype is None else as_dtype(dtype)
    if layout is types.strided:
        return FUNCTIONS["zeros"](sizes, dtype=d)
    return like(zeros(sizes, d, len(sizes), 0), self.layout)


@handles("new")
def new(self: Any, *args: Any, device: Any = None) -> Any:
    """``type(self)(...)`` of old: with sizes, or with indices, values and a size."""
    if args and isinstance(args[0], Tensor):
        from .construction import sparse_coo_tensor

        return sparse_coo_tensor(*args)
    return new_zeros(self, *(args or (0,)))


@handles("resize_as_", "resize_as_sparse_")
def resize_as_sparse_(input: Any, the_template: Any, **_: Any) -> Any:
    """Give `input` the sizes of another sparse COO tensor, which its entries have to fit in.

    Raises: RuntimeError for other layouts, and for sizes that are too small.

    >>> import flambeau as torch
    >>> torch.resize_as_sparse_(torch.eye(2).to_sparse(), torch.eye(3).to_sparse()).shape
    torch.Size([3, 3])
    """
    from .shapes import sparse_resize_

    if not isinstance(the_template, CooTensor) or not isinstance(input, CooTensor):
        raise RuntimeError("resize_as_sparse_: both tensors must have layout torch.sparse_coo")
    return sparse_resize_(input, the_template._sizes, sparse_dims(the_template), dense_dim(the_template))


@handles("tensor", "as_tensor", "asarray")
def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any) -> Any:
    t = data.detach().clone()
    t = t if dtype is None else t.to(as_dtype(dtype))
    return t.requires_grad_() if requires_grad else t


@handles()
def new_tensor(self: Any, data: Any, **kwargs: Any) -> Any:
    return self._vals.new_tensor(data, **kwargs)
