"""`ZeroRedundancyOptimizer` steps as the undivided optimizer, and its state can be saved and loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distributed_workers import together


def _train(rank: int, size: int) -> Any:
    import flambeau as torch
    from flambeau.distributed.optim import ZeroRedundancyOptimizer

    def model() -> Any:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))

    def groups(m: Any) -> Any:
        return [{"params": list(m[0].parameters())}, {"params": list(m[2].parameters()), "lr": 0.02}]

    divided, whole = model(), model()
    ours = ZeroRedundancyOptimizer(groups(divided), torch.optim.Adam, lr=0.1)
    plain = torch.optim.Adam(groups(whole), lr=0.1)

    def steps(pairs: Any, n: int) -> None:
        for m, optimizer in pairs:
            for i in range(n):
                torch.manual_seed(i)
                optimizer.zero_grad()
                m(torch.randn(5, 3)).square().sum().backward()
                optimizer.step()

    scheduler = torch.optim.lr_scheduler.StepLR(ours, 1, gamma=0.5)
    other = torch.optim.lr_scheduler.StepLR(plain, 1, gamma=0.5)
    steps([(divided, ours), (whole, plain)], 3)
    scheduler.step()
    other.step()
    steps([(divided, ours), (whole, plain)], 2)
    assert len(ours.optim.state) == 2  # of four parameters
    with pytest.raises(RuntimeError, match="has not been consolidated"):
        ours.state_dict()
    ours.consolidate_state_dict(to=1)
    saved = [ours.state_dict() if rank == 1 else None]
    torch.distributed.broadcast_object_list(saved, src=1)
    again = ZeroRedundancyOptimizer(groups(divided), torch.optim.Adam, lr=0.5)
    again.load_state_dict(saved[0])
    steps([(divided, again), (whole, plain)], 2)
    whole_again = model()
    torch.optim.Adam(groups(whole_again)).load_state_dict(saved[0])  # the undivided one takes it, too
    return [
        (a.detach().numpy(), b.detach().numpy()) for a, b in zip(divided.parameters(), whole.parameters())
    ]


def test_steps_are_those_of_the_undivided_optimizer() -> None:
    for pairs in together(_train, 2):
        for ours, plain in pairs:
            np.testing.assert_allclose(ours, plain, rtol=1e-6)
