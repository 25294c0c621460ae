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
from flambeau.core.public import FUNCTIONS, METHODS

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
        ("", FUNCTIONS),
        ("", vars(torch)),
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
    st.sampled_from([2**44, -(2**44), 2**62, -(2**63), 2**63 - 1, -100]),  # no memory has so much
)
OTHERS = st.sampled_from(
    ["cuda", torch.device("cpu"), torch.float32, (2**44,), (2**62, 2), (-1, -1), [2**50, 1], float]
    + [None, "mean", "sum", "nonsense", "reflect", "ij,jk->ik", (), [], {}, slice(1, 2), b"x", object()]
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


# What the inside of a function raises by accident; its users get to know what was wrong with their arguments.
ACCIDENTS = (
    *(AttributeError, ZeroDivisionError, KeyError, RecursionError, MemoryError, SystemError, NameError),
    *(OverflowError, FloatingPointError, StopIteration),
)


def outcome(fn: Any, args: Any, **kwargs: Any) -> Exception | None:
    """What a call raised, within a time."""
    with at_most(20), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            fn(*args, **kwargs)
        except TimeoutError:
            raise
        except Exception as e:
            return e
    return None


def call(name: str, args: list[Any]) -> Exception | None:
    """What the call raised; the inputs are looked at before and after."""
    given = found_in(args)
    before = [memory(t) for t in given]
    raised = outcome(FOUND[name], args)
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
    told(name, raised)


def told(name: str, raised: Exception | None) -> None:
    """What functions say of themselves, and no accident of their inside, unless PyTorch's own Python has the same."""
    if isinstance(raised, ACCIDENTS) and name.rpartition(".")[2] not in IN_PYTHON:
        raise raised


# Functions that PyTorch has written in Python, too: there as here, what is no tensor has no `abs`, `dim` or `size`.
IN_PYTHON = frozenset(
    """
    softsign tanhshrink margin_ranking_loss cosine_embedding_loss hinge_embedding_loss instance_norm binary_cross_entropy
    binary_cross_entropy_with_logits multilabel_soft_margin_loss gaussian_nll_loss triplet_margin_with_distance_loss
    local_response_norm lp_pool1d lp_pool2d lp_pool3d interpolate upsample upsample_nearest upsample_bilinear fold unfold
    adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices fractional_max_pool2d_with_indices gumbel_softmax
    fractional_max_pool3d_with_indices grid_sample affine_grid embedding_bag pad softmin softmax log_softmax kl_div
    smooth_l1_loss huber_loss mse_loss l1_loss multi_margin_loss multilabel_margin_loss soft_margin_loss poisson_nll_loss
    nll_loss cross_entropy normalize batch_norm group_norm layer_norm rms_norm dropout dropout1d dropout2d dropout3d
    max_unpool1d max_unpool2d max_unpool3d adaptive_avg_pool2d adaptive_avg_pool3d multi_head_attention_forward ctc_loss
    linear_cross_entropy feature_alpha_dropout alpha_dropout embedding one_hot vmap cdist block_diag meshgrid unique
    fractional_max_pool2d fractional_max_pool3d adaptive_max_pool1d_with_indices
    """.split()
)


@pytest.mark.parametrize("name", sorted(FOUND))
def test_no_arguments_of_sense(name: str) -> None:
    for args in ([None], [object()], ["nonsense"], [torch.zeros(0)], [torch.ones(2, 0), torch.ones(3)]):
        call(name, args)


IN_PLACE = sorted(n for n in METHODS if n.endswith("_") and not n.startswith("__"))


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(IN_PLACE), x=tensors(), args=st.lists(ARGUMENTS, max_size=3))
def test_in_place(name: str, x: Any, args: list[Any]) -> None:
    """A form in place that raises has not begun to write."""
    given = found_in([x, *args])
    before = [memory(t) for t in given]
    raised = outcome(METHODS[name], [x, *args])
    assert not isinstance(raised, ACCIDENTS), repr(raised)
    for i, (t, b) in enumerate(zip(given, before)):
        if raised is not None or i and t is not x:
            assert memory(t) == b, f"{name} changed a tensor of shape {list(t.shape)}, and raised {raised!r}"


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(FOUND)), args=st.lists(ARGUMENTS, min_size=1, max_size=4), out=tensors())
def test_out(name: str, args: list[Any], out: Any) -> None:
    """What raises has not begun to write, neither into its inputs nor into ``out=``."""
    given = [*found_in(args), out]
    before = [memory(t) for t in given]
    raised = outcome(FOUND[name], args, out=out)
    told(name, raised)
    if raised is not None:
        for t, b in zip(given, before):
            assert memory(t) == b, f"{name} changed a tensor of shape {list(t.shape)}, and raised {raised!r}"


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(FOUND)), args=st.lists(ARGUMENTS, min_size=1, max_size=4))
def test_compiled(name: str, args: list[Any]) -> None:
    """A compiled function raises what eager mode raises, and leaves its inputs alone, too."""
    short = name.rpartition(".")[2]
    if short.endswith("_") or short in WRITING or found_in(args) == [] or short in {"vmap", "rrelu"}:
        return
    fn = FOUND[name]
    eager = outcome(fn, args)
    before = [memory(t) for t in found_in(args)]
    compiled = torch.compile(lambda *xs: fn(*xs))
    for _ in range(2):
        raised = outcome(compiled, args)
        assert type(raised) is type(eager), f"{name}: {raised!r} where eager mode has {eager!r}"
        if raised is not None:
            assert [memory(t) for t in found_in(args)] == before


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "xpu", "nonsense", "cpu:-3", 7, object()])
def test_devices_that_are_not_here(device: Any) -> None:
    x = torch.ones(2)
    for make in (
        lambda: torch.zeros(2, device=device),
        lambda: torch.arange(3, device=device),
        lambda: torch.tensor([1.0], device=device),
        lambda: torch.rand(2, device=device),
        lambda: torch.ones_like(x, device=device),
        lambda: x.to(device) if isinstance(device, str) else x.to(device=device),
        lambda: x.new_zeros(2, device=device),
        lambda: torch.linspace(0, 1, 3, device=device),
        lambda: torch.eye(2, device=device),
        lambda: torch.signal.windows.hann(3, device=device),
    ):
        with pytest.raises((RuntimeError, AssertionError, TypeError, NotImplementedError)):
            make()
    assert x.tolist() == [1, 1]
