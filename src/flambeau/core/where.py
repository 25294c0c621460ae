"""The user's source line behind an operation: taken cheaply, resolved only for an error message."""

from __future__ import annotations

import os
import sys
from types import CodeType

from .state import everyone

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_internal: dict[str, bool] = {}  # file name -> is it one of ours?  (a dict look-up is all that a frame costs)

Place = tuple[CodeType, int] | None


def user_place(depth: int = 2) -> Place:
    """(code, last instruction) of the nearest frame outside the package, or None.

    The line number is not computed here: decoding the line table of a long module costs microseconds.
    """
    frame = sys._getframe(depth)
    while frame is not None:
        name = frame.f_code.co_filename
        ours = _internal.get(name)
        if ours is None:
            ours = _internal[name] = name.startswith(_PACKAGE)
        if not ours:
            return frame.f_code, frame.f_lasti
        frame = frame.f_back  # type: ignore[assignment]
    return None


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning about the nearest line outside the package, however many of our own calls are in between."""
    import warnings

    if everyone.listener is not None:  # the next call has to warn, too
        everyone.listener(None, (), {}, None)
    level, frame = 2, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level += 1
        frame = frame.f_back  # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)


def describe(place: Place) -> str:
    """`file:line: source text` of a place, for messages."""
    if place is None:
        return "an unknown line"
    code, last = place
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= last < end and number is not None:
            line = number
            break
    import linecache  # loads the tokenizer: only for a message

    text = linecache.getline(code.co_filename, line).strip()
    return f'File "{code.co_filename}", line {line}' + (f": {text}" if text else "")
