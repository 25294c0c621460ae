"""What programs ask of the engine itself, as ``Variable._execution_engine``."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..core.state import tls
from ..core.walk import run_backward

__all__ = ["Engine"]


class Engine:
    """The engine that runs backward passes."""

    def queue_callback(self, fn: Callable[[], None]) -> None:
        """Call ``fn()`` when the backward pass that is running, the innermost one, has reached its end.

        Raises: RuntimeError when none is running.
        """
        running = []
        frame = sys._getframe(1)
        while frame is not None:  # the walks of this thread, innermost first
            if frame.f_code is run_backward.__code__:
                running.append(frame.f_locals["number"])
            frame = frame.f_back  # type: ignore[assignment]
        if not running:
            raise RuntimeError("Final callbacks can only be installed during backward pass.")
        # entries of other numbers belong to passes that ended with an exception
        tls.callbacks = [(n, f) for n, f in tls.callbacks if n in running] + [(running[0], fn)]

    def is_checkpoint_valid(self) -> bool:
        """Whether a reentrant checkpoint may run here: not in a pass over a part of the graph only."""
        return tls.partial != tls.backwards
