"""How tensors are spread over processes: the names of `flambeau.distributed.tensor`."""

from __future__ import annotations

from dataclasses import dataclass

from ...runtime.absent import names_of as _names_of
from . import Partial, Placement, Replicate, Shard

__all__ = ["Partial", "Placement", "Replicate", "Shard"]


@dataclass(frozen=True)
class _StridedShard(Shard):
    """A part of a dim each, in turns."""

    split_factor: int = 1


__getattr__ = _names_of(__name__)
