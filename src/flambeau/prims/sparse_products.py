"""Products with a sparse matrix whose places are known: two operations that are each other's derivatives.

``places_times(values, dense)`` is S @ dense for the matrix S that has `values` at the places of a `Places`;
``times_at_places(a, b)`` is a @ b.T at these places alone.  Both are linear in each input, so that every derivative of
either is one of the two, with the same places or the transposed ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import multilinear_op
from ..core.op import bind
from ..core.tensor import Tensor
from .base import permute_op, reshape
from .pointwise import conj

CHUNK = 1 << 20  # elements of the gathered rows that are multiplied at once


class Places:
    """Where a sparse matrix has entries: the row and the column of each, in any order, repeated ones included.

    What a product has to know of them is found once: by rows, and of the transpose.
    """

    __slots__ = ("rows", "cols", "shape", "_by_rows", "_turned")

    def __init__(self, rows: Any, cols: Any, shape: tuple[int, int]) -> None:
        self.rows, self.cols, self.shape = rows, cols, shape
        self._by_rows: tuple[Any, Any, Any] | None = None
        self._turned: Places | None = None

    def by_rows(self) -> tuple[Any, Any, Any]:
        """(where each row begins, the columns sorted by row, the order that sorts or None)."""
        if self._by_rows is None:
            rows, cols = self.rows, self.cols
            small = max(*self.shape, rows.size) < 2**31
            order = None
            if rows.size and (rows[1:] < rows[:-1]).any():
                order = np.argsort(rows, kind="stable")
                cols = cols[order]
            index = np.int32 if small else np.int64
            begins = np.zeros(self.shape[0] + 1, index)
            np.cumsum(np.bincount(rows, minlength=self.shape[0]), out=begins[1:])
            self._by_rows = begins, cols.astype(index), order
        return self._by_rows

    def turned(self) -> Places:
        """The places of the transpose."""
        if self._turned is None:
            self._turned = Places(self.cols, self.rows, self.shape[::-1])
            self._turned._turned = self
        return self._turned

    def repeated(self, times: int) -> Places:
        """The places of a block diagonal matrix with so many copies of this one."""
        n, m = self.shape
        at = np.arange(times)[:, None]
        rows, cols = (self.rows + n * at).reshape(-1), (self.cols + m * at).reshape(-1)
        return Places(rows, cols, (n * times, m * times))


def _places_times(values: Any, dense: Any, *, places: Places) -> Any:
    from scipy.sparse import csr_array

    begins, cols, order = places.by_rows()
    wide = values.dtype
    if wide.itemsize == 2 and wide.kind in "fV":  # rounded once
        values, dense = values.astype(np.float32), dense.astype(np.float32)
    if order is not None:
        values = values[order]
    y = csr_array((values, cols, begins), shape=places.shape) @ dense
    return y.astype(wide, copy=False)


def _times_at_places(a: Any, b: Any, *, places: Places) -> Any:
    rows, cols = places.rows, places.cols
    wide = np.dtype(np.float32) if a.dtype.itemsize == 2 and a.dtype.kind in "fV" else a.dtype
    y = np.empty(rows.size, wide)
    step = max(CHUNK // max(a.shape[1], 1), 1)
    for at in range(0, rows.size, step):
        part = slice(at, at + step)
        left, right = a[rows[part]], b[cols[part]]
        np.einsum("ij,ij->i", left.astype(wide, copy=False), right.astype(wide, copy=False), out=y[part])
    return y.astype(a.dtype, copy=False)


def _vjp_values(g: Tensor, dense: Tensor, places: Places) -> Tensor:
    return times_at_places(g, conj(dense), places=places)  # type: ignore[no-any-return]


def _vjp_dense(g: Tensor, values: Tensor, places: Places) -> Tensor:
    return places_times(conj(values), g, places=places.turned())  # type: ignore[no-any-return]


def _vjp_a(g: Tensor, b: Tensor, places: Places) -> Tensor:
    return places_times(g, conj(b), places=places)  # type: ignore[no-any-return]


def _vjp_b(g: Tensor, a: Tensor, places: Places) -> Tensor:
    return places_times(g, conj(a), places=places.turned())  # type: ignore[no-any-return]


def _batch_product(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    places = params["places"]
    n, m = places.shape
    values, dense = args
    if not batched[0]:  # one product with more columns
        k = dense._a.shape[2]
        side = reshape(permute_op(dense, dims=(1, 0, 2)), (m, size * k))
        y = bind(places_times, (values, side), params)
        return permute_op(reshape(y, (n, size, k)), dims=(1, 0, 2)), True
    values, dense = fam.batch_to_front(args, batched, size)
    k = dense._a.shape[2]
    flat = (reshape(values, (size * places.rows.size,)), reshape(dense, (size * m, k)))
    return reshape(bind(places_times, flat, {"places": places.repeated(size)}), (size, n, k)), True


def _batch_at_places(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    places = params["places"]
    a, b = fam.batch_to_front(args, batched, size)
    (n, m), k = places.shape, a._a.shape[2]
    flat = (reshape(a, (size * n, k)), reshape(b, (size * m, k)))
    y = bind(times_at_places, flat, {"places": places.repeated(size)})
    return reshape(y, (size, places.rows.size)), True


places_times = multilinear_op(
    "places_times", _places_times, (_vjp_values, _vjp_dense), _batch_product, grad_name="MmBackward0"
)
times_at_places = multilinear_op("times_at_places", _times_at_places, (_vjp_a, _vjp_b), _batch_at_places)
