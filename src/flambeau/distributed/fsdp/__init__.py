"""Modules whose parameters are spread over processes: absent, but for their names in programs' type checks."""

from __future__ import annotations

from typing import Any, NoReturn

from ...runtime.absent import WHERE
from ...runtime.absent import names_of as _names_of
from .fully_sharded_data_parallel import (
    BackwardPrefetch,
    CPUOffload,
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
    MixedPrecision,
    OptimStateKeyType,
    ShardedOptimStateDictConfig,
    ShardedStateDictConfig,
    ShardingStrategy,
    StateDictType,
)

__all__ = [
    "BackwardPrefetch",
    "CPUOffload",
    "CPUOffloadPolicy",
    "FSDPModule",
    "FullOptimStateDictConfig",
    "FullStateDictConfig",
    "FullyShardedDataParallel",
    "MixedPrecision",
    "MixedPrecisionPolicy",
    "OffloadPolicy",
    "OptimStateKeyType",
    "ShardedOptimStateDictConfig",
    "ShardedStateDictConfig",
    "ShardingStrategy",
    "StateDictType",
    "fully_shard",
]


def _raise(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.distributed.fsdp.{name} is absent: use nn.parallel.DistributedDataParallel, whose processes have "
        f"whole modules ({WHERE})"
    )


class FSDPModule:
    """A module that `fully_shard` has spread.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _raise(type(self).__name__)


class MixedPrecisionPolicy(FSDPModule):
    """In which dtypes a spread module computes.  Nothing is an instance."""


class OffloadPolicy(FSDPModule):
    """Where a spread module keeps its parameters.  Nothing is an instance."""


class CPUOffloadPolicy(OffloadPolicy):
    """On the CPU.  Nothing is an instance."""


def fully_shard(*args: Any, **kwargs: Any) -> FSDPModule:
    """Raises RuntimeError."""
    _raise("fully_shard")


__getattr__ = _names_of(__name__)
