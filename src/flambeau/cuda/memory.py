"""The memory of CUDA devices: there are none, so nothing is allocated.  The CPU's is in `flambeau.cpu`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ..runtime.types import check_device

__all__ = [
    "empty_cache",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
    "set_per_process_memory_fraction",
]


def memory_allocated(device: Any = None) -> int:
    """Bytes in tensors: 0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated
memory_cached = max_memory_cached = memory_allocated


def memory_stats(device: Any = None) -> dict[str, Any]:
    """Empty."""
    return OrderedDict()


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A sentence saying that there is nothing to report."""
    return "There is no CUDA device, and so no memory to report."


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of a device.

    Raises: AssertionError, as there is none.
    """
    check_device("cuda")
    return 0, 0


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Limit the memory of a device.

    Raises: AssertionError, as there is none.
    """
    check_device("cuda")


def empty_cache() -> None:
    """Nothing to release."""


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing to reset."""


reset_accumulated_memory_stats = reset_max_memory_allocated = reset_max_memory_cached = (
    reset_peak_memory_stats
)
