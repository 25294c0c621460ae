"""Tables of processes, collectives that return tensors, and the names that libraries import of what is absent."""

from __future__ import annotations

from typing import Any

import pytest

from distributed_workers import together
from flambeau import distributed as dist


def _mesh(rank: int, size: int) -> Any:
    import flambeau as torch
    from flambeau.distributed import _functional_collectives as funcol
    from flambeau.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    sums = []
    for name in ("dp", "tp"):
        x = torch.tensor([float(rank)])
        dist.all_reduce(x, group=mesh[name].get_group())
        sums.append(x.item())
    x = torch.tensor([float(rank), 1.0])
    whole = funcol.wait_tensor(funcol.all_reduce(x, "sum", dist.group.WORLD)).tolist()
    return sums, mesh.get_coordinate(), mesh.mesh.tolist(), whole


def test_groups_along_the_axes_of_a_mesh() -> None:
    for rank, (sums, place, table, whole) in enumerate(together(_mesh, 4)):
        assert sums == [float(2 * (rank % 2) + 2), float(4 * (rank // 2) + 1)]
        assert place == [rank // 2, rank % 2] and table == [[0, 1], [2, 3]] and whole == [6.0, 4.0]


def test_what_is_absent_says_so() -> None:
    from flambeau.distributed import fsdp, tensor
    from flambeau.distributed.checkpoint import hf_storage

    for make in (fsdp.FullyShardedDataParallel, fsdp.fully_shard, tensor.distribute_tensor):
        with pytest.raises(RuntimeError, match="is absent"):
            make(None)
    with pytest.raises(RuntimeError, match="is absent"):
        hf_storage.HuggingFaceStorageReader("x")
    assert (
        tensor.Shard(0) == tensor.Shard(0)
        and tensor.Shard(1).is_shard(1)
        and tensor.Replicate().is_replicate()
    )
