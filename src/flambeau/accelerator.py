"""Accelerators: there is none here; programs that ask get that answer."""

from __future__ import annotations

from typing import Any

__all__ = [
    "AcceleratorError",
    "OutOfMemoryError",
    "current_accelerator",
    "device_count",
    "is_available",
    "synchronize",
]


class AcceleratorError(RuntimeError):
    """What PyTorch raises for a device's failures: never raised here, so that ``except`` clauses can name it."""


class OutOfMemoryError(RuntimeError):
    """What PyTorch raises when a device has no memory left: never raised here, so that ``except`` clauses can name it."""


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def current_accelerator(check_available: bool = False) -> None:
    """None."""
    return None


def synchronize(device: Any = None) -> None:
    """Nothing to wait for."""
