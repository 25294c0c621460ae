"""The groups of this process: making, finding and ending them."""

from __future__ import annotations

import hashlib
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from .constants import default_pg_timeout
from .process_group import Backend, ProcessGroup
from .stores import HashStore, PrefixStore, Store

__all__ = [
    "GroupMember",
    "destroy_process_group",
    "get_backend",
    "get_backend_config",
    "get_default_backend_for_device",
    "get_global_rank",
    "get_group_rank",
    "get_node_local_rank",
    "get_pg_count",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "is_initialized",
    "new_group",
    "new_subgroups",
    "new_subgroups_by_enumeration",
]


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
_store: list[Store] = []  # that of the default group
_made = itertools.count(1)  # new_group is called by all processes in the same order, so they count alike
_local: Counter[str] = Counter()
_worlds = itertools.count()


def is_initialized() -> bool:
    """Whether `init_process_group` has been called."""
    return bool(_groups)


def _checked_timeout(timeout: Any) -> timedelta:
    if timeout is None:
        return default_pg_timeout
    if not isinstance(timeout, timedelta):
        raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout!r}")
    return timeout


def _checked_backend(backend: Any) -> Backend:
    """The backend of the CPU among those named (``cpu:gloo,cuda:nccl`` names one for each kind of device)."""
    if backend is None:
        return Backend(Backend.GLOO)
    text = str(Backend(backend))
    named = dict(part.split(":", 1) for part in text.split(",")) if ":" in text else {"cpu": text}
    for device, name in named.items():
        if name in (Backend.NCCL, Backend.MPI, Backend.UCC, Backend.XCCL):
            raise RuntimeError(f"Distributed package doesn't have {name.upper()} built in")
        if name not in (Backend.GLOO, Backend.TCP) or device != "cpu":
            raise ValueError(f"there is no backend {name!r} for {device}: use 'gloo' or 'tcp', on the CPU")
    return Backend(named["cpu"])


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Store | None = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Make the default group: connect this process with the others.

    The processes find each other through `store`, or where `init_method` says: ``env://`` (the default: RANK,
    WORLD_SIZE, MASTER_ADDR and MASTER_PORT of the environment, as launchers set them), ``tcp://host:port`` or
    ``file:///path``.  `backend` is "gloo" or "tcp", which are the same here; `timeout` (30 minutes by default) is how
    long a call waits for the others before it raises.

    Raises: ValueError where a default group exists, and where rank or size are missing; RuntimeError for backends of
    devices that are absent; DistError where others do not come.

    >>> import flambeau as torch
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> torch.distributed.get_rank(), torch.distributed.get_world_size()
    (0, 1)
    >>> torch.distributed.destroy_process_group()
    """
    if _groups:
        raise ValueError("trying to initialize the default process group twice!")
    if store is not None and init_method is not None:
        raise AssertionError("Cannot specify both init_method and store.")
    span, name = _checked_timeout(timeout), _checked_backend(backend)
    if store is not None:
        if world_size < 1 or rank < 0:
            raise AssertionError("rank and world_size must be given, and not negative, with store")
        found, own, size = store, rank, world_size
    elif init_method is None and (rank, world_size) == (0, 1) and "MASTER_ADDR" not in os.environ:
        found, own, size = HashStore(), 0, 1  # there is nobody to be found
    else:
        from .rendezvous import rendezvous

        found, own, size = next(rendezvous(init_method or "env://", rank, world_size, timeout=span))
        found.set_timeout(span)
    if not 0 <= own < size:
        raise ValueError(f"rank {own} in a world of {size}: ranks are 0 to {size - 1}")
    world = PrefixStore(f"default{next(_worlds)}", found)
    made = ProcessGroup(name, group_name or "0", list(range(size)), own, world, span, "default_pg")
    _groups.append(made)
    _store.append(world)


def destroy_process_group(group: Any = None) -> None:
    """End `group`, or without one all groups.

    Raises: ValueError for a group that was not made or is gone.
    """
    global _made
    if group == GroupMember.NON_GROUP_MEMBER:
        return
    found = the(group)
    if found is _groups[0]:
        for one in reversed(_groups):
            one.close()
        _groups.clear()
        _store.clear()
        _local.clear()
        _made = itertools.count(1)
    else:
        _groups.remove(found)
        found.close()


def new_group(
    ranks: Sequence[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any = None,
) -> Any:
    """Another group of the processes `ranks`, or of all.

    All processes have to call it, in the same order, also those that are not in `ranks` (with
    `use_local_synchronization` only those that are).  These get ``GroupMember.NON_GROUP_MEMBER``.

    Raises: ValueError before `init_process_group`, for ranks that do not exist and for some that are named twice.
    """
    world = the(None)
    span = world.timeout if timeout is None else _checked_timeout(timeout)
    name = Backend(world.name()) if backend is None else _checked_backend(backend)
    members = list(range(world.size())) if ranks is None else sorted(ranks)
    unknown = [r for r in members if not 0 <= r < world.size()]
    if unknown:
        raise ValueError(
            f"the new group's ranks {unknown} do not exist: the world has ranks 0 to {world.size() - 1}"
        )
    if len(set(members)) != len(members):
        raise ValueError(f"the new group's ranks {list(ranks or ())} have some twice")
    if use_local_synchronization:
        key = hashlib.sha256(repr(members).encode()).hexdigest()[:16]
        _local[key] += 1
        label = f"{key}-{_local[key]}"
    else:
        label = str(next(_made))
    if world.rank() not in members:
        return GroupMember.NON_GROUP_MEMBER
    made = ProcessGroup(
        name,
        label,
        members,
        members.index(world.rank()),
        PrefixStore(label, _store[0]),
        span,
        group_desc or "",
        max(span, world.timeout),
    )
    _groups.append(made)
    return made


def new_subgroups(
    group_size: int | None = None,
    group: Any = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """Groups of `group_size` neighbouring ranks each: the one of this process, and all.

    Raises: ValueError unless `group_size` divides the number of processes.
    """
    size = get_world_size(group)
    if group_size is None:
        group_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if group_size <= 0 or group_size > size or size % group_size:
        raise ValueError(f"groups of {group_size} processes: the world of {size} cannot be divided so")
    of = get_process_group_ranks(group)
    lists = [of[i : i + group_size] for i in range(0, size, group_size)]
    return new_subgroups_by_enumeration(lists, timeout, backend, pg_options, group_desc)


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: Sequence[Sequence[int]],
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """A group for each list of ranks: the one of this process (None if it is in none), and all.

    Raises: ValueError where a rank is in two.
    """
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    counted = Counter(r for ranks in ranks_per_subgroup_list for r in ranks)
    twice = [r for r, n in counted.items() if n > 1]
    if twice:
        raise ValueError(
            f"ranks {twice} are in more than one of the subgroups {list(ranks_per_subgroup_list)}"
        )
    own, made = None, []
    for ranks in ranks_per_subgroup_list:
        one = new_group(ranks, timeout, backend, pg_options, group_desc=group_desc)
        made.append(one)
        if get_rank() in ranks:
            own = one
    return own, made


def the(group: Any) -> ProcessGroup:
    """The group that a function was given, or the default one; ValueError where there is none."""
    if not _groups:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call init_process_group."
        )
    found = _groups[0] if group is None else group
    if found not in _groups:
        raise ValueError(f"Invalid process group specified: {found!r} is not registered here")
    assert isinstance(found, ProcessGroup)
    return found


def member_of(group: Any, what: str) -> ProcessGroup | None:
    """`the` group; None, with a warning, for a process that does not belong to the group that it was given."""
    if group == GroupMember.NON_GROUP_MEMBER:
        warnings.warn(
            f"Running {what} on global rank {get_rank()} which does not belong to the given group.",
            stacklevel=3,
        )
        return None
    return the(group)


def get_rank(group: Any = None) -> int:
    """This process's number, or -1 for one that is not a member.  Raises ValueError before `init_process_group`."""
    return -1 if group == GroupMember.NON_GROUP_MEMBER else the(group).rank()


def get_world_size(group: Any = None) -> int:
    """How many processes; -1 for one that is not a member.  Raises ValueError before `init_process_group`."""
    return -1 if group == GroupMember.NON_GROUP_MEMBER else the(group).size()


def get_backend(group: Any = None) -> Backend:
    """The name that the group was made with.  Raises ValueError before `init_process_group`."""
    return Backend(the(group).name())


def get_backend_config(group: Any = None) -> str:
    """The backend of each kind of device, as ``cpu:gloo``."""
    return f"cpu:{the(group).name()}"


def get_default_backend_for_device(device: Any) -> str:
    """The backend for a kind of device, as PyTorch names it: "gloo" for the CPU, "nccl" for "cuda".

    Raises: ValueError for kinds without one.
    """
    kind = str(device).partition(":")[0]
    if kind not in Backend.default_device_backend_map:
        raise ValueError(f"Default backend not registered for device : {device}")
    return Backend.default_device_backend_map[kind]


def get_pg_count() -> int:
    """How many groups this process is in."""
    return len(_groups)


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """LOCAL_RANK of the environment, or `fallback_rank`.  Raises RuntimeError where there is neither."""
    found = os.environ.get("LOCAL_RANK")
    if found is not None:
        return int(found)
    if fallback_rank is not None:
        return int(fallback_rank)
    raise RuntimeError(
        "LOCAL_RANK is not in the environment. Consider passing fallback_rank, or use a launcher"
    )


def get_process_group_ranks(group: Any) -> list[int]:
    """The ranks of the group's processes in the world, in the order of their ranks in the group."""
    return list(the(group).ranks)


def get_group_rank(group: Any, global_rank: int) -> int:
    """The rank within `group`.  Raises ValueError for a rank that it does not have."""
    found = the(group)
    if global_rank not in found.ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group {found}")
    return found.ranks.index(global_rank)


def get_global_rank(group: Any, group_rank: int) -> int:
    """The rank among all processes.  Raises ValueError for a rank that the group does not have."""
    found = the(group)
    if not 0 <= group_rank < found.size():
        raise ValueError(f"Group rank {group_rank} is not part of group {found}")
    return found.ranks[group_rank]


def rank_in(group: ProcessGroup, rank: int | None, group_rank: int | None, what: str) -> int:
    """The rank in `group` of a process that is named by its rank in the world or in the group.

    Raises: ValueError where neither or both are given, or for a process that is not in the group.
    """
    if (rank is None) == (group_rank is None):
        both = "Can't specify both" if rank is not None else "Must specify"
        raise ValueError(f"{both} {what} {'and' if rank is not None else 'or'} group_{what}")
    if rank is not None:
        return get_group_rank(group, rank)
    assert group_rank is not None
    get_global_rank(group, group_rank)
    return group_rank
