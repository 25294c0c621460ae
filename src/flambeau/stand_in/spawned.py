"""Processes started by ``multiprocessing`` with a fresh interpreter get the stand-in before they import anything."""

from __future__ import annotations

import multiprocessing.spawn as spawn
from collections.abc import Callable
from typing import Any

_original = spawn.get_preparation_data


class _Call:
    """Calls a function when it is unpickled, which in a new process is before the main module is imported."""

    def __init__(self, fn: Callable[[], None]) -> None:
        self.fn = fn

    def __reduce__(self) -> Any:
        return self.fn, ()


def remember(fn: Callable[[], None]) -> None:
    """Have new processes call `fn` first."""

    def get_preparation_data(name: str) -> Any:
        return {"flambeau": _Call(fn), **_original(name)}

    setattr(spawn, "get_preparation_data", get_preparation_data)


def forget() -> None:
    """Undo `remember`."""
    setattr(spawn, "get_preparation_data", _original)
