"""Losses of the torch namespace take PyTorch's numbers for reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch

A, B, C = np.random.default_rng(0).random((3, 3, 4))
SIGNS = np.array([1.0, -1.0, 1.0])
CALLS: dict[str, tuple[Any, ...]] = {
    "binary_cross_entropy_with_logits": (A, B),
    "cosine_embedding_loss": (A, B, SIGNS),
    "hinge_embedding_loss": (A, np.sign(B - 0.5)),
    "kl_div": (A, B),
    "margin_ranking_loss": (A[0, :3], B[0, :3], SIGNS),
    "triplet_margin_loss": (A, B, C),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("options", [{}, {"reduction": 0}, {"reduction": 1}, {"reduction": 2}])
def test_like_pytorch(name: str, options: Any) -> None:
    reference = pytest.importorskip("torch")
    ours = getattr(torch, name)(*[torch.tensor(a) for a in CALLS[name]], **options)
    theirs = getattr(reference, name)(*[reference.tensor(a) for a in CALLS[name]], **options)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


def test_unknown_reductions_are_refused() -> None:
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        torch.kl_div(torch.tensor(A), torch.tensor(B), 3)
