"""Arguments that make no sense: every public function gives a result or an error, and leaves its inputs as they were."""

from __future__ import annotations

import inspect
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.core.public import FUNCTIONS

F = torch.nn.functional

# They set what the whole process sees, read or write files, or wait.
NOT_HERE = {
    *(
        "load",
        "save",
        "from_file",
        "compile",
        "seed",
        "manual_seed",
        "initial_seed",
        "get_rng_state",
        "set_rng_state",
    ),
    *("has_torch_function", "handle_torch_function", "multi_head_attention_forward"),
}


def functions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for prefix, space in (
        ("", vars(torch)),
        ("", FUNCTIONS),
        ("nn.functional.", vars(F)),
        ("linalg.", vars(torch.linalg)),
        ("fft.", vars(torch.fft)),
        ("special.", vars(torch.special)),
    ):
        for name, fn in list(space.items()):
            if (
                callable(fn)
                and not isinstance(fn, type)
                and not name.startswith(("_", "set_", "get_", "is_", "use_"))
                and name not in NOT_HERE
                and getattr(fn, "__module__", "flambeau").startswith("flambeau")
            ):
                found[prefix + name] = fn
    return found


FOUND = functions()
WRITING = {
    "batch_norm",
    "instance_norm",
    "native_batch_norm",
    "embedding",
    "embedding_bag",
}  # statistics, long rows
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
DTYPES = st.sampled_from(
    ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64"]
)
NUMBERS = st.one_of(
    st.integers(-3, 6),
    st.sampled_from([0.5, -1.5, float("nan"), float("inf"), True, 1j, 2**70]),
)
OTHERS = st.sampled_from(
    [None, "mean", "sum", "nonsense", "reflect", "ij,jk->ik", (), [], {}, slice(1, 2), b"x", object()]
)


@st.composite
def tensors(draw: Any) -> Any:
    shape, dtype, seed = draw(SHAPES), draw(DTYPES), draw(st.integers(0, 5))
    values = np.random.default_rng(seed).normal(0, 3, shape)
    t = torch.tensor(values if dtype == "complex64" else values.tolist(), dtype=getattr(torch, dtype))
    return t.transpose(0, -1) if draw(st.booleans()) and t.ndim > 1 else t


ARGUMENTS = st.one_of(
    tensors(), tensors(), NUMBERS, OTHERS, st.lists(st.one_of(tensors(), st.integers(-2, 5)), max_size=3)
)


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """An error instead of waiting for ever."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeoutError(f"no answer after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def parameter_names(fn: Any) -> list[str]:
    try:
        return list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return []


def found_in(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [t for v in x for t in found_in(v)]
    return [x] if isinstance(x, torch.Tensor) else []


def memory(t: Any) -> tuple[Any, ...]:
    return tuple(t.shape), t.dtype, t.stride(), t._version, t.detach()._a.tobytes()


def call(name: str, args: list[Any]) -> Exception | None:
    """What the call raised; the inputs are looked at before and after."""
    given = found_in(args)
    before = [memory(t) for t in given]
    raised: Exception | None = None
    with at_most(20), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            FOUND[name](*args)
        except TimeoutError:
            raise
        except Exception as e:
            raised = e
    writes = name.endswith("_") or name.rpartition(".")[2] in {
        "batch_norm",
        "instance_norm",
        "native_batch_norm",
    }
    if not writes or raised is not None and not isinstance(raised, NotImplementedError):
        for t, b in zip(given, before):
            assert memory(t) == b, f"{name} changed an input of shape {list(t.shape)}, and raised {raised!r}"
    return raised


@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(FOUND)), args=st.lists(ARGUMENTS, min_size=1, max_size=5))
def test_any_arguments(name: str, args: list[Any]) -> None:
    raised = call(name, args)
    # what the functions say of themselves, and no accident of their inside
    assert not isinstance(raised, (RecursionError, MemoryError, SystemError, NameError)), repr(raised)


@pytest.mark.parametrize("name", sorted(FOUND))
def test_no_arguments_of_sense(name: str) -> None:
    for args in ([None], [object()], ["nonsense"], [torch.zeros(0)], [torch.ones(2, 0), torch.ones(3)]):
        call(name, args)
