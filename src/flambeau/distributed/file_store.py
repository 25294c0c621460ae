"""`FileStore`: processes that share a file system share keys through a file.

The file is a list of changes, each appended under an exclusive lock; every process reads what is new and repeats it on
a table of its own.  Nothing is ever rewritten, so a reader sees a prefix of the changes.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from .stores import Store
from .tables import Table, late

__all__ = ["FileStore"]

T = TypeVar("T")
_HEAD = struct.Struct("<BII")  # which change, and the lengths of the key and of the value
_SET, _DELETE, _PUSH, _POP, _LEFT, _CAME = range(6)


class _Changes:
    """A file of changes, and the table that they come to."""

    def __init__(self, path: str) -> None:
        self.path, self.read, self.left, self.came = path, 0, 0, 0
        self.table, self.lock = Table(), threading.RLock()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))

    def _repeat(self, data: bytes) -> None:
        at, table = 0, self.table
        while at < len(data):
            kind, keys, values = _HEAD.unpack_from(data, at)
            start = at + _HEAD.size
            key, value = data[start : start + keys].decode(), data[start + keys : start + keys + values]
            at = start + keys + values
            if kind == _SET:
                table.set([key], [value])
            elif kind == _DELETE:
                table.delete(key)
            elif kind == _PUSH:
                table.push(key, value)
            elif kind == _POP:
                table.pop(key, None)
            elif kind == _LEFT:
                self.left += 1
            else:
                self.came += 1

    @contextmanager
    def opened(self, exclusive: bool) -> Iterator[Callable[[int, str, bytes], None]]:
        """The table as it is now, under a lock; gives what appends a change."""
        with self.lock:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
                size = os.fstat(handle).st_size
                if size > self.read:
                    os.lseek(handle, self.read, os.SEEK_SET)
                    self._repeat(_read(handle, size - self.read))
                    self.read = size
                os.lseek(handle, 0, os.SEEK_END)

                def change(kind: int, key: str, value: bytes) -> None:
                    name = key.encode()
                    record = _HEAD.pack(kind, len(name), len(value)) + name + value
                    _write(handle, record)
                    self.read += len(record)
                    self._repeat(record)

                yield change
            finally:
                os.close(handle)  # gives the lock back

    def until(self, ready: Callable[[Any], T], names: Sequence[str], seconds: float) -> T:
        """What `ready` gives, called with what appends a change, once that is true."""
        end, pause = time.monotonic() + seconds, 0.001
        while True:
            with self.opened(True) as change:
                found = ready(change)
            if found:
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise late(names, seconds)
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.02)

    # ------------------------------------------------------------------------------------ what stores ask

    def set(self, names: Sequence[str], values: Sequence[bytes]) -> None:
        with self.opened(True) as change:
            for name, value in zip(names, values, strict=True):
                change(_SET, name, value)

    def get(self, names: Sequence[str], seconds: float) -> list[bytes]:
        values = self.table.values
        return self.until(
            lambda _: all(n in values for n in names) and [values[n] for n in names], names, seconds
        ) or [values[n] for n in names]

    def add(self, name: str, amount: int) -> int:
        with self.opened(True) as change:
            total = self.table.add(name, amount)
            change(_SET, name, str(total).encode())
        return total

    def append(self, name: str, value: bytes) -> None:
        with self.opened(True) as change:
            change(_SET, name, self.table.values.get(name, b"") + value)

    def compare_set(self, name: str, old: bytes, new: bytes) -> bytes:
        with self.opened(True) as change:
            present = self.table.compare_set(name, old, new)
            if self.table.values.get(name) == new:
                change(_SET, name, new)
        return present

    def delete(self, name: str) -> bool:
        with self.opened(True) as change:
            present = name in self.table.values
            change(_DELETE, name, b"")
        return present

    def check(self, names: Sequence[str]) -> bool:
        with self.opened(False):
            return self.table.check(names)

    def wait(self, names: Sequence[str], seconds: float) -> None:
        self.until(lambda _: self.table.check(names), names, seconds)

    def reach(self, name: str, count: int, seconds: float) -> None:
        self.until(lambda _: int(self.table.values.get(name, b"0")) >= count, [name], seconds)

    def count(self) -> int:
        with self.opened(False):
            return self.table.count()

    def names(self) -> list[str]:
        with self.opened(False):
            return self.table.names()

    def push(self, name: str, value: bytes) -> None:
        with self.opened(True) as change:
            change(_PUSH, name, value)

    def pop(self, name: str, seconds: float | None) -> bytes:
        if seconds is None:
            with self.opened(True) as change:
                if not self.table.length(name):
                    self.table.pop(name, None)  # raises
                return self._take(change, name)[0]
        return self.until(
            lambda change: self._take(change, name) if self.table.length(name) else [], [name], seconds
        )[0]

    def _take(self, change: Any, name: str) -> list[bytes]:
        first = self.table.queues[name][0]
        change(_POP, name, b"")
        return [first]

    def length(self, name: str) -> int:
        with self.opened(False):
            return self.table.length(name)


def _read(handle: int, size: int) -> bytes:
    parts = []
    while size and (part := os.read(handle, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


class FileStore(Store):
    """Keys that all processes share which name the same file; it is made when it is not there.

    The file goes when `world_size` of them have let go of it; without `world_size` it stays.  Use a new file for each
    run: what a run left behind that was killed would be taken for this one's keys.

    >>> import flambeau as torch, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "keys")
    >>> one, other = torch.distributed.FileStore(path, 2), torch.distributed.FileStore(path, 2)
    >>> one.set("a", "1")
    >>> other.get("a")
    b'1'
    """

    _own_keys = 1

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        self.path = os.fspath(file_name)
        self._world_size = world_size
        self._changes = _Changes(os.path.realpath(self.path))
        self._over(self._changes)
        self._pid = os.getpid()
        if world_size > 0:
            with self._changes.opened(True) as change:
                change(_CAME, "", b"")

    def __del__(self) -> None:
        changes = getattr(self, "_changes", None)
        if (
            changes is None
            or self._world_size < 1
            or self._pid != os.getpid()
            or not os.path.exists(changes.path)
        ):
            return
        with changes.opened(True) as change:
            change(_LEFT, "", b"")
            if changes.left >= max(changes.came, self._world_size):
                os.unlink(changes.path)

    def clone(self) -> Store:
        """Another object for the same keys."""
        return FileStore(self.path)
