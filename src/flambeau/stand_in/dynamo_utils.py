"""The names of ``torch._dynamo.utils`` that programs use."""

from __future__ import annotations

from ..runtime.absent import names_of


def is_compile_supported(device_type: str) -> bool:
    """Whether functions of tensors on this device can be compiled."""
    return device_type == "cpu"


__getattr__ = names_of(__name__)
