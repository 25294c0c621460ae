"""Pickling, `copy` and `deepcopy` of tensors.

A tensor is taken apart into the memory under it, the place of its elements there, and what it shares with its views.
Both pickle and deepcopy meet the memory as one object, however many views of it there are: views share memory again
afterwards.  As in PyTorch, the whole memory goes along, be the view ever so small (`clone` it to leave the rest).
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.meta import is_meta, payload
from ..core.pending import NO_DATA, Pending, known
from ..core.tape import AccumulateGrad
from ..core.tensor import Storage, Tensor, new_object
from ..ops.creation import mark_leaf
from ..runtime import memory

__all__: list[str] = []

Place = tuple[Any, tuple[int, ...], tuple[int, ...], int]  # dtype, shape, strides and offset in bytes


def taken_apart(array: Any) -> tuple[Any, Place | None]:
    """(the array to keep, where `array` lies in its memory or None when it is that array itself)."""
    root = memory.root(array)
    if root is array or not array.size:
        return array, None
    if type(root) is not np.ndarray or not (root.flags.c_contiguous or root.flags.f_contiguous):
        return array, None  # a memory map of the user's, or memory with holes: the elements alone
    low = root.__array_interface__["data"][0]
    offset = array.__array_interface__["data"][0] - low
    return root, (array.dtype, array.shape, array.strides, offset)


def put_together(root: Any, place: Place | None) -> Any:
    """The inverse of `taken_apart`.

    Raises: ValueError when the place is not inside of the memory.
    """
    if place is None:
        return root
    dtype, shape, strides, offset = place
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides)) + dtype.itemsize
    if offset < 0 or last > root.nbytes or any(s < 0 for s in strides):
        raise ValueError(
            f"a tensor of shape {shape}, strides {strides} and offset {offset} (in bytes) is not inside of a memory of "
            f"{root.nbytes} bytes"
        )
    return np.ndarray(shape, dtype, root.ravel(order="K").view(np.uint8), offset, strides)


def _rebuild(
    cls: type,
    memory: Any,
    place: Place | None,
    requires_grad: bool,
    shared: Storage | None,
    state: dict[str, Any],
) -> Tensor:
    return build(cls, put_together(memory, place), requires_grad, shared, state)


def build(
    cls: type, array: Any, requires_grad: bool, shared: Storage | None, state: dict[str, Any]
) -> Tensor:
    """A leaf over an array."""
    t: Any = new_object(cls)
    t._a, t._node, t._st, t._base = array, None, shared, None
    t.__dict__.update(state)
    if requires_grad:
        mark_leaf(t)
    return t  # type: ignore[no-any-return]


def _rebuild_meta(
    cls: type, shape: Any, dtype: Any, strides: Any, offset: int, requires_grad: bool, state: dict[str, Any]
) -> Tensor:
    return build(cls, payload(shape, dtype, strides, offset), requires_grad, None, state)


def __reduce_ex__(self: Tensor, protocol: Any) -> Any:
    if is_meta(self):
        a, state = self._a, dict(self.__dict__)
        return _rebuild_meta, (type(self), a.shape, a.dtype, a.strides, a.slot, self.requires_grad, state)
    if known(self) is None:
        raise RuntimeError("tensors inside a transform cannot be pickled")
    kept, place = taken_apart(raw(self))
    return _rebuild, (type(self), kept, place, self.requires_grad, self._st, dict(self.__dict__))


def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]
    if not (self._node is None or type(self._node) is AccumulateGrad):
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage; "
            "otherwise copy x.detach()"
        )
    if type(self._a) is Pending and self._a.owner is NO_DATA:
        t = build(type(self), self._a, self.requires_grad, copy.deepcopy(self._st, memo), {})
        memo[id(self)] = t
        t.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return t
    if known(self) is None:
        raise NotImplementedError("tensors inside a transform cannot be copied with deepcopy; use .clone()")
    array = raw(self)
    kept, place = taken_apart(array)
    if place is None and math.prod(array.shape) and memory.root(array) is not array:
        fresh = array.copy(order="K")
    else:
        fresh = put_together(copy.deepcopy(kept, memo), place)
    t = build(type(self), fresh, self.requires_grad, copy.deepcopy(self._st, memo), {})
    memo[id(self)] = t
    t.__dict__.update(copy.deepcopy(self.__dict__, memo))
    if getattr(self, "_grad", None) is not None:
        t._grad = copy.deepcopy(self._grad, memo)
    return t


setattr(Tensor, "__reduce_ex__", __reduce_ex__)
setattr(Tensor, "__deepcopy__", __deepcopy__)
