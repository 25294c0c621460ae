"""Tensors on the ``meta`` device: shape, dtype and strides without elements.

The payload of such a tensor is a promise (`Pending`) that nobody will keep.  So everything that asks for a layout gets
it, whatever asks for elements meets `NoData.compute`, which raises, and no path for ordinary arrays has a test more: an
operation learns that an argument is a promise where it has always learnt it.

An operation on such tensors asks `core.meta_shapes` for the layouts of its results, and then is recorded, as views are
noted and gradients written down, like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .pending import NO_DATA, Pending
from .state import everyone, tls
from .tape import record
from .tensor import Tensor, make_view, storage, wrap

if TYPE_CHECKING:
    from .op import Op

__all__ = ["COPY_OUT", "NO_DATA", "Layout", "is_meta", "payload", "run_meta"]

COPY_OUT = "Cannot copy out of meta tensor; no data!"


Layout = tuple[
    tuple[int, ...], Any, tuple[int, ...] | None
]  # shape, NumPy dtype, strides in bytes (None: contiguous)


def contiguous_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The strides of an array without gaps whose last dim is innermost."""
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def payload(shape: Any, dtype: Any, strides: tuple[int, ...] | None = None, offset: int = 0) -> Pending:
    """A promise of an array, to be the payload of a meta tensor; `offset` (in bytes) is where it lies in its storage."""
    shape = tuple(shape)
    p = Pending()
    p.shape, p.dtype = shape, dtype
    p.strides = contiguous_strides(shape, dtype.itemsize) if strides is None else strides
    p.value, p.owner, p.slot = None, NO_DATA, offset
    p.is_view = p.is_viewed = False
    return p


def is_meta(t: Any) -> bool:
    """Whether a tensor is on the meta device, under all transforms."""
    a = t._a
    while type(a) is not np.ndarray:
        if type(a) is Pending:
            return a.owner is NO_DATA
        a = a.inner._a if hasattr(a, "inner") else None
        if a is None:
            return False
    return False


def run_meta(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """`eager` where an argument is a meta tensor."""
    from .meta_shapes import layouts, view_of

    if op.is_view:
        out: Any = wrap(view_of(op, args[0]._a, params))
        make_view(out, args[0], op, params)
    else:
        found = layouts(op, args, params)
        made = [wrap(payload(*layout)) for layout in found]
        out = made[0] if op.n_out == 1 else tuple(made)
    if op.differentiable and tls.grad and any(isinstance(x, Tensor) and x._node is not None for x in args):
        record(op, args, params, out)
    elif tls.inference and not op.is_view:
        for t in (out,) if op.n_out == 1 else out:
            storage(t).inference = True
    if everyone.listener is not None:
        everyone.listener(None, (), {}, None)  # there is nothing that could be run in its place
    return out
