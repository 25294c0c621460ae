"""Searching and counting over a batch at once gives what a loop over its examples gives: ties, NaN, empty examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch

RNG = np.random.default_rng(5)
ROUGH = np.round(RNG.uniform(-2, 2, (6, 9)), 1)  # with equal elements
ROUGH[2, 3] = ROUGH[4, 0] = np.nan
FEW = np.round(RNG.uniform(-2, 2, (6, 4)), 1)
FEW[2, 1] = np.nan
SPARSE = np.where(RNG.uniform(size=(6, 3, 4)) < 0.4, 0.0, 1.0)
SPARSE[1] = 0
OFFSETS = np.sort(RNG.integers(0, 9, (6, 3)), 1)
OFFSETS[:, 0] = 0
TABLE = np.round(RNG.uniform(-2, 2, (6, 5, 2)), 1)

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "isin": (torch.isin, (ROUGH, FEW)),
    "isin, inverted": (lambda x, t: torch.isin(x, t, invert=True), (ROUGH.reshape(6, 3, 3), FEW)),
    "isin of nothing": (torch.isin, (ROUGH, FEW[:, :0])),
    "histc": (lambda x: torch.histc(x, 5), (np.nan_to_num(ROUGH),)),
    "histc of a range": (lambda x: torch.histc(x, 7, -1.0, 1.5), (ROUGH,)),
    "histc of equal elements": (lambda x: torch.histc(x, 3), (np.ones((6, 4)),)),
    "nonzero_static": (lambda x: torch.nonzero_static(x, size=5, fill_value=-7), (SPARSE,)),
    "nonzero_static, one dim": (lambda x: torch.nonzero_static(x, size=2), (SPARSE[:, 0],)),
    "histogram, edges for each": (lambda x, e: torch.histogram(x, e).hist, (ROUGH, np.sort(np.nan_to_num(FEW), 1))),
    "histogram, shared edges": (
        lambda x: torch.histogram(x, torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=torch.float64)).hist,
        (ROUGH,),
    ),
    "bincount": (lambda x: torch.bincount(x, minlength=9), (RNG.integers(0, 9, (6, 7)),)),
    "bags of maxima": (
        lambda i, o, w: torch.nn.functional.embedding_bag(i, w, o, mode="max"),
        (RNG.integers(0, 5, (6, 9)), OFFSETS, TABLE),
    ),
    "bags of means": (
        lambda i, o, w: torch.nn.functional.embedding_bag(i, w, o, mode="mean"),
        (RNG.integers(0, 5, (6, 9)), OFFSETS, TABLE),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_like_a_loop(name: str) -> None:
    f, arrays = CASES[name]
    xs = [torch.from_numpy(a.copy()) for a in arrays]
    want = np.stack([f(*[x[k] for x in xs]).numpy() for k in range(6)])
    np.testing.assert_array_equal(torch.vmap(f)(*xs).numpy(), want)
    pairs = [x.reshape(2, 3, *x.shape[1:]) for x in xs]
    twice = torch.vmap(torch.vmap(f))(*pairs).numpy()
    np.testing.assert_array_equal(twice.reshape(want.shape), want)


def test_values_are_numpys() -> None:
    """The same implementation serves a single example: compared with NumPy."""
    np.testing.assert_array_equal(torch.isin(*map(torch.tensor, (ROUGH, FEW))).numpy(), np.isin(ROUGH, FEW))
    clean = RNG.uniform(-2, 2, 50)  # nothing on an edge
    got = torch.histc(torch.tensor(clean), 5, -2.0, 2.0).numpy()
    np.testing.assert_array_equal(got, np.histogram(clean, 5, (-2.0, 2.0))[0])
    for row, found in zip(
        SPARSE[:, 0], torch.vmap(lambda x: torch.nonzero_static(x, size=4))(torch.tensor(SPARSE[:, 0]))
    ):
        places = np.flatnonzero(row)
        assert found[:, 0].tolist() == [*places, *[-1] * (4 - len(places))]
