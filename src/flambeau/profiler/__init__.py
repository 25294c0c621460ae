"""Where the time goes: `flambeau.profiler`, with PyTorch's interface.

While a profile runs, calls of operations on tensors are timed as the program makes them (what an operation calls inside
is part of it), backward passes as a whole, and blocks marked with `record_function`.
"""

from ..runtime.absent import names_of as _names_of
from .events import EventList, FunctionEvent, FunctionEventAvg
from .profile import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from .recording import record_function

__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "ProfilerAction",
    "ProfilerActivity",
    "emit_nvtx",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


def kineto_available() -> bool:
    """False: calls are timed by the library itself."""
    return False


class emit_nvtx:
    """A block whose operations NVIDIA's profiler sees.

    Raises: RuntimeError when entered, as there is no CUDA.
    """

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        self.enabled = enabled

    def __enter__(self) -> "emit_nvtx":
        if self.enabled:
            raise RuntimeError("NVTX functions not installed. Are you sure you have a CUDA build?")
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to undo."""


__getattr__ = _names_of(__name__)
