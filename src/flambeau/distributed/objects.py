"""Python objects between processes, as pickles.

As in PyTorch: who can send to the group can have its processes run any code, so these are for processes that trust
each other.  Everything else in `flambeau.distributed` sends bytes of tensors only.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from ..core.tensor import from_array
from .collectives import all_gather, broadcast, gather, scatter
from .group import member_of, rank_in
from .point_to_point import recv, send
from .process_group import ProcessGroup

__all__ = [
    "all_gather_object",
    "broadcast_object_list",
    "gather_object",
    "recv_object_list",
    "scatter_object_list",
    "send_object_list",
]


def _packed(obj: Any) -> Any:
    return np.frombuffer(bytearray(pickle.dumps(obj)), np.uint8)


def _unpacked(array: Any) -> Any:
    return pickle.loads(array.tobytes())


def _lengths(length: int, group: ProcessGroup) -> list[int]:
    found = [np.zeros(1, np.int64) for _ in range(group.size())]
    all_gather([from_array(a) for a in found], from_array(np.array([length])), group)
    return [int(a[0]) for a in found]


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Put each process's object into `object_list`, which has an entry for each.  Objects are pickled.

    >>> import flambeau as torch
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> found = [None]
    >>> torch.distributed.all_gather_object(found, {"loss": 0.5})
    >>> found
    [{'loss': 0.5}]
    >>> torch.distributed.destroy_process_group()
    """
    found = member_of(group, "all_gather_object")
    if found is None:
        return
    if not isinstance(object_list, list) or len(object_list) < found.size():
        raise ValueError(
            f"object_list must have one entry for each of the {found.size()} processes of the group"
        )
    data = _packed(obj)
    lengths = _lengths(data.size, found)
    own = np.zeros(max(lengths), np.uint8)
    own[: data.size] = data
    outs = [np.empty_like(own) for _ in lengths]
    all_gather([from_array(a) for a in outs], from_array(own), found)
    for i, (array, length) in enumerate(zip(outs, lengths)):
        object_list[i] = _unpacked(array[:length])


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int | None = None,
    group: Any = None,
    group_dst: int | None = None,
) -> None:
    """Put each process's object into `object_gather_list` of rank `dst` (0 by default).  Objects are pickled."""
    found = member_of(group, "gather_object")
    if found is None:
        return
    root = rank_in(found, 0 if dst is None and group_dst is None else dst, group_dst, "dst")
    if found.rank() == root:
        if not isinstance(object_gather_list, list) or len(object_gather_list) < found.size():
            raise ValueError(
                f"object_gather_list must have one entry for each of the {found.size()} processes of the group"
            )
    elif object_gather_list:
        raise ValueError("Argument ``object_gather_list`` must NOT be specified on non-destination ranks.")
    data = _packed(obj)
    lengths = _lengths(data.size, found)
    own = np.zeros(max(lengths), np.uint8)
    own[: data.size] = data
    outs = [np.empty_like(own) for _ in lengths] if found.rank() == root else []
    gather(from_array(own), [from_array(a) for a in outs] or None, group=found, group_dst=root)
    for i, (array, length) in enumerate(zip(outs, lengths)):
        assert object_gather_list is not None
        object_gather_list[i] = _unpacked(array[:length])


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """Give all processes the objects of rank `src` (0 by default), in place.  Objects are pickled."""
    found = member_of(group, "broadcast_object_list")
    if found is None:
        return
    root = rank_in(found, 0 if src is None and group_src is None else src, group_src, "src")
    sizes = np.zeros(len(object_list), np.int64)
    parts = [_packed(o) for o in object_list] if found.rank() == root else []
    if parts:
        sizes[:] = [p.size for p in parts]
    broadcast(from_array(sizes), group=found, group_src=root)
    data = np.concatenate(parts) if parts else np.empty(int(sizes.sum()), np.uint8)
    broadcast(from_array(data), group=found, group_src=root)
    if found.rank() != root:
        ends = np.cumsum(sizes)
        for i, (size, end) in enumerate(zip(sizes, ends)):
            object_list[i] = _unpacked(data[end - size : end])


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | None = None,
    group: Any = None,
    group_src: int | None = None,
) -> None:
    """Put into the first entry of the output list this process's entry of the list of rank `src` (0 by default)."""
    found = member_of(group, "scatter_object_list")
    if found is None:
        return
    root = rank_in(found, 0 if src is None and group_src is None else src, group_src, "src")
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    size = np.zeros(1 + found.size(), np.int64)
    parts: list[Any] = []
    if found.rank() == root:
        if not isinstance(scatter_object_input_list, list) or len(scatter_object_input_list) != found.size():
            raise ValueError(
                f"scatter_object_input_list must have one entry for each of the {found.size()} processes of the group"
            )
        parts = [_packed(o) for o in scatter_object_input_list]
        size[1:] = [p.size for p in parts]
        size[0] = size.max()
    broadcast(from_array(size), group=found, group_src=root)
    padded = []
    for part in parts:
        whole = np.zeros(int(size[0]), np.uint8)
        whole[: part.size] = part
        padded.append(from_array(whole))
    own = np.empty(int(size[0]), np.uint8)
    scatter(from_array(own), padded or None, group=found, group_src=root)
    scatter_object_output_list[0] = _unpacked(own[: size[1 + found.rank()]])


def send_object_list(
    object_list: list[Any],
    dst: int | None = None,
    group: Any = None,
    device: Any = None,
    group_dst: int | None = None,
    use_batch: bool = False,
) -> None:
    """Send objects to rank `dst`, which takes them by `recv_object_list`.  Objects are pickled."""
    found = member_of(group, "send_object_list")
    if found is None:
        return
    peer = rank_in(found, dst, group_dst, "dst")
    parts = [_packed(o) for o in object_list]
    send(from_array(np.array([p.size for p in parts], np.int64)), group=found, group_dst=peer)
    send(from_array(np.concatenate(parts)), group=found, group_dst=peer)


def recv_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
    use_batch: bool = False,
) -> int:
    """Receive as many objects as the list has entries, from rank `src` or from any; the rank they came from."""
    found = member_of(group, "recv_object_list")
    if found is None:
        return -1
    sizes = np.zeros(len(object_list), np.int64)
    source = recv(from_array(sizes), src, found, group_src=group_src)
    data = np.empty(int(sizes.sum()), np.uint8)
    recv(from_array(data), source, found)
    for i, (size, end) in enumerate(zip(sizes, np.cumsum(sizes))):
        object_list[i] = _unpacked(data[end - size : end])
    return source
