"""A sparse linear map along one dim (resizing), and patches of the last two dims with their adjoint (unfold, fold)."""

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
    weights = taps.weights.astype(np.float64 if wide.dtype.itemsize == 8 and wide.dtype.kind == "f" else np.float32)
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


def _patches(x: Any, *, kernel: Any, stride: Any, dilation: Any, out: Any) -> Any:
    """(..., H, W) as (..., kh, kw, oh, ow)."""
    a, b = x.strides[-2:]
    strides = (*x.strides[:-2], a * dilation[0], b * dilation[1], a * stride[0], b * stride[1])
    view = np.lib.stride_tricks.as_strided(x, (*x.shape[:-2], *kernel, *out), strides, writeable=False)
    return view.copy()


def _add_patches(v: Any, *, size: Any, stride: Any, dilation: Any) -> Any:
    """The adjoint: (..., kh, kw, oh, ow) added up to where the patches came from in (..., *size)."""
    kh, kw, oh, ow = v.shape[-4:]
    full = np.zeros((*v.shape[:-4], *size), np.float32 if fam.is_half(v) else v.dtype)
    for i in range(kh):
        rows = slice(i * dilation[0], i * dilation[0] + (oh - 1) * stride[0] + 1, stride[0])
        for j in range(kw):
            columns = slice(j * dilation[1], j * dilation[1] + (ow - 1) * stride[1] + 1, stride[1])
            full[..., rows, columns] += v[..., i, j, :, :]
    return full.astype(v.dtype, copy=False)


def _patches_vjp(g: Tensor, x_meta: Any, stride: Any, dilation: Any) -> Tensor:
    return add_patches_op(g, size=tuple(x_meta.shape[-2:]), stride=stride, dilation=dilation)  # type: ignore[no-any-return]


def _add_patches_vjp(g: Tensor, v_meta: Any, stride: Any, dilation: Any) -> Tensor:
    kernel, out = tuple(v_meta.shape[-4:-2]), tuple(v_meta.shape[-2:])
    return patches_op(g, kernel=kernel, stride=stride, dilation=dilation, out=out)  # type: ignore[no-any-return]


patches_op = fam.linear_op(_patches, _patches_vjp, name="im2col", grad_name="Im2ColBackward0")
add_patches_op = fam.linear_op(_add_patches, _add_patches_vjp, name="col2im", grad_name="Col2ImBackward0")
