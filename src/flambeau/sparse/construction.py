"""Making sparse tensors: `sparse_coo_tensor`, `sparse_csr_tensor` and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.pending import seen
from ..core.tensor import Tensor
from ..ops.args import as_dtype
from ..ops.creation import tensor
from ..prims.base import from_value
from ..runtime import dtypes, types
from ..runtime.types import check_device
from .invariants import check_sparse_tensor_invariants
from .tensors import CompressedTensor, CooTensor, SparseTensor, check_range, compressed, coo, is_sorted

__all__ = [
    "sparse_bsc_tensor",
    "sparse_bsr_tensor",
    "sparse_compressed_tensor",
    "sparse_coo_tensor",
    "sparse_csc_tensor",
    "sparse_csr_tensor",
]


def _sizes(size: Any, name: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(n) for n in size)
    except TypeError:
        raise TypeError(
            f"{name}(): argument 'size' must be tuple of ints, not {type(size).__name__}"
        ) from None
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"{name}(): sizes must not be negative, but got {list(sizes)}")
    return sizes


def _strided(x: Any, name: str, what: str) -> Tensor:
    if isinstance(x, SparseTensor):
        raise RuntimeError(f"{name}: {what} must be a strided tensor, but has layout {x.layout}")
    return x if isinstance(x, Tensor) else tensor(x)


def _indices(x: Any, name: str, what: str = "indices") -> Tensor:
    """Integers as int64, sharing memory where they are int64 already."""
    t = _strided(x, name, what)
    if t.dtype.is_complex or t.dtype is dtypes.bool_:
        raise TypeError(f"{name}: {what} must be integers, but got a tensor of dtype {t.dtype}")
    return t.detach().to(dtypes.int64) if t.numel() else t.detach().long()  # type: ignore[no-any-return]


def _values(x: Any, dtype: Any, name: str) -> Tensor:
    d = None if dtype is None else as_dtype(dtype)
    if not isinstance(x, Tensor):
        return tensor(x, dtype=d)
    t = _strided(x, name, "values")
    return t if d is None else t.to(d)


def _finished(t: Any, requires_grad: bool) -> Any:
    if requires_grad:
        t._vals = t._vals.detach().requires_grad_()
        t._leaf = True
    elif t._vals.requires_grad and t._vals.is_leaf:  # the sparse tensor is none: it has a node
        t._vals = t._vals.view_as(t._vals)
    return t


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> CooTensor:
    """The tensor with `values` (entries, dense dims...) at `indices` (sparse dims, entries), and zero elsewhere.

    Entries at one place count as their sum.  ``sparse_coo_tensor(size)`` has no entries.  Without a `size` it is just
    large enough.  A strided tensor of values keeps its history: gradients reach it.  That indices are in range, and in
    order where `is_coalesced` says so, is always checked (PyTorch does with `check_invariants` only).

    Raises: RuntimeError for indices out of range and for shapes that do not fit, TypeError for indices that are no integers.

    >>> import flambeau as torch
    >>> s = torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    >>> s.to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    >>> s @ torch.ones(3)
    tensor([3., 4.])
    """
    name = "sparse_coo_tensor"
    if device is not None:
        check_device(device)
    if values is None:
        if (indices is None) is (size is None):
            raise TypeError("sparse_coo_tensor() needs indices and values, or a size alone")
        sizes = _sizes(indices if size is None else size, name)
        d = types_default(dtype)
        none = from_value(np.zeros((len(sizes), 0), np.int64))
        empty = from_value(np.zeros((0,), d.numpy))
        return _finished(coo(none, empty, sizes, True), requires_grad)  # type: ignore[no-any-return]
    ind, vals = _indices(indices, name), _values(values, dtype, name)
    if ind.ndim != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(ind.shape)}")
    if vals.ndim == 0:
        vals = vals.reshape(1)
    sparse, count = ind.shape
    if vals.shape[0] != count:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {count}, nnz from values: {vals.shape[0]}"
        )
    array = seen(ind)
    dense = tuple(vals.shape[1:])
    if size is None:
        sizes = (*(int(row.max()) + 1 if count else 0 for row in array), *dense)
    else:
        sizes = _sizes(size, name)
        if len(sizes) != sparse + len(dense):
            raise RuntimeError(
                f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(sizes)}, sparse_dim = "
                f"{sparse}, dense_dim = {len(dense)}"
            )
        if sizes[sparse:] != dense:
            raise RuntimeError(
                f"values has incorrect size, expected {[count, *sizes[sparse:]]}, got {list(vals.shape)}"
            )
    check_range(array, sizes)
    t = coo(ind, vals, sizes, False)
    if is_coalesced and not is_sorted(t):
        raise RuntimeError("cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor")
    t._coalesced = bool(is_coalesced) or t._coalesced
    return _finished(t, requires_grad)  # type: ignore[no-any-return]


def types_default(dtype: Any) -> dtypes.dtype:
    """The dtype given, or the default one."""
    from ..core.state import defaults

    return defaults.dtype if dtype is None else as_dtype(dtype)


_COMPRESSED = {types.sparse_csr: ("crow", "col"), types.sparse_csc: ("ccol", "row")}


def _make_compressed(
    layout: types.layout,
    begins: Any,
    plain: Any,
    values: Any,
    size: Any,
    dtype: Any,
    device: Any,
    requires_grad: bool,
) -> CompressedTensor:
    if layout not in _COMPRESSED:
        raise NotImplementedError(
            f"tensors of layout {layout} do not exist here; use torch.sparse_csr_tensor, or torch.sparse_coo_tensor"
        )
    slow, fast = _COMPRESSED[layout]
    name = f"sparse_{str(layout).rpartition('_')[2]}_tensor"
    if device is not None:
        check_device(device)
    first = _integers_kept(begins, name, f"{slow}_indices")
    second = _integers_kept(plain, name, f"{fast}_indices")
    vals = _values(values, dtype, name)
    if first.ndim > 1 or second.ndim > 1 or not vals.ndim:
        raise NotImplementedError(
            f"{name}: batches of matrices do not exist here, but the shapes are {list(first.shape)}, "
            f"{list(second.shape)} and {list(vals.shape)}; use torch.sparse_coo_tensor"
        )
    a, b = seen(first), seen(second)
    dense = tuple(vals.shape[1:])
    if size is None:
        lines, width = a.size - 1, int(b.max()) + 1 if b.size else 0
        sizes: tuple[int, ...] = (lines, width) if layout is types.sparse_csr else (width, lines)
        sizes += dense
    else:
        sizes = _sizes(size, name)
        if len(sizes) != 2 + len(dense) or sizes[2:] != dense:
            raise RuntimeError(
                f"{name}: values of shape {list(vals.shape)} do not fit a tensor of size {list(sizes)}, whose first two dims "
                "are sparse"
            )
    _check_compressed(a, b, vals, sizes[:2] if layout is types.sparse_csr else sizes[1::-1], slow, fast)
    return _finished(compressed(first, second, vals, sizes, layout), requires_grad)  # type: ignore[no-any-return]


def _integers_kept(x: Any, name: str, what: str) -> Tensor:
    """Indices, which keep int32."""
    t = _strided(x, name, what).detach()
    if t.dtype not in (dtypes.int32, dtypes.int64):
        if t.numel() and t.dtype is not dtypes.float32:
            raise RuntimeError(f"{what} must be int32 or int64, but got {t.dtype}")
        if t.numel():
            raise RuntimeError(f"{what} must be an int32 or int64 type, but got: {t.dtype}")
        t = t.long()
    return t  # type: ignore[no-any-return]


def _check_compressed(a: Any, b: Any, vals: Tensor, lines: tuple[int, ...], slow: str, fast: str) -> None:
    if a.size != lines[0] + 1:
        raise RuntimeError(
            f"{slow}_indices.shape[-1] must be equal to the number of {slow[1:]}s + 1 ({lines[0] + 1}), but got {a.size}"
        )
    if b.size != vals.shape[0]:
        raise RuntimeError(
            f"number of {fast}_indices ({b.size}) and of values ({vals.shape[0]}) must be the same"
        )
    counts = np.diff(a)
    if a[0] != 0 or a[-1] != b.size or (counts < 0).any():
        raise RuntimeError(
            f"`{slow}_indices` must begin with 0, never fall, and end with the number of values, {b.size}"
        )
    if b.size and (b.min() < 0 or b.max() >= lines[1]):
        raise RuntimeError(
            f"`0 <= {fast}_indices < {lines[1]}` is not satisfied: found {b.min()} to {b.max()}"
        )
    if check_sparse_tensor_invariants.is_enabled() and b.size:
        rising = np.diff(b) > 0
        starts = a[1:-1]
        rising[starts[(starts > 0) & (starts < b.size)] - 1] = True
        if not rising.all():
            raise RuntimeError(f"`{fast}_indices` must be sorted and distinct in every {slow[1:]}")


def sparse_csr_tensor(
    crow_indices: Any,
    col_indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> CompressedTensor:
    """The matrix whose row i has ``values[crow_indices[i]:crow_indices[i + 1]]`` in the columns `col_indices`.

    Raises: RuntimeError for indices that do not fit together or the size, NotImplementedError for batches of matrices.

    >>> import flambeau as torch
    >>> torch.sparse_csr_tensor([0, 1, 2], [2, 0], [3.0, 4.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    return _make_compressed(
        types.sparse_csr, crow_indices, col_indices, values, size, dtype, device, requires_grad
    )


def sparse_csc_tensor(
    ccol_indices: Any,
    row_indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> CompressedTensor:
    """`sparse_csr_tensor` with the roles of rows and columns exchanged.

    Raises: as `sparse_csr_tensor`.

    >>> import flambeau as torch
    >>> torch.sparse_csc_tensor([0, 1, 1, 2], [1, 0], [4.0, 3.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    return _make_compressed(
        types.sparse_csc, ccol_indices, row_indices, values, size, dtype, device, requires_grad
    )


def sparse_compressed_tensor(
    compressed_indices: Any,
    plain_indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> CompressedTensor:
    """`sparse_csr_tensor` or `sparse_csc_tensor`, as `layout` says.

    Raises: as these; RuntimeError without a layout, NotImplementedError for the block layouts.

    >>> import flambeau as torch
    >>> torch.sparse_compressed_tensor([0, 1], [0], [3.0], layout=torch.sparse_csr).to_dense()
    tensor([[3.]])
    """
    if layout is None:
        raise RuntimeError("sparse_compressed_tensor expected sparse compressed tensor layout but got none")
    if layout in (types.strided, types.sparse_coo):
        raise RuntimeError(
            f"sparse_compressed_tensor expected sparse compressed tensor layout but got {layout}"
        )
    return _make_compressed(
        layout, compressed_indices, plain_indices, values, size, dtype, device, requires_grad
    )


def sparse_bsr_tensor(*args: Any, **kwargs: Any) -> Any:
    """Raises: NotImplementedError, as there are no block layouts here."""
    raise NotImplementedError(
        "tensors of layout torch.sparse_bsr do not exist here; use torch.sparse_csr_tensor"
    )


def sparse_bsc_tensor(*args: Any, **kwargs: Any) -> Any:
    """Raises: NotImplementedError, as there are no block layouts here."""
    raise NotImplementedError(
        "tensors of layout torch.sparse_bsc do not exist here; use torch.sparse_csc_tensor"
    )
