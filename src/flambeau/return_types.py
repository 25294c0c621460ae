"""The named tuples that operations return: ``return_types.sort`` and others."""

from __future__ import annotations

from typing import Any

from .ops import reduce as _reduce


def __getattr__(name: str) -> Any:
    found = getattr(_reduce, name, None)
    if isinstance(found, type) and issubclass(found, tuple) and found.__name__ == name:
        return found
    raise AttributeError(f"module 'flambeau.return_types' has no attribute {name!r}")
