"""Accelerators: there is none here; programs that ask get that answer."""

from __future__ import annotations

from typing import Any

__all__ = [
    "AcceleratorError",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "empty_cache",
    "empty_host_cache",
    "get_device_capability",
    "get_device_module",
    "get_memory_info",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_accumulated_memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "set_stream",
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


def _none() -> RuntimeError:
    return RuntimeError("Cannot access accelerator device when none is available.")


def current_device_index() -> int:
    """The number of the accelerator in use.

    Raises: RuntimeError, as there is none; so do the other functions below.
    """
    raise _none()


def set_device_index(device: Any, /) -> None:
    """Raises RuntimeError."""
    raise _none()


current_device_idx = current_device_index  # older names
set_device_idx = set_device_index


class device_index:
    """A ``with`` block on another accelerator; with None on the same one, which is always possible.

    Raises: RuntimeError when entered with a number.
    """

    def __init__(self, device: int | None, /) -> None:
        self.idx = device

    def __enter__(self) -> None:
        if self.idx is not None:
            raise _none()

    def __exit__(self, *error: object) -> None:
        """Nothing to go back to."""


def get_device_capability(device: Any = None, /) -> dict[str, Any]:
    """Raises RuntimeError."""
    raise _none()


def current_stream(device: Any = None, /) -> Stream:
    """Raises RuntimeError."""
    raise _none()


def set_stream(stream: Stream) -> None:
    """Raises TypeError, as nothing is a `Stream`."""
    raise TypeError(f"set_stream(): expected a torch.Stream, got {type(stream).__name__}")


def empty_cache() -> None:
    """Raises RuntimeError (``flambeau.cpu.empty_cache()`` frees the memory that is kept for later tensors)."""
    raise _none()


def empty_host_cache() -> None:
    """Raises RuntimeError."""
    raise _none()


def memory_stats(device_index: Any = None, /) -> dict[str, Any]:
    """Raises RuntimeError."""
    raise _none()


def memory_allocated(device_index: Any = None, /) -> int:
    """Raises RuntimeError."""
    raise _none()


def max_memory_allocated(device_index: Any = None, /) -> int:
    """Raises RuntimeError."""
    raise _none()


def memory_reserved(device_index: Any = None, /) -> int:
    """Raises RuntimeError."""
    raise _none()


def max_memory_reserved(device_index: Any = None, /) -> int:
    """Raises RuntimeError."""
    raise _none()


def reset_accumulated_memory_stats(device_index: Any = None, /) -> None:
    """Raises RuntimeError."""
    raise _none()


def reset_peak_memory_stats(device_index: Any = None, /) -> None:
    """Raises RuntimeError."""
    raise _none()


def get_memory_info(device_index: Any = None, /) -> tuple[int, int]:
    """Raises RuntimeError."""
    raise _none()
