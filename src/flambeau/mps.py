"""MPS devices as seen from a machine without them: `flambeau.mps`."""

from __future__ import annotations

from .runtime.absent import names_of as _names_of

__all__ = ["device_count", "is_available", "manual_seed"]


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Accepted and ignored, as in PyTorch without such a device."""


__getattr__ = _names_of(__name__)
