"""`FullyShardedDataParallel` is absent; its class and its options exist for programs that import them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from ...runtime.absent import WHERE
from ...runtime.absent import names_of as _names_of

__all__ = [
    "BackwardPrefetch",
    "CPUOffload",
    "FullOptimStateDictConfig",
    "FullStateDictConfig",
    "FullyShardedDataParallel",
    "MixedPrecision",
    "OptimStateKeyType",
    "ShardedOptimStateDictConfig",
    "ShardedStateDictConfig",
    "ShardingStrategy",
    "StateDictType",
]


class FullyShardedDataParallel:
    """A module around another one, which it spreads.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "FullyShardedDataParallel is absent: use nn.parallel.DistributedDataParallel, whose processes have whole "
            f"modules ({WHERE})"
        )


class ShardingStrategy(enum.Enum):
    """What is spread."""

    FULL_SHARD = 1
    SHARD_GRAD_OP = 2
    NO_SHARD = 3
    HYBRID_SHARD = 4
    _HYBRID_SHARD_ZERO2 = 5


class BackwardPrefetch(enum.Enum):
    """When parameters are gathered in a backward pass."""

    BACKWARD_PRE = 1
    BACKWARD_POST = 2


class StateDictType(enum.Enum):
    """What a state dict has of the parameters."""

    FULL_STATE_DICT = 1
    LOCAL_STATE_DICT = 2
    SHARDED_STATE_DICT = 3


class OptimStateKeyType(enum.Enum):
    """What the keys of an optimizer's state are."""

    PARAM_NAME = 1
    PARAM_ID = 2


@dataclass
class MixedPrecision:
    """In which dtypes a spread module computes."""

    param_dtype: Any = None
    reduce_dtype: Any = None
    buffer_dtype: Any = None
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True


@dataclass
class CPUOffload:
    """Whether parameters are kept on the CPU."""

    offload_params: bool = False


@dataclass
class FullStateDictConfig:
    """Options of whole state dicts."""

    offload_to_cpu: bool = False
    rank0_only: bool = False


@dataclass
class ShardedStateDictConfig:
    """Options of spread state dicts."""

    offload_to_cpu: bool = False


@dataclass
class FullOptimStateDictConfig:
    """Options of whole state dicts of optimizers."""

    offload_to_cpu: bool = True
    rank0_only: bool = False


@dataclass
class ShardedOptimStateDictConfig:
    """Options of spread state dicts of optimizers."""

    offload_to_cpu: bool = True


__getattr__ = _names_of(__name__)
