"""Averaging gradients over processes while the backward pass goes on: what `DistributedDataParallel` does.

Gradients are put into buckets, flat buffers of some megabytes, in the reverse order of the parameters, which is about
the order in which a backward pass finishes them.  A bucket that is full is summed over the processes in the background
(the group's own thread), always in the order of the buckets: it must be the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..autograd.engine import Engine
from ..core.eager import raw
from ..core.tape import AccumulateGrad
from ..core.tensor import Tensor, composed, from_array, mark_written, node_of
from .collectives import all_reduce
from .process_group import ProcessGroup
from .reductions import ReduceOp

__all__ = ["GradBucket", "Reducer"]

Hook = Callable[[Any, "GradBucket"], Any]
_WHAT = "DistributedDataParallel"


class GradBucket:
    """The gradients that are exchanged together, as hooks of `DistributedDataParallel.register_comm_hook` get them."""

    def __init__(self, index: int, places: list[int], parameters: list[Tensor]) -> None:
        self._index, self._places, self._parameters = index, places, parameters
        self._last = False
        sizes = [p.numel() for p in parameters]
        self._array = np.zeros(sum(sizes), raw(parameters[0]).dtype)
        self._buffer = from_array(self._array)
        self.views, start = [], 0
        for p, size in zip(parameters, sizes):
            self.views.append(self._array[start : start + size].reshape(tuple(p.shape)))
            start += size
        self.missing = len(places)
        self.future: Any = None

    def index(self) -> int:
        """Its number."""
        return self._index

    def is_last(self) -> bool:
        """Whether it is the last one to be exchanged in a backward pass."""
        return self._last

    def buffer(self) -> Tensor:
        """The gradients of all its parameters, as one tensor of one dim."""
        return self._buffer

    def set_buffer(self, buffer: Tensor) -> None:
        """Take another tensor in place of the buffer."""
        self._buffer = buffer

    def parameters(self) -> list[Tensor]:
        """Its parameters."""
        return list(self._parameters)

    def gradients(self) -> list[Tensor]:
        """The gradients of its parameters, which are parts of the buffer."""
        return [from_array(v) for v in self.views]


def _buckets(parameters: Sequence[Tensor], first: int, cap: int) -> list[GradBucket]:
    """Parameters in reverse order, in groups of one dtype and at most so many bytes."""
    groups: list[list[int]] = []
    open_: dict[Any, tuple[list[int], int]] = {}
    for i in reversed(range(len(parameters))):
        array = raw(parameters[i])
        limit = cap if groups else first
        group, size = open_.get(array.dtype, ([], 0))
        if not group:
            groups.append(group)
        group.append(i)
        size += array.nbytes
        open_[array.dtype] = ([], 0) if size >= limit else (group, size)
    made = [GradBucket(n, g, [parameters[i] for i in g]) for n, g in enumerate(groups)]
    made[-1]._last = True
    return made


class Reducer:
    """Averages the gradients of `parameters` over a group at the end of each backward pass that `prepare` announced."""

    def __init__(
        self,
        parameters: list[Tensor],
        names: list[str],
        group: ProcessGroup,
        cap: int,
        first: int,
        find_unused: bool,
        as_view: bool,
    ) -> None:
        self.parameters, self.names, self.group = parameters, names, group
        self.find_unused, self.as_view = find_unused, as_view
        self.buckets = _buckets(parameters, first, cap)
        self.place = {i: (b, n) for b in self.buckets for n, i in enumerate(b._places)}
        self.hook: Hook | None = None
        self.hook_state: Any = None
        self.divisor = group.size()
        self.expecting = self.begun = False
        self.used: set[int] | None = None
        self.ready: set[int] = set()
        self.launched = 0
        self.handles = [
            p.register_post_accumulate_grad_hook(lambda _, i=i: self.arrived(i))
            for i, p in enumerate(parameters)
        ]

    def detach(self) -> None:
        """Let go of the parameters."""
        for handle in self.handles:
            handle.remove()

    def prepare(self, outputs: Iterable[Tensor] | None) -> None:
        """Expect a backward pass; from `outputs`, where some parameters may have no part in them.

        Raises: RuntimeError where the last one has left gradients out.
        """
        if self.begun:
            missing = [self.names[i] for i in range(len(self.parameters)) if i not in self.ready]
            raise RuntimeError(
                "Expected to have finished reduction in the prior iteration before starting a new one. This error "
                "indicates that your module has parameters that were not used in producing loss: on rank "
                f"{self.group.rank()} {', '.join(missing) or '(none)'} did not receive a gradient. You can enable "
                "unused parameter detection by passing the keyword argument `find_unused_parameters=True` to "
                "`torch.nn.parallel.DistributedDataParallel`, and by making sure all `forward` function outputs "
                "participate in calculating loss."
            )
        self.expecting, self.ready, self.launched = True, set(), 0
        for bucket in self.buckets:
            bucket.missing, bucket.future = len(bucket._places), None
        self.used = None if outputs is None else self._used(outputs)

    def _used(self, outputs: Iterable[Tensor]) -> set[int]:
        leaves = {id(node_of(p)): i for i, p in enumerate(self.parameters)}
        found: set[int] = set()
        todo = [n for n in (node_of(t) for t in outputs) if n is not None]
        seen = set(todo)
        while todo:
            node = todo.pop()
            if type(node) is AccumulateGrad:
                if id(node) in leaves:
                    found.add(leaves[id(node)])
                continue
            for child in node.next:
                if child is not None and child not in seen:
                    seen.add(child)
                    todo.append(child)
        return found

    def arrived(self, i: int) -> None:
        """The gradient of parameter `i` is complete."""
        if not self.expecting:
            return
        if i in self.ready:
            raise RuntimeError(
                f"Expected to mark a variable ready only once: the gradient of {self.names[i]} came twice in one "
                "backward pass. A parameter may not be used in several reentrant backward passes, nor outside of "
                "the module's forward"
            )
        if not self.begun:
            self.begun = True
            Engine().queue_callback(self.finish)
            if self.used is not None:
                for j in range(len(self.parameters)):
                    if j not in self.used and j != i:
                        self._fill(j)
        if i not in self.ready:
            self._fill(i)

    def _fill(self, i: int) -> None:
        bucket, n = self.place[i]
        grad = self.parameters[i].grad
        if grad is None:
            bucket.views[n][...] = 0
        else:
            if composed(grad):
                raise RuntimeError(
                    f"{_WHAT}: the gradient of {self.names[i]} is sparse; gradients that are averaged over "
                    "processes are dense here: use sparse=False"
                )
            if self.hook is None:  # before the sum, as PyTorch does: 16-bit numbers would overflow
                np.multiply(raw(grad), 1 / self.divisor, out=bucket.views[n], casting="unsafe")
            else:
                bucket.views[n][...] = raw(grad)
        self.ready.add(i)
        bucket.missing -= 1
        while self.launched < len(self.buckets) and not self.buckets[self.launched].missing:
            self._launch(self.buckets[self.launched])
            self.launched += 1

    def _launch(self, bucket: GradBucket) -> None:
        mark_written(bucket._buffer, _WHAT)
        if self.hook is not None:
            bucket._buffer = from_array(bucket._array)
            bucket.future = self.hook(self.hook_state, bucket)
        else:
            work = all_reduce(bucket._buffer, ReduceOp.SUM, self.group, async_op=True)
            assert work is not None
            bucket.future = work

    def finish(self) -> None:
        """At the end of the backward pass: wait for the sums, and put them where gradients are."""
        if self.launched < len(self.buckets):
            return  # the next `prepare` says what is missing
        for bucket in self.buckets:
            result = bucket.future.wait()
            if self.hook is not None:
                one = result[0] if isinstance(result, (list, tuple)) else result
                if raw(one) is not bucket._array:
                    bucket._array[...] = raw(one).reshape(-1)
        unused: set[int] = set()
        if self.used is not None:
            mask = np.zeros(len(self.parameters), np.uint8)
            mask[list(self.used)] = 1
            all_reduce(from_array(mask), ReduceOp.MAX, self.group)
            unused = set(np.flatnonzero(mask == 0).tolist())
        for i, p in enumerate(self.parameters):
            if i not in unused:
                bucket, n = self.place[i]
                self._put(p, bucket.views[n])
        self.begun = self.expecting = False

    def _put(self, p: Any, view: Any) -> None:
        grad = p.grad
        if self.as_view:
            if grad is None or raw(grad).__array_interface__["data"] != view.__array_interface__["data"]:
                p.grad = from_array(view)
            return
        if grad is None:
            p.grad = from_array(view.copy())
            return
        array = raw(grad)
        if array.flags.writeable:
            array[...] = view
            mark_written(grad, _WHAT)
        else:
            p.grad = from_array(view.copy())

    # --------------------------------------------------------------------------------- a process without data left

    def shadow(self) -> None:
        """Take part in the sums of a backward pass with nothing."""
        for bucket in self.buckets:
            bucket._array[...] = 0
            if self.hook is None:
                all_reduce(bucket._buffer, ReduceOp.SUM, self.group)
            else:
                bucket._buffer = from_array(bucket._array)
                self.hook(self.hook_state, bucket).wait()
        if self.find_unused:
            all_reduce(from_array(np.zeros(len(self.parameters), np.uint8)), ReduceOp.MAX, self.group)
