"""`docs/speed.md` is what a run of `benchmarks/ops.py` wrote: every row is of a call there, under today's reason for it."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\S+) \| (forward|backward) \| (small|middle|large) \| .* \| ([\d.]+) \|$")


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("ops", "ops_table", "harness"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("ops")
    for name in ("ops", "ops_table", "harness"):
        sys.modules.pop(name, None)


def test_rows_stand_under_their_reasons(ops) -> None:
    reason, rows = "", 0
    for line in (ROOT / "docs" / "speed.md").read_text().splitlines():
        if line.startswith("### "):
            reason = line[4:]
        found = ROW.match(line)
        if found is None:
            continue
        name, way, size, ratio = found.groups()
        assert name in ops.CALLS and size in ops.CALLS[name].sizes, (
            f"{name} is not measured: make the page again"
        )
        entry = ops.Entry(name, way, size, [float(ratio)], [1.0])
        assert float(ratio) >= ops.LIMIT, line
        assert entry.reason.lower() == reason.lower(), f"{line}: make the page again, its reason has changed"
        rows += 1
    total = re.search(
        r"^\| all \|  \| (\d+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$",
        (ROOT / "docs" / "speed.md").read_text(),
        re.M,
    )
    assert total is not None and int(total[4]) == rows
    measured = sum(len(c.sizes) * (2 if c.wrt else 1) for c in ops.CALLS.values())
    assert int(total[1]) == measured, (
        "operations were added to or taken from the benchmark: make the page again"
    )
    assert min(float(total[2]), float(total[3])) <= 1.0


def test_every_row_would_have_a_reason(ops) -> None:
    for name, call in ops.CALLS.items():
        for size in call.sizes:
            assert ops.Entry(name, "forward", size, [3.0], [1.0]).reason
