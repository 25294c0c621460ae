"""Modules whose parameters are spread over processes: absent, but for their names in programs' type checks."""

from __future__ import annotations

from typing import Any, NoReturn

from ..runtime.absent import WHERE
from ..runtime.absent import names_of as _names_of

__all__ = ["FSDPModule", "FullyShardedDataParallel", "MixedPrecisionPolicy", "fully_shard"]


def _raise(name: str) -> NoReturn:
    raise RuntimeError(f"torch.distributed.fsdp.{name} is absent: there is one process ({WHERE})")


class FSDPModule:
    """A module that `fully_shard` has spread.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _raise(type(self).__name__)


class FullyShardedDataParallel(FSDPModule):
    """A module around another one, which it spreads.  Nothing is an instance."""


class MixedPrecisionPolicy(FSDPModule):
    """In which dtypes a spread module computes.  Nothing is an instance."""


def fully_shard(*args: Any, **kwargs: Any) -> FSDPModule:
    """Raises RuntimeError."""
    _raise("fully_shard")


__getattr__ = _names_of(__name__)
