"""Calling functions in other processes: absent."""

from __future__ import annotations

from typing import Any, NoReturn

from ..runtime.absent import WHERE
from ..runtime.absent import names_of as _names_of

__all__ = ["init_rpc", "is_available", "rpc_async", "rpc_sync", "shutdown"]


def is_available() -> bool:
    """False."""
    return False


def _raise(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.distributed.rpc.{name} is absent: there are collectives and messages ({WHERE})"
    )


def init_rpc(*args: Any, **kwargs: Any) -> None:
    """Raises RuntimeError."""
    _raise("init_rpc")


def rpc_async(*args: Any, **kwargs: Any) -> Any:
    """Raises RuntimeError."""
    _raise("rpc_async")


def rpc_sync(*args: Any, **kwargs: Any) -> Any:
    """Raises RuntimeError."""
    _raise("rpc_sync")


def shutdown(*args: Any, **kwargs: Any) -> None:
    """Raises RuntimeError."""
    _raise("shutdown")


__getattr__ = _names_of(__name__)
