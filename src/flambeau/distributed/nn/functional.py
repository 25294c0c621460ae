"""Collectives that can be differentiated, in the group of one process: results are the arguments, copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.tensor import Tensor
from ..collectives import _only
from ..group import ReduceOp, check_rank, the

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]


def _copy(tensor: Tensor) -> Tensor:
    copy: Tensor = tensor.clone()
    return copy


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes."""
    the(group)
    return (tensor.clone(),)


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The tensors of all processes, combined."""
    the(group)
    return _copy(tensor)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of rank `src`."""
    check_rank(group, src)
    return _copy(tensor)


def reduce(tensor: Tensor, dst: int, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The tensors of all processes, combined, at rank `dst`."""
    check_rank(group, dst)
    return _copy(tensor)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes, at rank `dst`."""
    check_rank(group, dst)
    return (tensor.clone(),)


def scatter(tensors: Sequence[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """The entry for this process of the list of rank `src`."""
    check_rank(group, src)
    return _copy(_only(tensors, "tensors"))


def reduce_scatter(
    output: Tensor, input_list: Sequence[Tensor], op: Any = ReduceOp.SUM, group: Any = None
) -> Tensor:
    """The entry for this process of the lists of all, combined."""
    the(group)
    return _copy(_only(input_list, "input_list"))


def all_to_all(
    output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor], group: Any = None
) -> tuple[Tensor, ...]:
    """What each process sends to this one."""
    the(group)
    return (_only(input_tensor_list, "input_tensor_list").clone(),)
