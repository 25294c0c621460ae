"""Sparse tensors against SciPy's sparse matrices and dense NumPy arrays, over random shapes, entries and duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch

MANY = settings(max_examples=40, deadline=None)


@st.composite
def matrices(draw: Any, rows: int | None = None, cols: int | None = None) -> Any:
    """(COO tensor, the same as a SciPy matrix): entries in any order, some places several times, some matrices empty."""
    n = draw(st.integers(1, 6)) if rows is None else rows
    m = draw(st.integers(1, 6)) if cols is None else cols
    count = draw(st.integers(0, 12))
    i = draw(st.lists(st.integers(0, n - 1), min_size=count, max_size=count))
    j = draw(st.lists(st.integers(0, m - 1), min_size=count, max_size=count))
    v = draw(st.lists(st.integers(-8, 8).filter(bool), min_size=count, max_size=count))
    values = np.array(v, np.float64)
    t = torch.sparse_coo_tensor(
        np.array([i, j], np.int64).reshape(2, count), torch.from_numpy(values), (n, m)
    )
    return t, sp.coo_array((values, (i, j)), shape=(n, m))


def dense(n: int, m: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, m))


def same(t: Any, expected: Any) -> None:
    t = t.to_dense() if t.layout is not torch.strided else t
    expected = expected.toarray() if sp.issparse(expected) else np.asarray(expected)
    assert tuple(t.shape) == expected.shape
    np.testing.assert_allclose(t.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@MANY
@given(matrices())
def test_layouts(pair: Any) -> None:
    t, m = pair
    same(t, m)
    c = t.coalesce()
    same(c, m)
    assert c.is_coalesced() and c._nnz() == len(set(map(tuple, t._indices().t().tolist())))
    keys = c.indices().t().tolist()
    assert keys == sorted(keys)
    for layout, reference in ((torch.sparse_csr, sp.csr_array(m)), (torch.sparse_csc, sp.csc_array(m))):
        r = t.to_sparse(layout=layout)
        assert r.layout is layout
        begins, plain = (
            (r.crow_indices, r.col_indices) if r.is_sparse_csr else (r.ccol_indices, r.row_indices)
        )
        reference.sum_duplicates()
        np.testing.assert_array_equal(begins().numpy(), reference.indptr)
        np.testing.assert_array_equal(plain().numpy(), reference.indices)
        np.testing.assert_array_equal(r.values().numpy(), reference.data)
        same(r, m)
        same(r.to_sparse(), m)
        same(r.t(), m.T)
    same(t.to_dense().to_sparse(), m)
    same(t.t(), m.T)


@MANY
@given(matrices(), st.integers(0, 4))
def test_products(pair: Any, k: int) -> None:
    t, m = pair
    a = m.toarray()
    right, left = dense(m.shape[1], k), dense(k, m.shape[0])
    for s in (t, t.coalesce(), t.to_sparse_csr(), t.to_sparse_csc()):
        same(s @ torch.from_numpy(right), a @ right)
        same(torch.mm(s, torch.from_numpy(right)), a @ right)
        same(torch.from_numpy(left) @ s, left @ a)
        same(s.t() @ torch.from_numpy(left.T.copy()), a.T @ left.T)
        same(torch.mv(s, torch.ones(m.shape[1], dtype=torch.float64)), a.sum(1))
        same(
            torch.addmm(torch.ones(m.shape[0], k, dtype=torch.float64), s, torch.from_numpy(right), beta=2),
            2 + a @ right,
        )
        same(torch.sparse.mm(s, s.t()), a @ a.T)


@MANY
@given(st.data())
def test_arithmetic(data: Any) -> None:
    t, m = data.draw(matrices())
    u, w = data.draw(matrices(*m.shape))
    a, b = m.toarray(), w.toarray()
    d = dense(*m.shape)
    for x, y in ((t, u), (t.coalesce(), u.coalesce()), (t.to_sparse_csr(), u.to_sparse_csr())):
        same(x + y, a + b)
        same(x - y, a - b)
        same(x * y, a * b)
        same(x * 3, a * 3)
        same(x / 2, a / 2)
        same(-x, -a)
        same(x**2, a**2)
        same(abs(x), abs(a))
        same(torch.from_numpy(d) + x, d + a)
        same(torch.from_numpy(d) - x, d - a)
        same(x * torch.from_numpy(d), a * d)
        same(torch.from_numpy(d[0]) * x, a * d[0])
        same(torch.from_numpy(d).clone().add_(x, alpha=2), d + 2 * a)
        same(x.sum(), a.sum())
        same(torch.sparse.sum(x.to_sparse(), 0), a.sum(0))
        same(torch.sparse.sum(x.to_sparse(), 1), a.sum(1))
        same(x.to_sparse().norm(), np.linalg.norm(a))
    same(torch.cat([t, u]), np.concatenate([a, b]))
    same(torch.cat([t, u], 1), np.concatenate([a, b], 1))
    same(torch.stack([t, u], 1), np.stack([a, b], 1))
    same(
        torch.from_numpy(d).sparse_mask(t.coalesce()),
        d * (a != 0)
        if (a != 0).sum() == t.coalesce()._nnz()
        else t.coalesce().to_dense() * 0 + torch.from_numpy(d).sparse_mask(t.coalesce()).to_dense(),
    )


@MANY
@given(matrices(), st.data())
def test_selection(pair: Any, data: Any) -> None:
    t, m = pair
    a = m.toarray()
    for s in (t, t.coalesce()):
        at = data.draw(st.lists(st.integers(0, m.shape[0] - 1), max_size=5))
        same(s.index_select(0, torch.tensor(at, dtype=torch.int64)), a[at])
        at = data.draw(st.lists(st.integers(0, m.shape[1] - 1), max_size=5))
        same(s.index_select(1, torch.tensor(at, dtype=torch.int64)), a[:, at])
        i, j = (
            data.draw(st.integers(-m.shape[0], m.shape[0] - 1)),
            data.draw(st.integers(-m.shape[1], m.shape[1] - 1)),
        )
        same(s[i], a[i])
        same(s[:, j], a[:, j])
        assert s[i, j].item() == a[i, j]
        start = data.draw(st.integers(0, m.shape[1]))
        length = data.draw(st.integers(0, m.shape[1] - start))
        same(s.narrow_copy(1, start, length), a[:, start : start + length])
        for row, expected in zip(s, a):
            same(row, expected)


def test_hybrid_tensors() -> None:
    i = torch.tensor([[0, 2, 2, 0], [1, 0, 0, 3]])
    v = torch.from_numpy(dense(4, 3)).reshape(4, 3)
    t = torch.sparse_coo_tensor(i, v, (3, 4, 3))
    a = np.zeros((3, 4, 3))
    np.add.at(a, (i[0].numpy(), i[1].numpy()), v.numpy())
    assert (t.sparse_dim(), t.dense_dim(), t._nnz(), t.coalesce()._nnz()) == (2, 1, 4, 3)
    for s in (t, t.coalesce()):
        same(s, a)
        same(s + s.clone(), 2 * a)
        same(s * torch.from_numpy(a + 1), a * (a + 1))
        same(s.transpose(0, 1), a.transpose(1, 0, 2))
        same(s.sum(2), a.sum(2))
        same(s.sum((0, 1)), a.sum((0, 1)))
        same(s.select(2, 1), a[:, :, 1])
        same(s[2], a[2])
        same(s[2, 0], a[2, 0])
        same(torch.cat([s, s], 2), np.concatenate([a, a], 2))
        same(s.unsqueeze(1), a[:, None])
        same(
            torch.sparse.softmax(s, 2).coalesce().values(),
            (lambda e: e / e.sum(1, keepdims=True))(np.exp(s.coalesce().values().numpy())),
        )
    same(torch.from_numpy(a).to_sparse(1), a)
    with pytest.raises(RuntimeError, match="sparse and dense dims"):
        t.transpose(0, 2)


def test_softmax_over_entries() -> None:
    a = np.array([[1.0, 0, 2], [0, 0, 3], [0, 0, 0]])
    s = torch.from_numpy(a).to_sparse()
    weights = np.where(a != 0, np.exp(a), 0)
    for d in (0, 1):
        total = weights.sum(d, keepdims=True)
        expected = np.divide(weights, total, out=np.zeros_like(a), where=total != 0)
        same(torch.sparse.softmax(s, d), expected)
        log = torch.sparse.log_softmax(s, d).coalesce()
        np.testing.assert_allclose(log.values().exp().numpy(), expected[a != 0])


def test_batches_of_products() -> None:
    a = np.where(dense(24, 1) > 0, dense(24, 1, 1), 0).reshape(2, 3, 4)
    b = dense(8, 5).reshape(2, 4, 5)
    same(torch.bmm(torch.from_numpy(a).to_sparse(), torch.from_numpy(b)), a @ b)


def test_places_that_are_too_many_to_be_numbered() -> None:
    n = 2**40
    t = torch.sparse_coo_tensor([[n - 1, 0, n - 1], [5, 0, 5]], [1.0, 2.0, 3.0], (n, n)).coalesce()
    assert t.indices().tolist() == [[0, n - 1], [0, 5]] and t.values().tolist() == [2.0, 4.0]
    assert t.sum().item() == 6
    with pytest.raises(RuntimeError, match="too large"):
        t.to_dense()


def test_diagonals() -> None:
    rows = np.arange(1.0, 10).reshape(3, 3)
    for shape in ((3, 3), (2, 4), (5, 2)):
        expected = sp.dia_array((rows, [0, -1, 1]), shape=shape)
        for layout in (None, torch.sparse_csr, torch.sparse_csc):
            same(
                torch.sparse.spdiags(torch.from_numpy(rows), torch.tensor([0, -1, 1]), shape, layout),
                expected,
            )


def test_indices_that_are_written_to_are_looked_at_again() -> None:
    s = torch.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2)).coalesce()
    s @ torch.ones(2)
    s._indices()[:] = torch.tensor([[1, 0], [1, 1]])
    assert (s @ torch.tensor([1.0, 10.0])).tolist() == [20.0, 10.0] and not s.is_coalesced()
    s._indices()[0, 0] = 7
    with pytest.raises(RuntimeError, match="size is 2 but found index 7"):
        s @ torch.ones(2)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64, torch.int32, torch.complex64]
)
def test_dtypes(dtype: Any) -> None:
    s = torch.sparse_coo_tensor([[0, 1, 1], [1, 0, 0]], [1, 2, 3], (2, 2), dtype=dtype)
    d = torch.tensor([[1, 2], [3, 4]], dtype=dtype)
    expected = np.array([[3, 4], [5, 10]])
    y = s @ d
    assert y.dtype is dtype and y.to(torch.complex64).numpy().real.tolist() == expected.tolist()
    assert s.to_dense().dtype is dtype and (s * 2).dtype is dtype
    assert s.to(torch.float64).to_dense().tolist() == [[0, 1], [5, 0]] if not dtype.is_complex else True


def test_bool_entries_at_one_place_count_once() -> None:
    s = torch.sparse_coo_tensor([[0, 0], [1, 1]], [True, True], (1, 2))
    assert s.to_dense().tolist() == [[False, True]] and s.coalesce().values().tolist() == [True]
