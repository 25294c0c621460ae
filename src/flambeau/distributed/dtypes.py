"""How processes name dtypes to each other."""

from __future__ import annotations

from typing import Any

from ..runtime import dtypes

__all__ = ["code_of", "described"]

CODES = {d.numpy: i + 1 for i, d in enumerate(dtypes.ALL)}
_NAMES = {i + 1: d.name for i, d in enumerate(dtypes.ALL)}


def code_of(array: Any) -> int:
    """The number of an array's dtype."""
    return CODES[array.dtype]


def described(code: int, length: int) -> str:
    """So many bytes of a dtype, in words."""
    name = _NAMES.get(code)
    if name is None:
        return f"{length} bytes"
    size = next(d.itemsize for d, c in CODES.items() if c == code)
    return f"{length // size} elements of {name}" if length % size == 0 else f"{length} bytes of {name}"
