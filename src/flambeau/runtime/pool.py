"""Recycled memory for large results.

The cost of a large result is not the arithmetic but the page faults of fresh memory: the operating system
hands out zeroed pages one fault at a time, and takes them back as soon as a large array dies.  `empty` keeps
such memory and hands it out again.

How memory is known to be free.  Each result is a plain `numpy.ndarray` over an anonymous memory map.  NumPy
makes every view, reshape, `memoryview` or DLPack capsule of that array keep the array itself alive (it stops
shortening the `base` chain at an array whose base is not an array), so a weak reference to it dies exactly
when the last user does, and its callback returns the block.  One way round remains, holding on to
`array.base`, the map itself: a block whose map has more references than the pool's own is never handed out
again.

Two alternatives were measured (Python 3.11).  Testing the reference counts of a list of blocks at allocation
time is linear in the number of live blocks, 16 ns each, and cannot say when memory becomes free.  A `__del__`
on a subclass of ndarray is no cheaper (0.9 us for the wrapping, the views and the call alone) and lengthens
every chain of bases.  As it is, a call that reuses a block costs 1.4 us, the death of the result included,
against 22 us for filling 1 MiB of recycled memory and 420 us for filling 1 MiB of fresh memory.

Threads.  The callback may run at any moment, even inside the functions below, so it only appends to a queue
and then drains it if it can take the lock without waiting; all other state changes under the lock.
"""

from __future__ import annotations

import math
import mmap
import os
import re
import sys
import threading
import warnings
from collections import deque
from sys import getrefcount
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy import ndarray

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

__all__ = [
    "THRESHOLD",
    "empty",
    "empty_cache",
    "get_limit",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_limit",
    "trim",
]

THRESHOLD = 1 << 20  # smaller results are served faster by NumPy's own allocator
HUGE_PAGES_FROM = 4 << 20
DEFAULT_FRACTION = 0.25  # of the memory this process may use: what the pool keeps idle at most
_MAX_BYTES = (1 << 63) - 1


class _Block:
    """One memory map and what is known about its present use."""

    __slots__ = ("asked", "lease", "map", "own_references", "pin", "size", "stamp")

    def __init__(self, size: int) -> None:
        if sys.platform == "win32":
            self.map = mmap.mmap(-1, size)
        else:  # private: a forked child must get its own copy
            self.map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if size >= HUGE_PAGES_FROM and hasattr(mmap, "MADV_HUGEPAGE"):
                try:
                    self.map.madvise(mmap.MADV_HUGEPAGE)
                except OSError:  # a kernel built without huge pages
                    pass
        self.pin = memoryview(self.map)  # makes map.close() refuse while arrays may look at the memory
        self.size = size
        self.asked = 0  # bytes the present user asked for
        self.stamp = 0  # when the block became idle
        self.lease: Any = None  # weak reference to the array in use
        self.own_references = getrefcount(self.map)


class _Pool:
    """Idle blocks in last-in-first-out lists by size (the newest may still be cached), live ones by lease."""

    __slots__ = (
        *(
            "limit",
            "lock",
            "dead",
            "live",
            "idle",
            "clock",
            "allocated",
            "active",
            "reserved",
            "peak_allocated",
        ),
        *("peak_active", "peak_reserved", "hits", "misses", "trims", "retries", "failures", "escaped"),
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget everything.  Arrays in use stay valid: each keeps its own map alive.

        This is also what a forked child does: its copy of the state may have been taken in mid-change, with
        the lock held by a thread that does not exist there.
        """
        self.lock = threading.Lock()
        self.dead: deque[Any] = deque()  # leases whose arrays died
        self.live: dict[int, _Block] = {}
        self.idle: dict[int, list[_Block]] = {}
        self.clock = 0
        self.allocated = self.peak_allocated = 0  # bytes asked for and in use
        self.active = self.peak_active = 0  # bytes of the blocks behind them
        self.reserved = self.peak_reserved = 0  # those and the idle blocks
        self.hits = self.misses = self.trims = self.retries = self.failures = self.escaped = 0

    def take(self, shape: tuple[int, ...], dtype: Any, nbytes: int) -> npt.NDArray[Any]:
        """An array over an idle or a new block."""
        # Eight sizes to each power of two: a block fits results up to one eighth smaller than it.
        shift = nbytes.bit_length() - 4
        size = ((nbytes - 1 >> shift) + 1) << shift
        with self.lock:
            if self.dead:
                self.drain()
            bucket = self.idle.get(size)
            while bucket:
                block = bucket.pop()
                if getrefcount(block.map) == block.own_references:
                    self.hits += 1
                    break
                self.escaped += 1  # somebody holds the map itself: leave it to them
                self.reserved -= size
            else:
                block = self.map_block(size)
                self.misses += 1
                self.reserved += size
                self.peak_reserved = max(self.reserved, self.peak_reserved)
            self.active += size
            try:
                array: npt.NDArray[Any] = ndarray(shape, dtype, block.map)
            except BaseException:  # a negative dimension, or a type that cannot live in a buffer
                self.keep(block)
                raise
            lease = block.lease = ref(array, self.on_death)
            block.asked = nbytes
            self.live[id(lease)] = block
            self.allocated += nbytes
            if self.allocated > self.peak_allocated:
                self.peak_allocated = self.allocated
            if self.active > self.peak_active:
                self.peak_active = self.active
        return array

    def map_block(self, size: int) -> _Block:
        """A new block; idle memory is given back first if the system has no more.

        Raises: MemoryError.
        """
        try:
            return _Block(size)
        except (OSError, OverflowError, ValueError, MemoryError):
            self.retries += 1
            self.shrink(0)
        try:
            return _Block(size)
        except (OSError, OverflowError, ValueError, MemoryError):
            self.failures += 1
            raise MemoryError from None

    def on_death(self, lease: Any) -> None:
        """Weak-reference callback: the last user of a block is gone."""
        self.dead.append(lease)
        lock = self.lock
        if lock.acquire(False):  # never wait here: the lock's holder may be the frame below this one
            try:
                self.drain()
            finally:
                lock.release()

    def drain(self) -> None:
        """Move blocks whose arrays died to the idle lists.  The lock is held."""
        dead = self.dead
        while dead:
            block = self.live.pop(id(dead.popleft()), None)
            if block is not None:
                block.lease = None
                self.allocated -= block.asked
                self.keep(block)

    def keep(self, block: _Block) -> None:
        """Make an active block idle, and hold the limit.  The lock is held."""
        size = block.size
        bucket = self.idle.get(size)
        if bucket is None:
            bucket = self.idle[size] = []
        self.clock = block.stamp = self.clock + 1
        bucket.append(block)
        self.active -= size
        if self.reserved - self.active > self.limit:
            self.shrink(self.limit)

    def shrink(self, target: int) -> None:
        """Give the longest-idle blocks back to the system until at most `target` idle bytes are left."""
        before = self.reserved
        while self.reserved - self.active > target:
            oldest = min((b for b in self.idle.values() if b), key=lambda b: b[0].stamp, default=None)
            if oldest is None:
                break
            self.reserved -= oldest.pop(0).size
        if self.reserved < before:
            self.trims += 1
            self.idle = {size: bucket for size, bucket in self.idle.items() if bucket}


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _usable_memory() -> int:
    """Bytes of memory this process may use: the machine's, or its control group's if that is less."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        total = 8 << 30
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(name) as file:
                total = min(total, int(file.read()))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return total


def _parse_limit(text: str) -> int:
    """Bytes from ``"512M"``, ``"2GiB"``, ``"1000000"`` or ``"25%"`` (of the usable memory)."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)(?:(%)|([kmgt]?)(?:i?b)?)", text.strip().lower())
    if match is None:
        raise ValueError(f"a size such as 512M, 2G or 25% was expected, got {text!r}")
    number = float(match[1])
    return int(number / 100 * _usable_memory()) if match[2] else int(number * _UNITS[match[3]])


def _initial_limit() -> int:
    text = os.environ.get("FLAMBEAU_POOL_LIMIT")
    if text is not None:
        try:
            return _parse_limit(text)
        except ValueError as e:
            warnings.warn(f"FLAMBEAU_POOL_LIMIT is ignored: {e}", stacklevel=2)
    return int(DEFAULT_FRACTION * _usable_memory())


_pool = _Pool(_initial_limit())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.reset)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array; from 1 MiB on its memory is recycled and 64-byte aligned.

    The array is a plain `numpy.ndarray`.  Its memory returns to the pool when the array and everything that
    refers to its memory (views, `memoryview`, DLPack capsules) are gone.

    Raises: RuntimeError when the size does not fit in 63 bits or the system has not enough memory; ValueError
    for a negative dimension; TypeError for object dtypes.  Nothing is changed then.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise TypeError(f"uninitialised memory cannot hold Python objects (dtype {dtype})")
    try:
        if nbytes < THRESHOLD:
            return np.empty(shape, dtype)
        if nbytes <= _MAX_BYTES:
            return _pool.take(shape, dtype, nbytes)
    except MemoryError:
        raise RuntimeError(
            f"[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate {nbytes} bytes "
            f"(shape {list(shape)}, {dtype}). Use smaller sizes or a narrower dtype, or free other tensors"
        ) from None
    raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")


def memory_stats() -> dict[str, int]:
    """What the pool holds, in bytes, and how well it does.

    `allocated_bytes` were asked for and are in use, `active_bytes` are the blocks behind them,
    `reserved_bytes` add the idle blocks; each with ``.all.current`` and ``.all.peak``, named as PyTorch names
    them for devices. Results below 1 MiB are not counted.

    >>> import flambeau as torch
    >>> sorted(k for k in torch.cpu.memory_stats() if k.endswith("peak"))
    ['active_bytes.all.peak', 'allocated_bytes.all.peak', 'reserved_bytes.all.peak']
    """
    with _pool.lock:
        _pool.drain()
        return {
            "allocated_bytes.all.current": _pool.allocated,
            "allocated_bytes.all.peak": _pool.peak_allocated,
            "active_bytes.all.current": _pool.active,
            "active_bytes.all.peak": _pool.peak_active,
            "reserved_bytes.all.current": _pool.reserved,
            "reserved_bytes.all.peak": _pool.peak_reserved,
            "idle_bytes": _pool.reserved - _pool.active,
            "idle_limit": _pool.limit,
            "hits": _pool.hits,
            "misses": _pool.misses,
            "trims": _pool.trims,
            "escaped": _pool.escaped,
            "num_alloc_retries": _pool.retries,
            "num_ooms": _pool.failures,
        }


def reset_peak_memory_stats() -> None:
    """Start measuring the peaks of `memory_stats` anew, from the present values."""
    with _pool.lock:
        _pool.drain()
        _pool.peak_allocated = _pool.allocated
        _pool.peak_active = _pool.active
        _pool.peak_reserved = _pool.reserved


def trim(idle_bytes: int) -> None:
    """Give idle memory back to the system until at most `idle_bytes` are kept, longest idle first."""
    with _pool.lock:
        _pool.drain()
        _pool.shrink(max(0, idle_bytes))


def empty_cache() -> None:
    """Give all idle memory back to the system.  Arrays in use are not touched."""
    trim(0)


def get_limit() -> int:
    """The most bytes that the pool keeps idle."""
    return _pool.limit


def set_limit(limit: int | str) -> None:
    """Set the most bytes that the pool keeps idle: a number, or ``"512M"``, ``"2G"``, ``"25%"`` (of the
    memory).

    The environment variable ``FLAMBEAU_POOL_LIMIT`` sets it at start; 0 keeps nothing.

    Raises: ValueError for a negative number or a text that is not a size.
    """
    value = _parse_limit(limit) if isinstance(limit, str) else int(limit)
    if value < 0:
        raise ValueError(f"the pool's limit cannot be negative, got {value}")
    with _pool.lock:
        _pool.limit = value
        _pool.drain()
        _pool.shrink(value)
