"""Timing the calls that a program makes."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from ..capture.program import WATCHERS
from ..core.tensor import Tensor
from ..overrides import TorchFunctionMode
from .events import FunctionEvent

__all__ = ["Recorder", "record_function"]

_running: list[Recorder] = []
_open = threading.local()  # .events: what this thread is inside of


def _enter(name: str, shapes: list[Any], is_user: bool) -> FunctionEvent:
    event = FunctionEvent(name, 0, threading.get_ident(), shapes, is_user)
    _open.__dict__.setdefault("events", []).append(event)
    event.start = time.perf_counter_ns()
    return event


def _leave(event: FunctionEvent) -> None:
    event.end = time.perf_counter_ns()
    stack = _open.__dict__["events"]
    if event in stack:
        del stack[stack.index(event) :]
    if stack:
        stack[-1].children_ns += event.end - event.start
    for recorder in _running:
        recorder.events.append(event)


def _enter_span(name: str) -> FunctionEvent:
    return _enter(name, [], False)


class Recorder(TorchFunctionMode):
    """Collects the events of the thread that runs its ``with`` block."""

    def __init__(self, record_shapes: bool) -> None:
        self.events: list[FunctionEvent] = []
        self.record_shapes = record_shapes

    def __enter__(self) -> Any:
        _running.append(self)
        WATCHERS.append((_enter_span, _leave))
        return super().__enter__()

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        _running.remove(self)
        WATCHERS.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        shapes = [list(x.shape) if isinstance(x, Tensor) else [] for x in args] if self.record_shapes else []
        event = _enter(f"aten::{getattr(func, '__name__', 'call').strip('_')}", shapes, False)
        try:
            return func(*args, **(kwargs or {}))
        finally:
            _leave(event)


class record_function(contextlib.ContextDecorator):
    """Give a ``with`` block, or a function, a name in the profile.

    >>> import flambeau as torch
    >>> with torch.profiler.profile() as p, torch.profiler.record_function("mine"):
    ...     x = torch.relu(torch.ones(3))
    >>> sorted(e.key for e in p.key_averages())
    ['aten::ones', 'aten::relu', 'mine']
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        self.event = _enter(self.name, [], True) if _running else None
        return self

    def __exit__(self, *exc: Any) -> None:
        if self.event is not None:
            _leave(self.event)
