"""What is in force for the running thread: the interpreter stack, gradient modes, and the default dtype."""

from __future__ import annotations

import threading
from typing import Any

from ..runtime.dtypes import dtype, float32

# SPECIAL: an interpreter, hooks, anomaly or inference mode is active and the fast paths stand aside.
SPECIAL, RECORD, NO_GRAD = 0, 1, 2


class _Everyone:
    """`plain`: no thread is in anything but RECORD mode, so the fast paths need not ask which thread they are."""

    __slots__ = ("plain", "special", "captures", "listener", "lock")

    def __init__(self) -> None:
        self.plain = True
        self.special = 0
        self.captures = 0  # threads inside a compiled function
        self.listener: Any = None  # is told of every operation that runs eagerly (core/remembered.py)
        self.lock = threading.Lock()

    def count(self, change: int) -> None:
        with self.lock:
            self.special += change
            self.plain = self.special == 0


everyone = _Everyone()


class ThreadState(threading.local):
    """Per-thread context; a new thread starts with PyTorch's defaults."""

    def __init__(self) -> None:
        self.stack: list[Any] = []  # active interpreters, innermost last; empty means eager
        self.grad = True  # record gradients?
        self.inference = False
        self.anomaly: Any = None  # None, or the anomaly settings in force
        self.saved_hooks: list[Any] = []  # (pack, unpack) or None, innermost last
        self.walk: Any = None  # weak reference to the backward that is calling hooks
        self.capture: Any = None  # the recorder of the compiled function that is running
        self.compiled: Any = (
            None  # the compiled function that made the last graph, until a backward pass uses it
        )
        self.backwards = 0  # how many walks over a graph this thread has begun
        self.autocast: Any = None  # casts the arguments of the functions it lists (flambeau.amp)
        self.noting = False  # is a call made to note its operations (core/remembered.py)?
        self.mode = RECORD  # derived from the fields above: the one thing that the fast paths ask

    def refresh(self) -> None:
        """Recompute `mode`; called after every change of another field."""
        before = self.mode
        if self.stack or self.inference or self.capture is not None or self.noting:
            self.mode = SPECIAL
        elif not self.grad:
            self.mode = NO_GRAD
        else:
            self.mode = self.recording_mode()
        if (before == RECORD) != (self.mode == RECORD):  # a thread that ends in another mode only costs speed
            everyone.count(-1 if self.mode == RECORD else 1)

    def recording_mode(self) -> int:
        """The mode in which gradients are recorded: hooks and anomaly mode want to see every operation."""
        return SPECIAL if self.saved_hooks or self.anomaly is not None else RECORD

    def begin_capture(self, recorder: Any) -> None:
        """Hand the operations of this thread to `recorder`."""
        self.capture = recorder
        with everyone.lock:
            everyone.captures += 1
        self.refresh()

    def end_capture(self) -> None:
        """Back to eager execution."""
        self.capture = None
        with everyone.lock:
            everyone.captures -= 1
        self.refresh()

    def set_grad(self, value: bool) -> None:
        self.grad = value
        self.refresh()


tls = ThreadState()


class Defaults:
    """Process-wide defaults."""

    def __init__(self) -> None:
        self.dtype: dtype = float32


defaults = Defaults()
