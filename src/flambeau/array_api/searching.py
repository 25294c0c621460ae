"""Functions of the standard that search, sort, and find unique elements."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..runtime import dtypes
from .arrays import Array, standard
from .manipulation import axis_of
from .promotion import tensor_of, together

__all__ = [
    *("argmax", "argmin", "argsort", "count_nonzero", "nonzero", "searchsorted", "sort"),
    *("unique_all", "unique_counts", "unique_inverse", "unique_values", "where"),
]


def _extreme(name: str, x: Tensor, axis: int | None, keepdims: bool) -> Any:
    fn = FUNCTIONS[name]
    if axis is None:
        found = fn(tensor_of(x, name).reshape(-1), 0)
        return found.reshape((1,) * x.ndim) if keepdims else found
    return fn(x, axis_of(axis, tensor_of(x, name).ndim, name), keepdims)


@standard
def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the (first) greatest element along an axis, or in the flattened array."""
    return _extreme("argmax", x, axis, keepdims)


@standard
def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the (first) smallest element along an axis, or in the flattened array."""
    return _extreme("argmin", x, axis, keepdims)


@standard
def count_nonzero(x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """How many elements are not zero, along the axes or overall."""
    from .statistics import reduced

    return reduced("sum", tensor_of(x, "count_nonzero") != 0, axis, keepdims, dtype=dtypes.int64)


@standard
def nonzero(x: Tensor, /) -> Any:
    """The indices of the elements that are not zero: one array for each dimension.

    Raises: ValueError for an array of no dimensions.
    """
    if tensor_of(x, "nonzero").ndim == 0:
        raise ValueError("nonzero(): an array of at least one dimension is needed")
    return tuple(FUNCTIONS["nonzero"](x).unbind(1))


@standard
def searchsorted(x1: Tensor, x2: Tensor, /, *, side: str = "left", sorter: Tensor | None = None) -> Any:
    """Where the elements of `x2` belong in the sorted one-dimensional `x1` (or ``x1[sorter]``).

    Raises: ValueError for another `side`.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted(): side must be 'left' or 'right', not {side!r}")
    a, b = together("searchsorted", x1, x2)
    if sorter is not None:
        a = a[sorter.to(dtypes.int64)]
    return FUNCTIONS["searchsorted"](a.contiguous(), b.contiguous(), right=side == "right")


@standard
def where(condition: Tensor, x1: Any, x2: Any, /) -> Any:
    """`x1` where the condition holds, else `x2`, in their common dtype; one of them may be a Python scalar."""
    a, b = together("where", x1, x2)
    return FUNCTIONS["where"](tensor_of(condition, "where"), a, b)


# ------------------------------------------------------------------------------------------------ order


def _order(x: Tensor, axis: int, descending: bool, name: str) -> tuple[Any, Any]:
    if tensor_of(x, name).dtype.is_complex:
        raise TypeError(f"{name}(): complex numbers have no order")
    return FUNCTIONS["sort"](x, dim=axis_of(axis, x.ndim, name), descending=descending, stable=True)  # type: ignore[no-any-return]


@standard
def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The elements in order along an axis.

    Raises: TypeError for complex dtypes.
    """
    return _order(x, axis, descending, "sort")[0]


@standard
def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that put the elements in order along an axis; equal elements keep theirs.

    Raises: TypeError for complex dtypes.
    """
    return _order(x, axis, descending, "argsort")[1]


# --------------------------------------------------------------------------------------- unique elements


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Array
    inverse_indices: Array


def _unique(x: Tensor, name: str) -> Any:
    """Values, first positions, inverse and counts; every NaN is an element of its own."""
    flat = tensor_of(x, name).reshape(-1)
    n = flat.shape[0]
    count = FUNCTIONS["arange"](n)
    if flat.dtype.is_complex:  # by real part, then imaginary part
        order = FUNCTIONS["sort"](flat.imag, stable=True)[1]
        order = order[FUNCTIONS["sort"](flat.real[order], stable=True)[1]]
    else:
        order = FUNCTIONS["sort"](flat, stable=True)[1]
    ordered = flat[order]
    starts = FUNCTIONS["ones"](n, dtype=dtypes.bool_)
    if n > 1:
        starts[1:] = ordered[1:] != ordered[:-1]
    at = FUNCTIONS["nonzero"](starts)[:, 0]
    group = FUNCTIONS["cumsum"](starts, 0) - 1
    inverse = FUNCTIONS["empty"](n, dtype=dtypes.int64)
    inverse[order] = group
    counts = FUNCTIONS["diff"](FUNCTIONS["cat"]([at, count.new_full((1,), n)]))
    return UniqueAll(ordered[at], order[at], inverse.reshape(x.shape), counts)


@standard
def unique_all(x: Tensor, /) -> Any:
    """The different elements, where each is first found in the flattened array, which of them each element is, and
    how often each occurs; NaNs are all different.

    >>> import flambeau.array_api as xp
    >>> xp.unique_all(xp.asarray([3, 1, 3])).counts
    Array([1, 2])
    """
    return _unique(x, "unique_all")


@standard
def unique_counts(x: Tensor, /) -> Any:
    """The different elements, and how often each occurs."""
    found = _unique(x, "unique_counts")
    return UniqueCounts(found.values, found.counts)


@standard
def unique_inverse(x: Tensor, /) -> Any:
    """The different elements, and which of them each element is."""
    found = _unique(x, "unique_inverse")
    return UniqueInverse(found.values, found.inverse_indices)


@standard
def unique_values(x: Tensor, /) -> Any:
    """The different elements."""
    return _unique(x, "unique_values").values
