"""Python's `multiprocessing`, with tensors sent as shared memory: `flambeau.multiprocessing`.

Everything of `multiprocessing` is here.  Once this module is imported, tensors that go through its queues, pipes and
pools, or as arguments to processes, are moved to shared memory (`Tensor.share_memory_`) and only a handle is sent:
sender and receiver see the same elements.  The memory goes when the last process that has it ends or drops it; a
process must live until what it sent was received.

>>> import flambeau as torch
>>> import flambeau.multiprocessing as mp
>>> receiver, sender = mp.Pipe(duplex=False)
>>> t = torch.zeros(3)
>>> sender.send(t)
>>> received = receiver.recv()
>>> received.add_(1) is received, t
(True, tensor([1., 1., 1.]))
"""

from __future__ import annotations

import multiprocessing as _multiprocessing
from multiprocessing import *  # noqa: F403

from . import reductions
from .spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

reductions.init_reductions()

_STRATEGIES = {"file_descriptor", "file_system"}
_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The strategies that `set_sharing_strategy` takes."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The strategy that was set."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Checked and remembered.  Memory is sent by file descriptor under both names: it never leaves files behind.

    Raises: ValueError for another name.
    """
    global _strategy
    if new_strategy not in _STRATEGIES:
        raise ValueError(
            f"unknown sharing strategy {new_strategy!r}; choose from {', '.join(sorted(_STRATEGIES))}"
        )
    _strategy = new_strategy


__all__ = [
    *_multiprocessing.__all__,
    *(
        "ProcessContext",
        "ProcessException",
        "ProcessExitedException",
        "ProcessRaisedException",
        "SpawnContext",
    ),
    *(
        "get_all_sharing_strategies",
        "get_sharing_strategy",
        "set_sharing_strategy",
        "spawn",
        "start_processes",
    ),
]
