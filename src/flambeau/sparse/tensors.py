"""Sparse tensors: subclasses of Tensor that consist of other tensors, the places of the entries and their values.

A sparse tensor has no array and no history of its own.  Whatever reaches for its array gets an error that says so;
every operation goes through ``__torch_function__`` to the functions that the modules of this package enter in
`HANDLERS`.  They compute with ordinary tensors, so gradients and transforms pass through the values.

The classes take part in ``__torch_function__`` from the first sparse tensor on: a program without one pays nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np

from ..core.pending import seen
from ..core.public import OVERRIDES
from ..core.tensor import Tensor, new_object, node_of
from ..prims.base import from_value
from ..prims.sparse_products import Places
from ..runtime import types
from ..runtime.types import Size
from ..tensor.protocol import disabled_torch_function

__all__ = ["CompressedTensor", "CooTensor", "SparseTensor"]

F = TypeVar("F", bound=Callable[..., Any])

# By the name of a function or method of tensors: what it does when an argument is sparse.
HANDLERS: dict[str, Callable[..., Any]] = {}


def handles(*names: str) -> Callable[[F], F]:
    """Enter a function in `HANDLERS`, under its own name if none is given."""

    def decorate(fn: F) -> F:
        for name in names or (fn.__name__,):
            HANDLERS[name] = fn
        return fn

    return decorate


_BACKENDS = {
    **{"torch.sparse_coo": "SparseCPU", "torch.sparse_csr": "SparseCsrCPU"},
    **{"torch.sparse_csc": "SparseCsrCPU", "torch.strided": "CPU"},
}
_LAYOUT_WORDS = {
    **{"torch.sparse_coo": "Sparse", "torch.sparse_csr": "SparseCsr"},
    **{"torch.sparse_csc": "SparseCsc", "torch.strided": "Strided"},
}


def layout_word(t: Tensor) -> str:
    """The layout as PyTorch's messages name it: ``Sparse`` for COO, ``SparseCsr``, ``Strided``."""
    return _LAYOUT_WORDS[str(t.layout)]


def refuse(name: str, *args: Any) -> NoReturn:
    """Raises: NotImplementedError, PyTorch's type for an operation that a layout does not have."""
    flat = [y for x in args for y in (x if isinstance(x, (tuple, list)) else (x,))]
    layouts = [str(x.layout) for x in flat if isinstance(x, SparseTensor)]
    layout = layouts[0] if layouts else "torch.sparse_coo"
    raise NotImplementedError(
        f"Could not run 'aten::{name}' with arguments from the '{_BACKENDS[layout]}' backend: {name}() is not "
        f"defined for tensors of layout {layout}. Convert with .to_dense() first"
    )


_PARTS = frozenset(
    "_vals _ind _sizes _with _coo _layout _leaf _take _coalesced ndim dtype shape layout".split()
)


class SparseTensor(Tensor):
    """What the sparse layouts have in common; instances are made by `flambeau.sparse_coo_tensor` and its kin."""

    __slots__ = ("_sizes", "_vals", "_leaf", "_kept_places")
    _composed = True  # has no array: for the few parts of the library that keep a tensor's payload
    _layout: types.layout
    _sizes: tuple[int, ...]
    _vals: Tensor
    _leaf: bool  # made by the user with requires_grad=True: its gradient is the values', in this pattern
    _kept_places: Places | None  # for products; found by the first one

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(not issubclass(t, Tensor) for t in types):
            return NotImplemented  # a class of a library's own knows better
        name = getattr(func, "__name__", "")
        handler = HANDLERS.get(name)
        if handler is None and name in (
            "__get__",
            "__set__",
            "__delete__",
        ):  # an attribute: found as without protocol
            return disabled_torch_function(func, types, args, kwargs)
        if handler is None:
            refuse(name, *args, *(kwargs or {}).values())
        try:
            return handler(*args, **(kwargs or {}))
        except AttributeError as e:
            if e.name in _PARTS:  # asked of an argument that is not sparse
                raise TypeError(
                    f"{name}() received an invalid combination of arguments: layouts and types are "
                    f"({', '.join(str(a.layout) if isinstance(a, Tensor) else type(a).__name__ for a in args)})"
                ) from None
            raise

    # ---- what a strided tensor has in its slots

    def _no_array(self) -> NoReturn:
        raise NotImplementedError(
            f"this needs the memory of a strided tensor, which a tensor of layout {self._layout} does not have. "
            "Convert with .to_dense() first"
        )

    _a = property(_no_array)
    _st = property(_no_array)
    _base = None
    device = property(lambda self: self._vals.device)
    is_meta = property(lambda self: self._vals.is_meta)
    is_cpu = property(lambda self: self._vals.is_cpu)

    @property
    def _node(self) -> Any:
        """The history of the values: for those who know that their gradient is not of this tensor's shape."""
        return node_of(self._vals)

    # ---- geometry

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return Size(self._sizes)

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self._vals.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions, sparse and dense."""
        return len(self._sizes)

    @property
    def layout(self) -> types.layout:
        """``torch.sparse_coo``, ``torch.sparse_csr`` or ``torch.sparse_csc``."""
        return self._layout

    @property
    def is_sparse(self) -> bool:
        """Whether the layout is ``torch.sparse_coo``."""
        return self._layout is types.sparse_coo

    @property
    def is_sparse_csr(self) -> bool:
        """Whether the layout is ``torch.sparse_csr``."""
        return self._layout is types.sparse_csr

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return self._vals.element_size()  # type: ignore[no-any-return]

    @property
    def nbytes(self) -> int:
        """Bytes of the indices and of the values."""
        return self._vals.nbytes + self._nbytes_of_places()  # type: ignore[no-any-return]

    def _nbytes_of_places(self) -> int:
        raise NotImplementedError

    @property
    def T(self) -> Any:  # noqa: N802
        """The dims reversed."""
        return HANDLERS["permute"](self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Any:  # noqa: N802
        """The last two dims exchanged."""
        return HANDLERS["transpose"](self, -2, -1)

    @property
    def H(self) -> Any:  # noqa: N802
        """The conjugate transpose of a matrix."""
        return HANDLERS["conj"](HANDLERS["t"](self))

    mH = H  # noqa: N815

    @property
    def real(self) -> Any:
        """The real parts of the values, in the same places."""
        return self if not self.is_complex() else self._with(self._vals.real)

    @property
    def imag(self) -> Any:
        """The imaginary parts of the values, in the same places.

        Raises: RuntimeError for real tensors.
        """
        return self._with(self._vals.imag)

    # ---- autograd

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the values are recorded."""
        return self._vals.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        HANDLERS["requires_grad_"](self, value)

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was made by the user rather than by a recorded operation."""
        return self._leaf or not self._vals.requires_grad

    @property
    def grad_fn(self) -> Any:
        """The node of the values; None for leaves."""
        return None if self.is_leaf else self._vals.grad_fn

    @property
    def grad(self) -> Any:
        """The gradient, with entries in the places of this tensor."""
        values: Any = self._vals
        g = values.grad if self._leaf else None
        return None if g is None else self._with(g)

    @grad.setter
    def grad(self, value: Any) -> None:
        values: Any = self._vals
        if value is None:
            values.grad = None
        else:
            values.grad = HANDLERS["sparse_mask"](value, self)._vals

    @grad.deleter
    def grad(self) -> None:
        values: Any = self._vals
        values.grad = None

    @property
    def data(self) -> Any:
        """The tensor without history."""
        return HANDLERS["detach"](self)

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, type(self)) or value._sizes != self._sizes:
            raise RuntimeError(
                f"data of a tensor of layout {self._layout} and shape {list(self._sizes)} must be of that layout and shape"
            )
        needs = self._leaf
        self._take(HANDLERS["detach"](value))
        if needs:
            HANDLERS["requires_grad_"](self)

    @property
    def _version(self) -> int:
        return self._vals._version  # type: ignore[no-any-return]

    # ---- making another

    def _with(self, values: Tensor, coalesced: bool | None = None) -> Any:
        """A tensor with other values in the same places."""
        raise NotImplementedError

    def _take(self, other: Any) -> None:
        """Become `other`, a tensor of the same class, in place."""
        raise NotImplementedError

    def _places(self) -> Places:
        """The places of a matrix, for products."""
        raise NotImplementedError

    def _parts(self) -> tuple[Any, ...]:
        """What a file has of it, in PyTorch's order: indices, values, size, and for COO whether it is coalesced."""
        raise NotImplementedError

    def __reversed__(self) -> Any:
        refuse("flip", self)


def _new(cls: type, sizes: Any, values: Tensor) -> Any:
    """An instance; the classes take part in ``__torch_function__`` from the first one on."""
    if cls not in OVERRIDES:
        OVERRIDES.append(cls)
        from . import gradients  # noqa: F401  from now on, one may come to a leaf
    t: Any = new_object(cls)
    t._sizes, t._vals, t._leaf, t._kept_places = tuple(sizes), values, False, None
    return t


class CooTensor(SparseTensor):
    """A tensor of layout ``torch.sparse_coo``: `indices` (sparse dims, entries) and `values` (entries, dense dims...)."""

    __slots__ = ("_ind", "_coalesced", "_checked")
    _layout = types.sparse_coo
    _ind: Tensor
    _coalesced: bool
    _checked: int  # the version of the indices that are known to be in range

    def _with(self, values: Tensor, coalesced: bool | None = None) -> CooTensor:
        is_coalesced = self._coalesced if coalesced is None else coalesced
        sparse = self._sizes[: len(self._sizes) - self._dense_dims()]
        t = coo(self._ind, values, (*sparse, *values.shape[1:]), is_coalesced)
        t._kept_places = self._kept_places
        return t

    def _take(self, other: Any) -> None:
        self._sizes, self._vals, self._ind = other._sizes, other._vals, other._ind
        self._coalesced, self._kept_places, self._leaf = other._coalesced, other._kept_places, other._leaf
        self._checked = other._checked

    def _dense_dims(self) -> int:
        return self._vals.ndim - 1

    def _nbytes_of_places(self) -> int:
        return self._ind.nbytes  # type: ignore[no-any-return]

    def _array(self) -> Any:
        """The indices as a NumPy array, looked at anew when the user has written to them."""
        a = seen(self._ind)
        if self._ind._version != self._checked:
            check_range(a, self._sizes)
            self._checked, self._kept_places = self._ind._version, None
            self._coalesced = is_sorted(self)
        return a

    def _places(self) -> Places:
        rows, cols = self._array()
        if self._kept_places is None:
            self._kept_places = Places(rows, cols, (self._sizes[0], self._sizes[1]))
        return self._kept_places

    def _parts(self) -> tuple[Any, ...]:
        return self._ind.detach(), self._vals.detach(), Size(self._sizes), self._coalesced

    def _coo(self) -> CooTensor:
        return self


class CompressedTensor(SparseTensor):
    """A matrix of layout ``torch.sparse_csr`` or ``torch.sparse_csc``: where rows (columns) begin, and the other index."""

    __slots__ = ("_begins", "_plain", "_layout_of")
    _begins: Tensor
    _plain: Tensor
    _layout_of: types.layout

    @property
    def _layout(self) -> types.layout:  # type: ignore[override]
        return self._layout_of

    def _with(self, values: Tensor, coalesced: bool | None = None) -> CompressedTensor:
        sizes = (*self._sizes[:2], *values.shape[1:])
        t = compressed(self._begins, self._plain, values, sizes, self._layout_of)
        t._kept_places = self._kept_places
        return t

    def _take(self, other: Any) -> None:
        self._sizes, self._vals, self._begins = other._sizes, other._vals, other._begins
        self._plain, self._layout_of = other._plain, other._layout_of
        self._kept_places, self._leaf = other._kept_places, other._leaf

    def _nbytes_of_places(self) -> int:
        return self._begins.nbytes + self._plain.nbytes  # type: ignore[no-any-return]

    def _places(self) -> Places:
        if self._kept_places is None:
            begins, plain = seen(self._begins), seen(self._plain).astype(np.int64, copy=False)
            slow = np.repeat(np.arange(begins.size - 1), np.diff(begins))
            rows, cols = (slow, plain) if self._layout is types.sparse_csr else (plain, slow)
            self._kept_places = Places(rows, cols, (self._sizes[0], self._sizes[1]))
        return self._kept_places

    def _parts(self) -> tuple[Any, ...]:
        return self._begins.detach(), self._plain.detach(), self._vals.detach(), Size(self._sizes)

    def _coo(self) -> CooTensor:
        """The same matrix in COO, its entries in the same order."""
        places = self._places()
        t = coo(from_value(np.stack((places.rows, places.cols))), self._vals, self._sizes, False)
        t._kept_places = places
        t._coalesced = is_sorted(t)
        return t


def coo(indices: Tensor, values: Tensor, sizes: Any, coalesced: bool) -> CooTensor:
    """A COO tensor of parts that are known to fit; a tensor of less than two entries is always coalesced."""
    t = _new(CooTensor, sizes, values)
    t._ind = indices
    t._coalesced = coalesced or values.shape[0] < 2
    t._checked = indices._version
    return t  # type: ignore[no-any-return]


def compressed(
    begins: Tensor, plain: Tensor, values: Tensor, sizes: Any, layout: types.layout
) -> CompressedTensor:
    """A CSR or CSC matrix of parts that are known to fit."""
    t = _new(CompressedTensor, sizes, values)
    t._begins, t._plain, t._layout_of = begins, plain, layout
    return t  # type: ignore[no-any-return]


for _cls in (SparseTensor, CooTensor, CompressedTensor):
    OVERRIDES.remove(_cls)  # until there is one


# ----------------------------------------------------------------------------------------------------- the indices


def check_range(indices: Any, sizes: Any) -> None:
    """Raises: RuntimeError for an index that is negative or not below the size of its dim."""
    if not indices.shape[1]:
        return
    for d, row in enumerate(indices):
        low, high = int(row.min()), int(row.max())
        if low < 0:
            raise RuntimeError(f"found negative index {low} for dim {d}")
        if high >= sizes[d]:
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {d}, size is {sizes[d]} but found index {high}"
            )


def sparse_dims(t: CooTensor) -> int:
    """How many dims the indices cover."""
    return int(t._ind.shape[0])


def flat(indices: Any, sizes: Any) -> Any:
    """The place of each entry as one number, in the order of a dense tensor's memory; None where it has no room."""
    if math.prod(sizes) >= 2**63:
        return None
    place = np.zeros(indices.shape[1], np.int64)
    for row, n in zip(indices, sizes):
        place *= n
        place += row
    return place


def ordered(indices: Any, sizes: Any) -> tuple[Any, Any, Any]:
    """(the order that sorts the entries or None, which of these are new places, the number of each one's place)."""
    n = indices.shape[1]
    key = flat(indices, sizes)
    if key is None:
        order = np.lexsort(indices[::-1])
        change = (indices[:, order][:, 1:] != indices[:, order][:, :-1]).any(0)
    else:
        order = None
        if n and (key[1:] < key[:-1]).any():
            order = np.argsort(key, kind="stable")
            key = key[order]
        change = key[1:] != key[:-1]
    new = np.ones(n, bool)
    new[1:] = change
    return order, new, np.cumsum(new) - 1


def is_sorted(t: CooTensor) -> bool:
    """Whether the entries are in order and no place has two."""
    order, new, _ = ordered(t._array(), t._sizes[: sparse_dims(t)])
    return bool(new.all()) and (order is None or bool((order[1:] > order[:-1]).all()))
