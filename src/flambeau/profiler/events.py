"""What a profile has recorded: single events, sums over events of a name, tables and trace files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "duration"]


def duration(microseconds: float) -> str:
    """Readable: 1.500ms."""
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    return f"{microseconds / 1e3:.3f}ms" if microseconds >= 1e3 else f"{microseconds:.3f}us"


class _Times:
    """Properties that follow from a total, a self time and a count, all in microseconds."""

    count: int
    cpu_time_total: float
    self_cpu_time_total: float
    device_time_total = self_device_time_total = cuda_time_total = 0.0

    @property
    def cpu_time(self) -> float:
        """Microseconds per call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        return duration(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        return duration(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        return duration(self.self_cpu_time_total)


class FunctionEvent(_Times):
    """One call: `name`, `start` and `end` (nanoseconds), `thread`, the `input_shapes` if asked for."""

    count = 1

    def __init__(self, name: str, start: int, thread: int, shapes: list[Any], is_user: bool) -> None:
        self.name, self.start, self.end, self.thread = name, start, start, thread
        self.input_shapes, self.is_user_annotation = shapes, is_user
        self.children_ns = 0

    @property
    def key(self) -> str:
        return self.name

    @property
    def cpu_time_total(self) -> float:  # type: ignore[override]
        """Microseconds from start to end."""
        return (self.end - self.start) / 1e3

    @property
    def self_cpu_time_total(self) -> float:  # type: ignore[override]
        """Microseconds outside of the events inside."""
        return (self.end - self.start - self.children_ns) / 1e3


class FunctionEventAvg(_Times):
    """All calls of one name (and, grouped by them, of the same shapes)."""

    def __init__(self, key: str, shapes: list[Any]) -> None:
        self.key, self.input_shapes = key, shapes
        self.count, self.cpu_time_total, self.self_cpu_time_total = 0, 0.0, 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = self.flops = 0

    def add(self, other: Any) -> FunctionEventAvg:
        """Count another event, or average, in."""
        self.count += other.count
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        return self

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str} count={self.count}>"
        )


class EventList(list[Any]):
    """Events or averages, with the ways to show them."""

    def __init__(self, events: Iterable[Any] = (), with_shapes: bool = False) -> None:
        super().__init__(events)
        self._with_shapes = with_shapes

    def key_averages(self, group_by_input_shape: bool = False, **_: Any) -> EventList:
        """One `FunctionEventAvg` per name, in the order of first calls."""
        groups: dict[Any, FunctionEventAvg] = {}
        for e in self:
            shapes = e.input_shapes if group_by_input_shape else []
            key = e.key, str(shapes)
            groups.setdefault(key, FunctionEventAvg(e.key, shapes)).add(e)
        return EventList(groups.values(), group_by_input_shape)

    def total_average(self) -> FunctionEventAvg:
        """Everything in one; the total counts self times, so that nothing counts twice."""
        total = FunctionEventAvg("Total", [])
        for e in self:
            total.add(e)
        total.cpu_time_total = total.self_cpu_time_total
        return total

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds in all events together."""
        return sum(float(e.self_cpu_time_total) for e in self)

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        **_: Any,
    ) -> str:
        """A text table, sorted by an attribute such as "cpu_time_total", largest first.

        Raises: AttributeError for attributes that events do not have.
        """
        rows = list(self)
        if sort_by is not None:
            key = sort_by.replace("cuda", "device")
            rows.sort(key=lambda e: getattr(e, key), reverse=True)
        total = self.self_cpu_time_total or 1.0
        columns: list[tuple[str, Callable[[Any], str]]] = [
            ("Name", lambda e: _cut(e.key, max_name_column_width)),
            ("Self CPU %", lambda e: f"{e.self_cpu_time_total / total:.2%}"),
            ("Self CPU", lambda e: e.self_cpu_time_total_str),
            ("CPU total %", lambda e: f"{e.cpu_time_total / total:.2%}"),
            ("CPU total", lambda e: e.cpu_time_total_str),
            ("CPU time avg", lambda e: e.cpu_time_str),
            ("# of Calls", lambda e: str(e.count)),
        ]
        if self._with_shapes:
            columns.append(("Input Shapes", lambda e: _cut(str(e.input_shapes), max_shapes_column_width)))
        cells = [[name for name, _ in columns], *([show(e) for _, show in columns] for e in rows[:row_limit])]
        widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths)) for row in cells]
        rule = "  ".join("-" * w for w in widths)
        return "\n".join(
            [
                *([header] if header else []),
                *(rule, lines[0], rule, *lines[1:], rule),
                f"Self CPU time total: {duration(self.self_cpu_time_total)}\n",
            ]
        )

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events as a trace for chrome://tracing or Perfetto; a path that ends in .gz is compressed."""
        trace = {"displayTimeUnit": "ms", "traceEvents": list(self._trace())}
        if os.fspath(path).endswith(".gz"):
            import gzip

            with gzip.open(path, "wt") as f:
                json.dump(trace, f)
        else:
            with open(path, "w") as f:
                json.dump(trace, f)

    def _trace(self) -> Iterator[dict[str, Any]]:
        for e in self:
            yield {
                **{"ph": "X", "cat": "user_annotation" if e.is_user_annotation else "cpu_op", "name": e.name},
                **{"pid": os.getpid(), "tid": e.thread, "ts": e.start / 1e3, "dur": (e.end - e.start) / 1e3},
                "args": {"Input Dims": e.input_shapes} if e.input_shapes else {},
            }


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 3] + "..."
