"""Under vmap, results whose shape depends on the data: dense where all examples agree, else an error with the cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau
from flambeau.func import vmap

CASES: dict[str, Callable[[Any], Any]] = {
    "argwhere": lambda m: m.vmap(m.argwhere)(m.tensor([[0, 1, 2], [1, 0, 2]])),
    "argwhere of matrices": lambda m: m.vmap(m.argwhere)(m.eye(2).expand(3, 2, 2)),
    "argwhere of numbers": lambda m: m.vmap(m.argwhere)(m.tensor([1.0, 2.0])),
    "argwhere of nothing": lambda m: m.vmap(m.argwhere)(m.zeros(2, 0, 3)),
    "argwhere, two levels": lambda m: m.vmap(m.vmap(m.argwhere))(m.tensor([[[0, 1], [1, 0]], [[1, 0], [1, 0]]])),
    "argwhere, other counts": lambda m: m.vmap(m.argwhere)(m.tensor([[0, 1, 0], [1, 0, 2]])),
    "bincount": lambda m: m.vmap(m.bincount)(m.tensor([[0, 1, 2], [2, 0, 2]])),
    "bincount, minlength": lambda m: m.vmap(lambda x: m.bincount(x, minlength=4))(m.tensor([[0, 1], [3, 0]])),
    "bincount, weights": lambda m: m.vmap(lambda x, w: m.bincount(x, w, 3))(
        m.tensor([[0, 1], [2, 0]]), m.tensor([[0.5, 1.0], [2.0, 3.0]])
    ),
    "bincount, shared weights": lambda m: m.vmap(m.bincount, in_dims=(0, None))(
        m.tensor([[0, 2], [2, 0]]), m.tensor([0.5, 1.0])
    ),
    "bincount of nothing": lambda m: m.vmap(m.bincount)(m.zeros(2, 0, dtype=m.int64)),
    "bincount, other lengths": lambda m: m.vmap(m.bincount)(m.tensor([[0, 1, 1], [1, 0, 2]])),
    "bincount, negative": lambda m: m.vmap(m.bincount)(m.tensor([[0, 1], [1, -1]])),
    "argsort of numbers": lambda m: m.vmap(m.argsort)(m.ones(3)),
    "nonzero": lambda m: m.vmap(m.nonzero)(m.ones(2, 3)),
    "mask as an index": lambda m: m.vmap(lambda x: x[x > 0])(m.ones(2, 3)),
    "masked_select": lambda m: m.vmap(lambda x: m.masked_select(x, x > 0))(m.ones(2, 3)),
    "unique": lambda m: m.vmap(m.unique)(m.ones(2, 3)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", CASES)
def test_results_and_exceptions_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")

    def attempt(m: Any) -> Any:
        try:
            y = CASES[name](m)
        except Exception as e:
            return type(e)
        return tuple(y.shape), y.tolist()

    assert attempt(flambeau) == attempt(torch)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("argwhere, other counts", "nonzero_static"),
        ("bincount, other lengths", "minlength=3"),
        ("nonzero", "where"),
        ("mask as an index", "where"),
    ],
)
def test_errors_name_a_cure(name: str, cure: str) -> None:
    with pytest.raises(RuntimeError, match=cure):
        CASES[name](flambeau)


def test_the_cures_work() -> None:
    x = flambeau.tensor([[0, 1, 0], [1, 0, 2]])
    assert vmap(lambda v: flambeau.nonzero_static(v, size=2))(x).tolist() == [[[1], [-1]], [[0], [2]]]
    counts = vmap(lambda v: flambeau.bincount(v, minlength=3))(x)
    assert counts.tolist() == [[2, 1, 0], [1, 1, 1]]
