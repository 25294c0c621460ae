"""Memory that several processes map: tensors live in it after ``share_memory_()`` and on their way through queues.

It has no name.  A process that gets its file descriptor can map it, and it goes when the last process that maps it or
holds the descriptor is done, however that process ends: nothing is left behind.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from typing import Any

import numpy as np

from . import memory

__all__ = ["SharedMemory", "allocate", "attach", "shared_under"]


class SharedMemory(mmap.mmap):
    """A mapping together with the descriptor to send, and what the tensors over it share."""

    descriptor: int
    storage: Any = None


_lock = threading.Lock()
_known: dict[tuple[int, int], weakref.ref[Any]] = {}  # the array over a memory, by device and inode


def _anonymous_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("flambeau", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="flambeau-")
        os.unlink(path)
    try:
        os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _map(descriptor: int, size: int) -> Any:
    """The bytes of a file, as an array; the descriptor belongs to it afterwards."""
    try:
        found = os.fstat(descriptor)
        if found.st_size < size:
            raise RuntimeError(
                f"a shared memory of {size} bytes was announced, but the one received has {found.st_size}"
            )
        mapped = SharedMemory(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    mapped.descriptor = descriptor
    weakref.finalize(mapped, os.close, descriptor)
    array = np.frombuffer(mapped, np.uint8)
    key = (found.st_dev, found.st_ino)
    _known[key] = weakref.ref(array, lambda _: _known.pop(key, None))
    return array


def allocate(size: int) -> Any:
    """`size` bytes of new shared memory, zero.

    Raises: OSError when there is no more memory or no more descriptors; ValueError for a size of zero.
    """
    if size < 1:
        raise ValueError("a shared memory has at least one byte")
    with _lock:
        return _map(_anonymous_file(size), size)


def attach(descriptor: int, size: int) -> Any:
    """The bytes behind a descriptor that was received, which is taken over.

    A memory that this process has mapped already is not mapped again: tensors over it share it.

    Raises: RuntimeError when it has fewer bytes than announced.
    """
    with _lock:
        found = os.fstat(descriptor)
        known = _known.get((found.st_dev, found.st_ino))
        array = known() if known is not None else None
        if array is not None and array.nbytes >= size:
            os.close(descriptor)
            return array
        return _map(descriptor, size)


def shared_under(array: Any) -> SharedMemory | None:
    """The shared memory that an array lies in, if it does."""
    base = memory.root(array).base
    found = base.obj if isinstance(base, memoryview) else base
    return found if isinstance(found, SharedMemory) else None
