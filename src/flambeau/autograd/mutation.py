"""Writes to tensors that autograd has saved: what was saved is copied just before it changes."""

from __future__ import annotations

import weakref
from typing import Any

from ..core.eager import raw
from ..core.state import tls
from ..core.tensor import Storage, Tensor, storage, wrap
from .graph import saved_tensors_hooks

__all__ = ["allow_mutation_on_saved_tensors"]


class Saved:
    """A tensor that a graph keeps: the memory itself, and a copy from the moment that it is about to change."""

    __slots__ = ("value", "storage", "version", "block", "__weakref__")

    def __init__(self, value: Tensor, st: Storage, block: Mutations) -> None:
        self.value = value
        self.storage = st
        self.version = st.version
        self.block = block


class Mutations:
    """What a block of `allow_mutation_on_saved_tensors` knows: the tensors saved in it, and which of them are copies."""

    def __init__(self) -> None:
        self.cloned: weakref.WeakKeyDictionary[Saved, Tensor] = weakref.WeakKeyDictionary()
        self.tid_to_weakhandle: weakref.WeakValueDictionary[Any, Saved] = weakref.WeakValueDictionary()
        self._by_memory: dict[
            int, weakref.WeakSet[Saved]
        ] = {}  # by the id of the storage, which `Saved` keeps

    def clear(self) -> None:
        """Forget all."""
        self.cloned.clear()
        self.tid_to_weakhandle.clear()
        self._by_memory.clear()

    def pack(self, t: Tensor) -> Saved:
        st, a = storage(t), raw(t)
        same = (id(st), a.ctypes.data, a.shape, a.strides, a.dtype)
        kept = self.tid_to_weakhandle.get(same)
        if kept is None or kept.version != st.version or kept.storage is not st:
            kept = self.tid_to_weakhandle[same] = Saved(t, st, self)
            self._by_memory.setdefault(id(st), weakref.WeakSet()).add(kept)
        return kept

    def unpack(self, kept: Saved) -> Tensor:
        if tls.before_write is not self:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context "
                "in which the graph was originally recorded."
            )
        return kept.value

    def __call__(self, st: Storage) -> None:
        """The memory of `st` is about to change."""
        for kept in list(self._by_memory.pop(id(st), ())):
            if kept.storage is st and kept not in self.cloned:
                kept.value = self.cloned[kept] = wrap(raw(kept.value).copy())


class allow_mutation_on_saved_tensors:
    """Within the block, tensors that autograd has saved may be written to: backward uses the values from before.

    A tensor is copied just before the first in-place operation on it (or on a view of its memory) after it was saved,
    and only if a graph still needs it.  Backward has to run inside the block.

    Raises: RuntimeError when blocks are nested; in backward AssertionError outside of the block.

    >>> import flambeau as torch
    >>> x = torch.tensor([2.0, 3.0], requires_grad=True)
    >>> with torch.autograd.graph.allow_mutation_on_saved_tensors():
    ...     y = x.clone()
    ...     out = (y**2).sum()
    ...     _ = y.sin_()
    ...     out.backward()
    >>> x.grad
    tensor([4., 6.])
    """

    def __enter__(self) -> Mutations:
        if tls.before_write is not None:
            raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
        block = Mutations()
        self.hooks = saved_tensors_hooks(block.pack, block.unpack)
        self.block = block
        try:
            self.hooks.__enter__()
            tls.before_write = block
        except BaseException:
            tls.before_write = None
            raise
        return block

    def __exit__(self, *error: Any) -> None:
        try:
            self.hooks.__exit__(*error)
        finally:
            tls.before_write = None
            self.block.clear()
