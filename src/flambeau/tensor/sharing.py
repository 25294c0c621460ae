"""``share_memory_`` and ``is_shared``: tensors whose memory other processes see."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.interpreters import Value
from ..core.public import METHODS
from ..core.tensor import Tensor, storage
from ..runtime import memory
from .storage import UntypedStorage

__all__: list[str] = []


def _shared(array: Any) -> Any:
    from ..runtime.shared import shared_under  # its modules load when a program shares memory

    return shared_under(array)


def is_shared(self: Tensor) -> bool:
    """Whether the memory is shared between processes: after `share_memory_`, or sent from another process."""
    return "flambeau.runtime.shared" in sys.modules and _shared(raw(self)) is not None


def _handles(t: Tensor, root: Any) -> list[Tensor]:
    """All tensors over one memory: `t` and its views, and those that only a search finds (``data``, copies)."""
    base = t._base if t._base is not None else t
    found = {id(x): x for x in (t, base)}
    for reference in storage(t).views or ():
        view = reference()
        if view is not None:
            found[id(view)] = view
    over = [x for x in found.values() if type(x._a) is np.ndarray and memory.root(x._a) is root]
    arrays = {id(x._a) for x in over if x._a is not root}
    held = sum(x._a is root for x in over) + len(arrays)
    # Beside these: this function's parameter and getrefcount's, and two variables of the caller.
    if sys.getrefcount(root) > held + 4:
        for x in gc.get_objects():
            if issubclass(type(x), Tensor) and id(x) not in found:
                a = getattr(x, "_a", None)
                if type(a) is np.ndarray and memory.root(a) is root:
                    over.append(x)
    return over


def share_memory_(self: Tensor) -> Tensor:
    """Move the memory to where other processes can map it; the tensor and all others over it stay what they are.

    Processes forked afterwards write to the same memory, and so do those that receive the tensor through
    `flambeau.multiprocessing`.  NumPy arrays made before (``t.numpy()``) keep the old memory.

    Raises: OSError when the system has no more memory or file descriptors; NotImplementedError inside a transform.

    >>> import flambeau as torch
    >>> torch.zeros(3).share_memory_().is_shared()
    True
    """
    if isinstance(self._a, Value):
        raise NotImplementedError(
            f"Cannot access storage of a tensor inside {self._a.interp}: it has none of its own"
        )
    array = raw(self)
    if _shared(array) is not None or not array.size:
        return self
    from ..runtime.shared import allocate

    root = memory.root(array)
    low, high = np.lib.array_utils.byte_bounds(root)
    shared = allocate(high - low)
    moved = []
    for t in _handles(self, root):
        a = t._a
        offset = a.__array_interface__["data"][0] - low if a.size else 0
        moved.append((t, np.ndarray(a.shape, a.dtype, shared, offset, a.strides)))
    if root.flags.c_contiguous or root.flags.f_contiguous:
        shared[...] = root.ravel(order="K").view(np.uint8)
    else:  # memory with holes: only what is seen
        offset = root.__array_interface__["data"][0] - low
        np.ndarray(root.shape, root.dtype, shared, offset, root.strides)[...] = root
    mapped = _shared(shared)
    mapped.storage = storage(self)
    for t, a in moved:
        t._a = a
    return self


def _storage_is_shared(self: UntypedStorage) -> bool:
    """Whether the memory is shared between processes."""
    return self._tensor_of is not None and is_shared(self._tensor_of)


def _storage_share_memory(self: UntypedStorage) -> UntypedStorage:
    """`Tensor.share_memory_` of the tensors over this storage."""
    if self._tensor_of is not None:
        share_memory_(self._tensor_of)
        self._bytes = UntypedStorage.of(self._tensor_of)._bytes
    return self


for _fn in (is_shared, share_memory_):
    METHODS[_fn.__name__] = _fn
    setattr(Tensor, _fn.__name__, _fn)
setattr(UntypedStorage, "is_shared", _storage_is_shared)
setattr(UntypedStorage, "share_memory_", _storage_share_memory)
