"""What processes of a group do together, in the group of one: tensors are checked and go where they would go."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..autograd import no_grad
from ..core.tensor import Tensor
from .group import ReduceOp, check_rank, the

__all__ = [
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "gather",
    "gather_object",
    "irecv",
    "isend",
    "monitored_barrier",
    "recv",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
    "send",
]


class Work:
    """What ``async_op=True`` gives: something that has been done already."""

    def wait(self, timeout: Any = None) -> bool:
        """True, at once."""
        return True

    def is_completed(self) -> bool:
        """True."""
        return True

    def is_success(self) -> bool:
        """True."""
        return True


def _done(async_op: bool) -> Work | None:
    return Work() if async_op else None


def _check(value: Any, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter {name!r} to be a tensor, not {value!r}"
        )


def _only(values: Sequence[Any] | None, name: str) -> Any:
    """The entry of a list that has one for each process."""
    if not isinstance(values, (list, tuple)) or len(values) != 1:
        found = f"{len(values)} entries" if isinstance(values, (list, tuple)) else repr(values)
        raise ValueError(f"{name} must have one entry for the one process of the group, got {found}")
    return values[0]


def _move(source: Any, target: Any, flat: bool = False) -> None:
    _check(source, "input")
    _check(target, "output")
    if source.dtype != target.dtype or (
        source.numel() != target.numel() if flat else source.shape != target.shape
    ):
        raise ValueError(
            f"the output, {tuple(target.shape)} {target.dtype}, must be as the input, "
            f"{tuple(source.shape)} {source.dtype}"
        )
    with no_grad():
        target.copy_(source.reshape(target.shape))


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """Combine the tensors of all processes, in place: of one process, `tensor` as it is."""
    _check(tensor, "tensor")
    the(group)
    return _done(async_op)


def broadcast(
    tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False, group_src: Any = None
) -> Work | None:
    """Give all processes the tensor of rank `src`, which is this one."""
    _check(tensor, "tensor")
    check_rank(group, group_src if src is None else src)
    return _done(async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: Any = None,
) -> Work | None:
    """Combine the tensors of all processes at rank `dst`, which is this one."""
    _check(tensor, "tensor")
    check_rank(group, group_dst if dst is None else dst)
    return _done(async_op)


def barrier(
    group: Any = None, async_op: bool = False, device_ids: Any = None, timeout: Any = None
) -> Work | None:
    """Wait for the other processes, of which there are none."""
    the(group)
    return _done(async_op)


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """As `barrier`."""
    the(group)


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Put the tensor of each process into `tensor_list`."""
    the(group)
    _move(tensor, _only(tensor_list, "tensor_list"))
    return _done(async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Put the tensors of all processes into one."""
    the(group)
    _move(input_tensor, output_tensor, flat=True)
    return _done(async_op)


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: Any = None,
) -> Work | None:
    """Put the tensor of each process into `gather_list` of rank `dst`, which is this one."""
    check_rank(group, group_dst if dst is None else dst)
    _move(tensor, _only(gather_list, "gather_list"))
    return _done(async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: Any = None,
) -> Work | None:
    """Give each process its entry of `scatter_list`."""
    check_rank(group, group_src if src is None else src)
    _move(_only(scatter_list, "scatter_list"), tensor)
    return _done(async_op)


def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """Combine the lists of all processes and give each its entry."""
    the(group)
    _move(_only(input_list, "input_list"), output)
    return _done(async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """Combine the tensors of all processes and give each its part."""
    the(group)
    _move(input, output, flat=True)
    return _done(async_op)


def all_to_all(
    output_tensor_list: list[Tensor],
    input_tensor_list: list[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """Send each process an entry and receive one from each."""
    the(group)
    _move(_only(input_tensor_list, "input_tensor_list"), _only(output_tensor_list, "output_tensor_list"))
    return _done(async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Any = None,
    input_split_sizes: Any = None,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """Send each process a part and receive one from each."""
    the(group)
    _move(input, output)
    return _done(async_op)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Put a copy of each process's object into `object_list`."""
    the(group)
    _only(object_list, "object_list")
    object_list[0] = copy.deepcopy(obj)


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: Any = None,
) -> None:
    """Give all processes the objects of rank `src`, which is this one."""
    check_rank(group, group_src if src is None else src)


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int | None = None,
    group: Any = None,
    group_dst: Any = None,
) -> None:
    """Put a copy of each process's object into `object_gather_list` of rank `dst`, which is this one."""
    check_rank(group, group_dst if dst is None else dst)
    _only(object_gather_list, "object_gather_list")
    assert object_gather_list is not None
    object_gather_list[0] = copy.deepcopy(obj)


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | None = None,
    group: Any = None,
    group_src: Any = None,
) -> None:
    """Give each process a copy of its entry of the list of rank `src`, which is this one."""
    check_rank(group, group_src if src is None else src)
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("scatter_object_output_list must be a list with at least one entry")
    scatter_object_output_list[0] = copy.deepcopy(
        _only(scatter_object_input_list, "scatter_object_input_list")
    )


def _nobody(what: str, group: Any) -> Any:
    the(group)
    raise ValueError(
        f"Invalid {what} rank: {what} rank should not be the same as the rank of the current process."
    )


def send(
    tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: Any = None
) -> None:
    """Raises ValueError: there is nobody else to send to."""
    _nobody("destination", group)


def isend(
    tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: Any = None
) -> Work | None:
    """Raises ValueError: there is nobody else to send to."""
    return _nobody("destination", group)  # type: ignore[no-any-return]


def recv(
    tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: Any = None
) -> int:
    """Raises ValueError: there is nobody else to receive from."""
    return _nobody("source", group)  # type: ignore[no-any-return]


def irecv(
    tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: Any = None
) -> Work | None:
    """Raises ValueError: there is nobody else to receive from."""
    return _nobody("source", group)  # type: ignore[no-any-return]
