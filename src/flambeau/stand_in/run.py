"""Running a program as Python's own command line would, with the stand-in installed.

``__main__``, ``sys.argv``, ``sys.path[0]``, tracebacks and exit codes are those of ``python script.py`` and
``python -m module``.  Interpreters that the program starts (``subprocess``, pytest's workers) have the stand-in, too,
by way of ``PYTHONPATH``.
"""

from __future__ import annotations

import io
import os
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType, TracebackType
from typing import Any

from .install import install

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_OURS = {  # what stands between Python and the program
    *(__file__, os.path.join(_PACKAGE, "cli.py"), os.path.join(_PACKAGE, "__main__.py")),
    *("<frozen runpy>", runpy.__file__, runpy.run_path.__code__.co_filename),
}
_CHILDREN = os.path.join(
    os.path.dirname(__file__), "children"
)  # where interpreters that the program starts look
_kept: list[ModuleType] = []  # a module that nobody refers to loses its globals


def script(path: str, arguments: Sequence[str]) -> None:
    """Run the file at `path`; ``-`` is standard input, and a folder or zip file is run through its ``__main__``."""
    if path == "-":
        source, name, folder = sys.stdin.buffer.read(), "<stdin>", ""
        return _run(source, name, [path, *arguments], folder, {})
    full = os.path.abspath(path)
    if os.path.isdir(full) or not full.endswith((".py", ".pyw")) and _is_zip(full):
        return module("__main__", arguments, first=full, argv0=path)
    try:
        with io.open_code(full) as f:
            source = f.read()
    except OSError as e:
        print(f"{sys.executable}: can't open file {full!r}: [Errno {e.errno}] {e.strerror}", file=sys.stderr)
        sys.exit(2)
    _run(source, full, [path, *arguments], os.path.dirname(os.path.realpath(full)), {"__file__": full})


def code(source: str, arguments: Sequence[str]) -> None:
    """Run a program given as text."""
    _run(source, "<string>", ["-c", *arguments], "", {})


def module(name: str, arguments: Sequence[str], first: str | None = None, argv0: str | None = None) -> None:
    """Run a module, or a package's ``__main__``; `first` goes in front of ``sys.path``."""
    _prepare([name if argv0 is None else argv0, *arguments], os.getcwd() if first is None else first)
    try:
        # what ``python -m`` itself asks
        if first is None:
            _, spec, program = runpy._get_module_details(name, runpy._Error)  # type: ignore[attr-defined]
        else:
            _, spec, program = runpy._get_main_module_details(runpy._Error)  # type: ignore[attr-defined]
    except runpy._Error as e:  # type: ignore[attr-defined]
        sys.exit(f"{sys.executable}: {e}")
    except BaseException as e:
        _show_without_us(e)
        raise
    sys.argv[0] = spec.origin if argv0 is None else argv0
    _execute(
        program,
        {
            **{"__file__": spec.origin, "__cached__": spec.cached, "__loader__": spec.loader},
            **{"__package__": spec.parent, "__spec__": spec if argv0 is None else None},
        },
    )


def _is_zip(path: str) -> bool:
    import zipfile

    return os.path.isfile(path) and zipfile.is_zipfile(path)


def _run(source: bytes | str, name: str, argv: Sequence[str], folder: str, names: dict[str, Any]) -> None:
    _prepare(argv, folder)
    try:
        program = compile(source, name, "exec", dont_inherit=True)
    except BaseException as e:
        _show_without_us(e)
        raise
    _execute(program, {"__package__": None, "__cached__": None, **names})


def _prepare(argv: Sequence[str], folder: str) -> None:
    install()
    path = os.environ.get("PYTHONPATH")
    if path is None or path.split(os.pathsep)[0] != _CHILDREN:
        os.environ["PYTHONPATH"] = _CHILDREN + os.pathsep + path if path else _CHILDREN
    sys.argv[:] = argv
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder  # ``python -m flambeau`` has put the working directory there
    if _CHILDREN not in sys.path:  # pytest-xdist gives its workers the parent's path
        sys.path.insert(1, _CHILDREN)


def _execute(program: CodeType, names: dict[str, Any]) -> None:
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__, __annotations__={}, **names)
    _kept.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    try:
        exec(program, main.__dict__)
    except SystemExit:
        raise
    except BaseException as e:
        _show_without_us(e)
        raise


def _show_without_us(error: BaseException) -> None:
    """Have the traceback of `error` begin with the program, as if Python itself had started it."""
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], e: BaseException, tb: TracebackType | None) -> None:
        sys.excepthook = hook
        while e is error and tb is not None and tb.tb_frame.f_code.co_filename in _OURS:
            tb = tb.tb_next
        e.__traceback__ = tb
        hook(kind, e, tb)

    sys.excepthook = excepthook
