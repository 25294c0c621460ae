"""Names of ``torch.onnx.symbolic_helper`` and its kin, for modules that define exports of their own operations.

Nothing is exported (`flambeau.onnx`), so what they define is never called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..runtime.absent import names_of

F = TypeVar("F")


def parse_args(*arg_descriptors: str) -> Callable[[F], F]:
    """A decorator that changes nothing."""
    return lambda fn: fn


__getattr__ = names_of(__name__)
