"""Timings of the same statements in flambeau and in PyTorch, and how they compare.

A row is source text that runs twice, with flambeau and with PyTorch as ``torch``: in one process and in
turns, so that a change in the machine's speed meets both, and with Python's cycle collector off. The ratio is
ours / theirs (below 1: flambeau is faster), of the medians over all rounds, and of the best rounds.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import platform
import statistics
import textwrap
import time
import timeit
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType

THREAD_VARIABLES = ("FLAMBEAU_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Row:
    """A statement, what to run before it once, and the ratio that it may not exceed."""

    name: str
    statement: str
    setup: str = "pass"
    bound: float | None = None


@dataclass(frozen=True)
class Result:
    """Seconds a call in each round; `theirs` is empty where there was no PyTorch to compare with."""

    row: Row
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def best_ratio(self) -> float:
        return min(self.ours) / min(self.theirs)


@dataclass(frozen=True)
class Check:
    """Something measured that is no ratio: a value, its unit and the most that it may be."""

    name: str
    value: float
    unit: str
    bound: float
    detail: str = ""


def set_threads(count: int) -> None:
    """Both libraries and their BLAS on `count` threads: to be called before either is imported."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(count)


def reference() -> ModuleType | None:
    """PyTorch, or None where it is not installed."""
    return importlib.import_module("torch") if importlib.util.find_spec("torch") else None


def conditions(count: int) -> str:
    """The machine and the versions, for the head of a table."""
    import numpy

    torch = reference()
    against = f"torch {torch.__version__}, {torch.get_num_threads()} threads" if torch else "no torch"
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"Python {platform.python_version()}, NumPy {numpy.__version__}, {against}; flambeau on {count}; "
        f"{os.cpu_count()} processors, {platform.machine()}, load {load}"
    )


class Prepared(timeit.Timer):
    """A timer whose setup runs once, when it is made: `timeit.Timer` runs it before each round.

    A round would then begin with a new model and a new optimizer, and time their first steps.
    """

    def __init__(self, row: Row, names: dict[str, object]) -> None:
        super().__init__(row.statement, timer=time.perf_counter)
        setup, statement = (textwrap.indent(text, " " * 8) for text in (row.setup, row.statement))
        source = (
            f"def prepare():\n{setup}\n        def inner(rounds, clock):\n            start = clock()\n"
            f"            for _ in rounds:\n{textwrap.indent(statement, ' ' * 8)}\n            return clock() - start\n"
            "        return inner\n"
        )
        exec(compile(source, f"<{row.name}>", "exec"), names)
        self.inner = names["prepare"]()  # type: ignore[operator]


def timer(row: Row, module: str) -> timeit.Timer:
    """The row with `module` under PyTorch's name."""
    return Prepared(row, {"torch": importlib.import_module(module)})


def calls_per_round(run: timeit.Timer, seconds: float) -> int:
    """How many calls take about `seconds`. Warms up on the way."""
    calls = 1
    while (taken := run.timeit(calls)) < seconds / 4:
        calls *= 4
    return max(1, round(calls * seconds / taken))


def measure(row: Row, rounds: int = 15, seconds: float = 0.05) -> Result:
    """Rounds of about `seconds` each, ours and theirs in turns, each going first every other time."""
    timers = [timer(row, "flambeau")]
    if reference() is not None:
        timers.append(timer(row, "torch"))
    calls = [calls_per_round(run, seconds) for run in timers]
    taken: list[list[float]] = [[] for _ in timers]
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            order = range(len(timers)) if turn % 2 else reversed(range(len(timers)))
            for i in order:
                time.sleep(0.005)  # the other library's idle threads stop spinning
                taken[i].append(timers[i].timeit(calls[i]) / calls[i])
    finally:
        gc.enable()
    return Result(row, taken[0], taken[1] if len(taken) > 1 else [])


def show_time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def verdict(value: float, bound: float | None) -> str:
    return "" if bound is None else "PASS" if value <= bound else "over"


def run(rows: Iterable[Row], checks: Iterable[Callable[[], Check]], rounds: int, seconds: float) -> int:
    """Measure and print everything; returns how many bounds were exceeded. A row that fails says why."""
    over = 0
    columns = "{:<44} {:>10} {:>10} {:>7} {:>7} {:>7}  {}"
    print(columns.format("", "flambeau", "torch", "ratio", "best", "bound", ""))
    for row in rows:
        try:
            result = measure(row, rounds, seconds)
        except Exception as error:
            print(f"{row.name:<44} failed: {type(error).__name__}: {error}")
            over += 1
            continue
        ours = show_time(statistics.median(result.ours))
        if not result.theirs:
            print(columns.format(row.name, ours, "-", "-", "-", "-", ""))
            continue
        # Both: a stall of one library, from other programs, can spoil a median, and luck a best.
        said = verdict(max(result.ratio, result.best_ratio), row.bound)
        over += said == "over"
        theirs = show_time(statistics.median(result.theirs))
        bound = "" if row.bound is None else f"{row.bound:.2f}"
        print(
            columns.format(
                row.name, ours, theirs, f"{result.ratio:.2f}", f"{result.best_ratio:.2f}", bound, said
            ),
            flush=True,
        )
    print()
    for check in checks:
        try:
            found = check()
        except Exception as error:
            print(f"{getattr(check, '__name__', check)}: failed: {type(error).__name__}: {error}")
            over += 1
            continue
        said = verdict(found.value, found.bound)
        over += said == "over"
        value = f"{found.value:.1f} {found.unit} (at most {found.bound:g})"
        print(f"{found.name:<44} {value}  {said}  {found.detail}")
    return over
