"""XPU devices as seen from a machine without them: `flambeau.xpu`."""

from __future__ import annotations

from typing import Any

from .runtime.absent import names_of as _names_of

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
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


def manual_seed_all(seed: int) -> None:
    """Accepted and ignored, as in PyTorch without such a device."""


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


def memory_reserved(device: Any = None) -> int:
    """0."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


def max_memory_reserved(device: Any = None) -> int:
    """0."""
    return 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing was used."""


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def synchronize(device: Any = None) -> None:
    """Raises AssertionError: there is no such device."""
    init()


def init() -> None:
    """Raises AssertionError: there is no such device."""
    raise AssertionError("Torch not compiled with XPU enabled")


def set_device(device: Any) -> None:
    """Raises AssertionError: there is no such device."""
    init()


def current_device() -> int:
    """Raises AssertionError: there is no such device."""
    init()
    return -1


def get_device_name(device: Any = None) -> str:
    """Raises AssertionError: there is no such device."""
    init()
    return ""


def get_device_properties(device: Any = None) -> Any:
    """Raises AssertionError: there is no such device."""
    init()


__getattr__ = _names_of(__name__)
