"""`profile`: recording for the length of a ``with`` block, or of chosen steps of a loop."""

from __future__ import annotations

import enum
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from .events import EventList
from .recording import Recorder

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """What is recorded: here always the CPU."""

    CPU = 0
    CUDA = 1
    XPU = 2
    MTIA = 3


class ProfilerAction(enum.Enum):
    """What a profile does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """The CPU."""
    return {ProfilerActivity.CPU}


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """From the number of a step to what is done in it.

    After `skip_first` steps: cycles of `wait` steps without recording, `warmup`, and `active` with, `repeat` times
    (0: without end).  `skip_first_wait` leaves out the first cycle's wait.

    Raises: AssertionError for negative numbers, or without active steps.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError(
            f"schedule: wait={wait}, warmup={warmup}, repeat={repeat} and skip_first={skip_first} must not be negative, "
            f"and active={active} must be positive"
        )
    cycle = wait + warmup + active

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        if repeat and step // cycle >= repeat:
            return ProfilerAction.NONE
        at = step % cycle
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < cycle - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[Any], None]:
    """For `on_trace_ready`: writes each trace to a file of its own in a folder, which is made when needed."""
    os.makedirs(dir_name, exist_ok=True)
    worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"

    def handler(prof: Any) -> None:
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handler


class profile:
    """Record what a program does.

    `schedule` (step number -> action, see `flambeau.profiler.schedule`) chooses steps, which `step` counts; after the
    last of a run of recorded steps `on_trace_ready` is called with the profile.  Without a schedule everything is
    recorded until the end.  `record_shapes` keeps the shapes of tensor arguments; the other options are accepted.

    >>> import flambeau as torch
    >>> with torch.profiler.profile(record_shapes=True) as p:
    ...     x = torch.relu(torch.ones(3))
    >>> [(e.key, e.count, e.input_shapes) for e in p.key_averages(group_by_input_shape=True)]
    [('aten::ones', 1, [[]]), ('aten::relu', 1, [[3]])]
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Any = None,
    ) -> None:
        self.schedule = schedule
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.step_num = 0
        self._recorder: Recorder | None = None
        self._events = EventList()

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop()

    @property
    def current_action(self) -> ProfilerAction:
        """What is done in the current step."""
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def start(self) -> None:
        """Begin, with step 0."""
        self._follow()

    def stop(self) -> None:
        """End; a trace that was being recorded is ready."""
        if self._recorder is not None:
            self._save()

    def step(self) -> None:
        """The next step of the loop begins."""
        if self.current_action is ProfilerAction.RECORD_AND_SAVE and self._recorder is not None:
            self._save()
        self.step_num += 1
        self._follow()

    def _follow(self) -> None:
        recording = self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if recording and self._recorder is None:
            self._recorder = Recorder(self.record_shapes)
            self._recorder.__enter__()

    def _save(self) -> None:
        assert self._recorder is not None
        self._recorder.__exit__()
        self._events = EventList(sorted(self._recorder.events, key=lambda e: e.start))
        self._recorder = None
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def events(self) -> EventList:
        """The recorded events, by start."""
        return self._events

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, **_: Any
    ) -> EventList:
        """One entry per name: see `EventList.table`."""
        return self._events.key_averages(group_by_input_shape)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace for chrome://tracing or Perfetto."""
        self._events.export_chrome_trace(path)

    def total_average(self) -> Any:
        """Everything in one entry."""
        return self._events.total_average()

    def table(self, *args: Any, **kwargs: Any) -> str:
        """A table of single events."""
        return self._events.table(*args, **kwargs)

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds in all events together."""
        return self._events.self_cpu_time_total

    def add_metadata(self, key: str, value: str) -> None:
        """Accepted."""

    def add_metadata_json(self, key: str, value: str) -> None:
        """Accepted."""
