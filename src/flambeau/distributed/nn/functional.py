"""Collectives that can be differentiated: the backward pass of each is the collective that goes the other way.

Gradients are those of the sum of what all processes compute.  All processes have to run the backward pass, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...autograd import Function
from ...core.tensor import Tensor
from .. import collectives
from ..group import get_group_rank, the
from ..reductions import ReduceOp

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]


class _AllReduce(Function):
    @staticmethod
    def forward(ctx: Any, op: Any, group: Any, tensor: Any) -> Any:
        ctx.by, ctx.group = op, group
        result = tensor.clone()
        collectives.all_reduce(result, op, group)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, _AllReduce.apply(ctx.by, ctx.group, grad)


class _Broadcast(Function):
    @staticmethod
    def forward(ctx: Any, root: int, group: Any, tensor: Any) -> Any:
        ctx.root, ctx.group = root, group
        result = tensor.clone()
        collectives.broadcast(result, group=group, group_src=root)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        total = _Reduce.apply(ctx.root, ReduceOp.SUM, ctx.group, grad)
        return None, None, total if ctx.group.rank() == ctx.root else ops.zeros_like(total)


class _Reduce(Function):
    @staticmethod
    def forward(ctx: Any, root: int, op: Any, group: Any, tensor: Any) -> Any:
        ctx.root, ctx.group = root, group
        result = tensor.clone()
        collectives.reduce(result, op=op, group=group, group_dst=root)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, None, _Broadcast.apply(ctx.root, ctx.group, grad)


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, root: int, group: Any, tensor: Any) -> Any:
        ctx.root, ctx.group = root, group
        results = [ops.zeros_like(tensor) for _ in range(group.size())]
        own = tensor.contiguous()
        collectives.gather(own, results if group.rank() == root else None, group=group, group_dst=root)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None, _Scatter.apply(ctx.root, ctx.group, *grads)


class _Scatter(Function):
    @staticmethod
    def forward(ctx: Any, root: int, group: Any, *tensors: Any) -> Any:
        ctx.root, ctx.group = root, group
        result = ops.zeros_like(tensors[0])
        given = list(tensors) if group.rank() == root else None
        collectives.scatter(result, given, group=group, group_src=root)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, *_Gather.apply(ctx.root, ctx.group, grad)


class _AllGather(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, tensor: Any) -> Any:
        ctx.group = group
        results = [ops.empty_like(tensor) for _ in range(group.size())]
        collectives.all_gather(results, tensor, group)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, _ReduceScatter.apply(ReduceOp.SUM, ctx.group, *grads)


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx: Any, op: Any, group: Any, *tensors: Any) -> Any:
        ctx.group = group
        result = ops.empty_like(tensors[group.rank()])
        collectives.reduce_scatter(result, list(tensors), op, group)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, None, *_AllGather.apply(ctx.group, grad)


class _AllToAll(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, outputs: Any, *tensors: Any) -> Any:
        ctx.group, ctx.like = group, [ops.empty_like(t) for t in tensors]
        results = [ops.empty_like(t) for t in outputs]
        collectives.all_to_all(results, list(tensors), group)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None, *_AllToAll.apply(ctx.group, ctx.like, *grads)


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes."""
    return _AllGather.apply(the(group), tensor)  # type: ignore[no-any-return]


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The tensors of all processes, combined; the backward pass combines the gradients in the same way."""
    return _AllReduce.apply(op, the(group), tensor)  # type: ignore[no-any-return]


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of rank `src`."""
    return _Broadcast.apply(get_group_rank(group, src), the(group), tensor)  # type: ignore[no-any-return]


def reduce(tensor: Tensor, dst: int, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The tensors of all processes, combined, at rank `dst`; at the others, their own."""
    return _Reduce.apply(get_group_rank(group, dst), op, the(group), tensor)  # type: ignore[no-any-return]


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes, at rank `dst`; at the others, zeros."""
    return _Gather.apply(get_group_rank(group, dst), the(group), tensor)  # type: ignore[no-any-return]


def scatter(tensors: Sequence[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """The entry for this process of the list of rank `src`; the lists of others say the shapes."""
    return _Scatter.apply(get_group_rank(group, src), the(group), *tensors)  # type: ignore[no-any-return]


def reduce_scatter(
    output: Tensor, input_list: Sequence[Tensor], op: Any = ReduceOp.SUM, group: Any = None
) -> Tensor:
    """The entry for this process of the lists of all, combined.  `output` is not written to."""
    return _ReduceScatter.apply(op, the(group), *input_list)  # type: ignore[no-any-return]


def all_to_all(
    output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor], group: Any = None
) -> tuple[Tensor, ...]:
    """What each process sends to this one; the output list says the shapes, and is not written to."""
    return _AllToAll.apply(the(group), tuple(output_tensor_list), *input_tensor_list)  # type: ignore[no-any-return]


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Sequence[int] | None = None,
    input_split_sizes: Sequence[int] | None = None,
    group: Any = None,
) -> Tensor:
    """The parts that all processes send to this one, behind each other; equal parts without sizes."""
    n = the(group).size()
    outputs = output.split(list(output_split_sizes or [output.shape[0] // n] * n))
    inputs = input.split(list(input_split_sizes or [input.shape[0] // n] * n))
    return ops.cat(all_to_all(outputs, inputs, group))  # type: ignore[no-any-return]
