"""Operations that programs register under a name of their own, ``torch.ops.<namespace>.<name>``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..runtime.absent import WHERE

NAMESPACES: dict[str, Namespace] = {}


class Namespace:
    """The operations of one namespace, as attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"'_OpNamespace' '{self._name}' object has no attribute '{name}': "
            "nothing of this name was registered through torch.library",
            name=name,
        )

    def __repr__(self) -> str:
        return f"<namespace of operations {self._name}>"


def register(namespace: str, name: str, op: Callable[..., Any]) -> None:
    """Make `op` reachable as ``torch.ops.<namespace>.<name>``."""
    setattr(NAMESPACES.setdefault(namespace, Namespace(namespace)), name, op)


def load_library(path: Any) -> None:
    """Raises: OSError: libraries of C++ operations are written against PyTorch's internals.

    Programs that can do without them catch this error.
    """
    raise OSError(f"Could not load this library: {path}: it needs PyTorch's C++ internals ({WHERE})")
