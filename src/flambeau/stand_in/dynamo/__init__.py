"""The few names of ``torch._dynamo`` that programs use; the compiler's own are in `flambeau.compiler`."""

from __future__ import annotations

from typing import Any

from ...compiler import allow_in_graph, assume_constant_result, disable, is_compiling, list_backends, reset
from ...runtime.absent import names_of
from . import config
from .eval_frame import OptimizedModule

__all__ = [
    "OptimizedModule",
    "allow_in_graph",
    "assume_constant_result",
    "config",
    "disable",
    "is_compiling",
    "list_backends",
    "reset",
]


def mark_static_address(t: Any, guard: bool = False) -> None:
    """Without effect: compiled functions find out where their arguments lie."""


def mark_dynamic(t: Any, index: Any, **limits: Any) -> None:
    """Without effect: compiled functions take any sizes."""


__getattr__ = names_of(__name__)
