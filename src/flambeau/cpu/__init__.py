"""The CPU and its memory: `flambeau.cpu`."""

from __future__ import annotations

import contextlib

from ..runtime.pool import empty_cache, memory_stats, reset_peak_memory_stats
from . import amp

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "amp",
    "current_device",
    "current_stream",
    "device_count",
    "empty_cache",
    "is_available",
    "is_initialized",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """True: there is always a CPU."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """ "cpu"."""
    return "cpu"


def set_device(device: object) -> None:
    """Does nothing: there is one CPU."""


def synchronize(device: object = None) -> None:
    """Nothing to wait for: operations are finished when they return."""


def is_initialized() -> bool:
    """True: there is nothing to set up."""
    return True


class Stream:
    """The order of the calls, as an object for programs that treat all devices alike; nothing waits."""

    def __init__(self, priority: int = -1) -> None:
        """`priority` changes nothing."""

    def wait_stream(self, stream: object) -> None:
        """Nothing to wait for."""

    def record_event(self) -> None:
        """Nothing to mark."""

    def wait_event(self, event: object) -> None:
        """Nothing to wait for."""


class Event:
    """A mark in a `Stream`, always reached."""

    def query(self) -> bool:
        """True."""
        return True

    def record(self, stream: object = None) -> None:
        """Nothing to mark."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait(self, stream: object = None) -> None:
        """Nothing to wait for."""


_current = Stream()


def current_stream(device: object = None) -> Stream:
    """The stream of the innermost ``with stream(...)`` block."""
    return _current


class StreamContext(contextlib.AbstractContextManager[None]):
    """A ``with`` block in which `current_stream` is the one given; None leaves it as it is."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._before: list[Stream] = []

    def __enter__(self) -> None:
        global _current
        self._before.append(_current)
        if self.stream is not None:
            _current = self.stream

    def __exit__(self, *error: object) -> None:
        global _current
        _current = self._before.pop()


def stream(stream: Stream | None) -> StreamContext:
    """``StreamContext(stream)``.

    >>> import flambeau as torch
    >>> other = torch.cpu.Stream()
    >>> with torch.cpu.stream(other):
    ...     torch.cpu.current_stream() is other
    True
    """
    return StreamContext(stream)
