"""An optimizer whose state is divided among the processes of a group: `ZeroRedundancyOptimizer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd import no_grad
from ..distributed.collectives import broadcast
from ..distributed.group import get_group_rank, the
from ..distributed.objects import gather_object
from .optimizer import Optimizer

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer):
    """Each process steps some of the parameters, with an optimizer of its own, and sends them to the others.

    So each keeps the state of its part only (Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training
    trillion parameter models", stage 1).  Gradients have to be the same in all processes, as after
    `nn.parallel.DistributedDataParallel`.  `defaults` are the arguments of `optimizer_class`.

    Raises: NotImplementedError for `overlap_with_ddp`.

    >>> import flambeau as torch
    >>> from flambeau.distributed.optim import ZeroRedundancyOptimizer
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.1)
    >>> model(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    >>> torch.distributed.destroy_process_group()
    """

    def __init__(
        self,
        params: Any,
        optimizer_class: Any,
        process_group: Any = None,
        parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False,
        **defaults: Any,
    ) -> None:
        if overlap_with_ddp:
            raise NotImplementedError("ZeroRedundancyOptimizer: overlap_with_ddp is not implemented")
        self.process_group = the(process_group)
        self.optim: Any = None
        self._class, self._options = optimizer_class, defaults
        self._everyone: list[Any] = []
        self.initialized = False
        super().__init__(params, defaults)
        self.initialized = True
        self._divide()

    def _divide(self) -> None:
        """Give each parameter to the process that has least so far, the large ones first."""
        sizes = [0] * self.process_group.size()
        self._owner: dict[Any, int] = {}
        for group in self.param_groups:
            for p in sorted(group["params"], key=lambda p: -p.numel()):
                rank = sizes.index(min(sizes))
                sizes[rank] += p.numel()
                self._owner[p] = rank
        own = [
            {**group, "params": [p for p in group["params"] if self._owner[p] == self.process_group.rank()]}
            for group in self.param_groups
        ]
        before = {} if self.optim is None else dict(self.optim.state)
        self.optim = self._class(own, **self._options)
        for p, state in before.items():
            self.optim.state[p] = state
        self._take_options(self.optim.param_groups, self.param_groups)

    @staticmethod
    def _take_options(source: Any, target: Any) -> None:
        for one, other in zip(source, target):
            other.update({k: v for k, v in one.items() if k != "params"})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Another group of parameters, which are divided, too."""
        super().add_param_group(param_group)
        if self.initialized:
            self._divide()

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Step the own parameters, and take those of the others."""
        self._take_options(self.param_groups, self.optim.param_groups)
        loss = self.optim.step(**kwargs) if closure is None else self.optim.step(closure=closure, **kwargs)
        self._take_options(self.optim.param_groups, self.param_groups)
        self._exchange()
        return loss

    def _exchange(self) -> None:
        parts: dict[tuple[int, Any], list[Any]] = {}
        for p, rank in self._owner.items():
            parts.setdefault((rank, p.dtype), []).append(p.detach())
        with no_grad():
            for (rank, _), same in parts.items():
                flat = ops.cat([p.reshape(-1) for p in same])
                broadcast(flat, group=self.process_group, group_src=rank)
                if rank != self.process_group.rank():
                    for p, part in zip(same, flat.split([p.numel() for p in same])):
                        p.copy_(part.reshape(p.shape))

    def _numbers(self) -> dict[Any, int]:
        every = [p for group in self.param_groups for p in group["params"]]
        return {p: i for i, p in enumerate(every)}

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Bring the state of all processes to rank `to`, whose `state_dict` has it then.  All have to call it."""
        root, rank = get_group_rank(self.process_group, to), self.process_group.rank()
        numbers = self._numbers()
        own = {numbers[p]: dict(state) for p, state in self.optim.state.items()}
        found: list[Any] | None = [None] * self.process_group.size() if rank == root else None
        gather_object(own, found, group=self.process_group, group_dst=root)
        self._everyone = found or []

    def state_dict(self) -> dict[str, Any]:
        """The state of all parameters, as the undivided optimizer's.

        Raises: RuntimeError unless `consolidate_state_dict` has brought it here.
        """
        if not self._everyone:
            raise RuntimeError(
                "Optimizer state has not been consolidated on this rank. Please call "
                "`consolidate_state_dict(to=...)` on all ranks beforehand if you meant to save the global state."
            )
        state = {number: entry for part in self._everyone for number, entry in part.items()}
        numbers = self._numbers()
        groups = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [numbers[p] for p in g["params"]]}
            for g in self.param_groups
        ]
        return {"state": {n: state[n] for n in sorted(state)}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the own part of a `state_dict`, of this class or of the undivided optimizer."""
        groups, numbers = state_dict["param_groups"], self._numbers()
        saved = [n for g in groups for n in g["params"]]
        if len(groups) != len(self.param_groups) or len(saved) != len(numbers):
            raise ValueError(
                f"the state dict has {len(groups)} groups of {len(saved)} parameters, the optimizer "
                f"{len(self.param_groups)} of {len(numbers)}"
            )
        own = [p for g in self.optim.param_groups for p in g["params"]]
        at = {p: i for i, p in enumerate(own)}
        taken = {
            at[p]: state_dict["state"][saved[n]]
            for p, n in numbers.items()
            if p in at and saved[n] in state_dict["state"]
        }
        local = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [at[p] for p in mine["params"]]}
            for g, mine in zip(groups, self.optim.param_groups)
        ]
        self.optim.load_state_dict({"state": taken, "param_groups": local})
        self._take_options(self.optim.param_groups, self.param_groups)
