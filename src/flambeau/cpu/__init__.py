"""The CPU and its memory: `flambeau.cpu`."""

from ..runtime.pool import empty_cache, memory_stats, reset_peak_memory_stats
from . import amp

__all__ = [
    "amp",
    "current_device",
    "device_count",
    "empty_cache",
    "is_available",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device",
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
