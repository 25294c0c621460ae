"""A sparse linear map along one dim: what resizing is."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis
from ..core.tensor import Tensor


class Taps:
    """A sparse matrix: result[rows[i]] += weights[i] * input[cols[i]], sorted by row.

    Compared by identity: whoever makes one keeps it, so that equal resizings share it.
    """

    def __init__(self, rows: Any, cols: Any, weights: Any, n_rows: int, n_cols: int) -> None:
        order = np.argsort(rows, kind="stable")
        self.rows, self.cols, self.weights = rows[order], cols[order], weights[order]
        self.n_rows, self.n_cols = n_rows, n_cols
        starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        counts = np.diff(np.append(starts, len(self.rows)))
        self.starts = starts
        # every row with equally many entries: a few passes over the whole input instead of a segmented sum
        self.regular = int(counts[0]) if len(starts) == n_rows > 0 and (counts == counts[0]).all() else 0

    @cached_property
    def transposed(self) -> Taps:
        """The adjoint map."""
        t = Taps(self.cols, self.rows, self.weights, self.n_cols, self.n_rows)
        t.__dict__["transposed"] = self
        return t

    def __repr__(self) -> str:
        return f"<map from {self.n_cols} to {self.n_rows} with {len(self.rows)} entries>"


def _resample(x: Any, *, dim: Axis, taps: Taps) -> Any:
    dtype = x.dtype
    wide = x.astype(np.float32) if fam.is_half(x) else x
    after = (1,) * (x.ndim - 1 - dim)
    weights = taps.weights.astype(
        np.float64 if wide.dtype.itemsize == 8 and wide.dtype.kind == "f" else np.float32
    )
    shape = (*x.shape[:dim], taps.n_rows, *x.shape[dim + 1 :])
    if taps.regular:
        k = taps.regular
        y = np.zeros(shape, wide.dtype)
        for i in range(k):
            part = wide.take(taps.cols[i::k], axis=dim)
            part *= weights[i::k].reshape(-1, *after)
            y += part
    else:
        y = np.zeros(shape, wide.dtype)
        if len(taps.rows):
            terms = wide.take(taps.cols, axis=dim)
            terms *= weights.reshape(-1, *after)
            where = (slice(None),) * dim + (taps.rows[taps.starts],)
            y[where] = np.add.reduceat(terms, taps.starts, axis=dim)
    return y.astype(dtype, copy=False)


def _resample_vjp(g: Tensor, dim: int, taps: Taps) -> Tensor:
    return resample_op(g, dim=dim, taps=taps.transposed)  # type: ignore[no-any-return]


resample_op = fam.linear_op(_resample, _resample_vjp, name="resample", grad_name="UpsampleBackward0")
