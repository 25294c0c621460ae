"""What ``import flambeau`` costs: NumPy and its own modules, nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flambeau

HEAVY = ["scipy", "llvmlite", "matplotlib", "torch", "sklearn", "sympy", "cupy", "rich"]


def run(code: str) -> str:
    source = str(Path(flambeau.__file__).resolve().parents[1])
    program = f"import sys; sys.path.insert(0, {source!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_nothing_heavy() -> None:
    loaded = run("import flambeau; print(*sorted({name.split('.')[0] for name in sys.modules}))").split()
    assert "numpy" in loaded
    assert not set(loaded) & set(HEAVY)


def test_import_is_silent_and_starts_no_thread() -> None:
    assert run("import threading, flambeau\nassert threading.active_count() == 1") == ""


@pytest.mark.parametrize("option", ["-O", "-W error"])
def test_import_under_interpreter_options(option: str) -> None:
    source = str(Path(flambeau.__file__).resolve().parents[1])
    code = f"import sys; sys.path.insert(0, {source!r}); import flambeau; flambeau.ones(2).sum()"
    done = subprocess.run([sys.executable, *option.split(), "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_submodules_are_reachable_from_the_package() -> None:
    code = "import flambeau as torch\nprint(torch.nn.Linear, torch.optim.SGD, torch.utils.data.DataLoader)"
    assert "Linear" in run(code)


def test_modules_leave_the_fast_paths_alone() -> None:
    """A class that overrides operations makes every call ask for it: ours must not, or every program pays."""
    code = "import flambeau, flambeau.nn, flambeau.optim; from flambeau.core.public import OVERRIDES; print(OVERRIDES)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
