"""What a `Timer` measured, and what it measured that of."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable
from typing import Any

__all__ = ["Measurement", "TaskSpec", "select_unit", "trim_sigfig", "unit_to_english"]

_UNITS = (
    ("ns", 1e-9, "nanosecond"),
    ("us", 1e-6, "microsecond"),
    ("ms", 1e-3, "millisecond"),
    ("s", 1.0, "second"),
)
_WIDE, _VERY_WIDE = (
    0.1,
    0.25,
)  # parts of the median that the middle half of the times may cover before a word of warning


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which a time in seconds reads best, and its seconds.

    >>> select_unit(2e-5)
    ('us', 1e-06)
    """
    thousands = math.floor(round(math.log10(t), 9) / 3) if t > 0 else 0
    name, seconds, _ = _UNITS[thousands + 3] if -3 <= thousands < 0 else _UNITS[-1]
    return name, seconds


def unit_to_english(u: str) -> str:
    """The unit's word: microsecond for us."""
    return next(word for name, _, word in _UNITS if name == u)


def trim_sigfig(x: float, n: int) -> float:
    """`x` rounded to n digits.

    >>> trim_sigfig(1234.5, 2)
    1200.0
    """
    return float(f"{x:.{n - 1}e}")


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What is timed."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The labels, or the statement."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        if "\n" not in self.stmt:
            return self.stmt + (f": {self.sub_label}" if self.sub_label else "")
        return f"stmt:{f' ({self.sub_label})' if self.sub_label else ''}\n" + "\n".join(
            f"  {line}" for line in self.stmt.splitlines()
        )

    def setup_str(self) -> str:
        """The preparation as it is printed."""
        if not self.setup or self.setup == "pass":
            return ""
        lines = self.setup.splitlines()
        return f"setup: {lines[0]}" if len(lines) == 1 else "setup:\n" + "\n".join(f"  {x}" for x in lines)

    def summarize(self) -> str:
        """What is timed, in some lines."""
        threads = (
            f"{self.num_threads} thread{'s' if self.num_threads > 1 else ''}" if self.num_threads > 1 else ""
        )
        parts = [self.title, self.description or "", self.setup_str(), threads]
        return "\n".join(p for p in parts if p)


@dataclasses.dataclass(repr=False)
class Measurement:
    """Repeated times of a statement, each of `number_per_run` executions in seconds."""

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(TaskSpec, name) and name not in TaskSpec.__dataclass_fields__:
            raise AttributeError(f"'Measurement' object has no attribute '{name}'")
        return getattr(self.task_spec, name)

    @property
    def times(self) -> list[float]:
        """Seconds of one execution, for each measurement."""
        return [t / self.number_per_run for t in self.raw_times]

    def _needed(self) -> list[float]:
        if not self.raw_times:
            raise AssertionError("there are no measurements")
        return self.times

    @property
    def median(self) -> float:
        """The middle time."""
        return statistics.median(self._needed())

    @property
    def mean(self) -> float:
        """The average time."""
        return statistics.fmean(self._needed())

    @property
    def iqr(self) -> float:
        """How far the quarters are apart: the 75th percentile less the 25th."""
        times = self._needed()
        if len(times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(times, n=4, method="inclusive")
        return high - low

    @property
    def significant_figures(self) -> int:
        """How many digits of the median say something, from 2 to 5."""
        m, spread = self.median, self.iqr
        if not spread or not m:
            return 5 if len(self.raw_times) > 1 else 4
        digits = 0
        while digits < 5 and spread < m * 10.0**-digits:
            digits += 1
        return max(2, digits)

    @property
    def has_warnings(self) -> bool:
        """Whether the times vary too much to rely on."""
        return len(self.raw_times) > 1 and self.iqr > _WIDE * self.median

    def meets_confidence(self, threshold: float = _WIDE) -> bool:
        """Whether the middle half of the times lies within this part of the median."""
        return self.iqr / self.median < threshold

    @property
    def title(self) -> str:
        """The labels, or the statement."""
        return self.task_spec.title

    @property
    def as_row_name(self) -> str:
        """What names its row in a table."""
        return self.task_spec.sub_label or self.task_spec.stmt or "[Unknown]"

    def __repr__(self) -> str:
        lines = [object.__repr__(self), self.task_spec.summarize()]
        if self.raw_times:
            unit, seconds = select_unit(self.median)
            digits = self.significant_figures

            def shown(t: float) -> str:
                return f"{trim_sigfig(t / seconds, digits):.2f} {unit}"

            n = len(self.raw_times)
            if n == 1:
                lines.append(f"  {shown(self.median)}")
            else:
                lines.append(f"  Median: {shown(self.median)}")
                if n >= 4:
                    low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
                    lines.append(f"  IQR:    {shown(self.iqr)} ({shown(low)} to {shown(high)})")
            threads = self.task_spec.num_threads
            lines.append(
                f"  {n} measurement{'s' if n > 1 else ''}, {self.number_per_run} runs "
                f"{'per measurement,' if n > 1 else ','} {threads} thread{'s' if threads > 1 else ''}"
            )
            if self.has_warnings:
                much = self.iqr / self.median
                lines.append(
                    f"  WARNING: the middle half of the times covers {much:.0%} of the median, which is "
                    f"{'a lot: these times say little' if much > _VERY_WIDE else 'more than usual'}"
                )
        return "\n".join(lines)

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """The measurements of one task together."""
        groups: dict[TaskSpec, list[Measurement]] = {}
        for m in measurements:
            groups.setdefault(m.task_spec, []).append(m)
        return [Measurement(1, [t for m in group for t in m.times], spec) for spec, group in groups.items()]
