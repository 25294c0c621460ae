"""Accelerators: there is none here; programs that ask get that answer."""

from __future__ import annotations

from typing import Any

__all__ = [
    "AcceleratorError",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_accelerator",
    "device_count",
    "get_device_module",
    "is_available",
    "synchronize",
]


class AcceleratorError(RuntimeError):
    """What PyTorch raises for a device's failures: never raised here, so that ``except`` clauses can name it."""


class OutOfMemoryError(RuntimeError):
    """What PyTorch raises when a device has no memory left: never raised here, so that ``except`` clauses can name it."""


class Stream:
    """A queue of work on a device.

    Raises: RuntimeError, as the CPU has none.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"torch.{type(self).__name__}: there is no accelerator, and the CPU has no queues of work"
        )


class Event:
    """A mark in a `Stream`.

    Raises: RuntimeError, as there is none.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"torch.{type(self).__name__}: there is no accelerator, and the CPU has no queues of work"
        )


def get_device_module(device: Any = None) -> Any:
    """``flambeau.cpu``, ``flambeau.cuda``, ...: the module of functions for a device, by default the CPU.

    Raises: RuntimeError for a device that has none.
    """
    import importlib

    from .runtime.types import device as as_device

    kind = as_device("cpu" if device is None else device).type
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        raise RuntimeError(
            f"Device '{kind}' does not have a corresponding module registered as 'torch.{kind}'."
        )
    return importlib.import_module(f"flambeau.{kind}")


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
