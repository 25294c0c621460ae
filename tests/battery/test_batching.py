"""Batching of every operation, against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample, outputs, tensor
from flambeau.func import vmap

SAMPLES = [s for s in calls.all_samples() if s.arrays]
BATCHED = [s for s in SAMPLES if s.batches and s.definition.family != "random"]
all_samples = pytest.mark.parametrize("s", BATCHED, ids=lambda s: s.key)


def middle(a: Any) -> int:
    return 1 if a.ndim else 0


def stacked(s: Sample, places: Any, where: Any) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """(arguments with two calls side by side, their in_dims, the arguments of each call)."""
    second = s.second()
    args: list[Any] = []
    dims: list[Any] = []
    for i, (a, b) in enumerate(zip(s.args, second)):
        if i in places:
            dims.append(where(a))
            args.append(tensor(np.stack([a, b], dims[-1])))
        else:
            dims.append(None)
            args.append(tensor(a))
    calls_ = [
        [tensor(s.args[i]) if i not in places or k == 0 else tensor(second[i]) for i in range(len(s.args))]
        for k in (0, 1)
    ]
    return args, dims, calls_


def compare(got: Any, loop: list[Any], out_dim: int = 0, tol: float = 1e-9) -> None:
    want = [np.stack(pair, out_dim if pair[0].ndim else 0) for pair in zip(*[outputs(r) for r in loop])]
    have = outputs(got)
    assert len(have) == len(want)
    for g, w in zip(have, want):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol)


def tensor_places(s: Sample) -> list[int]:
    return [i for i, a in enumerate(s.args) if isinstance(a, np.ndarray)]


@all_samples
def test_all_inputs_batched(s: Sample) -> None:
    args, dims, each = stacked(s, tensor_places(s), lambda a: 0)
    compare(vmap(s.run, in_dims=tuple(dims))(*args), [s.run(*c) for c in each])


@all_samples
def test_middle_dim(s: Sample) -> None:
    args, dims, each = stacked(s, tensor_places(s), middle)
    loop = [s.run(*c) for c in each]
    shapes = [o.ndim for o in outputs(loop[0])]
    out = 1 if all(shapes) else 0
    compare(vmap(s.run, in_dims=tuple(dims), out_dims=out)(*args), loop, out)


@pytest.mark.parametrize("s", [s for s in BATCHED if len(tensor_places(s)) > 1], ids=lambda s: s.key)
def test_one_input_batched(s: Sample) -> None:
    for place in tensor_places(s):
        if (
            s.op in ("ldl_solve", "searchsorted", "max_pool_taps")
            or s.op == "index"
            and place
            and s.definition is None
        ):
            continue
        args, dims, each = stacked(s, [place], lambda a: 0)
        compare(vmap(s.run, in_dims=tuple(dims))(*args), [s.run(*c) for c in each])


@pytest.mark.parametrize("s", [s for s in SAMPLES if not s.batches], ids=lambda s: s.key)
def test_results_of_changing_shape_say_so(s: Sample) -> None:
    args, dims, _ = stacked(s, tensor_places(s), lambda a: 0)
    with pytest.raises(RuntimeError, match="(?s)vmap.*"):
        vmap(s.run, in_dims=tuple(dims))(*args)


@pytest.mark.parametrize(
    "s", [s for s in calls.all_samples() if s.definition.family == "random"], ids=lambda s: s.key
)
def test_randomness(s: Sample) -> None:
    """error: refused; same: one draw for all examples; different: independent draws."""

    def run(x: Any, *args: Any) -> Any:
        return s.run(*args)

    x = torch.zeros(3)
    args = s.tensors()
    dims = (0, *[None] * len(args))
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(run, in_dims=dims)(x, *args)
    same = outputs(vmap(run, in_dims=dims, randomness="same")(x, *args))[0]
    assert same.shape[0] == 3 and (same == same[:1]).all()
    if "args" in s.params or args:
        different = outputs(vmap(run, in_dims=dims, randomness="different")(x, *args))[0]
        assert different.shape == same.shape
