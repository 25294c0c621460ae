"""Tensors spread over processes: absent, but for their names in programs' type checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from ...runtime.absent import WHERE
from ...runtime.absent import names_of as _names_of

__all__ = ["DTensor", "Partial", "Placement", "Replicate", "Shard", "distribute_tensor"]


def _raise(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.distributed.tensor.{name} is absent: every process has whole tensors ({WHERE})"
    )


class DTensor:
    """A tensor spread over processes.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _raise(type(self).__name__)


class Placement:
    """How a tensor would be spread over processes: what programs say of it, as there are no such tensors."""

    def is_shard(self, dim: int | None = None) -> bool:
        """Whether each process has a part of a dim, or of `dim`."""
        return isinstance(self, Shard) and dim in (None, self.dim)

    def is_replicate(self) -> bool:
        """Whether each process has all."""
        return isinstance(self, Replicate)

    def is_partial(self, reduce_op: str | None = None) -> bool:
        """Whether the processes have summands."""
        return isinstance(self, Partial) and reduce_op in (None, self.reduce_op)


@dataclass(frozen=True)
class Replicate(Placement):
    """All of it everywhere."""


@dataclass(frozen=True)
class Shard(Placement):
    """A part of a dim each."""

    dim: int


@dataclass(frozen=True)
class Partial(Placement):
    """Summands."""

    reduce_op: str = "sum"


def distribute_tensor(*args: Any, **kwargs: Any) -> DTensor:
    """Raises RuntimeError."""
    _raise("distribute_tensor")


__getattr__ = _names_of(__name__)
