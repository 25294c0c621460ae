"""The attention kernels against NumPy in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flambeau.compiler.attention import attention, attention_backward
from flambeau.runtime import threads

# batch, heads, queries, keys, size, size of the values
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (1, 1, 3, 5, 4, 4),
    (2, 3, 64, 64, 32, 32),
    (1, 2, 33, 97, 20, 7),
    (1, 1, 400, 130, 65, 48),
    (1, 2, 130, 31, 8, 40),
]


def reference(
    q: Any, k: Any, v: Any, g: Any, scale: float, causal: bool, mask: Any = None, noise: Any = 1.0
) -> list[Any]:
    """Result, log-sums, the gradients of q, k and v, and that of a mask of full size."""
    q, k, v, g = (x.astype(np.float64) for x in (q, k, v, g))
    s = q @ k.swapaxes(-1, -2) * scale
    if causal:
        s = np.where(np.tril(np.ones(s.shape[-2:], bool)), s, -np.inf)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    w = e / np.where(total == 0, 1, total)
    with np.errstate(divide="ignore"):
        level = np.where(total == 0, np.inf, top + np.log(total))[..., 0]
    p = (g @ v.swapaxes(-1, -2)) * noise
    d = w * (p - (w * p).sum(-1, keepdims=True))
    wn = w * noise
    return [wn @ v, level, scale * d @ k, scale * d.swapaxes(-1, -2) @ q, wn.swapaxes(-1, -2) @ g, d]


def made(shape: tuple[int, ...], dtype: str, seed: int = 0) -> list[Any]:
    """q, k, v and a gradient; q is laid out with the heads of a place side by side, k with gaps."""
    r = np.random.default_rng(seed)
    b, h, t, s, d, e = shape
    q = r.standard_normal((b, t, h, d)).transpose(0, 2, 1, 3)
    k = r.standard_normal((b, h, s, 3 * d))[..., d : 2 * d]
    arrays = [q, k, r.standard_normal((b, h, s, e)), r.standard_normal((b, h, t, e))]
    return [np.asarray(x.astype(dtype, order="K")) for x in arrays]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_numpy(shape: tuple[int, ...], causal: bool, dtype: str) -> None:
    q, k, v, g = made(shape, dtype)
    o, lse = attention(q, k, v, 0.3, causal)
    found = [o, lse, *attention_backward(g, q, k, v, o, lse, 0.3, causal)]
    for x, want in zip(found, reference(q, k, v, g, 0.3, causal)[:5], strict=True):
        assert x.dtype == dtype and x.shape == want.shape
        tol = 1e-5 if dtype == "float32" else 1e-13
        assert np.abs(x - want).max() <= tol * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, 33, 97, 20, 7), (1, 1, 257, 65, 12, 50)], ids=str)
def test_nothing_uninitialised_is_read(
    shape: tuple[int, ...], causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flambeau.compiler.attention.empty", lambda s, dtype: np.full(s, np.nan, dtype))
    q, k, v, g = made(shape, "float32")
    o, lse = attention(q, k, v, 0.3, causal)
    for x in (o, lse, *attention_backward(g, q, k, v, o, lse, 0.3, causal)):
        assert np.isfinite(x).all()


def test_large_scores_do_not_overflow() -> None:
    q, k, v, g = made((1, 2, 40, 300, 16, 16), "float32")
    q, k = 100 * q, 10 * k
    o, lse = attention(q, k, v, 1.0)
    want = reference(q, k, v, g, 1.0, False)
    assert np.isfinite(lse).all()
    np.testing.assert_allclose(o, want[0], rtol=1e-2, atol=1e-2)


def test_nan_stays_in_its_row() -> None:
    q, k, v, _ = made((1, 1, 64, 200, 8, 8), "float32")
    q = q.copy()
    q[0, 0, 5, 2] = np.nan
    o, _ = attention(q, k, v, 0.3)
    assert np.isnan(o[0, 0, 5]).all() and np.isfinite(np.delete(o[0, 0], 5, axis=0)).all()


def test_minus_infinity_hides_a_key() -> None:
    """A block of keys of which none is seen leaves no NaN."""
    q, k, v, g = made((1, 1, 40, 250, 8, 8), "float64")
    q, k = np.abs(q), k.copy()
    k[0, 0, :200] = -np.inf
    o, _ = attention(q, k, v, 1.0)
    want = reference(q, k[:, :, 200:], v[:, :, 200:], g, 1.0, False)[0]
    np.testing.assert_allclose(o, want, rtol=1e-12, atol=1e-13)


def test_the_same_for_any_number_of_threads() -> None:
    q, k, v, g = made((1, 3, 300, 200, 24, 24), "float32")
    before = threads.get_num_threads()
    found = []
    try:
        for n in (1, 3):
            threads.set_num_threads(n)
            o, lse = attention(q, k, v, 0.3, True)
            found.append([o, lse, *attention_backward(g, q, k, v, o, lse, 0.3, True)])
    finally:
        threads.set_num_threads(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_input_is_named() -> None:
    q = np.zeros((1, 2, 3, 4), np.float32)
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 5\)"):
        attention(q, np.zeros((1, 2, 3, 5), np.float32), q, 1.0)
    with pytest.raises(ValueError, match="not empty"):
        attention(q[:, :, :0], q, q, 1.0)
    with pytest.raises(TypeError, match="float16"):
        attention(q.astype(np.float16), q, q, 1.0)
    o, lse = attention(q, q, q, 1.0)
    with pytest.raises(ValueError, match="log-sums"):
        attention_backward(o, q, q, q, o, lse[..., :2], 1.0)


def broadcasts(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of masks."""
    b, h, t, s = shape
    return [(b, h, t, s), (1, 1, t, s), (b, 1, 1, s), (1, h, t, s), (b, 1, t, 1), (1, 1, 1, 1)]


@pytest.mark.parametrize("threads_used", [1, 3])
@pytest.mark.parametrize("kind", ["bool", "float32", "float64"])
@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize(
    "shape", [(2, 3, 50, 97, 20, 7), (3, 2, 130, 31, 8, 40), (1, 1, 3, 5, 4, 4)], ids=str
)
def test_masks_and_dropout(shape: tuple[int, ...], which: int, kind: str, threads_used: int) -> None:
    """With a mask, in all the ways it may be spread and laid out, with dropout, and with the mask's gradient."""
    dtype = "float32" if kind == "bool" else kind
    q, k, v, g = made(shape, dtype)
    full = (*shape[:3], shape[3])
    r = np.random.default_rng(5)
    wanted = broadcasts(full)[which]
    mask = r.random(wanted) < 0.6 if kind == "bool" else r.standard_normal(wanted).astype(kind)
    if kind != "bool" and which < 2:
        mask[..., :2, :] = -np.inf  # queries that see nothing
    laid_out = [mask, np.asfortranarray(mask), np.repeat(mask, 2, axis=-1)[..., ::2]]
    noise = r.random(full) < 0.7
    tol = 2e-5 if dtype == "float32" else 1e-12
    before = threads.get_num_threads()
    threads.set_num_threads(threads_used)
    try:
        for one in laid_out:
            for drop in (None, noise):
                more = {"mask": one, "drop": drop, "kept": 1.0 if drop is None else 1 / 0.7}
                o, lse = attention(q, k, v, 0.3, False, **more)
                total = np.zeros((*wanted[:3], full[3]), dtype) if kind != "bool" else None
                found = [o, lse, *attention_backward(g, q, k, v, o, lse, 0.3, False, **more, mask_grad=total)]
                want = reference(q, k, v, g, 0.3, False, mask, 1.0 if drop is None else noise / 0.7)
                if total is not None:
                    found.append(total)
                    axes = tuple(d for d in range(3) if wanted[d] == 1 and full[d] > 1)
                    want[5] = want[5].sum(axes, keepdims=True)
                for x, y in zip(found, want, strict=False):
                    assert x.dtype == dtype and x.shape == y.shape
                    finite = np.isfinite(y)
                    np.testing.assert_array_equal(x[~finite], y[~finite])
                    off = np.abs(x[finite] - y[finite]).max(initial=0)
                    assert off <= tol * np.abs(y[finite]).max(initial=1)
    finally:
        threads.set_num_threads(before)


def test_queries_in_parts() -> None:
    """A part of the queries, with its place, gives the same as the whole, also under a causal mask."""
    q, k, v, g = made((1, 2, 130, 130, 16, 16), "float64")
    noise = np.random.default_rng(3).random((1, 2, 130, 130)) < 0.5
    want = reference(q, k, v, g, 0.3, True, None, noise * 2.0)
    found = [np.zeros_like(x) for x in (q, k, v)]
    for start in range(0, 130, 50):
        part = np.s_[:, :, start : start + 50]
        more = {"causal": True, "drop": noise[part], "kept": 2.0, "shift": start}
        o, lse = attention(q[part], k, v, 0.3, **more)
        np.testing.assert_allclose(o, want[0][part], rtol=1e-12, atol=1e-12)
        dq, dk, dv = attention_backward(g[part], q[part], k, v, o, lse, 0.3, **more)
        found[0][part] = dq
        found[1] += dk
        found[2] += dv
    for x, y in zip(found, want[2:5], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-12)


def test_bad_masks_are_named() -> None:
    q = np.zeros((1, 2, 3, 4), np.float32)
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 3\), got \(1, 2, 3, 2\)"):
        attention(q, q, q, 1.0, mask=np.zeros((1, 2, 3, 2), bool))
    with pytest.raises(TypeError, match="float64"):
        attention(q, q, q, 1.0, mask=np.zeros((1, 1, 3, 3)))
    mask = np.zeros((1, 1, 3, 3), np.float32)
    o, lse = attention(q, q, q, 1.0, mask=mask)
    with pytest.raises(ValueError, match="gradient must have shape"):
        attention_backward(q, q, q, q, o, lse, 1.0, mask=mask, mask_grad=np.zeros((1, 2, 3, 3), np.float32))
