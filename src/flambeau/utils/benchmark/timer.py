"""`Timer`: how long a statement takes, with a fixed number of threads and after a first execution that does not count."""

from __future__ import annotations

import contextlib
import enum
import textwrap
import timeit
from collections.abc import Callable, Iterator
from typing import Any

from ...runtime import threads
from .measurement import Measurement, TaskSpec

__all__ = ["Language", "Timer", "timer"]

timer = timeit.default_timer


class Language(enum.Enum):
    """What statements are written in; only Python's can be timed."""

    PYTHON = 0
    CPP = 1


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    before = threads.get_num_threads()
    threads.set_num_threads(n)
    try:
        yield
    finally:
        threads.set_num_threads(before)


class Timer:
    """Times `stmt`, which may use what `setup` makes and `globals` has.

    Raises: ValueError for statements in other languages than Python.

    >>> import flambeau as torch
    >>> from flambeau.utils.benchmark import Timer
    >>> measured = Timer("x + 1", globals={"x": torch.ones(3)}).timeit(100)
    >>> measured.number_per_run, measured.median > 0
    (100, True)
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Language | str = Language.PYTHON,
    ) -> None:
        if not isinstance(stmt, str):
            raise ValueError("Currently only a `str` stmt is supported.")
        if language not in (Language.PYTHON, "py", "python"):
            raise ValueError(f"Invalid language `{language}`: statements are Python's.")
        if global_setup:
            raise ValueError(
                f"global_setup is C++ only, got `{global_setup}`. Most likely this code can simply be moved to `setup`."
            )
        stmt, setup = textwrap.dedent(stmt).strip(), textwrap.dedent(setup).strip()
        scope = dict(globals or {})
        if "torch" not in scope:
            import flambeau

            scope["torch"] = flambeau
        self._globals = scope
        self._timer = timeit.Timer(stmt=stmt, setup=setup, timer=timer, globals=scope)
        self._task_spec = TaskSpec(stmt, setup, global_setup, label, sub_label, description, env, num_threads)

    def _timeit(self, number: int) -> float:
        return max(self._timer.timeit(number), 1e-9)

    def timeit(self, number: int = 1000000) -> Measurement:
        """The time of `number` executions."""
        with _threads(self._task_spec.num_threads):
            self._timeit(number=max(int(number // 100), 2))  # warm
            return Measurement(number, [self._timeit(number)], self._task_spec)

    def repeat(self, repeat: int = -1, number: int = -1) -> None:
        """Not there: `blocked_autorange` repeats."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback: Any = None) -> None:
        """Not there: `blocked_autorange` finds the number of executions."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _block(self, min_run_time: float) -> int:
        """How many executions take a thousandth of the whole time, so that reading the clock costs nothing."""
        overhead = sorted([self._timeit(0) for _ in range(5)])[2]
        number = 1
        while True:
            taken = self._timeit(number)
            if overhead / taken <= 1e-4 and taken >= min_run_time / 1000 or taken > min_run_time:
                return number
            number *= 10

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Blocks of executions, as large as need be, until they have taken `min_run_time` seconds together.

        `callback` is called with the number of executions and the time of each block.
        """
        with _threads(self._task_spec.num_threads):
            number = self._block(min_run_time)
            times: list[float] = []
            while sum(times) < min_run_time or not times:
                times.append(self._timeit(number))
                if callback is not None:
                    callback(number, times[-1])
            return Measurement(number, times, self._task_spec)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:
        """As `blocked_autorange`, until the middle half of the times lies within `threshold` of the median."""
        with _threads(self._task_spec.num_threads):
            number = self._block(0.05)
            times: list[float] = []
            while True:
                times.append(self._timeit(number))
                if callback is not None:
                    callback(number, times[-1])
                total = sum(times)
                done = Measurement(number, times, self._task_spec)
                steady = len(times) > 3 and done.meets_confidence(threshold)
                if total > max_run_time or total >= min_run_time and steady:
                    return done

    def collect_callgrind(self, *args: Any, **kwargs: Any) -> Any:
        """Not there: it counts the instructions of C++ code."""
        raise NotImplementedError(
            "collect_callgrind counts instructions of PyTorch's own C++ code; use timeit or blocked_autorange"
        )
