"""Scenarios that run here and in PyTorch and must leave the same trace, exceptions included."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau


def plain(x: Any) -> Any:
    """A value that compares across libraries: tensors as (dtype, requires_grad, array)."""
    if hasattr(x, "detach"):
        y = x.detach()
        return str(x.dtype), bool(x.requires_grad), np.array(y.resolve_conj().tolist()), tuple(x.shape)
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return x


def attempt(fn: Callable[[], Any]) -> Any:
    """The result of a call, or the type of its exception."""
    try:
        return fn()
    except Exception as e:
        kind = type(e).__name__
        return "NotImplementedError" if kind == "NotImplementedError" else f"error: {kind}"


def equal(got: Any, want: Any, where: str) -> None:
    if isinstance(want, np.ndarray):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=where)
    elif isinstance(want, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(want), f"{where}: {got} != {want}"
        for i, (g, w) in enumerate(zip(got, want)):
            equal(g, w, f"{where}[{i}]")
    elif isinstance(want, dict):
        assert list(got) == list(want), where
        for k in want:
            equal(got[k], want[k], f"{where}[{k!r}]")
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=1e-5, nan_ok=True), where
    else:
        assert got == want, f"{where}: {got!r} != {want!r}"


def scenario(fn: Callable[[Any], Any]) -> Callable[[], None]:
    """A test from a function of the library that returns or yields a trace."""

    def trace(lib: Any) -> list[Any]:
        lib.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = fn(lib)
            return [plain(v) for v in result] if hasattr(result, "__next__") else [plain(result)]

    @functools.wraps(fn)
    def test() -> None:
        torch = pytest.importorskip("torch")
        want = trace(torch)
        equal(trace(flambeau), want, fn.__name__)

    del test.__wrapped__  # pytest would ask for a fixture called like the parameter
    return test
