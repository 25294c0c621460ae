"""Making tensors on the ``meta`` device, and moving to it: shapes without data (`core.meta`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.meta import is_meta, payload
from ..core.op import REGISTRY
from ..core.pending import Pending
from ..core.state import tls
from ..core.tape import AccumulateGrad, record
from ..core.tensor import Tensor, storage, wrap
from ..runtime import types
from ..runtime.types import check_device, device

__all__ = ["CPU", "META", "destination", "made", "move", "wants_meta"]

META = device("meta")
CPU = types.CPU


def wants_meta(where: Any) -> bool:
    """Whether a factory's `device` is the meta device.

    Raises: AssertionError, RuntimeError for devices that are not here.
    """
    if (where if isinstance(where, device) else device(where)).type == "meta":
        return True
    check_device(where)
    return False


def destination(where: Any, like: Tensor) -> bool:
    """Whether what is made like a tensor goes to the meta device: because `where` says so, or else since `like` is there."""
    return is_meta(like) if where is None else wants_meta(where)


def made(shape: Any, dtype: Any, requires_grad: bool = False, strides: Any = None) -> Tensor:
    """A meta tensor of this shape, NumPy dtype and strides (in bytes; contiguous where none are given)."""
    t = wrap(payload(shape, dtype, strides))
    if tls.stack:  # a constant of the transform
        return tls.stack[-1].lift(t)  # type: ignore[no-any-return]
    if tls.inference:
        storage(t).inference = True
    if requires_grad:
        if dtype.kind not in "fcV":
            raise RuntimeError(
                f"only Tensors of floating point and complex dtype can require gradients, not {dtype}"
            )
        t._node = AccumulateGrad(t)
    return t


def move(t: Tensor) -> Tensor:
    """A tensor's shape, dtype and strides on the meta device; itself if it is there."""
    if is_meta(t):
        return t
    a = t._a
    while type(a) is not np.ndarray and type(a) is not Pending:
        a = a.inner._a
    strides = tuple(a.strides) if tuple(a.shape) == tuple(t._a.shape) and _dense(a) else None
    if tls.grad and t._node is not None and not tls.stack:
        out = wrap(payload(t._a.shape, t._a.dtype, strides))
        record(REGISTRY["clone"], (t,), {}, out)
        return out
    return made(t._a.shape, t._a.dtype, strides=strides)


def _dense(a: Any) -> bool:
    """Whether the elements fill one piece of memory, each once."""
    expected = a.dtype.itemsize
    for step, n in sorted(zip(a.strides, a.shape)):
        if n != 1:
            if step != expected:
                return False
            expected *= n
    return True
