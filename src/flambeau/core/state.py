"""What is in force for the running thread: the interpreter stack, gradient modes, and the default dtype."""

from __future__ import annotations

import threading
from typing import Any

from ..runtime.dtypes import dtype, float32


class ThreadState(threading.local):
    """Per-thread context; a new thread starts with PyTorch's defaults."""

    def __init__(self) -> None:
        self.stack: list[Any] = []  # active interpreters, innermost last; empty means eager
        self.grad = True  # record gradients?
        self.inference = False
        self.anomaly: Any = None  # None, or the anomaly settings in force
        self.saved_hooks: list[Any] = []  # (pack, unpack) or None, innermost last
        self.fast = True  # derived: eager, recording, nothing special; what the fast paths ask, once

    def refresh(self) -> None:
        """Recompute `fast`; called after every change of another field."""
        self.fast = self.grad and not (self.stack or self.saved_hooks or self.anomaly or self.inference)

    def set_grad(self, value: bool) -> None:
        self.grad = value
        self.refresh()


tls = ThreadState()


class Defaults:
    """Process-wide defaults."""

    def __init__(self) -> None:
        self.dtype: dtype = float32


defaults = Defaults()
