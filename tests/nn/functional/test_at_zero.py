"""Slopes at zero, where formulas with abs() would lose half of them: networks that start at zero train from there."""

from __future__ import annotations

import flambeau as torch
from flambeau.nn import functional as F


def test_logistic_losses_at_zero() -> None:
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.0, 1.0], dtype=torch.float64)
    F.binary_cross_entropy_with_logits(x, target, reduction="sum").backward()
    assert x.grad.tolist() == [0.5, -0.5]  # sigmoid(0) - target
    for f, slope in ((F.logsigmoid, 0.5), (F.softplus, 0.5), (F.silu, 0.5)):
        z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        f(z).backward()
        assert z.grad.item() == slope
