"""The command line: ``python -m flambeau run script.py [args]``."""

from __future__ import annotations

import sys

USAGE = """\
usage: python -m flambeau run SCRIPT [ARGUMENT ...]
       python -m flambeau run -m MODULE [ARGUMENT ...]
       python -m flambeau run -c CODE [ARGUMENT ...]
       python -m flambeau --version

Runs a program written for PyTorch, unmodified: what it imports as torch is flambeau.
SCRIPT may be -, for standard input."""


def main() -> None:
    """Run the command that ``sys.argv`` names.  Wrong usage is explained on stderr, with exit code 2."""
    from .stand_in import run

    arguments = sys.argv[1:]
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help") or command == "run" and rest[:1] in (["-h"], ["--help"]):
        print(USAGE)
    elif command == "--version":
        from . import __version__

        print(__version__)
    elif command != "run":
        sys.exit(_wrong(f"there is no command {command!r}"))
    elif not rest or rest[0] in ("-m", "-c") and len(rest) == 1:
        sys.exit(_wrong(f"run: expected something to run{' after ' + rest[0] if rest else ''}"))
    elif rest[0] == "-m":
        run.module(rest[1], rest[2:])
    elif rest[0] == "-c":
        run.code(rest[1], rest[2:])
    elif rest[0].startswith("-") and rest[0] != "-":
        sys.exit(_wrong(f"run: there is no option {rest[0]!r}"))
    else:
        run.script(rest[0], rest[1:])


def _wrong(message: str) -> int:
    print(f"flambeau: {message}\n{USAGE}", file=sys.stderr)
    return 2
