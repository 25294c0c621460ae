"""Pruning: the same masks, states, outputs and errors as in PyTorch for the same seed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

import flambeau
from parity import scenario


def layer(lib: Any) -> Any:
    importlib.import_module(f"{lib.__name__}.nn.utils.prune")
    lib.manual_seed(0)
    return lib.nn.Linear(6, 5)


def state(module: Any) -> Any:
    return sorted(module.state_dict().items())


METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "identity": lambda p, m: p.identity(m, "weight"),
    "random": lambda p, m: p.random_unstructured(m, "weight", amount=0.3),
    "l1": lambda p, m: p.l1_unstructured(m, "weight", amount=7),
    "l1 none": lambda p, m: p.l1_unstructured(m, "bias", amount=0),
    "rows": lambda p, m: p.random_structured(m, "weight", amount=2, dim=0),
    "columns": lambda p, m: p.ln_structured(m, "weight", amount=0.5, n=2, dim=-1),
    "l inf": lambda p, m: p.ln_structured(m, "weight", amount=1, n=float("inf"), dim=0),
    "twice": lambda p, m: p.l1_unstructured(
        p.random_unstructured(m, "weight", amount=0.3), "weight", amount=0.5
    ),
    "mixed": lambda p, m: p.l1_unstructured(p.ln_structured(m, "weight", 2, 1, 0), "weight", amount=5),
    "structured again": lambda p, m: p.ln_structured(
        p.ln_structured(m, "weight", 2, 1, 0), "weight", 1, 2, 0
    ),
    "thrice": lambda p, m: p.random_unstructured(
        p.l1_unstructured(p.l1_unstructured(m, "weight", 3), "weight", 3), "weight", 4
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    @scenario
    def test(lib: Any) -> Any:
        m = layer(lib)
        prune = lib.nn.utils.prune
        lib.manual_seed(3)
        METHODS[name](prune, m)
        yield state(m)
        x = lib.ones(2, 6)
        m(x).sum().backward()
        yield [(k, q.grad) for k, q in sorted(m.named_parameters())]
        yield prune.is_pruned(m), prune.is_pruned(lib.nn.Sequential(m)), prune.is_pruned(layer(lib))
        target = "bias" if name == "l1 none" else "weight"
        prune.remove(m, target)
        yield state(m), prune.is_pruned(m), type(getattr(m, target)).__name__

    test()


@scenario
def test_global(lib: Any) -> Any:
    a, b = layer(lib), layer(lib)
    prune = lib.nn.utils.prune
    prune.random_unstructured(a, "weight", amount=4)
    prune.global_unstructured([(a, "weight"), (b, "weight"), (b, "bias")], prune.L1Unstructured, amount=0.4)
    yield state(a), state(b)
    c = layer(lib)
    scores = {(c, "bias"): lib.arange(5.0)}
    prune.global_unstructured([(c, "bias")], prune.L1Unstructured, scores, amount=2)
    yield c.bias_mask


@scenario
def test_masks_and_tensors(lib: Any) -> Any:
    m = layer(lib)
    prune = lib.nn.utils.prune
    prune.custom_from_mask(m, "bias", lib.tensor([1.0, 0.0, 1.0, 0.0, 1.0]))
    yield m.bias, m.bias_mask
    yield prune.L1Unstructured(amount=2).prune(lib.tensor([3.0, -1.0, 2.0, -4.0]))
    yield prune.L1Unstructured(amount=2).prune(
        lib.ones(4), importance_scores=lib.tensor([3.0, -1.0, 2.0, -4.0])
    )
    prune.l1_unstructured(m, "weight", 10, importance_scores=lib.arange(30.0).reshape(5, 6))
    yield m.weight_mask


BAD: dict[str, Callable[[Any], Any]] = {
    "type": lambda t: t.nn.utils.prune.l1_unstructured(layer(t), "weight", amount="a"),
    "fraction": lambda t: t.nn.utils.prune.l1_unstructured(layer(t), "weight", amount=1.5),
    "negative": lambda t: t.nn.utils.prune.l1_unstructured(layer(t), "weight", amount=-1),
    "too many": lambda t: t.nn.utils.prune.l1_unstructured(layer(t), "bias", amount=6),
    "vector": lambda t: t.nn.utils.prune.ln_structured(layer(t), "bias", 1, 2, 0),
    "dim": lambda t: t.nn.utils.prune.ln_structured(layer(t), "weight", 1, 2, 2),
    "not pruned": lambda t: t.nn.utils.prune.remove(layer(t), "weight"),
    "scores": lambda t: t.nn.utils.prune.l1_unstructured(layer(t), "weight", 1, importance_scores=t.ones(2)),
    "name": lambda t: t.nn.utils.prune.l1_unstructured(layer(t), "width", 1),
    "global": lambda t: t.nn.utils.prune.global_unstructured(
        [(layer(t), "weight")], t.nn.utils.prune.LnStructured, amount=1, n=2
    ),
    "global scores": lambda t: t.nn.utils.prune.global_unstructured(
        [], t.nn.utils.prune.L1Unstructured, 3, amount=1
    ),
    "mask": lambda t: t.nn.utils.prune.custom_from_mask(layer(t), "bias", t.ones(3)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name: str) -> None:
    torch = pytest.importorskip("torch")
    kinds = []
    for lib in (flambeau, torch):
        layer(lib)
        with pytest.raises(Exception) as e:
            BAD[name](lib)
        kinds.append(e.type.__name__)
    assert kinds[0] == kinds[1]


def test_a_failure_changes_nothing() -> None:
    m = layer(flambeau)
    prune = flambeau.nn.utils.prune
    prune.l1_unstructured(m, "weight", 3)
    before = {k: v.clone() for k, v in m.state_dict().items()}
    with pytest.raises(ValueError, match="smaller than"):
        prune.l1_unstructured(m, "weight", 100)
    assert len(m._forward_pre_hooks) == 1
    after = m.state_dict()
    assert sorted(before) == sorted(after) and all(flambeau.equal(before[k], after[k]) for k in before)
