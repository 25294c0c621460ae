"""Exchanging gradients as they are, or rounded to 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....core.tensor import Tensor
from ....futures import Future
from ....runtime import dtypes
from ...collectives import all_reduce
from ...group import the
from ...reducer import GradBucket

__all__ = [
    "allreduce_hook",
    "bf16_compress_hook",
    "bf16_compress_wrapper",
    "fp16_compress_hook",
    "fp16_compress_wrapper",
]

Hook = Callable[[Any, GradBucket], Future[Tensor]]


def _summed(tensor: Tensor, group: Any) -> Future[Any]:
    work = all_reduce(tensor, group=group, async_op=True)
    assert work is not None
    return work.get_future()


def allreduce_hook(process_group: Any, bucket: GradBucket) -> Future[Tensor]:
    """The average over the processes, as without a hook.  `process_group` may be None: all processes."""
    group = the(process_group)
    return _summed(bucket.buffer().div_(group.size()), group).then(lambda f: f.value()[0])


def _compressed(d: Any, process_group: Any, bucket: GradBucket) -> Future[Tensor]:
    group, buffer = the(process_group), bucket.buffer()
    small = buffer.to(d).div_(group.size())
    return _summed(small, group).then(lambda f: buffer.copy_(f.value()[0]))


def fp16_compress_hook(process_group: Any, bucket: GradBucket) -> Future[Tensor]:
    """The average over the processes, of gradients that are rounded to float16: half of the bytes are sent."""
    return _compressed(dtypes.float16, process_group, bucket)


def bf16_compress_hook(process_group: Any, bucket: GradBucket) -> Future[Tensor]:
    """The average over the processes, of gradients that are rounded to bfloat16: half of the bytes are sent."""
    return _compressed(dtypes.bfloat16, process_group, bucket)


def _wrapped(d: Any, hook: Hook) -> Hook:
    def rounded(state: Any, bucket: GradBucket) -> Future[Tensor]:
        whole = bucket.buffer()
        bucket.set_buffer(whole.to(d))
        return hook(state, bucket).then(lambda f: whole.copy_(f.value()))

    return rounded


def fp16_compress_wrapper(hook: Hook) -> Hook:
    """`hook` on gradients that are rounded to float16."""
    return _wrapped(dtypes.float16, hook)


def bf16_compress_wrapper(hook: Hook) -> Hook:
    """`hook` on gradients that are rounded to bfloat16."""
    return _wrapped(dtypes.bfloat16, hook)
