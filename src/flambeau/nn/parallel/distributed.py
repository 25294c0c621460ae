"""`DistributedDataParallel`: a module that several processes train together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ... import ops
from ...autograd import is_grad_enabled, no_grad
from ...core import pytree
from ...core.tensor import Tensor
from ..modules.module import Module

if TYPE_CHECKING:
    from ...distributed.reducer import GradBucket

__all__ = ["DistributedDataParallel"]

_MEGABYTE = 1024 * 1024


class DistributedDataParallel(Module):
    """Calls `module`, and averages the gradients over the processes of a group in each backward pass.

    Each process has the same module and its own part of the data; `distributed.init_process_group` must have been
    called.  Parameters and buffers of rank 0 are sent to all at the start, and buffers again before each forward pass
    (`broadcast_buffers`).  Gradients are averaged in buckets of `bucket_cap_mb` (25) megabytes while the backward pass
    goes on.  With a loss that is a mean over the batch, equal parts train as one process would on the whole batch.

    Parameters are named ``module.*``.  Where some have no part in the output of a forward pass, set
    `find_unused_parameters`, or `static_graph` where it is always the same ones.  `gradient_as_bucket_view` saves the
    memory of the gradients: they are then parts of the buckets.

    Raises: ValueError without a group, and for `device_ids`, as the module is on the CPU; RuntimeError for a module
    without parameters that need gradients, and where the processes have different ones.

    >>> import flambeau as torch
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
    >>> model(torch.ones(3, 2)).sum().backward()
    >>> model.module.weight.grad
    tensor([[3., 3.]])
    >>> torch.distributed.destroy_process_group()
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool | None = None,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        delay_all_reduce_named_params: Any = None,
        param_to_hook_all_reduce: Any = None,
        mixed_precision: Any = None,
        device_mesh: Any = None,
        skip_all_reduce_unused_params: bool = False,
        bucket_cap_mb_list: list[int] | None = None,
        batched_grad_copy: bool = False,
        forward_sync_buffers: bool | None = None,
    ) -> None:
        super().__init__()
        from ...distributed.group import the

        if (
            delay_all_reduce_named_params is not None
            or mixed_precision is not None
            or device_mesh is not None
        ):
            raise NotImplementedError(
                "DistributedDataParallel: delay_all_reduce_named_params, mixed_precision and device_mesh are not "
                "implemented; torch.autocast gives mixed precision"
            )
        self.process_group = the(process_group)
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a gradient."
            )
        if device_ids or output_device:
            raise ValueError(
                "DistributedDataParallel device_ids and output_device arguments only work with single-device/"
                f"multiple-device GPU modules or CPU modules, but got device_ids {device_ids}, output_device "
                f"{output_device}, and module parameters {{device(type='cpu')}}."
            )
        self.module, self.dim = module, dim
        self.device_ids, self.output_device = None, None
        self.device, self.device_type = next(module.parameters()).device, "cpu"
        chosen = broadcast_buffers if broadcast_buffers is not None else forward_sync_buffers
        self.broadcast_buffers = True if chosen is None else chosen
        self.find_unused_parameters, self.static_graph = find_unused_parameters, static_graph
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.bucket_bytes_cap = int((25 if bucket_cap_mb is None else bucket_cap_mb) * _MEGABYTE)
        self._first_cap = min(self.bucket_bytes_cap, _MEGABYTE)
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        self.parameters_to_ignore = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        self._join_config: Any = None  # of the block of `join`, where there is one
        self._divide_by_initial_world_size = True
        self._check_same_everywhere()
        if init_sync:
            self._sync_all(0)
        self._make_reducer()

    # ------------------------------------------------------------------------------------------- what is exchanged

    def _own(self, named: Any) -> list[Tensor]:
        return [t for name, t in named if name not in self.parameters_to_ignore and t is not None]

    def _trained(self) -> dict[str, Tensor]:
        return {
            name: p
            for name, p in self.module.named_parameters()
            if p.requires_grad and name not in self.parameters_to_ignore
        }

    def _make_reducer(self) -> None:
        from ...distributed.reducer import Reducer

        trained = self._trained()
        if not trained:
            raise RuntimeError(
                "DistributedDataParallel: all parameters that need gradients are to be ignored"
            )
        self.reducer = Reducer(
            *(list(trained.values()), list(trained), self.process_group),
            *(self.bucket_bytes_cap, self._first_cap),
            find_unused=self.find_unused_parameters or self.static_graph,
            as_view=self.gradient_as_bucket_view,
        )

    def _check_same_everywhere(self) -> None:
        """Raises RuntimeError where another process has other parameters."""
        from ...distributed.objects import all_gather_object

        if self.process_group.size() == 1:
            return
        own = [(name, tuple(p.shape), str(p.dtype)) for name, p in self._trained().items()]
        found: list[Any] = [None] * self.process_group.size()
        all_gather_object(found, own, self.process_group)
        for rank, other in enumerate(found):
            if len(other) != len(found[0]):
                raise RuntimeError(
                    f"DDP expects same model across all ranks, but Rank 0 has {len(found[0])} params, while rank "
                    f"{rank} has inconsistent {len(other)} params."
                )
            for one, two in zip(found[0], other):
                if one[1:] != two[1:]:
                    raise RuntimeError(
                        f"[Rank {self.process_group.rank()}]: params[{one[0]}] in this process with sizes {one[1]} "
                        f"{one[2]} appears not to match sizes of the same param in process {rank}: {two[1]} {two[2]}."
                    )

    def _broadcast(self, tensors: list[Tensor], root: int) -> None:
        """Give all processes the tensors of one, those of a dtype together."""
        from ...distributed.collectives import broadcast

        if self.process_group.size() == 1 or not tensors:
            return
        kinds: dict[Any, list[Tensor]] = {}
        for t in tensors:
            kinds.setdefault(t.dtype, []).append(t)
        own = self.process_group.rank() == root
        with no_grad():
            for same in kinds.values():
                flat = ops.cat([t.detach().reshape(-1) for t in same])
                broadcast(flat, group=self.process_group, group_src=root)
                if not own:
                    parts = flat.split([t.numel() for t in same])
                    for t, part in zip(same, parts):
                        t.detach().copy_(part.reshape(t.shape))

    def _sync_buffers(self, root: int) -> None:
        self._broadcast(self._own(self.module.named_buffers()), root)

    def _sync_all(self, root: int) -> None:
        own = [*self._own(self.module.named_parameters()), *self._own(self.module.named_buffers())]
        self._broadcast(own, root)

    def will_sync_module_buffers(self) -> bool:
        """Whether the next forward pass sends the buffers of rank 0 to all."""
        return (
            self.require_forward_param_sync
            and self.broadcast_buffers
            and any(name not in self.parameters_to_ignore for name, _ in self.module.named_buffers())
        )

    # ---------------------------------------------------------------------------------------------------- calling it

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        syncing = is_grad_enabled() and self.require_backward_grad_sync
        joining = is_grad_enabled() and self._join_config is not None and self._join_config.enable
        if joining:
            from ...distributed.algorithms import ddp_join

            ddp_join.begin(self)
        if self.will_sync_module_buffers():
            self._sync_buffers(ddp_join.common_rank(self.process_group, True) if joining else 0)
        if joining:
            ddp_join.before_backward(self, syncing)
        output = self.module(*inputs, **kwargs)
        if syncing:
            self.require_forward_param_sync = True
            leaves = None
            if self.find_unused_parameters or self.static_graph:
                leaves = [t for t in pytree.tree_leaves(output) if isinstance(t, Tensor)]
            self.reducer.prepare(leaves)
        else:
            self.require_forward_param_sync = False
        return output

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """A block whose forward passes have gradients that are not averaged: they add up until one outside of it."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def register_comm_hook(self, state: object, hook: Callable[[Any, GradBucket], Any]) -> None:
        """Have ``hook(state, bucket)`` exchange the gradients of each bucket, in place of the average.

        It returns a `flambeau.futures.Future` of a tensor like ``bucket.buffer()``, which becomes the gradients.
        `distributed.algorithms.ddp_comm_hooks.default_hooks` has some.

        Raises: TypeError for what cannot be called, RuntimeError the second time.
        """
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")
        if self.reducer.hook is not None:
            raise RuntimeError("register_comm_hook or register_builtin_comm_hook can only be called once.")
        self.reducer.hook, self.reducer.hook_state = hook, state

    def join(
        self,
        divide_by_initial_world_size: bool = True,
        enable: bool = True,
        throw_on_early_termination: bool = False,
    ) -> Any:
        """A block in which processes may run out of data at different times: those that have take part in the sums
        of the others with zeros.

        Gradients are divided by the number of all processes, or of those that still have data.
        """
        from ...distributed.algorithms.join import Join

        return Join(
            [self],
            enable,
            throw_on_early_termination,
            divide_by_initial_world_size=divide_by_initial_world_size,
        )

    def join_hook(self, **kwargs: Any) -> Any:
        """What `distributed.algorithms.join.Join` runs while others still have data."""
        from ...distributed.algorithms.ddp_join import DDPJoinHook

        return DDPJoinHook(self, bool(kwargs.get("divide_by_initial_world_size", True)))

    @property
    def join_device(self) -> Any:
        """The CPU."""
        return self.device

    @property
    def join_process_group(self) -> Any:
        """The group that averages."""
        return self.process_group

    def _get_ddp_logging_data(self) -> dict[str, Any]:
        """Some of what PyTorch records of a module; programs read the world size and the options there."""
        return {
            "world_size": self.process_group.size(),
            "rank": self.process_group.rank(),
            "module_name": type(self.module).__name__,
            "backend_name": self.process_group.name(),
            "bucket_cap_bytes": self.bucket_bytes_cap,
            "find_unused_parameters": self.find_unused_parameters,
            "gradient_as_bucket_view": self.gradient_as_bucket_view,
            "static_graph": self.static_graph,
        }

    def _set_static_graph(self) -> None:
        """`static_graph`, from now on."""
        self.static_graph = self.reducer.find_unused = True

    # ------------------------------------------------------------------------------------------------------ pickling

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("process_group", "reducer", "_join_config"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        from ...distributed.group import the

        super().__setstate__(state)
        self.process_group, self._join_config = the(None), None
        self._make_reducer()
