"""MPS devices as seen from a machine without them: `flambeau.mps`."""

from __future__ import annotations

from .runtime.absent import names_of as _names_of

__all__ = [
    "current_allocated_memory",
    "device_count",
    "driver_allocated_memory",
    "empty_cache",
    "is_available",
    "manual_seed",
    "recommended_max_memory",
    "synchronize",
]


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Accepted and ignored, as in PyTorch without such a device."""


def empty_cache() -> None:
    """Nothing is cached."""


def current_allocated_memory() -> int:
    """0."""
    return 0


def driver_allocated_memory() -> int:
    """0."""
    return 0


def recommended_max_memory() -> int:
    """0."""
    return 0


def synchronize() -> None:
    """Nothing to wait for."""


__getattr__ = _names_of(__name__)
