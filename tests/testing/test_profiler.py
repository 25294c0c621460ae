"""`flambeau.profiler`: what is recorded, and when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import flambeau as torch
from flambeau.profiler import ProfilerAction, profile, record_function, schedule


def test_nested_blocks_share_the_time() -> None:
    x = torch.ones(4)
    with profile(record_shapes=True) as p:
        with record_function("outer"):
            with record_function("inner"):
                torch.relu(x)
            x + 1
    by_name = {e.key: e for e in p.key_averages()}
    assert {"outer", "inner", "aten::relu", "aten::add"} <= set(by_name)
    outer, inner = by_name["outer"], by_name["inner"]
    assert outer.cpu_time_total >= inner.cpu_time_total >= by_name["aten::relu"].cpu_time_total > 0
    inside = inner.cpu_time_total + by_name["aten::add"].cpu_time_total
    assert outer.self_cpu_time_total == pytest.approx(outer.cpu_time_total - inside)
    relu = next(e for e in p.events() if e.name == "aten::relu")
    assert relu.input_shapes == [[4]] and relu.start < relu.end
    torch.relu(x)
    assert by_name["aten::relu"].count == 1


def test_table_and_trace(tmp_path: Path) -> None:
    x = torch.ones(4)
    with profile() as p:
        for _ in range(3):
            torch.sigmoid(x)
    table = p.key_averages().table(sort_by="cpu_time_total", row_limit=5)
    assert "aten::sigmoid" in table and "# of Calls" in table and "Self CPU time total" in table
    path = tmp_path / "trace.json"
    p.export_chrome_trace(path)
    events = json.loads(path.read_text())["traceEvents"]
    assert [e["name"] for e in events] == ["aten::sigmoid"] * 3
    assert all(e["ph"] == "X" and e["dur"] > 0 for e in events)


def test_schedules() -> None:
    plan = schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=1)
    kinds = [plan(i).name for i in range(7)]
    assert kinds == ["NONE", "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE", "NONE"]
    with pytest.raises(AssertionError):
        schedule(wait=0, warmup=0, active=0)
    ready: list[list[str]] = []
    x = torch.ones(2)
    with profile(schedule=plan, on_trace_ready=lambda p: ready.append([e.name for e in p.events()])) as p:
        for i in range(7):
            with record_function(f"step {i}"):
                torch.relu(x)
            p.step()
    assert [[n for n in names if n.startswith("step")] for names in ready] == [["step 3", "step 4"]]
    assert p.current_action is ProfilerAction.NONE


def test_compiled_programs_show_their_kernels_and_allocations() -> None:
    f = torch.compile(lambda x, w: (x.tanh() * 2 + 1) @ w)
    x, w = torch.randn(40, 50), torch.randn(50, 60)
    for _ in range(2):
        f(x, w)
    with torch.profiler.profile() as p:
        y = f(x, w)
    assert torch.allclose(y, (x.tanh() * 2 + 1) @ w, atol=1e-5)
    names = [e.key for e in p.key_averages()]
    assert any(n.startswith("flambeau::program (") for n in names)
    assert any(n.startswith("flambeau::kernel ") for n in names)
    assert any(n.startswith("flambeau::allocate ") for n in names)
    assert any("matmul" in n for n in names)
    before = len(p.key_averages())
    f(x, w)
    assert len(p.key_averages()) == before
