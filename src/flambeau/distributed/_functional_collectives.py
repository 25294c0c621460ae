"""Collectives that return new tensors; what they return is there already (`wait_tensor`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from ..runtime.absent import names_of as _names_of
from . import collectives
from .group import the
from .nn.functional import all_to_all_single
from .reductions import ReduceOp

__all__ = [
    "all_gather_tensor",
    "all_reduce",
    "all_to_all_single_autograd",
    "broadcast",
    "reduce_scatter_tensor",
    "wait_tensor",
]


def wait_tensor(tensor: Tensor) -> Tensor:
    """`tensor`: it is there."""
    return tensor


def _op(name: str) -> ReduceOp:
    return ReduceOp[name.upper()]


def all_reduce(self: Tensor, reduceOp: str, group: Any, tag: str = "") -> Tensor:
    """The tensors of all processes, combined by "sum", "avg", "max" and so on."""
    result: Tensor = self.detach().clone()
    collectives.all_reduce(result, _op(reduceOp), group)
    return result


def broadcast(self: Tensor, src: int, group: Any, tag: str = "") -> Tensor:
    """The tensor of rank `src`."""
    result: Tensor = self.detach().clone()
    collectives.broadcast(result, src, group)
    return result


def all_gather_tensor(self: Tensor, gather_dim: int, group: Any, tag: str = "") -> Tensor:
    """The tensors of all processes, behind each other along a dim."""
    parts = [ops.empty_like(self) for _ in range(the(group).size())]
    collectives.all_gather(parts, self.detach(), group)
    result: Tensor = ops.cat(parts, gather_dim)
    return result


def reduce_scatter_tensor(self: Tensor, reduceOp: str, scatter_dim: int, group: Any, tag: str = "") -> Tensor:
    """The tensors of all processes, combined; of the result this process's part along a dim."""
    parts: Sequence[Tensor] = self.detach().chunk(the(group).size(), scatter_dim)
    result: Tensor = ops.empty_like(parts[the(group).rank()])
    collectives.reduce_scatter(result, list(parts), _op(reduceOp), group)
    return result


all_to_all_single_autograd = all_to_all_single

__getattr__ = _names_of(__name__)
