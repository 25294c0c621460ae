"""Training together with inputs of different lengths: `Join`.

A process that has used up its inputs goes on to take part in what the others do together, with nothing of its own,
until all have.  At each step those with inputs say so first (`Join.notify_join_context`), by a sum of ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ... import ops
from ..collectives import all_reduce
from ..work import Work

__all__ = ["Join", "JoinHook", "Joinable"]


@dataclass
class JoinConfig:
    """What a `Joinable` knows of the block that it is in."""

    enable: bool = False
    throw_on_early_termination: bool = False
    is_first_joinable: bool = False


class JoinHook:
    """What a process without inputs does: `main_hook` at each step of the others, `post_hook` when all are done."""

    def main_hook(self) -> None:
        """Take part in one step of the others."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """Take part in what comes after the last step."""


class Joinable(ABC):
    """Something that does things together at each step, and can do so without inputs."""

    def __init__(self) -> None:
        super().__init__()
        self._join_config = JoinConfig()

    @abstractmethod
    def join_hook(self, **kwargs: Any) -> JoinHook:
        """The hook for a block with these further arguments."""

    @property
    @abstractmethod
    def join_device(self) -> Any:
        """The device of what it sends."""

    @property
    @abstractmethod
    def join_process_group(self) -> Any:
        """The group in which it does things."""


class Join:
    """A block in which each process may leave the loop over its inputs at another time.

    With `throw_on_early_termination` all raise RuntimeError instead when the first has no more.  Further arguments go
    to the hooks.

    Raises: ValueError for no joinables, or some of different groups.
    """

    def __init__(
        self,
        joinables: list[Any],
        enable: bool = True,
        throw_on_early_termination: bool = False,
        **kwargs: Any,
    ) -> None:
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        groups = {id(j.join_process_group) for j in joinables}
        if len(groups) > 1:
            raise ValueError("Using join context manager with multiple process groups")
        self._joinables, self._enable, self._throw = joinables, enable, throw_on_early_termination
        self._group = joinables[0].join_process_group
        self._hooks = [j.join_hook(**kwargs) for j in joinables]
        for i, joinable in enumerate(joinables):
            joinable._join_config = JoinConfig(enable, throw_on_early_termination, i == 0)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._enable and type is None:
                self._accompany()
        finally:
            for joinable in self._joinables:
                joinable._join_config = JoinConfig()

    def _accompany(self) -> None:
        last = True
        while self._still_active():
            if self._throw:
                all_reduce(ops.ones(1), group=self._group)
                raise RuntimeError(f"Rank {self._group.rank()} exhausted all inputs.")
            for hook in self._hooks:
                hook.main_hook()
            last = False
        for hook in self._hooks:
            hook.post_hook(last)

    def _still_active(self) -> int:
        count = ops.zeros(1)
        all_reduce(count, group=self._group)
        return int(count.item())

    @staticmethod
    def notify_join_context(joinable: Any) -> Work | None:
        """Say, before a step, that this process has inputs.  Work for the number of those that have.

        Raises: RuntimeError where another one has none, and the block was to raise then.
        """
        config = joinable._join_config
        if not config.is_first_joinable or not config.enable:
            return None
        group = joinable.join_process_group
        work = all_reduce(ops.ones(1), group=group, async_op=True)
        if config.throw_on_early_termination:
            ended = ops.zeros(1)
            all_reduce(ended, group=group)
            if ended.item():
                raise RuntimeError(
                    "Detected at least one rank that exhausted inputs. Throwing across all ranks."
                )
        return work
