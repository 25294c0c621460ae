"""The programs beside the package run: the benchmarks, the make targets."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau as torch

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "FLAMBEAU_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


BENCHMARK = ("benchmarks/core.py", "--rounds", "2", "--seconds", "0.001", "--threads", "1", "--only", "add")


def test_benchmarks_run() -> None:
    output = run(sys.executable, *BENCHMARK)
    assert "add, 1 element, gradient recorded" in output and "failed" not in output


def test_benchmarks_without_pytorch_say_so(tmp_path: Path) -> None:
    # Run at the start of the interpreter: from then on PyTorch is not to be found.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
    )
    output = run(sys.executable, *BENCHMARK, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT / 'src'}")
    assert "PyTorch is not installed here" in output and "failed" not in output


def test_the_calls_of_the_operations_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them runs, and has the gradients that it says it has."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    table = importlib.import_module("ops_table")
    for name, call in table.CALLS.items():
        scope = {"torch": torch, "s": table.SIZES["small"]}
        torch.manual_seed(0)
        exec(call.setup, scope)
        for tensor in call.wrt:
            scope[tensor] = scope[tensor].detach().requires_grad_()
        y = eval(call.expression, scope)
        if call.wrt:
            grads = torch.autograd.grad(y, [scope[t] for t in call.wrt], torch.ones_like(y))
            assert all(bool(g.isfinite().all()) for g in grads), name
    assert "bench-ops" in (ROOT / "Makefile").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_says_what_there_is() -> None:
    for target in ("demo", "examples", "test", "bench", "bench-ops", "lint", "conformance"):
        assert f"make {target}" in run("make", "help")
    plan = run("make", "--dry-run", "--always-make", "demo", "examples", "test", "bench")
    for step in ("examples/digits.py", "-m pytest", "benchmarks/core.py"):
        assert step in plan
