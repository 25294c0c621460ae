"""What is in force for the running thread: the interpreter stack, gradient modes, and the default dtype.

An interrupt (KeyboardInterrupt) may come wherever Python calls a function, and must not leave a mode in force.  So what
changes these fields undoes it in an ``except BaseException``, by functions that may run twice: an interrupt that comes
as one begins is raised in there, before it has done anything.
"""

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
        self.special = 0  # threads in another mode
        self.captures = 0  # threads inside a compiled function
        self.listener: Any = None  # is told of every operation that runs eagerly (core/remembered.py)
        self.lock = threading.Lock()


everyone = _Everyone()


class ThreadState(threading.local):
    """Per-thread context; a new thread starts with PyTorch's defaults."""

    def __init__(self) -> None:
        self.stack: list[Any] = []  # active interpreters, innermost last; empty means eager
        self.grad = True  # record gradients?
        self.inference = False
        self.anomaly: Any = None  # None, or the anomaly settings in force
        self.saved_hooks: list[Any] = []  # (pack, unpack) or None, innermost last
        self.before_write: Any = None  # is told of memory that an in-place operation is about to change
        self.walk: Any = None  # weak reference to the backward that is calling hooks
        self.capture: Any = None  # the recorder of the compiled function that is running
        self.compiled: Any = (
            None  # the compiled function that made the last graph, until a backward pass uses it
        )
        self.backwards = 0  # how many walks over a graph this thread has begun
        self.callbacks: list[tuple[int, Any]] = []  # what to call at the end of a walk, with its number
        self.partial = 0  # the number of the last walk that visited a part of its graph only
        self.autocast: Any = None  # casts the arguments of the functions it lists (flambeau.amp)
        self.noting = False  # is a call made to note its operations (core/remembered.py)?
        self.counted = False  # in `everyone.special`
        self.mode = RECORD  # derived from the fields above: the one thing that the fast paths ask

    def refresh(self) -> None:
        """Recompute `mode`; called after every change of another field.  It calls nothing that could be interrupted."""
        if (
            self.stack
            or self.inference
            or self.capture is not None
            or self.noting
            or self.grad
            and (self.saved_hooks or self.anomaly is not None)  # they want to see every operation
        ):
            mode = SPECIAL
        else:
            mode = RECORD if self.grad else NO_GRAD
        special = mode != RECORD
        if special != self.counted:  # a thread that ends in another mode only costs speed
            with everyone.lock:
                everyone.special += 1 if special else -1
                everyone.plain = everyone.special == 0
                self.counted = special
        self.mode = mode

    def begin_capture(self, recorder: Any) -> None:
        """Hand the operations of this thread to `recorder`; `end_capture` must follow, also after an exception."""
        with everyone.lock:
            everyone.captures += 1
            self.capture = recorder
        self.refresh()

    def end_capture(self) -> None:
        """Back to eager execution, if it is not in force."""
        with everyone.lock:
            if self.capture is not None:
                everyone.captures -= 1
                self.capture = None
        self.refresh()

    def set_grad(self, value: bool) -> None:
        self.grad = value
        try:
            self.refresh()
        except BaseException:
            self.refresh()
            raise


tls = ThreadState()


class Defaults:
    """Process-wide defaults."""

    def __init__(self) -> None:
        self.dtype: dtype = float32


defaults = Defaults()
