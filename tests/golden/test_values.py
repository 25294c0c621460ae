"""Values, dtypes, gradients and the names of nodes against a record of PyTorch's, which need not be installed."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest

import flambeau
from golden.calls import CALLS
from golden.evaluate import run

RECORD: dict[str, Any] = json.loads((Path(__file__).parent / "values.json").read_text())

# What PyTorch shows where it has no derivative; here there may be one.
NO_DERIVATIVE = {None, "torch::autograd::NotImplemented"}
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 2e-5, "complex128": 2e-5}


def close(got: list[Any], want: list[Any], tolerance: float) -> bool:
    def same(a: Any, b: Any) -> bool:
        x, y = float(a), float(b)
        return math.isclose(x, y, rel_tol=tolerance, abs_tol=tolerance) or math.isnan(x) and math.isnan(y)

    return len(got) == len(want) and all(same(a, b) for a, b in zip(got, want))


@pytest.mark.parametrize("call", list(dict.fromkeys(CALLS)))
def test_call(call: str) -> None:
    want = RECORD[call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = run(flambeau, call)
    assert [o[:2] for o in got["out"]] == [o[:2] for o in want["out"]]
    for (dtype, _, numbers, name), (_, _, expected, node) in zip(got["out"], want["out"]):
        assert close(numbers, expected, TOLERANCE.get(dtype, 1e-4))
        if node not in NO_DERIVATIVE:
            assert name == node
    if isinstance(want.get("grad"), str) or {o[3] for o in want["out"]} <= NO_DERIVATIVE:
        return  # PyTorch has no derivative: one here is no fault
    grads, expected = got.get("grad", {}), want.get("grad", {})
    for key in set(grads) | set(expected):  # no gradient and a gradient of zeros mean the same
        zero = [0.0] * len(grads.get(key, expected.get(key)))
        assert close(grads.get(key, zero), expected.get(key, zero), 3e-2 if key in ("h", "bf") else 2e-4), key


def test_the_record_is_of_these_calls() -> None:
    assert set(RECORD) - {"torch"} == set(CALLS), "run tools/write_golden.py where PyTorch is installed"


def test_the_record_is_what_pytorch_gives() -> None:
    """A few calls, where PyTorch is at hand: the record has not been edited by hand."""
    torch = pytest.importorskip("torch")
    if torch.__version__.split("+")[0] != RECORD["torch"]:
        pytest.skip(f"the record is of PyTorch {RECORD['torch']}")
    for call in CALLS[::40]:
        got = run(torch, call)
        assert [o[3] for o in got["out"]] == [o[3] for o in RECORD[call]["out"]]
        for a, b in zip(got["out"], RECORD[call]["out"]):
            assert close(a[2], b[2], 1e-3)
