"""Searching: places in sorted sequences, membership, positions from flat indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.pending import known
from ..core.promotion import convert, result_type
from ..core.public import public
from ..core.tensor import Tensor
from ..prims import base
from ..prims.search import isin_op, nonzero_static_op, searchsorted_op
from ..runtime import dtypes
from .args import dtype_of, int_tuple, is_number
from .gather import gather


def _as_operand(x: Any, like: Tensor, name: str) -> Tensor:
    if isinstance(x, Tensor):
        return x
    if not is_number(x):
        raise TypeError(f"{name}(): argument 'input' must be Tensor or Number, not {type(x).__name__}")
    d = result_type(like, x)
    return base.full((), x, d.numpy)


def _search(name: str, sequence: Tensor, x: Any, side: str, out_int32: bool) -> Tensor:
    scalar = not isinstance(x, Tensor)
    x = _as_operand(x, sequence, name)
    for t in (sequence, x):
        if t._a.dtype.kind == "c":
            raise NotImplementedError(
                f'"{name}" not implemented for complex dtypes: they have no order ({dtype_of(t)})'
            )
    if sequence._a.dtype != x._a.dtype:
        d = dtype_of(x) if scalar else dtypes.promote_types(dtype_of(sequence), dtype_of(x))
        sequence, x = convert(sequence, d), convert(x, d)
    found = searchsorted_op(sequence, x, side=side)
    return convert(found, dtypes.int32) if out_int32 else found


@public(method=False, out=True)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value would go in the sorted last dim of `sorted_sequence`; `right` puts it behind equal elements.

    The sequence is a vector, or has the leading dims of `input`; `sorter` is an argsort of an unsorted sequence.

    Raises: RuntimeError for dtypes or shapes that do not match, or a side other than "left" and "right".

    >>> import flambeau as torch
    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 6]))
    tensor([1, 3])
    """
    if side is not None and side not in ("left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    s = tuple(sorted_sequence._a.shape)
    if isinstance(input, Tensor):
        lead = tuple(input._a.shape[:-1])
        if not s or len(s) > 1 and (len(s) != len(input._a.shape) or s[:-1] != lead):
            raise RuntimeError(
                "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
                f"and input value tensor must match, but we got boundaries tensor {list(s)} and input value tensor "
                f"{list(input._a.shape)}"
            )
    elif len(s) != 1:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got "
            f"boundaries tensor dim({len(s)})"
        )
    if sorter is not None:
        if tuple(sorter._a.shape) != s:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(s)} and got sorter tensor {list(sorter._a.shape)}"
            )
        if sorter._a.dtype != np.int64:
            raise RuntimeError(
                f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {dtype_of(sorter)}"
            )
        a = known(sorter)
        if a is not None and a.size and not 0 <= a.min() <= a.max() < s[-1]:
            raise RuntimeError("torch.searchsorted(): sorter index out of range")
        sorted_sequence = gather(sorted_sequence, -1, sorter)
    return _search(
        "searchsorted", sorted_sequence, input, "right" if right or side == "right" else "left", out_int32
    )


@public(method=False, out=True)
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the bucket between sorted `boundaries` in which each value lies.

    Raises: RuntimeError when the boundaries are not a vector.
    """
    if len(boundaries._a.shape) != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({len(boundaries._a.shape)})")
    return _search("searchsorted", boundaries, input, "right" if right else "left", out_int32)


@public(method=False, out=True)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among `test_elements`; one of both may be a number.

    Raises: RuntimeError for complex or bool tensors.
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): one of elements and test_elements must be a Tensor")
    d = result_type(elements, test_elements)
    for x in (elements, test_elements):
        if isinstance(x, Tensor) and x._a.dtype.kind in "cb":
            raise RuntimeError(f"Unsupported input type encountered for isin(): {dtype_of(x)}")
    a, b = [
        convert(x, d) if isinstance(x, Tensor) else base.full((), x, d.numpy)
        for x in (elements, test_elements)
    ]
    return isin_op(a, b, invert=bool(invert), ndim=len(a._a.shape))  # type: ignore[no-any-return]


@public(out=True)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """`nonzero` with a fixed number of rows: the first `size` positions, filled up with `fill_value`.

    Raises: RuntimeError for a negative size.
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    return nonzero_static_op(input, size=int(size), fill_value=int(fill_value), ndim=len(input._a.shape))  # type: ignore[no-any-return]


@public(method=False)
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Coordinates, one tensor for each dim of `shape`, of positions in a flattened tensor.

    Raises: ValueError for negative sizes or indices out of range, TypeError for other dtypes than integers.

    >>> import flambeau as torch
    >>> torch.unravel_index(torch.tensor(5), (2, 3))
    (tensor(1), tensor(2))
    """
    if not isinstance(indices, Tensor):
        raise TypeError(f"unravel_index(): argument 'indices' must be Tensor, not {type(indices).__name__}")
    if indices._a.dtype.kind not in "ui":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {dtype_of(indices)}")
    sizes = int_tuple(shape, "unravel_index")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    x = convert(indices, dtypes.int64)
    found: list[Tensor] = []
    step = math.prod(sizes)
    for n in sizes:
        step //= max(n, 1)
        found.append((x // max(step, 1)) % max(n, 1))
    return tuple(found)
