"""The group of one process, and who belongs to it."""

from __future__ import annotations

import enum
import os
from typing import Any

from ..runtime.absent import WHERE

__all__ = [
    "Backend",
    "GroupMember",
    "ProcessGroup",
    "ReduceOp",
    "destroy_process_group",
    "get_backend",
    "get_global_rank",
    "get_group_rank",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "is_initialized",
    "new_group",
]


class ReduceOp(enum.Enum):
    """How tensors of several processes are combined; of one process each gives the tensor itself."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


class Backend(str):
    """The name of a backend, in lower case."""

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    XCCL = "xccl"
    UCC = "ucc"
    MPI = "mpi"
    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI]

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish, but got {name!r}")
        return super().__new__(cls, name.lower())


class ProcessGroup:
    """A group: this process alone.  `init_process_group` and `new_group` make them."""

    def __init__(self, backend: str, name: str) -> None:
        self._backend, self.group_name = Backend(backend), name

    def rank(self) -> int:
        """0."""
        return 0

    def size(self) -> int:
        """1."""
        return 1

    def name(self) -> str:
        """The backend's name."""
        return str(self._backend)


class _World(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The group of all processes, None before `init_process_group`."""
        return _groups[0] if _groups else None


class GroupMember(metaclass=_World):
    """``GroupMember.WORLD`` is the default group."""

    NON_GROUP_MEMBER = -100


class group(metaclass=_World):
    """``group.WORLD`` is the default group."""


_groups: list[ProcessGroup] = []  # the default one first


def is_initialized() -> bool:
    """Whether `init_process_group` has been called."""
    return bool(_groups)


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Make the default group, of this process alone.  Nothing is contacted, so where to meet does not matter.

    Without `world_size` and `rank` the environment's ``WORLD_SIZE`` and ``RANK`` count.

    Raises: RuntimeError for more than one process; ValueError for a rank outside the world, and where a default group
    exists.

    >>> import flambeau as torch
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> torch.distributed.get_rank(), torch.distributed.get_world_size()
    (0, 1)
    >>> torch.distributed.destroy_process_group()
    """
    if _groups:
        raise ValueError("trying to initialize the default process group twice!")
    size = int(os.environ.get("WORLD_SIZE", 1)) if world_size == -1 else world_size
    own = int(os.environ.get("RANK", 0)) if rank == -1 else rank
    if size != 1:
        raise RuntimeError(f"a world of {size} processes: there are groups of one process only ({WHERE})")
    if own != 0:
        raise ValueError(f"rank {own} in a world of one process: the only rank is 0")
    _groups.append(ProcessGroup("gloo" if backend is None else backend, group_name))


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Forget `group`, or without one all groups.

    Raises: ValueError for a group that was not made or is gone.
    """
    if group is None or group is the(None):
        the(None)
        _groups.clear()
    else:
        _groups.remove(the(group))


def new_group(
    ranks: Any = None,
    timeout: Any = None,
    backend: Any = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: Any = None,
    device_id: Any = None,
) -> Any:
    """Another group of the processes `ranks`, or of all: rank 0, if given.

    Raises: ValueError before `init_process_group` and for ranks that do not exist.
    """
    world = the(None)
    if ranks is not None:
        unknown = [r for r in ranks if r != 0]
        if unknown:
            raise ValueError(f"the new group's ranks {unknown} do not exist: the only rank is 0")
        if not list(ranks):
            return GroupMember.NON_GROUP_MEMBER
    made = ProcessGroup(world.name() if backend is None else backend, group_desc or "")
    _groups.append(made)
    return made


def the(group: Any) -> ProcessGroup:
    """The group that a function was given, or the default one; ValueError where there is none."""
    if not _groups:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call init_process_group."
        )
    found = _groups[0] if group is None else group
    if found not in _groups:
        raise ValueError(f"The given group is not registered: {found!r}")
    assert isinstance(found, ProcessGroup)
    return found


def get_rank(group: Any = None) -> int:
    """0, or -1 for one that is not a member.  Raises ValueError before `init_process_group`."""
    return -1 if group == GroupMember.NON_GROUP_MEMBER else the(group).rank()


def get_world_size(group: Any = None) -> int:
    """1, or -1 for one that is not a member.  Raises ValueError before `init_process_group`."""
    return -1 if group == GroupMember.NON_GROUP_MEMBER else the(group).size()


def get_backend(group: Any = None) -> Backend:
    """The name that the group was made with.  Raises ValueError before `init_process_group`."""
    return Backend(the(group).name())


def get_process_group_ranks(group: Any) -> list[int]:
    """``[0]``."""
    the(group)
    return [0]


def get_group_rank(group: Any, global_rank: int) -> int:
    """The rank within `group`.  Raises ValueError for a rank that it does not have."""
    return check_rank(group, global_rank)


def get_global_rank(group: Any, group_rank: int) -> int:
    """The rank among all processes.  Raises ValueError for a rank that the group does not have."""
    return check_rank(group, group_rank)


def check_rank(group: Any, rank: int | None) -> int:
    """`rank`, which None leaves to be this process's own; ValueError where it is not in the group."""
    the(group)
    if rank not in (None, 0):
        raise ValueError(f"Global rank {rank} is not part of group: the only rank is 0")
    return 0
