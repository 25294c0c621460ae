"""What `load` raises: PyTorch's exception types, with the file, the entry and the reason in the message."""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["CorruptFileError", "UnsafeFileError", "brief"]


class CorruptFileError(RuntimeError):
    """The file is damaged, truncated, inconsistent, or not of a format that `load` reads."""

    def __init__(self, file: str, entry: str | None, reason: str) -> None:
        where = f"{file}: entry '{entry}'" if entry else file
        super().__init__(f"cannot load {where}: {reason}")


class UnsafeFileError(pickle.UnpicklingError):
    """The pickle in the file asks for something that `load(weights_only=True)` does not do."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"Weights only load failed for {file}: {reason}")


def brief(value: Any) -> str:
    """A value from a file for a message, in bounded space: parts that are shared make `repr` exponential."""
    if isinstance(value, tuple | list):
        shown = ", ".join(_brief_scalar(v) for v in value[:8])
        return f"({shown}{', ...' if len(value) > 8 else ''})"
    return _brief_scalar(value)


def _brief_scalar(value: Any) -> str:
    if isinstance(value, str | bytes):
        return repr(value[:80])
    if value is None or isinstance(value, float | bool) or type(value) is int and value.bit_length() < 128:
        return repr(value)
    return f"<{type(value).__name__}>"
