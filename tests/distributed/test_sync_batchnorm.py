"""`SyncBatchNorm` on several processes gives what one batch norm gives for the whole batch, backwards too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distributed_workers import together

PARTS = {2: (0, 5, 8), 3: (0, 2, 3, 8)}  # of unequal sizes


def _data(torch: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x, w = (torch.tensor((rng.normal(size=(8, 3, 4)) + 5).astype("float32")) for _ in range(2))
    return x, w


def _run(torch: Any, module: Any, rank: int, size: int) -> dict[str, Any]:
    x, w = _data(torch)
    if size > 1:
        a, b = PARTS[size][rank : rank + 2]
        x, w = x[a:b], w[a:b]
    with torch.no_grad():
        module.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
        module.bias.copy_(torch.tensor([0.5, 0.0, 1.0]))
    outs, grads = [], []
    for _ in range(2):
        part = x.clone().requires_grad_()
        out = module(part)
        (out * w + out.square()).sum().backward()
        outs.append(out.detach().numpy())
        grads.append(part.grad.numpy())
    module.eval()
    return {
        "out": outs[1],
        "grad": grads[1],
        "weight": module.weight.grad.numpy(),
        "bias": module.bias.grad.numpy(),
        "mean": module.running_mean.numpy(),
        "var": module.running_var.numpy(),
        "batches": module.num_batches_tracked.item(),
        "eval": module(x).detach().numpy(),
    }


def _several(rank: int, size: int) -> Any:
    import flambeau as torch

    results = [_run(torch, torch.nn.SyncBatchNorm(3), rank, size)]
    results.append(_run(torch, torch.nn.SyncBatchNorm(3, momentum=None), rank, size))
    with pytest.raises(ValueError, match="at least 2D"):
        torch.nn.SyncBatchNorm(3)(torch.ones(3))
    return results


@pytest.mark.parametrize("size", [2, 3])
def test_parts_are_normalised_as_the_whole(size: int) -> None:
    import flambeau as torch

    found = together(_several, size)
    for i, momentum in enumerate((0.1, None)):
        whole = _run(torch, torch.nn.BatchNorm1d(3, momentum=momentum), 0, 1)
        ranks = [f[i] for f in found]
        for name in ("out", "grad", "eval"):
            np.testing.assert_allclose(
                np.concatenate([r[name] for r in ranks]), whole[name], rtol=1e-4, atol=1e-5
            )
        for name in (
            "weight",
            "bias",
        ):  # each has the part of its own inputs, which DistributedDataParallel adds up
            np.testing.assert_allclose(sum(r[name] for r in ranks), whole[name], rtol=1e-4, atol=1e-4)
        for r in ranks:
            for name in ("mean", "var"):
                np.testing.assert_allclose(r[name], whole[name], rtol=1e-5)
            assert r["batches"] == whole["batches"]
