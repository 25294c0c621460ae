"""The named tuples that operations return: ``return_types.sort`` and others."""

from __future__ import annotations

from typing import Any

from .ops import reduce as _reduce


def __getattr__(name: str) -> Any:
    if name in _reduce.NAMED:
        return _reduce.NAMED[name]
    raise AttributeError(f"module 'flambeau.return_types' has no attribute {name!r}")
