"""CUDA as seen from a machine without it: `flambeau.cuda`.

Questions have honest answers (there is no device, nothing is allocated), what concerns all devices does nothing, and
what needs one raises what PyTorch raises in a build without CUDA.
"""

from __future__ import annotations

import contextlib
from typing import Any

from .. import accelerator as _accelerator
from ..runtime.absent import no_such_name as _no_such_name
from ..runtime.types import check_device
from . import memory
from .memory import (
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_accumulated_memory_stats,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)

_initialized = False  # the state behind `is_initialized`, which libraries read

__all__ = [
    "CUDAGraph",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "StreamContext",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_generators",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_gencode_flags",
    "get_rng_state",
    "get_rng_state_all",
    "has_half",
    "graph",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "is_initialized",
    "is_tf32_supported",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_per_process_memory_fraction",
    "set_rng_state",
    "set_rng_state_all",
    "stream",
    "synchronize",
]

OutOfMemoryError = _accelerator.OutOfMemoryError
default_generators: tuple[Any, ...] = ()
has_half = True


def is_available() -> bool:
    """Whether a CUDA device can be used: no."""
    return False


def is_initialized() -> bool:
    """Whether CUDA has been initialised: no."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current device computes in bfloat16: there is none."""
    return False


def is_tf32_supported() -> bool:
    """Whether the current device has TF32: there is none."""
    return False


def init() -> None:
    """Initialise CUDA.

    Raises: AssertionError, as there is none.
    """
    check_device("cuda")


def device_count() -> int:
    """The number of CUDA devices: 0."""
    return 0


def get_arch_list() -> list[str]:
    """The architectures that the library was built for: none."""
    return []


def get_gencode_flags() -> str:
    """How the library was built for CUDA: not at all."""
    return ""


def current_device() -> int:
    """The current device.

    Raises: AssertionError, as there is none.
    """
    check_device("cuda")
    return 0


def set_device(device: Any) -> None:
    """Choose the current device.

    Raises: AssertionError, as there is none; ValueError for devices of another kind.
    """
    _absent(device)


def _absent(device: Any) -> Any:
    """Raises: AssertionError or ValueError: no CUDA device has this name."""
    if isinstance(device, str) and not device.startswith("cuda") or getattr(device, "type", "cuda") != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {device}")
    check_device("cuda" if device is None else device)


def get_device_name(device: Any = None) -> str:
    """The name of a device.

    Raises: AssertionError, as there is none.
    """
    _absent(device)
    return ""


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a device.

    Raises: AssertionError, as there is none.
    """
    _absent(device)
    return 0, 0


def get_device_properties(device: Any = None) -> Any:
    """What is known of a device.

    Raises: AssertionError, as there is none.
    """
    _absent(device)


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one device reads another's memory.

    Raises: AssertionError, as there is none.
    """
    _absent(device)
    return False


class device(contextlib.AbstractContextManager[None]):
    """The current device for the length of a ``with`` block: None, or a negative index, changes nothing.

    Raises: AssertionError on entry for any other, as there is none.
    """

    def __init__(self, device: Any) -> None:
        self.idx = device

    def __enter__(self) -> None:
        if self.idx is not None and not (isinstance(self.idx, int) and self.idx < 0):
            _absent(self.idx)

    def __exit__(self, *exc: Any) -> None:
        return None


class device_of(contextlib.AbstractContextManager[None]):
    """The device of a tensor for the length of a ``with`` block: tensors are on the CPU, so nothing changes."""

    def __init__(self, obj: Any) -> None:
        self.idx = -1

    def __exit__(self, *exc: Any) -> None:
        return None


def synchronize(device: Any = None) -> None:
    """Wait for a device.

    Raises: AssertionError, as there is none.
    """
    check_device("cuda" if device is None else device)


class Stream:
    """A queue of work on a device.

    Raises: RuntimeError, as there is none.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"torch.cuda.{type(self).__name__} requires CUDA support, which flambeau does not have"
        )


class StreamContext(Stream):
    """A block of code whose work goes to a `Stream`.

    Raises: RuntimeError, as there is no device.
    """


class graph(Stream):
    """A block of code that is recorded as a `CUDAGraph`.

    Raises: RuntimeError, as there is no device.
    """


class Event(Stream):
    """A mark in a `Stream`.

    Raises: RuntimeError, as there is no device.
    """


class CUDAGraph(Stream):
    """Recorded work.

    Raises: RuntimeError, as there is no device.
    """


def stream(stream: Stream | None) -> contextlib.AbstractContextManager[None]:
    """The current stream for the length of a ``with`` block; None changes nothing."""
    return contextlib.nullcontext()


def current_stream(device: Any = None) -> Stream:
    """The current stream.

    Raises: AssertionError, as there is no device.
    """
    _absent(device)
    return Stream()


def default_stream(device: Any = None) -> Stream:
    """The default stream.

    Raises: AssertionError, as there is no device.
    """
    _absent(device)
    return Stream()


def is_current_stream_capturing() -> bool:
    """Whether work is being recorded: no."""
    return False


def empty_cache() -> None:
    """Nothing to release."""


def ipc_collect() -> None:
    """Release what other processes used.

    Raises: AssertionError, as there is no device.
    """
    _absent(None)


def manual_seed(seed: int) -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


def manual_seed_all(seed: int) -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


def seed() -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


def seed_all() -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


def initial_seed() -> int:
    """The seed of the current device.

    Raises: AssertionError, as there is none.
    """
    _absent(None)
    return 0


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of a device's generator.

    Raises: AssertionError, as there is none.
    """
    _absent(device)


def get_rng_state_all() -> list[Any]:
    """The states of all devices: none."""
    return []


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


def set_rng_state_all(new_states: Any) -> None:
    """Accepted and ignored, as in PyTorch without CUDA."""


def __getattr__(name: str) -> object:
    if name in ("amp", "nvtx"):  # amp loads with flambeau.amp
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    if name == "random":
        import sys

        return sys.modules[__name__]
    if name.endswith("Tensor"):
        from ..tensor import typed

        if name in typed.NAMES.values():
            globals()[name] = typed.on_device(name, "torch.cuda")
            return globals()[name]
    raise _no_such_name(__name__, name)
