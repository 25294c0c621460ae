"""The profiler under its first name: ``torch.autograd.profiler.profile`` (`flambeau.profiler` has the present one)."""

from __future__ import annotations

import os
from typing import Any

from ..runtime.absent import names_of as _names_of
from . import emit_nvtx, kineto_available, record_function
from . import profile as _Profile
from .events import EventList, FunctionEvent, FunctionEventAvg

__all__ = [
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "emit_nvtx",
    "kineto_available",
    "profile",
    "record_function",
]


class profile:
    """Record what runs in a ``with`` block; `enabled` as False makes it one that does nothing.

    `record_shapes` keeps the shapes of tensor arguments; the other options are accepted.

    Raises: RuntimeError when entered twice, and when asked for results that are not there yet.

    >>> import flambeau as torch
    >>> with torch.autograd.profiler.profile() as p:
    ...     y = torch.relu(torch.ones(3))
    >>> [e.name for e in p.function_events]
    ['aten::ones', 'aten::relu']
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        experimental_config: Any = None,
        acc_events: bool = False,
        custom_trace_id_callback: Any = None,
        post_processing_timeout_s: float | None = None,
        activity_filters: Any = None,
    ) -> None:
        self.enabled = enabled
        self.entered = False
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.function_events: EventList | None = None

    def __enter__(self) -> profile:
        if self.enabled:
            if self.entered:
                raise RuntimeError("Profiler context manager is not reentrant")
            self.entered = True
            self._running = _Profile(record_shapes=self.record_shapes)
            self._running.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.enabled:
            self._running.stop()
            self.function_events = self._running.events()

    def _events(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def __repr__(self) -> str:
        return "<unfinished torch.autograd.profile>" if self.function_events is None else self.table()

    __str__ = __repr__

    def table(self, *args: Any, **options: Any) -> str:
        """A table of the events: see `EventList.table`."""
        return self._events().table(*args, **options)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, **_: Any
    ) -> EventList:
        """One entry per name, and with `group_by_input_shape` per shapes of the arguments."""
        return self._events().key_averages(group_by_input_shape)

    def total_average(self) -> FunctionEventAvg:
        """Everything in one entry."""
        return self._events().total_average()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace for chrome://tracing or Perfetto."""
        self._events().export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds in all events together."""
        return self._events().self_cpu_time_total


__getattr__ = _names_of(__name__)
