"""What a `DistributedDataParallel` without inputs does while others have some, and what those do more."""

from __future__ import annotations

from typing import Any

from ... import ops
from ..collectives import all_reduce
from ..reductions import ReduceOp
from .join import Join, JoinHook

__all__ = ["DDPJoinHook", "before_backward", "begin", "common_rank"]


def common_rank(group: Any, candidate: bool) -> int:
    """The highest rank that is a candidate."""
    rank = ops.tensor([group.rank() if candidate else -1])
    all_reduce(rank, ReduceOp.MAX, group)
    return int(rank.item())


def begin(ddp: Any) -> None:
    """At the start of a forward pass of a process that has inputs."""
    work = Join.notify_join_context(ddp)
    if work is not None:
        work.wait()
        if not ddp._divide_by_initial_world_size:
            ddp.reducer.divisor = int(work.result()[0].item())


def before_backward(ddp: Any, syncing: bool) -> bool:
    """Agree on whether gradients will be averaged."""
    flag = ops.ones(1) if syncing else ops.zeros(1)
    all_reduce(flag, group=ddp.process_group)
    return bool(flag.item())


class DDPJoinHook(JoinHook):
    """Repeats what a forward and a backward pass do together."""

    def __init__(self, ddp: Any, divide_by_initial_world_size: bool) -> None:
        self.ddp = ddp
        ddp._divide_by_initial_world_size = divide_by_initial_world_size

    def main_hook(self) -> None:
        """Take part in one step of the others."""
        ddp = self.ddp
        if ddp.will_sync_module_buffers():
            ddp._sync_buffers(common_rank(ddp.process_group, False))
        syncing = before_backward(ddp, False)
        ddp.require_forward_param_sync = syncing
        if syncing:
            ddp.reducer.shadow()

    def post_hook(self, is_last_joiner: bool) -> None:
        """Give all processes the model of one that had inputs to the end."""
        self.ddp._sync_all(common_rank(self.ddp.process_group, is_last_joiner))
        self.ddp.reducer.divisor = self.ddp.process_group.size()
