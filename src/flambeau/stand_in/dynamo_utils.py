"""The names of ``torch._dynamo.utils`` that programs use."""

from __future__ import annotations

import warnings

from ..runtime.absent import names_of

_warned: set[str] = set()


def warn_once(msg: str, stacklevel: int = 1) -> None:
    """Warns, unless it has said so before."""
    if msg not in _warned:
        _warned.add(msg)
        warnings.warn(msg, stacklevel=stacklevel + 1)


def is_compile_supported(device_type: str) -> bool:
    """Whether functions of tensors on this device can be compiled."""
    return device_type == "cpu"


__getattr__ = names_of(__name__)
