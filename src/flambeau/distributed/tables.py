"""Keys and values behind a store: what every kind of store has to be able to do, and those in a process's memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from .errors import DistStoreError, QueueEmptyError

__all__ = ["Keys", "Table", "late", "number"]

T = TypeVar("T")


class Keys(Protocol):
    """What a store asks of the place where its keys are.  Times are in seconds."""

    def set(self, names: Sequence[str], values: Sequence[bytes]) -> None: ...
    def get(self, names: Sequence[str], seconds: float) -> list[bytes]: ...
    def add(self, name: str, amount: int) -> int: ...
    def append(self, name: str, value: bytes) -> None: ...
    def compare_set(self, name: str, old: bytes, new: bytes) -> bytes: ...
    def delete(self, name: str) -> bool: ...
    def check(self, names: Sequence[str]) -> bool: ...
    def wait(self, names: Sequence[str], seconds: float) -> None: ...
    def reach(self, name: str, count: int, seconds: float) -> None: ...
    def count(self) -> int: ...
    def names(self) -> list[str]: ...
    def push(self, name: str, value: bytes) -> None: ...
    def pop(self, name: str, seconds: float | None) -> bytes: ...
    def length(self, name: str) -> int: ...


def late(names: Sequence[str], seconds: float) -> DistStoreError:
    """The error for keys that did not come."""
    return DistStoreError(f"wait timeout after {seconds * 1000:.0f}ms, keys: {', '.join(names)}")


def number(value: bytes) -> int:
    """The number that a value is; ValueError where it is none."""
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"add(): the value {value!r} is not a whole number") from None


class Table:
    """Keys in memory.  Any number of threads may use one."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.values: dict[str, bytes] = {}
        self.queues: dict[str, deque[bytes]] = {}

    def _until(self, ready: Callable[[], T], names: Sequence[str], seconds: float) -> T:
        end = time.monotonic() + seconds
        while not (found := ready()):
            left = end - time.monotonic()
            if left <= 0:
                raise late(names, seconds)
            self.changed.wait(min(left, threading.TIMEOUT_MAX))
        return found

    def set(self, names: Sequence[str], values: Sequence[bytes]) -> None:
        with self.changed:
            self.values.update(zip(names, values, strict=True))
            self.changed.notify_all()

    def get(self, names: Sequence[str], seconds: float) -> list[bytes]:
        with self.changed:
            values = self.values
            self._until(lambda: all(n in values for n in names), names, seconds)
            return [values[n] for n in names]

    def add(self, name: str, amount: int) -> int:
        with self.changed:
            total = number(self.values.get(name, b"0")) + amount
            self.values[name] = str(total).encode()
            self.changed.notify_all()
        return total

    def append(self, name: str, value: bytes) -> None:
        with self.changed:
            self.values[name] = self.values.get(name, b"") + value
            self.changed.notify_all()

    def compare_set(self, name: str, old: bytes, new: bytes) -> bytes:
        with self.changed:
            present = self.values.get(name)
            if present != old and not (present is None and not old):
                return old if present is None else present
            self.values[name] = new
            self.changed.notify_all()
        return new

    def delete(self, name: str) -> bool:
        with self.changed:
            return self.values.pop(name, None) is not None

    def _has(self, name: str) -> bool:
        return name in self.values or bool(self.queues.get(name))

    def check(self, names: Sequence[str]) -> bool:
        with self.changed:
            return all(self._has(n) for n in names)

    def wait(self, names: Sequence[str], seconds: float) -> None:
        with self.changed:
            self._until(lambda: all(self._has(n) for n in names), names, seconds)

    def reach(self, name: str, count: int, seconds: float) -> None:
        with self.changed:
            self._until(lambda: number(self.values.get(name, b"0")) >= count, [name], seconds)

    def count(self) -> int:
        with self.changed:
            return len(self.values)

    def names(self) -> list[str]:
        with self.changed:
            return list(self.values)

    def push(self, name: str, value: bytes) -> None:
        with self.changed:
            self.queues.setdefault(name, deque()).append(value)
            self.changed.notify_all()

    def pop(self, name: str, seconds: float | None) -> bytes:
        with self.changed:
            if seconds is None and not self.queues.get(name):
                raise QueueEmptyError(f"queue is empty: {name}")
            value = self._until(lambda: self.queues.get(name), [name], seconds or 0.0)
            assert value is not None
            first = value.popleft()
            if not value:
                del self.queues[name]
            return first

    def length(self, name: str) -> int:
        with self.changed:
            return len(self.queues.get(name, ()))
