"""`Compare`: measurements as tables."""

from __future__ import annotations

from collections.abc import Iterable

from .measurement import Measurement, select_unit, trim_sigfig, unit_to_english

__all__ = ["Compare"]


class Compare:
    """A table for each label: a row for each sub-label (or statement), environment and number of threads, a column for each
    description.

    >>> from flambeau.utils.benchmark import Compare, Measurement, TaskSpec
    >>> rows = [Measurement(1, [t], TaskSpec("s", "", label="sums", sub_label=n, description="here"))
    ...         for n, t in (("small", 2e-6), ("large", 3e-5))]
    >>> print(str(Compare(rows)).splitlines()[1].strip())
    |  here
    """

    def __init__(self, results: Iterable[Measurement]) -> None:
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trim = self._colours = self._warn = False

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Take more measurements.

        Raises: ValueError for what is none.
        """
        results = list(results)
        for r in results:
            if not isinstance(r, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(r)} instead.")
        self._results.extend(results)

    def trim_significant_figures(self) -> None:
        """Show no more digits than the measurements have."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """The fastest of a column (or row) in green, those twice as slow in red."""
        self._colours, self._rowwise = True, rowwise

    def highlight_warnings(self) -> None:
        """Mark times that vary a lot."""
        self._warn = True

    def print(self) -> None:
        """Print the tables."""
        print(str(self))

    def __str__(self) -> str:
        groups: dict[str | None, list[Measurement]] = {}
        for m in Measurement.merge(self._results):
            groups.setdefault(m.task_spec.label, []).append(m)
        return "\n".join(self._table(label or "", group) for label, group in groups.items())

    def _table(self, label: str, group: list[Measurement]) -> str:
        columns = list(dict.fromkeys(m.task_spec.description or "" for m in group))
        keys = list(dict.fromkeys((m.task_spec.num_threads, m.task_spec.env, m.as_row_name) for m in group))
        keys.sort(key=lambda k: k[0])
        cells = {
            (m.task_spec.num_threads, m.task_spec.env, m.as_row_name, m.task_spec.description or ""): m
            for m in group
        }
        unit, seconds = select_unit(min(m.median for m in group))
        several = len({env for _, env, _ in keys}) > 1

        def name(key: tuple[int, str | None, str]) -> str:
            return f"({key[1]})  {key[2]}" if several and key[1] else key[2]

        def text(m: Measurement | None) -> str:
            if m is None:
                return ""
            value = m.median / seconds
            shown = f"{trim_sigfig(value, m.significant_figures):.10g}" if self._trim else f"{value:.1f}"
            return shown + (" (! varies)" if self._warn and m.has_warnings else "")

        left = max(len("1 threads: "), *[len(name(k)) + 6 for k in keys])
        width = [max(len(c), *[len(text(cells.get((*k, c)))) for k in keys]) + 2 for c in columns]
        whole = left + sum(w + 3 for w in width)
        lines = [f"[{f' {label} '.center(whole - 2, '-')}]"]
        lines.append(" " * left + "".join(f"|{c:^{w}}" + "  " for c, w in zip(columns, width)).rstrip())
        before = None
        for key in keys:
            if key[0] != before:
                before = key[0]
                lines.append(f"{before} threads: ".ljust(whole, "-"))
            row = []
            for c, w in zip(columns, width):
                m = cells.get((*key, c))
                row.append("|" + self._coloured(text(m).rjust(w), m, key, c, cells) + "  ")
            lines.append(f"      {name(key)}".ljust(left) + "".join(row).rstrip())
        return "\n".join([*lines, "", f"Times are in {unit_to_english(unit)}s ({unit}).", ""])

    def _coloured(
        self,
        shown: str,
        m: Measurement | None,
        key: tuple[int, str | None, str],
        column: str,
        cells: dict[tuple[int, str | None, str, str], Measurement],
    ) -> str:
        if not self._colours or m is None:
            return shown
        others = [
            o.median
            for k, o in cells.items()
            if (k[:3] == key if self._rowwise else k[3] == column and k[0] == key[0])
        ]
        best = min(others)
        code = "92" if m.median <= best * 1.05 else "91" if m.median >= best * 2 else ""
        return f"\033[{code}m{shown}\033[0m" if code else shown
