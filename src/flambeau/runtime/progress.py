"""A line on the terminal that says how far long work is, and goes away when it is done."""

from __future__ import annotations

import sys
import time
from types import TracebackType

__all__ = ["Progress", "in_bytes"]

WIDTH = 78
PATIENCE = 0.5  # seconds without a line: short work shows none
INTERVAL = 0.1  # seconds between two lines


def in_bytes(n: float) -> str:
    """A number of bytes for people.

    >>> in_bytes(512), in_bytes(3_500_000)
    ('512 B', '3.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            break
        n /= 1000
    return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"


class Progress:
    """For a ``with`` block: `advance` moves on by so many bytes of `total` (None: not known).

    It writes to the standard error stream, and only if that is a terminal.
    """

    def __init__(self, label: str, total: int | None, show: bool = True) -> None:
        self.label, self.total = label, total
        self.done = 0
        self.begun = self.last = time.perf_counter()
        self.show = show and sys.stderr is not None and sys.stderr.isatty()
        self.shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.shown:
            self._write("")
            sys.stderr.write("\r")
            sys.stderr.flush()

    def advance(self, n: int) -> None:
        """Note `n` bytes more."""
        self.done += n
        now = time.perf_counter()
        if self.show and now - self.begun > PATIENCE and now - self.last > INTERVAL:
            self.last = now
            self._write(self.line(now - self.begun))

    def line(self, seconds: float) -> str:
        """What is shown after so many seconds: a bar if the total is known, amounts, and the rate."""
        amounts = in_bytes(self.done)
        bar = ""
        if self.total:
            part = min(self.done / self.total, 1.0)
            bar = f" {part:4.0%} [{'#' * int(20 * part):<20}]"
            amounts += f" of {in_bytes(self.total)}"
        rate = f", {in_bytes(self.done / seconds)}/s" if seconds else ""
        room = WIDTH - len(bar) - len(amounts) - len(rate) - 1
        return f"{self.label[: max(room, 8)]}{bar} {amounts}{rate}"

    def _write(self, line: str) -> None:
        self.shown = True
        sys.stderr.write(f"\r{line[:WIDTH]:<{WIDTH}}")
        sys.stderr.flush()
