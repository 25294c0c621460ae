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
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]

__getattr__ = _names_of(__name__)
