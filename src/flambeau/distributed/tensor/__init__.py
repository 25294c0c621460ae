"""Tensors spread over processes: absent, but for their names in programs' type checks."""

from __future__ import annotations

from typing import Any, NoReturn

from ...runtime.absent import WHERE
from ...runtime.absent import names_of as _names_of

__all__ = ["DTensor", "Partial", "Placement", "Replicate", "Shard", "distribute_tensor"]


def _raise(name: str) -> NoReturn:
    raise RuntimeError(f"torch.distributed.tensor.{name} is absent: there is one process ({WHERE})")


class DTensor:
    """A tensor spread over processes.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _raise(type(self).__name__)


class Placement(DTensor):
    """How a tensor is spread.  Nothing is an instance."""


class Replicate(Placement):
    """All of it everywhere.  Nothing is an instance."""


class Shard(Placement):
    """A part of a dim each.  Nothing is an instance."""


class Partial(Placement):
    """Summands.  Nothing is an instance."""


def distribute_tensor(*args: Any, **kwargs: Any) -> DTensor:
    """Raises RuntimeError."""
    _raise("distribute_tensor")


__getattr__ = _names_of(__name__)
