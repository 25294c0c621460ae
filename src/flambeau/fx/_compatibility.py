"""PyTorch's mark of what stays as it is from version to version."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def compatibility(is_backward_compatible: bool) -> Callable[[T], T]:
    """A decorator that gives back what it is put on."""
    return lambda fn: fn
