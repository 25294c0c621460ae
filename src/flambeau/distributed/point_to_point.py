"""From one process to another: `send` and `recv`, and the barrier that says who is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from ..core.tensor import Tensor
from .buffers import Written, check_tensor, read
from .dtypes import code_of
from .errors import DistBackendError
from .group import member_of, rank_in, the
from .process_group import ProcessGroup
from .work import Work

__all__ = ["P2POp", "batch_isend_irecv", "irecv", "isend", "monitored_barrier", "recv", "send"]


def _not_self(group: ProcessGroup, rank: int, what: str) -> None:
    if rank == group.rank():
        raise ValueError(
            f"Invalid {what} rank: {what} rank should not be the same as the rank of the current process."
        )


def _posted(group: ProcessGroup, array: Any, peer: int, tag: int, timeout: timedelta | None = None) -> Work:
    work = group.letter_work(f"send to rank {group.ranks[peer]} (tag {tag})", timeout=timeout)
    work._held = array
    group.post.send(peer, tag, array, code_of(array), work)
    return work


def isend(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:
    """Begin to send a tensor to rank `dst`, which takes it by a `recv` with the same `tag`, a number not below 0.

    The tensor must not be changed before the work is done.

    Raises: ValueError for this process's own rank.
    """
    check_tensor(tensor, "tensor")
    found = member_of(group, "isend")
    if found is None:
        return None
    peer = rank_in(found, dst, group_dst, "dst")
    _not_self(found, peer, "destination")
    work = _posted(found, read(tensor), peer, _checked(tag))
    work._result = [tensor]
    return work


def irecv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """Begin to receive a tensor from rank `src`, or from any; messages of one sender and tag come in their order.

    Raises: ValueError for this process's own rank.
    """
    check_tensor(tensor, "tensor")
    found = member_of(group, "irecv")
    if found is None:
        return None
    peer = None if src is None and group_src is None else rank_in(found, src, group_src, "src")
    if peer is not None:
        _not_self(found, peer, "source")
    elif found.size() == 1:
        _not_self(found, 0, "source")
    whom = "any rank" if peer is None else f"rank {found.ranks[peer]}"
    x = Written(tensor, "recv", keep=False)
    work = found.letter_work(f"recv from {whom} (tag {tag})", [tensor])
    if not x.array.flags.c_contiguous:
        work._before_end = x.finish
    found.post.receive(peer, _checked(tag), x.flat, code_of(x.flat), work)
    return work


def _checked(tag: int) -> int:
    if tag < 0:
        raise ValueError(f"tag {tag}: tags are not below 0")
    return tag


def send(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """`isend`, and wait until the tensor may be changed."""
    work = isend(tensor, dst, group, tag, group_dst)
    if work is not None:
        work.wait()


def recv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """`irecv`, and wait for the tensor; the rank that it came from (-1 where this process is not in the group).

    Raises: DistBackendError where it does not come within the group's timeout, its sender has ended, or it has
    another size or dtype than the tensor.
    """
    work = irecv(tensor, src, group, tag, group_src)
    if work is None:
        return -1
    work.wait()
    return the(group).ranks[work.source_rank()]


class P2POp:
    """One of the sends and receives of `batch_isend_irecv`: `isend` or `irecv`, the tensor, the other rank, the tag.

    Raises: ValueError for another function.
    """

    def __init__(
        self,
        op: Callable[..., Any],
        tensor: Tensor,
        peer: int | None = None,
        group: Any = None,
        tag: int = 0,
        group_peer: int | None = None,
    ) -> None:
        if op not in (isend, irecv):
            raise ValueError(
                "Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or "
                "``torch.distributed.irecv``."
            )
        check_tensor(tensor, "tensor")
        self.op, self.tensor, self.tag, self.group = op, tensor, tag, the(group)
        self.group_peer = rank_in(self.group, peer, group_peer, "peer")
        self.peer = self.group.ranks[self.group_peer]

    def __repr__(self) -> str:
        own = self.group.rank()
        source, target = (own, self.group_peer) if self.op is isend else (self.group_peer, own)
        return (
            f"P2POp({self.op.__name__} pg={self.group.group_name}, group_src={source}, group_dst={target},  "
            f"{self.tensor.shape}, {self.tensor.dtype})"
        )


def batch_isend_irecv(p2p_op_list: Sequence[P2POp]) -> list[Work]:
    """Begin all of these; the works, in their order.

    Raises: ValueError for an empty list, what is no `P2POp`, and several groups.
    """
    if (
        not isinstance(p2p_op_list, list)
        or not p2p_op_list
        or not all(isinstance(p, P2POp) for p in p2p_op_list)
    ):
        raise ValueError(
            "Invalid ``p2p_op_list``. Each op is expected to to be of type ``torch.distributed.P2POp``."
        )
    if any(p.group is not p2p_op_list[0].group for p in p2p_op_list):
        raise ValueError("All ops need to use the same group.")
    works = []
    for p in p2p_op_list:
        where = {"group_dst" if p.op is isend else "group_src": p.group_peer}
        works.append(p.op(p.tensor, group=p.group, tag=p.tag, **where))
    return works


def monitored_barrier(
    group: Any = None, timeout: timedelta | None = None, wait_all_ranks: bool = False
) -> None:
    """Wait until all processes have come here; rank 0 of the group says which has not.

    With `wait_all_ranks` it names all that have not come, else the first.

    Raises: DistBackendError where they do not come within `timeout`, the group's by default.
    """
    import numpy as np

    found = member_of(group, "monitored_barrier")
    if found is None:
        return
    span = found.timeout if timeout is None else timeout
    tag, nothing = -1 - 2 * next(found.calls), np.empty(0, np.uint8)
    code = code_of(nothing)

    def receive(peer: int, label: int) -> Work:
        work = found.letter_work(f"letter of rank {found.ranks[peer]}", timeout=span)
        found.post.receive(peer, label, np.empty(0, np.uint8), code, work)
        return work

    if found.rank() != 0:
        _posted(found, nothing, 0, tag, span).wait()
        answer = receive(0, tag - 1)
        try:
            answer.wait(span * 2)  # rank 0 may have begun to wait only now
        except DistBackendError as error:
            raise DistBackendError(
                f"Rank {found.ranks[found.rank()]} successfully reached monitoredBarrier, but received errors while "
                f"waiting for send/recv from rank {found.ranks[0]}. Please check rank {found.ranks[0]} logs for "
                f"faulty rank. ({error})"
            ) from None
        return
    missing: list[int] = []
    for peer, work in [(p, receive(p, tag)) for p in range(1, found.size())]:
        try:
            work.wait()
        except DistBackendError as error:
            missing.append(found.ranks[peer])
            if not wait_all_ranks:
                raise DistBackendError(
                    f"Rank {found.ranks[peer]} failed to pass monitoredBarrier in "
                    f"{span.total_seconds() * 1000:.0f} ms ({error})"
                ) from None
    if missing:
        raise DistBackendError(
            f"Ranks {', '.join(map(str, missing))} failed to pass monitoredBarrier in "
            f"{span.total_seconds() * 1000:.0f} ms"
        )
    for peer in range(1, found.size()):
        _posted(found, nothing, peer, tag - 1, span).wait()
