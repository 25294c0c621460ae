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


def test_interpreters_that_the_program_starts_have_the_stand_in(folder: Path) -> None:
    (folder / "child.py").write_text(
        "import importlib.metadata, sys\n"
        "asked = importlib.metadata.version('torch')\n"
        "import torch.nn.functional as F, torch, flambeau\n"
        "print(torch is flambeau, F is flambeau.nn.functional, asked == torch.__version__, sys.argv[1:])\n"
        "flambeau.as_torch.uninstall()\n"
        "print(sys.modules.get('torch'))\n"
    )
    (folder / "parent.py").write_text(
        "import subprocess, sys\nfor _ in range(2):\n"
        "    subprocess.run([sys.executable, 'child.py', *sys.argv[1:]], check=True)\n"
    )
    expected = "True True True ['a']\nNone\n" * 2
    assert python(folder, "-m", "flambeau", "run", "parent.py", "a") == (0, expected, "")
    (folder / "grandparent.py").write_text(
        "import subprocess, sys\nimport torch\nsubprocess.run([sys.executable, 'parent.py', 'a'], check=True)\n"
    )
    assert python(folder, "-m", "flambeau", "run", "grandparent.py") == (0, expected, "")
    # found by another way than PYTHONPATH: the child is told where
    hidden = f"import sys, os; sys.path.insert(0, {SOURCE!r}); os.environ.pop('PYTHONPATH')\n"
    (folder / "hidden.py").write_text(
        hidden + "from flambeau.stand_in import run\nrun.script('parent.py', ['a'])"
    )
    assert python(folder, "hidden.py")[:2] == (0, expected)
    # and the path of the parent alone does
    code = "import subprocess, sys, os; p = sys.path; del os.environ['PYTHONPATH']; subprocess.run([sys.executable, '-c', "
    code += "f'import sys; sys.path[:] = {p!r}; import torch; print(torch.__version__)'])"
    assert python(folder, "-m", "flambeau", "run", "-c", code)[1] == "2.13.0+flambeau\n"
