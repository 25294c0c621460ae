"""Methods of Tensor about sparse layouts, as a strided tensor has them; `flambeau.sparse` loads with the first conversion."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NoReturn

from ..core.public import METHODS
from ..core.tensor import Tensor


def _method(fn: Callable[..., Any]) -> Callable[..., Any]:
    METHODS[fn.__name__] = fn
    setattr(Tensor, fn.__name__, fn)
    return fn


def _conversion() -> Any:
    importlib.import_module("flambeau.sparse")  # above the tensors: it loads when asked for
    return importlib.import_module("flambeau.sparse.conversion")


@_method
def to_sparse(
    self: Tensor,
    sparse_dim: int | None = None,
    *,
    layout: Any = None,
    blocksize: Any = None,
    dense_dim: int | None = None,
) -> Tensor:
    """A sparse tensor with the elements that are not zero: COO with `sparse_dim` sparse dims (all if None), or `layout`.

    Raises: RuntimeError for a `sparse_dim` out of range, NotImplementedError for the block layouts.

    >>> import flambeau as torch
    >>> torch.tensor([[0.0, 2.0]]).to_sparse().indices()
    tensor([[0],
            [1]])
    """
    return _conversion().to_sparse(  # type: ignore[no-any-return]
        self, sparse_dim, layout=layout, blocksize=blocksize, dense_dim=dense_dim
    )


@_method
def to_sparse_coo(self: Tensor) -> Tensor:
    """``to_sparse()``."""
    return _conversion().to_sparse(self)  # type: ignore[no-any-return]


@_method
def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> Tensor:
    """The elements of a matrix that are not zero, in CSR.

    Raises: RuntimeError for other than matrices.
    """
    return _conversion().to_sparse_csr(self, dense_dim)  # type: ignore[no-any-return]


@_method
def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> Tensor:
    """The elements of a matrix that are not zero, in CSC.

    Raises: RuntimeError for other than matrices.
    """
    return _conversion().to_sparse_csc(self, dense_dim)  # type: ignore[no-any-return]


@_method
def to_sparse_bsr(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> NoReturn:
    """Raises: NotImplementedError, as there are no block layouts here."""
    raise NotImplementedError(
        "to_sparse_bsr: tensors of layout torch.sparse_bsr do not exist here; use to_sparse_csr"
    )


@_method
def to_sparse_bsc(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> NoReturn:
    """Raises: NotImplementedError, as there are no block layouts here."""
    raise NotImplementedError(
        "to_sparse_bsc: tensors of layout torch.sparse_bsc do not exist here; use to_sparse_csc"
    )


@_method
def resize_as_sparse_(self: Tensor, the_template: Tensor) -> NoReturn:
    """Raises: RuntimeError, as resize_as_sparse_ belongs to sparse tensors."""
    raise RuntimeError("resize_as_sparse_: both tensors must have layout torch.sparse_coo; use resize_as_")


@_method
def sparse_mask(self: Tensor, mask: Tensor) -> Tensor:
    """The elements at the places of the sparse tensor `mask`, which has the same shape.

    Raises: RuntimeError for a strided mask and for other shapes.

    >>> import flambeau as torch
    >>> torch.ones(2, 2).sparse_mask(torch.eye(2).to_sparse()).values()
    tensor([1., 1.])
    """
    return _conversion().sparse_mask(self, mask)  # type: ignore[no-any-return]


@_method
def sparse_dim(self: Tensor) -> int:
    """How many dims are sparse: 0."""
    return 0


@_method
def dense_dim(self: Tensor) -> int:
    """How many dims are dense: all."""
    return len(self._a.shape)


def _of_layout(name: str, expected: str) -> None:
    def method(self: Tensor) -> NoReturn:
        raise RuntimeError(
            f"{name} expected sparse {expected} layout but got Strided; use .to_sparse() first"
        )

    method.__name__ = name
    method.__doc__ = f"Raises: RuntimeError, as {name} belongs to sparse tensors."
    _method(method)


for _name in ("indices", "coalesce", "is_coalesced"):
    _of_layout(_name, "coordinate tensor")
_of_layout("values", "tensor")
for _name in ("crow_indices", "col_indices"):
    _of_layout(_name, "row compressed tensor")
for _name in ("ccol_indices", "row_indices"):
    _of_layout(_name, "column compressed tensor")


def _of_sparse(name: str) -> None:
    def method(self: Tensor, *args: Any) -> NoReturn:
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the 'CPU' backend: {name} belongs to sparse tensors; use "
            ".to_sparse() first"
        )

    method.__name__ = name
    method.__doc__ = f"Raises: NotImplementedError, as {name} belongs to sparse tensors."
    _method(method)


for _name in ("_indices", "_values", "_nnz", "_dimI", "_dimV", "_coalesced_"):
    _of_sparse(_name)


@_method
def sparse_resize_(self: Tensor, size: Any, sparse_dim: int, dense_dim: int) -> NoReturn:
    """Raises: NotImplementedError, as sparse_resize_ belongs to sparse tensors."""
    raise NotImplementedError("sparse_resize_ belongs to sparse tensors; use resize_, or .to_sparse() first")


@_method
def sparse_resize_and_clear_(self: Tensor, size: Any, sparse_dim: int, dense_dim: int) -> NoReturn:
    """Raises: NotImplementedError, as sparse_resize_and_clear_ belongs to sparse tensors."""
    raise NotImplementedError(
        "sparse_resize_and_clear_ belongs to sparse tensors; use resize_, or .to_sparse() first"
    )


def _product(name: str) -> None:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        importlib.import_module("flambeau.sparse")
        fn: Any = getattr(importlib.import_module("flambeau.sparse.products"), name)
        return fn(self, *args, **kwargs)  # type: ignore[no-any-return]

    method.__name__ = name
    method.__doc__ = f"See `flambeau.{name}`."
    _method(method)


for _name in ("smm", "sspaddmm"):
    _product(_name)
