"""``python -m flambeau run``: what a program sees and shows is what ``python`` itself would give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau

VERSION = flambeau.__version__
SOURCE = str(Path(flambeau.__file__).resolve().parents[1])


def python(folder: Path, *args: str, stdin: str = "") -> tuple[int, str, str]:
    env = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, *args], cwd=folder, env=env, input=stdin, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


PROGRAMS = {
    "arguments.py": "import sys, os\nprint(__name__, sys.argv, os.path.basename(__file__), sys.path[0])\n"
    "import helper\nprint(helper.where)",
    "exits.py": "import sys\nsys.exit(int(sys.argv[1]))",
    "says.py": "import sys\nsys.exit('no good')",
    "fails.py": "def f():\n    raise ValueError('bad')\nf()",
    "chained.py": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "syntax.py": "x = (",
    "interrupted.py": "raise KeyboardInterrupt",
    "hook.py": "import sys, traceback\n"
    "sys.excepthook = lambda *e: print('hook', len(traceback.extract_tb(e[2])))\n1 / 0",
    "pickled.py": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
    "at_exit.py": "import atexit\natexit.register(print, 'bye')\nprint('hi')",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "helper.py").write_text("where = 'beside the script'")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "__main__.py").write_text("import sys\nprint(sys.argv, __package__, __spec__.name)")
    return tmp_path


@pytest.mark.parametrize("name", PROGRAMS)
def test_scripts(folder: Path, name: str) -> None:
    args = [name, "3", "--flag"]
    assert python(folder, "-m", "flambeau", "run", *args) == python(folder, *args)


@pytest.mark.parametrize(
    "args", [["pack", "a"], ["-m", "pack", "a"], ["-m", "exits", "4"], ["-m", "nothing.here"]]
)
def test_folders_and_modules(folder: Path, args: list[str]) -> None:
    if args[0] == "pack":
        (folder / "pack" / "__main__.py").write_text("import sys\nprint(sys.argv, sys.path[0])")
    assert python(folder, "-m", "flambeau", "run", *args) == python(folder, *args)


def test_missing_files(folder: Path) -> None:
    ours, theirs = python(folder, "-m", "flambeau", "run", "none.py"), python(folder, "none.py")
    assert ours[0] == theirs[0] == 2 and "none.py" in ours[2] and "No such file" in ours[2]


def test_torch_is_flambeau(folder: Path) -> None:
    code = "import sys, torch, flambeau\nprint(torch is flambeau, sys.argv)"
    assert python(folder, "-m", "flambeau", "run", "-c", code, "x")[1] == "True ['-c', 'x']\n"
    assert python(folder, "-m", "flambeau", "run", "-", "x", stdin=code)[1] == "True ['-', 'x']\n"


@pytest.mark.parametrize("args", [["run"], ["run", "-m"], ["run", "--fast", "x.py"], ["walk", "x.py"]])
def test_wrong_usage(folder: Path, args: list[str]) -> None:
    code, out, err = python(folder, "-m", "flambeau", *args)
    assert code == 2 and out == "" and "usage:" in err


def test_help_and_version(folder: Path) -> None:
    assert "usage:" in python(folder, "-m", "flambeau")[1]
    assert python(folder, "-m", "flambeau", "--version")[1].strip() == VERSION
