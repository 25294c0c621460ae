"""`DistributedDataParallel` on several processes, against one process with the whole batch, and against PyTorch's."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from distributed_workers import together


def _model(torch: Any, norm: str = "") -> Any:
    torch.manual_seed(3)
    layers = [torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)]
    if norm:
        layers.insert(1, getattr(torch.nn, norm)(16))
    return torch.nn.Sequential(*layers)


def _batch(torch: Any, step: int, n: int = 12) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    return (
        torch.tensor(rng.normal(size=(n, 6)).astype("float32")),
        torch.tensor(rng.normal(size=(n, 3)).astype("float32")),
    )


def _train(torch: Any, rank: int, size: int, options: dict[str, Any], steps: int = 4) -> dict[str, Any]:
    """Training with `size` processes, or alone with the whole batch where it is 0."""
    hook = options.pop("hook", None)
    accumulate = options.pop("accumulate", False)
    norm = options.pop("norm", "")
    model = _model(torch, norm)
    if rank > 0:  # rank 0's count
        with torch.no_grad():
            for p in model.parameters():
                p.add_(1.0)
    if size:
        if norm:
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model = torch.nn.parallel.DistributedDataParallel(model, **options)
        if hook:
            hooks = torch.distributed.algorithms.ddp_comm_hooks.default_hooks
            model.register_comm_hook(None, getattr(hooks, hook))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(steps):
        x, y = _batch(torch, step)
        if size:
            x, y = x.chunk(size)[rank], y.chunk(size)[rank]
        optimizer.zero_grad()
        if accumulate:
            parts = zip(x.chunk(2), y.chunk(2), strict=True)
            (a, b), (c, d) = parts
            if size:
                with model.no_sync():
                    (torch.nn.functional.mse_loss(model(a), b) / 2).backward()
            else:
                (torch.nn.functional.mse_loss(model(a), b) / 2).backward()
            x, y, scale = c, d, 2
        else:
            scale = 1
        loss = torch.nn.functional.mse_loss(model(x), y) / scale
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    state = model.module.state_dict() if size else model.state_dict()
    return {"losses": losses, "state": {k: v.detach().double().numpy().copy() for k, v in state.items()}}


OPTIONS: list[dict[str, Any]] = [
    {},
    {"bucket_cap_mb": 0.0001},
    {"gradient_as_bucket_view": True},
    {"find_unused_parameters": True},
    {"static_graph": True},
    {"hook": "allreduce_hook"},
    {"hook": "fp16_compress_hook"},
    {"accumulate": True},
    {"norm": "BatchNorm1d"},
]


def _several(rank: int, size: int) -> Any:
    import flambeau as torch
    import flambeau.distributed.algorithms.ddp_comm_hooks.default_hooks  # noqa: F401

    return [_train(torch, rank, size, dict(options)) for options in OPTIONS]


@pytest.mark.parametrize("size", [2, 3])
def test_training_equals_that_of_one_process_with_the_whole_batch(size: int) -> None:
    import flambeau

    found = together(_several, size)
    for i, options in enumerate(OPTIONS):
        whole = _train(flambeau, 0, 0, {k: v for k, v in options.items() if k in ("accumulate", "norm")})
        loose = 2e-3 if "hook" in options and "16" in options["hook"] else 2e-5
        for rank in range(size):
            got = found[rank][i]
            assert got["state"].keys() == whole["state"].keys()
            for name, value in whole["state"].items():
                np.testing.assert_allclose(
                    got["state"][name], value, rtol=loose, atol=loose, err_msg=str(options)
                )
                np.testing.assert_array_equal(got["state"][name], found[0][i]["state"][name])  # the same bits
        if not options.get("accumulate"):
            mean = np.mean([found[rank][i]["losses"] for rank in range(size)], axis=0)
            np.testing.assert_allclose(mean, whole["losses"], rtol=loose, atol=loose)


def _edges(rank: int, size: int) -> Any:
    import flambeau as torch

    dist, DDP = torch.distributed, torch.nn.parallel.DistributedDataParallel

    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.never = (torch.nn.Linear(2, 1) for _ in range(3))

        def forward(self, x: Any, which: str) -> Any:
            return getattr(self, which)(x)

    torch.manual_seed(0)
    got: dict[str, Any] = {}
    x = torch.full((1, 2), rank + 1.0)
    model = DDP(Branches(), find_unused_parameters=True)
    assert list(model.state_dict())[0] == "module.a.weight"
    model(x, "a" if rank == 0 else "b").sum().backward()
    got["a"], got["b"] = model.module.a.weight.grad.tolist(), model.module.b.weight.grad.tolist()
    got["never"] = model.module.never.weight.grad

    model = DDP(Branches())
    model(x, "a").sum().backward()
    with pytest.raises(RuntimeError, match="b.weight, b.bias.* did not receive a gradient"):
        model(x, "a")

    with pytest.raises(RuntimeError, match="appears not to match sizes"):
        DDP(torch.nn.Linear(2, 1 + rank))
    with pytest.raises(RuntimeError, match="Rank 0 has 2 params, while rank 1 has inconsistent 1"):
        DDP(torch.nn.Linear(2, 1, bias=rank == 0))
    with pytest.raises(ValueError, match="device_ids"):
        DDP(torch.nn.Linear(2, 1), device_ids=[0])

    # Different numbers of inputs.
    torch.manual_seed(1)
    model = DDP(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with model.join():
        for _ in range(2 + rank):
            optimizer.zero_grad()
            model(torch.randn(4, 2)).square().sum().backward()
            optimizer.step()
    got["joined"] = [p.tolist() for p in model.parameters()]
    with pytest.raises(RuntimeError, match="exhausted"), model.join(throw_on_early_termination=True):
        for _ in range(2 + rank):
            model(torch.randn(4, 2)).square().sum().backward()
    dist.barrier()
    return got


def test_unused_parameters_errors_and_uneven_inputs() -> None:
    first, second = together(_edges, 2)
    assert first == second
    assert first["a"] == [[0.5, 0.5]] and first["b"] == [[1.0, 1.0]] and first["never"] is None


def _gradients_through_collectives(rank: int, size: int) -> Any:
    import flambeau as torch

    f = torch.distributed.nn.functional
    x = torch.tensor([1.0, 2.0]) * (rank + 1)
    weight = torch.tensor([3.0, 5.0]) * (rank + 1)
    got = {}
    for name, call in {
        "all_reduce": lambda t: f.all_reduce(t),
        "all_gather": lambda t: torch.cat(f.all_gather(t)),
        "broadcast": lambda t: f.broadcast(t, 1),
        "reduce_scatter": lambda t: f.reduce_scatter(torch.zeros(1), list(t.split(1))),
        "all_to_all": lambda t: torch.cat(f.all_to_all(list(torch.zeros(2).split(1)), list(t.split(1)))),
        "all_to_all_single": lambda t: f.all_to_all_single(torch.zeros(2), t),
        "gather": lambda t: torch.cat(f.gather(t, 0)),
        "scatter": lambda t: f.scatter(list(t.split(1)), 1),
        "reduce": lambda t: f.reduce(t, 0),
    }.items():
        t = x.clone().requires_grad_()
        out = call(t)
        (out * weight[: out.numel()].sum()).sum().backward()
        got[name] = (out.tolist(), t.grad.tolist())
    return got


def test_gradients_through_collectives() -> None:
    first, second = together(_gradients_through_collectives, 2)
    assert first["all_reduce"] == ([3.0, 6.0], [24.0, 24.0]) and second["all_reduce"] == first["all_reduce"]
    assert first["all_gather"] == ([1.0, 2.0, 2.0, 4.0], [24.0, 24.0]) == first["all_gather"]
    assert first["broadcast"] == ([2.0, 4.0], [0.0, 0.0]) and second["broadcast"][1] == [24.0, 24.0]
    assert first["reduce_scatter"] == ([3.0], [3.0, 6.0]) and second["reduce_scatter"] == ([6.0], [3.0, 6.0])
    assert (
        first["all_to_all"] == ([1.0, 2.0], [8.0, 16.0]) and first["all_to_all_single"] == first["all_to_all"]
    )
    assert first["gather"] == ([1.0, 2.0, 2.0, 4.0], [8.0, 8.0]) and second["gather"] == (
        [0.0] * 4,
        [8.0, 8.0],
    )
    assert first["scatter"] == ([2.0], [0.0, 0.0]) and second["scatter"] == ([4.0], [3.0, 6.0])
    assert first["reduce"] == ([3.0, 6.0], [8.0, 8.0]) and second["reduce"][1] == [8.0, 8.0]


def _pytorch(rank: int, path: str, out: Any) -> None:
    import torch

    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    out.send(_train(torch, rank, 2, {})["losses"])
    torch.distributed.destroy_process_group()


def _ours(rank: int, size: int) -> Any:
    import flambeau

    return _train(flambeau, rank, size, {})["losses"]


def test_the_losses_are_pytorchs(tmp_path: Any) -> None:
    pytest.importorskip("torch")
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    path = os.path.join(tmp_path, "meet")
    processes = [
        context.Process(target=_pytorch, args=(rank, path, pipes[rank][1]), daemon=True) for rank in range(2)
    ]
    try:
        for process in processes:
            process.start()
        ours = together(_ours, 2)
        for rank, (receiver, _) in enumerate(pipes):
            assert receiver.poll(60)
            np.testing.assert_allclose(ours[rank], receiver.recv(), rtol=2e-6)
    finally:
        for process in processes:
            process.join(10)
            process.kill()
