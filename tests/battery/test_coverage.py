"""No operation without samples, no differentiable operation without rules, no stale rows in the tables."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from battery import calls, pointwise
from battery.sample import operations
from flambeau.core.op import REGISTRY, Op, Rule


def test_every_operation_has_samples() -> None:
    missing = [name for name in operations() if not calls.samples_of(name)]
    assert not missing, (
        f"no sample calls for {missing}: add rows to tests/battery/pointwise.py or tests/battery/calls.py"
    )


def test_every_sample_belongs_to_an_operation() -> None:
    stale = (set(pointwise.TABLE) | set(calls.TABLE)) - set(operations())
    assert not stale, f"samples of operations that are not registered: {sorted(stale)}"


def test_every_elementwise_operation_is_compared_with_a_reference() -> None:
    families = {name: op.family for name, op in operations().items()}
    assert not [n for n, f in families.items() if f == "pointwise" and pointwise.entry(n) is None]


@pytest.mark.parametrize("name", operations())
def test_rules(name: str) -> None:
    op = operations()[name]
    assert callable(op.batch)
    if op.differentiable:
        assert op.jvp is not None
        assert op.joint is not None or any(isinstance(r, Rule) for r in op.vjp)


def test_an_operation_without_a_derivative_rule_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="no derivative rule"):
        Op("nameless", "opaque", lambda x: x, ["x"], batch=lambda *a: None)
    with pytest.raises(ValueError, match="no batching rule"):
        Op("nameless", "opaque", lambda x: x, ["x"], differentiable=False)
    assert "nameless" not in REGISTRY


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        Op("add", "opaque", lambda x: x, ["x"], batch=lambda *a: None, differentiable=False)
    assert float(torch.add(torch.tensor(1.0), 2)) == 3


def test_samples_are_small() -> None:
    sizes = {s.key: sum(a.size for a in s.arrays if a.size != 5056) for s in calls.all_samples()}
    big = [key for key, size in sizes.items() if size > 400]  # but for a generator's state
    assert not big
    finite = [s for s in calls.all_samples() if "nan" not in s.note]  # those are about NaN
    assert all(np.isfinite(a).all() for s in finite for a in s.arrays if a.dtype.kind in "fc")
