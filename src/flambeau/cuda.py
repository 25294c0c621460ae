"""CUDA as seen from a machine without it: `flambeau.cuda`."""

from __future__ import annotations

from typing import Any

from .runtime.absent import names_of as _names_of
from .runtime.types import check_device

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "synchronize",
]


def is_available() -> bool:
    """Whether a CUDA device can be used: no."""
    return False


def is_initialized() -> bool:
    """Whether CUDA has been initialised: no."""
    return False


def device_count() -> int:
    """The number of CUDA devices: 0."""
    return 0


def current_device() -> int:
    """The current device.

    Raises: AssertionError, as there is none.
    """
    check_device("cuda")
    return 0


def synchronize(device: Any = None) -> None:
    """Wait for a device.

    Raises: AssertionError, as there is none.
    """
    check_device("cuda" if device is None else device)


def empty_cache() -> None:
    """Nothing to release."""


def manual_seed(seed: int) -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


def manual_seed_all(seed: int) -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


__getattr__ = _names_of(__name__)
