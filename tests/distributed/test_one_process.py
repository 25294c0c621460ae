"""`flambeau.distributed`: the group of one process, beside PyTorch's with a world of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flambeau
from flambeau import distributed as dist

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")


@pytest.fixture
def world() -> Iterator[None]:
    dist.init_process_group("gloo", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_without_a_group_everything_raises() -> None:
    assert dist.is_available() and not dist.is_initialized() and dist.group.WORLD is None
    x = flambeau.ones(2)
    for call in (
        *(dist.get_rank, dist.get_world_size, dist.barrier, lambda: dist.all_reduce(x)),
        *(lambda: dist.all_gather([x], x), lambda: dist.broadcast(x, 0), lambda: dist.nn.all_reduce(x)),
        lambda: flambeau.nn.parallel.DistributedDataParallel(flambeau.nn.Linear(2, 1)),
    ):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            call()
    with pytest.raises(ValueError, match="MASTER_ADDR expected, but not set"):
        dist.init_process_group("gloo", rank=0, world_size=2)
    with pytest.raises(RuntimeError, match="NCCL built in"):
        dist.init_process_group("nccl", rank=0, world_size=1)
    with pytest.raises(ValueError, match="rank 1"):
        dist.init_process_group("gloo", "tcp://127.0.0.1:1", rank=1, world_size=1)
    assert not dist.is_initialized()


def _collectives(torch: Any) -> list[Any]:
    """What collectives of a world of one process do."""
    dist = torch.distributed
    seen: list[Any] = [dist.get_rank(), dist.get_world_size(), str(dist.get_backend()), dist.is_initialized()]
    x = torch.arange(3.0)
    for op in (dist.ReduceOp.SUM, dist.ReduceOp.MAX, dist.ReduceOp.PRODUCT):
        dist.all_reduce(x, op)
    dist.broadcast(x, src=0)
    dist.reduce(x, dst=0)
    dist.barrier()
    work = dist.all_reduce(x, async_op=True)
    work.wait()
    a, b, c, d = (torch.zeros(3) for _ in range(4))
    dist.all_gather([a], x)
    dist.gather(x, [b], dst=0)
    dist.scatter(c, [x], src=0)
    dist.all_gather_into_tensor(d, x)
    seen += [t.tolist() for t in (x, a, b, c, d)]
    objects, gathered, scattered = [None], [None], [None]
    dist.all_gather_object(objects, {"a": 1})
    dist.gather_object("b", gathered, dst=0)
    dist.scatter_object_list(scattered, [[3]], src=0)
    dist.broadcast_object_list(objects, src=0)
    seen += [objects, gathered, scattered]
    y = torch.ones(2, requires_grad=True)
    (dist.nn.functional.all_gather(y)[0] * dist.nn.functional.all_reduce(y * 3)).sum().backward()
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
    with model.no_sync():
        model(torch.ones(1, 2)).sum().backward()
    seen += [y.grad.tolist(), list(model.state_dict()), model.module.weight.grad.tolist()]
    for call in (
        lambda: dist.send(x, 0),
        lambda: dist.new_group([1]),
        lambda: dist.init_process_group("gloo", rank=0, world_size=1),
    ):
        with pytest.raises(ValueError):
            call()
    return seen


def test_collectives_beside_pytorch(world: None, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.distributed.nn")  # PyTorch does not load it by itself

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        theirs = _collectives(torch)
    finally:
        torch.distributed.destroy_process_group()
    assert _collectives(flambeau) == theirs


def test_bad_arguments(world: None) -> None:
    x = flambeau.ones(2)
    with pytest.raises(TypeError, match="to be a tensor"):
        dist.all_reduce([1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one entry for each"):
        dist.all_gather([x, x], x)
    with pytest.raises(ValueError, match="must be as the input"):
        dist.all_gather([flambeau.ones(3)], x)
    with pytest.raises(ValueError, match="Global rank 1"):
        dist.broadcast(x, src=1)
    with pytest.raises(RuntimeError, match="doesn't have any parameter"):
        flambeau.nn.parallel.DistributedDataParallel(flambeau.nn.ReLU())
