"""Schedules with random arguments, nested in each other: PyTorch's rates, momenta, states, warnings and errors."""

from __future__ import annotations

import math
import random
import warnings
from typing import Any

import pytest

import flambeau

torch = pytest.importorskip("torch")

Spec = tuple[str, dict[str, Any]]
STEPS = 18
BATCHES, EACH = 12, 25  # tests, and schedules in each

ARGUMENTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "StepLR": {"step_size": (1, 2, 3, 0, -1), "gamma": (0.1, 0.5, 1.5)},
    "MultiStepLR": {"milestones": ([2, 5], [5, 2, 2], [], [0, 1], [3.0, 4]), "gamma": (0.1, 0.5)},
    "ConstantLR": {"factor": (0.5, 1.0, 0.0, 1.5, -1), "total_iters": (0, 1, 4)},
    "LinearLR": {
        "start_factor": (0.1, 1.0, 0.0, 2),
        "end_factor": (0.7, 0.0, 1.0, -0.1),
        "total_iters": (1, 5, 0),
    },
    "ExponentialLR": {"gamma": (0.9, 1.1, 0.0)},
    "PolynomialLR": {"total_iters": (1, 5, 8), "power": (1.0, 2.0, 0.5)},
    "CosineAnnealingLR": {"T_max": (1, 4, 6, 10), "eta_min": (0.0, 0.01)},
    "CosineAnnealingWarmRestarts": {"T_0": (1, 3, 0, 2.5), "T_mult": (1, 2, 0), "eta_min": (0.0, 0.01)},
    "CyclicLR": {
        "base_lr": (0.01, [0.01, 0.02]),
        "max_lr": (0.1, [0.1, 0.3], [0.1]),
        "step_size_up": (3, 1, 2.5),
        "step_size_down": (None, 2),
        "mode": ("triangular", "triangular2", "exp_range"),
        "gamma": (1.0, 0.9),
        "cycle_momentum": (True, False),
        "scale_fn": (None, None, lambda x: 1 / (1 + x)),
        "scale_mode": ("cycle", "iterations"),
    },
    "OneCycleLR": {
        "max_lr": (0.3, [0.3, 0.2]),
        "total_steps": (25, 40, None, 20.5),
        "epochs": (None, 5, 0),
        "steps_per_epoch": (5, None),
        "pct_start": (0.3, 0.5, 1, 0.0),
        "anneal_strategy": ("cos", "linear"),
        "three_phase": (True, False),
        "div_factor": (25.0, 10),
        "cycle_momentum": (True, False),
    },
    "LambdaLR": {"lr_lambda": (lambda e: 0.9**e, [lambda e: 0.5, lambda e: 1 / (e + 1)])},
    "MultiplicativeLR": {"lr_lambda": (lambda e: 0.9, [lambda e: 0.5, lambda e: 1 / (e + 1)])},
    "SWALR": {
        "swa_lr": (0.01, [0.01, 0.02]),
        "anneal_epochs": (4, 0, 10, -1),
        "anneal_strategy": ("cos", "linear", "x"),
    },
}


def any_schedule(choices: random.Random, depth: int = 0) -> Spec:
    names = [*ARGUMENTS, *(["SequentialLR", "ChainedScheduler"] * 3 if depth < 2 else [])]
    name = choices.choice(names)
    if name in ARGUMENTS:
        return name, {key: choices.choice(values) for key, values in ARGUMENTS[name].items()}
    parts = [any_schedule(choices, depth + 1) for _ in range(choices.choice((1, 2, 3)))]
    if name == "ChainedScheduler":
        return name, {"schedulers": parts}
    return name, {"schedulers": parts, "milestones": sorted(choices.sample(range(1, 15), len(parts) - 1))}


def build(library: Any, optimizer: Any, spec: Spec) -> Any:
    name, arguments = spec[0], dict(spec[1])
    if "schedulers" in arguments:
        arguments["schedulers"] = [build(library, optimizer, part) for part in arguments["schedulers"]]
    if name == "ChainedScheduler":
        return library.optim.lr_scheduler.ChainedScheduler(arguments["schedulers"], optimizer=optimizer)
    module = library.optim.swa_utils if name == "SWALR" else library.optim.lr_scheduler
    return getattr(module, name)(optimizer, **arguments)


def two_groups(library: Any, kind: str, tensor_rate: bool) -> Any:
    a, b = library.zeros(2, requires_grad=True), library.zeros(3, requires_grad=True)
    rate = library.tensor(0.1, dtype=library.float64) if tensor_rate else 0.1
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(library.optim, kind)([{"params": [a]}, {"params": [b], "lr": 0.2}], lr=rate, **options)


def plain(value: Any) -> Any:
    """`value` with numbers for tensors, without functions and parameters."""
    if isinstance(value, dict):
        hidden = ("params", "_schedulers")
        return {
            k: plain(v) for k, v in value.items() if k not in hidden and not callable(v) and "func" not in k
        }
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if hasattr(value, "item") else "function" if callable(value) else value


def history(
    library: Any, spec: Spec, kind: str, tensor_rate: bool, jump: int | None
) -> tuple[list[Any], Any]:
    found: list[Any] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            optimizer = two_groups(library, kind, tensor_rate)
            schedule = build(library, optimizer, spec)
            for _ in range(STEPS):
                found.append(plain(optimizer.param_groups))
                optimizer.step()
                schedule.step()
                found.append(plain(schedule.get_last_lr()))
            found.append(plain(schedule.state_dict()))
            if jump is not None:
                schedule.step(jump)
                found.append(plain(schedule.get_last_lr()))
        except Exception as error:
            found.append((type(error), str(error)))
    return found, [(w.category, str(w.message)[:40]) for w in caught]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-14)
    return bool(a == b)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_like_pytorch(batch: int) -> None:
    finished = 0
    for seed in range(batch * EACH, (batch + 1) * EACH):
        choices = random.Random(seed)
        spec = any_schedule(choices)
        rest = choices.choice(("SGD", "Adam")), choices.random() < 0.3, choices.choice((None, None, 5, 0))
        (ours, our_warnings), (theirs, their_warnings) = (
            history(library, spec, *rest) for library in (flambeau, torch)
        )
        assert same(ours, theirs), (seed, spec, rest)
        assert our_warnings == their_warnings, (seed, spec, rest)
        finished += len(ours) > 2 * STEPS
    assert finished > EACH / 4


@pytest.mark.parametrize("batch", range(BATCHES))
def test_states_go_from_one_library_to_the_other(batch: int) -> None:
    """Some steps with one, the state carried over, and more with the other: as with one of them alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(batch * EACH, (batch + 1) * EACH):
            spec = any_schedule(random.Random(seed))
            try:
                expected = resumed(torch, torch, spec)
            except Exception:
                continue  # arguments that are refused
            for first, second in ((torch, flambeau), (flambeau, torch)):
                assert same(resumed(first, second, spec), expected), (seed, spec, first.__name__)


def resumed(first: Any, second: Any, spec: Spec) -> list[Any]:
    optimizer = two_groups(first, "SGD", False)
    schedule = build(first, optimizer, spec)
    for _ in range(5):
        optimizer.step()
        schedule.step()
    saved, groups = schedule.state_dict(), optimizer.state_dict()
    optimizer = two_groups(second, "SGD", False)
    schedule = build(second, optimizer, spec)
    schedule.load_state_dict(saved)
    optimizer.load_state_dict(groups)
    found = []
    for _ in range(8):
        optimizer.step()
        schedule.step()
        found += [plain(schedule.get_last_lr()), plain(optimizer.param_groups)]
    return found
