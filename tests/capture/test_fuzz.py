"""A short run of the random programs; `python tests/capture/fuzz.py --programs 10000` is the long one."""

from __future__ import annotations

import pytest

from capture import fuzz


@pytest.mark.parametrize("part", range(4))
def test_random_programs(part: int) -> None:
    for seed in range(part * 100, part * 100 + 100):
        report = fuzz.check(seed)
        assert report is None, report


def test_a_failure_is_shrunk_to_a_script() -> None:
    program = fuzz.Program(
        ["v3 = a + b", "v4 = a * 2", "v5 = c - 1"], ["v3", "v4"], [(2,)] * 3, "float64", False, 0
    )
    small = fuzz.shrink_while(program, lambda p: "v4 = a * 2" in p.lines and "v4" in p.outputs)
    assert small.lines == ["v4 = a * 2"] and small.outputs == ["v4"]
    assert "torch.compile(f)" in small.script()
    compile(small.script(), "script", "exec")
