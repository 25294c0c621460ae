"""What a module says of a name that it does not have: which, and where to read why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dis import opmap

_IMPORT_FROM = opmap["IMPORT_FROM"]
WHERE = "what is absent, and why: docs/compatibility.md"


def no_such_name(module: str, name: str, depth: int = 2) -> Exception:
    """The error for `name`: an ImportError where a ``from module import name`` asked, else an AttributeError.

    `depth` is the number of frames from here to the code that asked.
    """
    frame = sys._getframe(depth)
    at, code = frame.f_lasti, frame.f_code.co_code
    if not name.startswith("__") and 0 <= at < len(code) and code[at] == _IMPORT_FROM:
        # An AttributeError would be replaced by Python's own message, which points nowhere.
        return ImportError(f"cannot import name {name!r} from {module!r} ({WHERE})", name=module)
    if name.startswith("__"):
        return AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    return AttributeError(f"module {module!r} has no attribute {name!r} ({WHERE})", name=name)


def names_of(module: str) -> Callable[[str], object]:
    """A ``__getattr__`` for a module that has no lazy names."""

    def __getattr__(name: str) -> object:
        raise no_such_name(module, name)

    return __getattr__
