"""A list as an index: of numbers it picks rows; of anything else it stands for a tuple, as in PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

INDICES = {
    "0-d tensors": lambda L: [L.tensor(0), L.tensor(1)],
    "tensors": lambda L: [L.tensor([0, 1]), L.tensor([1, 1])],
    "a mask": lambda L: [L.tensor([True, False, True])],
    "too many": lambda L: [L.tensor(0), 1, 2],
    "numbers": lambda L: [0, 1],
    "a slice": lambda L: [slice(0, 2), 1],
    "None": lambda L: [None, 0],
    "an ellipsis": lambda L: [..., 0],
    "lists": lambda L: [[0, 1], [1, 2]],
    "tuples": lambda L: [(0, 1), (1, 1)],
    "arrays": lambda L: [np.array([0, 1]), np.array([1, 2])],
    "bools": lambda L: [True, False, True],
    "one list": lambda L: [[True, False, True]],
    "nothing": lambda L: [],
    "inside a tuple": lambda L: ([L.tensor(0), L.tensor(1)],),
    "as long as an axis": lambda L: [L.tensor(0)] * 32,
}


def results(L: Any, make: Any) -> list[Any]:
    found: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch announces that this will change
        x = L.arange(12.0).reshape(3, 4)
        try:
            found.append(x[make(L)].tolist())
            x[make(L)] = -1.0
            found.append(x.tolist())
        except IndexError:
            found.append(IndexError)
    return found


@pytest.mark.parametrize("name", INDICES)
def test_lists_as_in_pytorch(name: str) -> None:
    assert results(flambeau, INDICES[name]) == results(torch, INDICES[name])
