"""An array, a list or None for a tensor is a TypeError that says so, and never one about our own attributes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.core.public import FUNCTIONS

F = nn.functional
INSTEAD = ([1, 2, 3], None, np.ones(3), "a", 1.5)


def functions() -> list[Any]:
    """The operations in the torch namespace and those of nn.functional, but for what sets the generator."""
    names = [n for n in FUNCTIONS if not n.startswith("_") and "seed" not in n and "rng_state" not in n]
    return [getattr(F, n) for n in F.__all__] + [getattr(flambeau, n) for n in names if hasattr(flambeau, n)]


@pytest.mark.filterwarnings("ignore")
def test_no_function_names_our_own_attributes() -> None:
    for function in functions():
        for x in INSTEAD:
            for count in (1, 2, 3):
                try:
                    function(*[x] * count)
                except AttributeError as error:
                    name = error.name or ""
                    assert not name.startswith("_") or name.startswith("__"), (
                        function.__name__,
                        x,
                        count,
                        error,
                    )
                except Exception:
                    pass


@pytest.mark.parametrize("x", INSTEAD, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("name", ["linear", "softmax", "embedding", "layer_norm", "cross_entropy"])
def test_the_type_is_named(name: str, x: Any) -> None:
    more = {"linear": (flambeau.ones(2, 3),), "softmax": (0,), "embedding": (flambeau.ones(2, 3),)}
    rest = {**more, "layer_norm": ((3,),), "cross_entropy": (flambeau.tensor([0]),)}[name]
    with pytest.raises(TypeError, match=rf"{name}\(\).*must be Tensor, not {type(x).__name__}"):
        getattr(F, name)(x, *rest)


def test_layers_given_arrays() -> None:
    for layer in (
        nn.Linear(3, 2),
        nn.LayerNorm(3),
        nn.Softmax(1),
        nn.Conv1d(3, 2, 1),
        nn.ReLU(),
    ):
        with pytest.raises(TypeError, match="must be Tensor, not ndarray"):
            layer(np.ones((2, 3), np.float32))


def test_warnings_are_about_the_callers_line() -> None:
    x = flambeau.ones(2, 2)
    for call in (
        lambda: F.softmax(x),
        lambda: nn.Softmax()(x),
        lambda: F.mse_loss(x, flambeau.ones(2)),
        lambda: nn.HuberLoss()(x, flambeau.ones(2)),
        lambda: F.binary_cross_entropy(x, x, reduce=False),
        lambda: F.upsample(flambeau.ones(1, 1, 4), 2),
        lambda: F.grid_sample(flambeau.ones(1, 1, 2, 2), flambeau.ones(1, 2, 2, 2)),
    ):
        with pytest.warns(UserWarning) as caught:
            call()
        assert caught[0].filename == __file__


def test_functions_are_pickled_by_name() -> None:
    for name in ("linear", "gelu", "cross_entropy", "relu", "elu"):
        assert pickle.loads(pickle.dumps(getattr(F, name))) is getattr(F, name)
    for name in ("numel", "abs_", "real", "detach", "clamp_", "zeros"):
        assert pickle.loads(pickle.dumps(getattr(flambeau, name))) is getattr(flambeau, name)


def test_numbers_are_looked_for_in_nested_lists() -> None:
    errors = (
        (["a"], ValueError, "too many dimensions 'str'"),
        ([1, "a"], TypeError, "invalid data type 'str'"),
        ([[1], [b"a"]], TypeError, "invalid data type 'bytes'"),
        ([1, None], RuntimeError, "dtype of NoneType"),
        (None, RuntimeError, "dtype of NoneType"),
        ({1: 2}, RuntimeError, "dtype of dict"),
        ([[1.0], [object()]], RuntimeError, "dtype of object"),
    )
    for data, error, message in errors:
        with pytest.raises(error, match=message):
            flambeau.tensor(data)


def test_a_margin_is_a_floating_number() -> None:
    """So the ranking loss of integers is floating, as in PyTorch."""
    one, two = flambeau.tensor([1, 2]), flambeau.tensor([3, 1])
    loss = flambeau.nn.functional.margin_ranking_loss(one, two, flambeau.tensor([1, 1]), margin=1)
    assert loss.dtype is flambeau.float32 and loss.item() == 1.5
