"""Every combination of the options of every optimizer: PyTorch's numbers over 20 steps, or its error."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

WAYS = ({}, {"foreach": True}, {"foreach": False}, {"differentiable": True}, {"capturable": True})
FUSED = ({"fused": True}, {"fused": True, "foreach": True}, {"fused": True, "differentiable": True})
ADAM = {
    "betas": [(0.9, 0.999), (0.5, 0.8), (0.0, 0.9)],
    "eps": [1e-8, 1e-3],
    "weight_decay": [0, 0.1],
    "amsgrad": [False, True],
    "maximize": [False, True],
}
DECAY = {"weight_decay": [0, 0.1], "maximize": [False, True]}

# For each optimizer: values of each option, and the ways of doing the same thing that it knows.
OPTIONS: dict[str, tuple[dict[str, list[Any]], tuple[dict[str, bool], ...]]] = {
    "SGD": (
        {"momentum": [0, 0.9], "dampening": [0, 0.3], "nesterov": [False, True], **DECAY},
        (*WAYS[:4], *FUSED),
    ),
    "Adam": ({**ADAM, "decoupled_weight_decay": [False, True]}, (*WAYS, *FUSED)),
    "AdamW": (ADAM, (*WAYS, *FUSED)),
    "NAdam": (
        {
            "betas": [(0.9, 0.999), (0.5, 0.8)],
            "eps": [1e-8, 1e-3],
            "momentum_decay": [4e-3, 0.3],
            "decoupled_weight_decay": [False, True],
            **DECAY,
        },
        WAYS,
    ),
    "RAdam": (
        {
            "betas": [(0.9, 0.999), (0.5, 0.8)],
            "eps": [1e-8, 1e-3],
            "decoupled_weight_decay": [False, True],
            **DECAY,
        },
        WAYS,
    ),
    "Adamax": ({"betas": [(0.9, 0.999), (0.5, 0.8)], "eps": [1e-8, 1e-3], **DECAY}, WAYS),
    "Adagrad": (
        {"lr_decay": [0, 0.1], "initial_accumulator_value": [0, 0.5], "eps": [1e-10, 1e-3], **DECAY},
        (*WAYS[:4], *FUSED),
    ),
    "Adadelta": ({"rho": [0.9, 0.5, 0.0, 1.0], "eps": [1e-6, 1e-2], **DECAY}, WAYS),
    "RMSprop": (
        {
            "alpha": [0.99, 0.5],
            "eps": [1e-8, 1e-2],
            "momentum": [0, 0.9],
            "centered": [False, True],
            **DECAY,
        },
        WAYS,
    ),
    "Rprop": (
        {
            "etas": [(0.5, 1.2), (0.3, 2.0)],
            "step_sizes": [(1e-6, 50), (1e-2, 0.2)],
            "maximize": [False, True],
        },
        WAYS,
    ),
    "ASGD": ({"lambd": [1e-4, 0.1], "alpha": [0.75, 0.5], "t0": [1e6, 5], **DECAY}, WAYS),
    "Adafactor": (
        {"beta2_decay": [-0.8, -0.3], "eps": [(None, 1e-3), (1e-10, 1e-2)], "d": [1.0, 2.0], **DECAY},
        WAYS[:3],
    ),
    "Muon": (
        {
            "momentum": [0.95, 0.5],
            "nesterov": [True, False],
            "weight_decay": [0.1, 0.0],
            "adjust_lr_fn": [None, "original", "match_rms_adamw"],
            "ns_steps": [5, 3],
        },
        ({},),
    ),
}
STEPS = 20
SHAPES = {"Muon": ((4, 3), (3, 5)), "Adafactor": ((4, 3), (5,), (2, 3, 2))}


def combinations(name: str) -> list[dict[str, Any]]:
    values, ways = OPTIONS[name]
    plain = [dict(zip(values, chosen)) for chosen in itertools.product(*values.values())]
    extra = [{"lr": 0.0}] if name != "LBFGS" else []
    # All values together, each way once with every third of them (a number that is prime to the others' periods).
    return [*plain, *extra, *({**plain[i], **way} for way in ways[1:] for i in range(0, len(plain), 3))]


def outcome(library: Any, name: str, options: dict[str, Any], dtype: str) -> Any:
    """Parameters, state and groups after the steps, or the error."""
    rng = np.random.default_rng(7)
    shapes = SHAPES.get(name, ((3, 4), (), (5,)))
    starts = [rng.normal(0, 1, s).astype(dtype) for s in shapes]
    leaves = [library.from_numpy(np.array(a)).requires_grad_() for a in starts]
    differentiable = options.get("differentiable", False)
    params = [p.clone() for p in leaves] if differentiable else leaves
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first, second = {"params": params[:1]}, {"params": params[1:], "lr": 0.01}
            optimizer = getattr(library.optim, name)([first, second], **{"lr": 0.05, **options})
            for _ in range(STEPS):
                for p, a in zip(params, starts):
                    p.grad = library.from_numpy(np.asarray(rng.normal(0, 1, a.shape).astype(dtype)))
                optimizer.step()
    except (ValueError, TypeError, RuntimeError, AssertionError) as error:
        return type(error), str(error)
    state = optimizer.state_dict()
    values = {i: p.detach().numpy() for i, p in enumerate(params)}
    for i, of_one in state["state"].items():
        for key, value in of_one.items():
            is_tensor = isinstance(value, library.Tensor)
            values[i, key, is_tensor and str(value.dtype)] = value.detach().numpy() if is_tensor else value
    return values, state["param_groups"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIONS)
def test_like_pytorch(name: str, dtype: str) -> None:
    found = 0
    for options in combinations(name):
        ours, theirs = (outcome(library, name, options, dtype) for library in (flambeau, torch))
        if isinstance(theirs[0], type):
            assert ours[0] is theirs[0], options
            assert ours == theirs or theirs[0] is AssertionError, options  # that there is no accelerator
            continue
        found += 1
        assert not isinstance(ours[0], type), (options, ours)
        assert ours[1] == theirs[1], options
        assert ours[0].keys() == theirs[0].keys(), options
        # Muon iterates in bfloat16. PyTorch computes the bias corrections of differentiable steps in float32.
        # Its foreach form of ASGD keeps the rate in float32. Elsewhere rounding may add up over the steps.
        tolerance = 64 * np.finfo(dtype).eps
        if name == "Muon" or options.get("differentiable"):
            tolerance = 2e-2 if name == "Muon" else 2e-4
        if name == "ASGD" and options.get("foreach"):
            tolerance = 1e-6
        for key, value in theirs[0].items():
            if value is None:
                assert ours[0][key] is None
                continue
            np.testing.assert_allclose(
                ours[0][key], value, rtol=tolerance, atol=tolerance, err_msg=f"{options} {key}"
            )
    assert found >= 8


@pytest.mark.parametrize("options", [{}, {"maximize": True, "betas": (0.5, 0.9), "eps": 1e-3}])
def test_rows_of_a_sparse_gradient(options: dict[str, Any]) -> None:
    found = []
    for library in (flambeau, torch):
        rng = np.random.default_rng(0)
        weight = library.from_numpy(rng.normal(0, 1, (7, 3)))
        embedding = library.nn.Embedding.from_pretrained(weight, freeze=False, sparse=True)
        optimizer = library.optim.SparseAdam(embedding.parameters(), lr=0.1, **options)
        for _ in range(STEPS):
            optimizer.zero_grad()
            rows = library.from_numpy(rng.integers(0, 7, 4))
            (embedding(rows) * library.from_numpy(rng.normal(0, 1, (4, 3)))).sum().backward()
            optimizer.step()
        state = optimizer.state_dict()["state"][0]
        moments = [state[key].numpy() for key in ("exp_avg", "exp_avg_sq")]
        found.append(np.array([embedding.weight.detach().numpy(), *moments, np.full((7, 3), state["step"])]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"lr": -1}, {"eps": 0.0}, {"betas": (1.0, 0.9)}, {"betas": (0.1, -1.0)}]
)
def test_bad_options_of_sparse_adam(options: dict[str, Any]) -> None:
    errors = []
    for library in (flambeau, torch):
        with pytest.raises(ValueError) as found:
            library.optim.SparseAdam([library.zeros(2, requires_grad=True)], **options)
        errors.append(str(found.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("name", ["Adam", "SGD", "Rprop", "ASGD", "RAdam", "NAdam", "Adafactor", "LBFGS"])
def test_states_pass_through_files(name: str, tmp_path: Any) -> None:
    """Ten steps with one library, saved, ten more with the other: as with one of them alone."""

    def steps(library: Any, w: Any, optimizer: Any) -> None:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = ((w - 1) ** 2 * library.arange(1.0, 7.0).reshape(2, 3)).sum()
            loss.backward()
            return loss

        for _ in range(10):
            optimizer.step(closure)

    def start(library: Any) -> tuple[Any, Any]:
        w = library.linspace(-1, 1, 6, dtype=library.float64).reshape(2, 3).clone().requires_grad_()
        options = {"momentum": 0.9} if name == "SGD" else {"max_iter": 2} if name == "LBFGS" else {}
        return w, getattr(library.optim, name)([w], lr=0.01, **options)

    expected, optimizer = start(torch)
    steps(torch, expected, optimizer)
    steps(torch, expected, optimizer)
    for first, second in ((torch, flambeau), (flambeau, torch)):
        w, optimizer = start(first)
        steps(first, w, optimizer)
        first.save({"w": w.detach(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
        saved = second.load(tmp_path / "state.pt")
        w, optimizer = start(second)
        with second.no_grad():
            w.copy_(saved["w"])
        optimizer.load_state_dict(saved["optimizer"])
        steps(second, w, optimizer)
        np.testing.assert_allclose(
            w.detach().numpy(), expected.detach().numpy(), rtol=1e-9, err_msg=first.__name__
        )
