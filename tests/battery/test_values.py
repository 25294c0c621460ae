"""Values of every operation against NumPy, SciPy, mpmath or plain loops, in every memory layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample, operations, outputs, same, tensor

SAMPLES = calls.all_samples()
all_samples = pytest.mark.parametrize("s", SAMPLES, ids=lambda s: s.key)


def result(s: Sample, args: Any = None) -> list[Any]:
    """Arrays that the operation itself gives, without `observe`."""
    ts = s.tensors(args)
    if s.prepare is not None:
        ts = s.prepare(*ts)
    return outputs(s.definition(*ts, **s.parameters()))


@all_samples
def test_value(s: Sample) -> None:
    got = result(s)
    if s.verify is not None:
        s.verify(got, s.args)
    elif s.reference is not None:
        want = s.reference(*s.args)
        same([torch.from_numpy(np.array(g)) for g in got], want, s.tol, s.key)
    else:
        assert s.definition.family == "random"


@all_samples
def test_inputs_stay_as_they_are(s: Sample) -> None:
    ts = s.tensors()
    before = [t.detach().numpy().copy() for t in ts if isinstance(t, torch.Tensor)]
    versions = [t._version for t in ts if isinstance(t, torch.Tensor)]
    s.run(*ts)
    after = [t for t in ts if isinstance(t, torch.Tensor)]
    assert [t._version for t in after] == versions
    for b, a in zip(before, after):
        assert b.tobytes() == np.ascontiguousarray(a.detach().numpy()).tobytes()


# Their input is a temporary that becomes the result: no program can see that they share memory.
SHARING = {"overwrite", "phase_check", "if_full_rank", "check_envelope"}


@all_samples
def test_only_views_share_memory(s: Sample) -> None:
    ts = s.tensors()
    if s.prepare is not None:
        ts = list(s.prepare(*ts))
    got = s.definition(*ts, **s.parameters())
    inputs = [t.numpy() for t in ts if isinstance(t, torch.Tensor)]
    for out in outputs(got):
        shares = any(np.may_share_memory(out, x) for x in inputs) and out.size > 0
        if s.op not in SHARING:
            assert shares == (s.definition.is_view and out.size > 0), s.key
    if s.definition.is_view:
        assert got._is_view() and got._base is ts[0]


def strided(a: Any) -> Any:
    """Every second element of a larger array."""
    if a.ndim == 0:
        return a
    big = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    view = big[..., ::2]
    view[...] = a
    return view


def transposed(a: Any) -> Any:
    """The same values in the opposite memory order."""
    return np.asfortranarray(a) if a.ndim else a


def expanded(a: Any) -> Any:
    """The first example repeated without memory of its own."""
    if a.ndim == 0 or not a.shape[0]:
        return a
    return np.broadcast_to(a[:1], a.shape)


# Take an array in a given layout as it is, which the public function makes sure of.
CONTIGUOUS = {
    "as_strided",
    "as_strided_put",
    "view_as_complex",
    "view_dtype",
    "view_as_complex_put",
    "view_dtype_put",
}


@pytest.mark.parametrize("layout", [strided, transposed, expanded], ids=lambda f: f.__name__)
@all_samples
def test_layouts(s: Sample, layout: Any) -> None:
    if s.definition.family == "random":
        pytest.skip("draws follow the order in memory, as PyTorch's do")
    if s.op in CONTIGUOUS or not s.arrays or layout is expanded and not s.expandable:
        pytest.skip("takes one layout only")
    laid = [layout(a) if isinstance(a, np.ndarray) else a for a in s.args]
    plain = [np.ascontiguousarray(a) if isinstance(a, np.ndarray) and a.ndim else a for a in laid]
    ts = [torch.from_numpy(a) if isinstance(a, np.ndarray) and a.flags.writeable else tensor(a) for a in laid]
    for i, a in enumerate(laid):
        if isinstance(a, np.ndarray) and not a.flags.writeable:
            ts[i] = torch.from_numpy(a[:1].copy()).expand(a.shape)
    want = result(s, plain)
    got = s.definition(*(s.prepare(*ts) if s.prepare is not None else ts), **s.parameters())
    for g, w in zip(outputs(got), want):
        if s.verify is not None:
            assert g.shape == w.shape
        else:
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n, op in operations().items() if op.family == "pointwise"])
def test_empty(name: str) -> None:
    s = calls.samples_of(name)[0]
    out = s.run(*[tensor(a[:0]) for a in s.args])
    assert tuple(out.shape) == (0, 3)
    assert out.dtype == s.run(*s.tensors()).dtype
    if s.differentiable():
        xs = [tensor(a[:0]) for a in s.args]
        for i in s.differentiable():
            xs[i].requires_grad_()
        s.run(*xs).abs().sum().backward()
        assert all(xs[i].grad.shape == (0, 3) for i in s.differentiable())


@pytest.mark.parametrize("name", calls.MOMENTS)
def test_moments_of_draws(name: str) -> None:
    """Mean and deviation of 40,000 draws, within five standard errors."""
    mean, deviation = calls.MOMENTS[name]
    s = calls.samples_of(name)[0]
    n = 40_000
    out = s.definition(**{**s.params, "shape": (n,), "generator": torch.Generator().manual_seed(11)}).numpy()
    if np.isfinite(mean):
        assert abs(out.mean() - mean) < 5 * deviation / n**0.5
        assert abs(out.std() - deviation) < 0.05 * deviation
    again = s.definition(
        **{**s.params, "shape": (n,), "generator": torch.Generator().manual_seed(11)}
    ).numpy()
    assert out.tobytes() == again.tobytes()
    other = s.definition(
        **{**s.params, "shape": (n,), "generator": torch.Generator().manual_seed(12)}
    ).numpy()
    assert out.tobytes() != other.tobytes()
