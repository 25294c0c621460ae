"""Both sides of `pytorch_errors.py`: our derivatives have the true values, and PyTorch's still do not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
from func.pytorch_errors import BEGIN, END, ERRORS, PAGE, Error, table

each = pytest.mark.parametrize("e", ERRORS, ids=lambda e: f"{e.op} {e.mode}")


def values(x: Any) -> Any:
    return np.asarray(x.detach().resolve_conj().numpy())


def distance(x: Any, e: Error) -> float:
    """The largest error, relative to the largest element."""
    truth = np.asarray(e.truth())
    return float(np.abs(x - truth).max() / max(1.0, np.abs(truth).max()))


@each
def test_our_values_are_the_true_ones(e: Error) -> None:
    assert distance(values(e.run(flambeau)), e) < e.tolerance


@each
def test_pytorchs_are_not(e: Error) -> None:
    """When this fails, PyTorch has been repaired: take the entry out."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            got = values(e.run(torch))
        except RuntimeError:
            assert e.miss is None
            return
    if e.miss is None:
        assert not np.isfinite(got).all()
    else:
        assert distance(got, e) > e.miss


def test_the_page_lists_them() -> None:
    text = PAGE.read_text()
    assert BEGIN + text.split(BEGIN)[1].split(END)[0] + END == table(), (
        "run: python tests/func/pytorch_errors.py"
    )
