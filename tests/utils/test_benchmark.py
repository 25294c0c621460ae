"""`utils.benchmark`, on a clock that ticks by the execution."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import flambeau
from flambeau.utils.benchmark import Compare, Measurement, TaskSpec, Timer


def test_timer_counts_executions_and_keeps_its_threads() -> None:
    calls: list[int] = []
    before = flambeau.get_num_threads()
    timer = Timer("calls.append(torch.get_num_threads())", globals={"calls": calls}, num_threads=2)
    m = timer.timeit(50)
    assert (m.number_per_run, len(m.raw_times), set(calls)) == (50, 1, {2})
    assert flambeau.get_num_threads() == before


def test_blocks_fill_the_time() -> None:
    blocks: list[Any] = []
    m = Timer("x + 1", setup="x = 1").blocked_autorange(lambda n, t: blocks.append((n, t)), min_run_time=0.01)
    assert sum(m.raw_times) >= 0.01 and len(blocks) == len(m.raw_times) and m.number_per_run >= 10
    assert 0 < m.median < 1e-4 and m.times[0] == m.raw_times[0] / m.number_per_run


def test_statistics() -> None:
    spec = TaskSpec("f()", "", label="L", sub_label="S")
    m = Measurement(10, [10.0, 20.0, 30.0, 40.0, 50.0], spec)
    assert (m.median, m.mean, m.iqr, m.title, m.as_row_name, m.num_threads) == (3.0, 3.0, 2.0, "L: S", "S", 1)
    assert m.has_warnings and not m.meets_confidence() and m.significant_figures == 2
    assert "Median: 3.00 s" in repr(m) and "5 measurements, 10 runs per measurement" in repr(m)
    (merged,) = Measurement.merge([m, Measurement(1, [6.0], spec)])
    assert merged.times == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    with pytest.raises(AttributeError, match="nothing"):
        _ = m.nothing


def test_table() -> None:
    rows = [
        Measurement(1, [t], TaskSpec("s", "", label="sums", sub_label=n, description=d, num_threads=k))
        for (n, d, k), t in zip(
            itertools.product(("small", "large"), ("old", "new"), (1, 4)), (2e-6, 1e-6) * 4
        )
    ]
    table = str(Compare(rows))
    lines = table.splitlines()
    assert "sums" in lines[0] and "old" in lines[1] and "new" in lines[1]
    assert [x.split("|")[0].strip() for x in lines[2:8]] == [
        *("1 threads: " + "-" * (len(lines[2]) - 11), "small", "large"),
        *("4 threads: " + "-" * (len(lines[5]) - 11), "small", "large"),
    ]
    assert lines[3].split("|")[1:] == ["  2.0  ", "  2.0"] and "microseconds (us)" in table
    with pytest.raises(ValueError, match="Measurement"):
        Compare([1])  # type: ignore[list-item]


def test_what_cannot_be_timed() -> None:
    with pytest.raises(ValueError, match="Python"):
        Timer("x", language="c++")
    with pytest.raises(NotImplementedError):
        Timer().collect_callgrind()


def test_as_pytorch_has_it() -> None:
    reference: Any = pytest.importorskip("torch.utils.benchmark")
    for times in ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.01, 1.02, 1.005], [2.0]):
        mine = Measurement(2, times, TaskSpec("s", ""))
        theirs = reference.Measurement(2, times, reference.TaskSpec("s", ""))
        for name in ("median", "mean", "iqr", "times", "has_warnings", "title", "as_row_name", "env"):
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name)) or name in (
                "title",
                "as_row_name",
                "env",
            )
        assert (mine.title, mine.as_row_name, mine.env) == (theirs.title, theirs.as_row_name, theirs.env)
        assert mine.meets_confidence() == theirs.meets_confidence()
