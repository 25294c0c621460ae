"""Quantiles, covariance, histograms and searches against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch

rng = np.random.default_rng(0)
METHODS = ["linear", "lower", "higher", "midpoint", "nearest"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dim", [None, 0, 1])
def test_quantile(method, dim):
    x = rng.normal(size=(6, 5))
    q = np.array([0.0, 0.13, 0.5, 0.9, 1.0])
    y = torch.quantile(torch.tensor(x), torch.tensor(q), dim, interpolation=method)
    np.testing.assert_allclose(y.numpy(), np.quantile(x, q, axis=dim, method=method), rtol=1e-12)


def test_quantile_of_nan():
    x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0], [np.nan, np.nan, np.nan]])
    t = torch.tensor(x)
    np.testing.assert_array_equal(torch.quantile(t, 0.5, 1).numpy(), [np.nan, 5, np.nan])
    np.testing.assert_array_equal(torch.nanquantile(t, 0.5, 1).numpy(), [2, 5, np.nan])


def test_quantile_errors():
    x = torch.ones(3)
    for bad in (-0.1, 1.5):
        with pytest.raises(RuntimeError, match="range"):
            x.quantile(bad)
    with pytest.raises(RuntimeError, match="float or double"):
        torch.tensor([1, 2]).quantile(0.5)
    with pytest.raises(RuntimeError, match="non-empty"):
        torch.empty(0).quantile(0.5)
    with pytest.raises(RuntimeError, match="same dtype"):
        x.quantile(torch.tensor([0.5], dtype=torch.float64))


def test_covariance():
    x = rng.normal(size=(3, 8))
    f, a = rng.integers(1, 4, 8), rng.random(8)
    for correction in (0, 1):
        for fw, aw in ((None, None), (f, None), (None, a), (f, a)):
            y = torch.cov(
                torch.tensor(x),
                correction=correction,
                fweights=None if fw is None else torch.tensor(fw),
                aweights=None if aw is None else torch.tensor(aw),
            )
            np.testing.assert_allclose(
                y.numpy(), np.cov(x, ddof=correction, fweights=fw, aweights=aw), rtol=1e-10
            )
    np.testing.assert_allclose(torch.corrcoef(torch.tensor(x)).numpy(), np.corrcoef(x), rtol=1e-10)
    with pytest.raises(RuntimeError, match="integral"):
        torch.cov(torch.tensor(x), fweights=torch.tensor(a))
    with pytest.raises(RuntimeError, match="negative"):
        torch.cov(torch.tensor(x), aweights=torch.tensor(-a))


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_bincount(values, minlength):
    x = torch.tensor(values, dtype=torch.int64)
    want = np.bincount(np.array(values, np.int64), minlength=minlength)
    np.testing.assert_array_equal(torch.bincount(x, minlength=minlength).numpy(), want)


def test_bincount_errors():
    for bad in (torch.tensor([-1]), torch.ones(2, 2, dtype=torch.int64), torch.tensor([1.0])):
        with pytest.raises(RuntimeError):
            torch.bincount(bad)


def test_histograms():
    x = rng.normal(size=500)
    t = torch.tensor(x)
    np.testing.assert_array_equal(t.histc(20, -2, 2).numpy(), np.histogram(x, 20, (-2, 2))[0])
    for density in (False, True):
        hist, edges = torch.histogram(t, 15, density=density)
        want, want_edges = np.histogram(x, 15, density=density)
        np.testing.assert_allclose(hist.numpy(), want)
        np.testing.assert_allclose(edges.numpy(), want_edges)
    points, w = rng.normal(size=(200, 2)), rng.random(200)
    hist, _ = torch.histogramdd(torch.tensor(points), [4, 5], [-2.0, 2.0, -1.0, 1.0], torch.tensor(w))
    want, _ = np.histogramdd(points, [4, 5], [(-2, 2), (-1, 1)], weights=w)
    np.testing.assert_allclose(hist.numpy(), want)
    with pytest.raises(RuntimeError, match="bins must be > 0"):
        t.histc(0)
    with pytest.raises(RuntimeError, match="not finite"):
        torch.tensor([0.0, float("nan")]).histc()


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    st.lists(st.integers(-6, 6), max_size=8),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_searchsorted(sequence, values, right):
    sequence = sorted(sequence)
    s, v = torch.tensor(sequence), torch.tensor(values, dtype=torch.int64)
    want = np.searchsorted(sequence, values, side="right" if right else "left")
    np.testing.assert_array_equal(torch.searchsorted(s, v, right=right).numpy(), want)
    np.testing.assert_array_equal(torch.bucketize(v, s, right=right).numpy(), want)


def test_searchsorted_rows_sorter_and_vmap():
    rows = np.sort(rng.normal(size=(3, 6)), 1)
    x = rng.normal(size=(3, 4))
    want = np.stack([np.searchsorted(r, v) for r, v in zip(rows, x)])
    s, v = torch.tensor(rows), torch.tensor(x)
    np.testing.assert_array_equal(torch.searchsorted(s, v).numpy(), want)
    np.testing.assert_array_equal(torch.func.vmap(torch.searchsorted)(s, v).numpy(), want)
    mixed = rng.permuted(rows, axis=1)
    sorter = torch.tensor(np.argsort(mixed, 1))
    np.testing.assert_array_equal(torch.searchsorted(torch.tensor(mixed), v, sorter=sorter).numpy(), want)
    assert torch.searchsorted(s, v, out_int32=True).dtype is torch.int32
    with pytest.raises(RuntimeError, match="opposites"):
        torch.searchsorted(s, v, side="left", right=True)
    assert torch.searchsorted(s, v.float()).dtype is torch.int64  # searched in their common dtype
    with pytest.raises(RuntimeError, match="first N-1"):
        torch.searchsorted(s, v[:2])


def test_membership_and_positions():
    x = rng.integers(0, 9, (4, 5))
    t = torch.tensor(x)
    np.testing.assert_array_equal(torch.isin(t, torch.tensor([1, 3])).numpy(), np.isin(x, [1, 3]))
    np.testing.assert_array_equal(torch.isin(t, 3, invert=True).numpy(), x != 3)
    flat = torch.arange(60)
    found = torch.unravel_index(flat, (3, 4, 5))
    for a, b in zip(found, np.unravel_index(np.arange(60), (3, 4, 5))):
        np.testing.assert_array_equal(a.numpy(), b)
    with pytest.raises(TypeError):
        torch.unravel_index(torch.tensor([1.0]), (3,))
    static = torch.nonzero_static(torch.tensor([[0, 1], [2, 0]]), size=3, fill_value=-7)
    assert static.tolist() == [[0, 1], [1, 0], [-7, -7]]


@pytest.mark.parametrize("name", ["amax", "amin", "sort", "median", "cummax"])
def test_complex_numbers_have_no_order(name: str) -> None:
    x = torch.ones(2, 3, dtype=torch.complex64)
    with pytest.raises(NotImplementedError, match="complex"):
        getattr(torch, name)(x, 0)
    with pytest.raises(NotImplementedError, match="complex"):
        torch.aminmax(x, dim=0)
