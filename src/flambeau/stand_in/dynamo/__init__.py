"""The few names of ``torch._dynamo`` that programs use; the compiler's own are in `flambeau.compiler`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from ...compiler import allow_in_graph, assume_constant_result, disable, is_compiling, list_backends, reset
from ...runtime.absent import names_of
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


class _Settings(SimpleNamespace):
    """Settings of PyTorch's compiler, without effect."""

    @contextlib.contextmanager
    def patch(self, changes: Any = None, /, **settings: Any) -> Iterator[None]:
        """Other settings for the length of a ``with`` block or a decorated function."""
        if isinstance(changes, str):
            changes = {changes: settings.pop("value", None)}
        before = dict(vars(self))
        vars(self).update(changes or {}, **settings)
        try:
            yield
        finally:
            vars(self).clear()
            vars(self).update(before)


config = _Settings()


def mark_static_address(t: Any, guard: bool = False) -> None:
    """Without effect: compiled functions find out where their arguments lie."""


def mark_dynamic(t: Any, index: Any, **limits: Any) -> None:
    """Without effect: compiled functions take any sizes."""


__getattr__ = names_of(__name__)
