"""Fourier transforms, stft and windows against NumPy and SciPy; derivatives against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch

NORMS = [None, "backward", "ortho", "forward"]
REAL, COMPLEX, HALF = ("rfft", "ihfft"), ("fft", "ifft"), ("irfft", "hfft")


def signal(shape: tuple[int, ...], is_complex: bool, seed: int = 0) -> Any:
    r = np.random.default_rng(seed)
    x = r.standard_normal(shape)
    return x + 1j * r.standard_normal(shape) if is_complex else x


@given(
    st.sampled_from([*REAL, *COMPLEX, *HALF]),
    st.lists(st.integers(2, 6), min_size=1, max_size=3),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_one_dim(name: str, shape: list[int], data: Any) -> None:
    x = signal(tuple(shape), name not in REAL)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = data.draw(st.one_of(st.none(), st.integers(1, 9)))
    norm = data.draw(st.sampled_from(NORMS))
    y = getattr(torch.fft, name)(torch.tensor(x), n=n, dim=dim, norm=norm)
    np.testing.assert_allclose(
        y.numpy(), getattr(np.fft, name)(x, n=n, axis=dim, norm=norm), rtol=1e-10, atol=1e-10
    )


@given(
    st.sampled_from([*REAL, *COMPLEX, *HALF]),
    st.lists(st.integers(2, 5), min_size=2, max_size=3),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_several_dims(name: str, shape: list[int], data: Any) -> None:
    x = signal(tuple(shape), name not in REAL)
    dims = data.draw(st.permutations(range(len(shape))))[: data.draw(st.integers(1, len(shape)))]
    s = data.draw(st.one_of(st.none(), st.lists(st.integers(1, 6), min_size=len(dims), max_size=len(dims))))
    norm = data.draw(st.sampled_from(NORMS))
    y = getattr(torch.fft, name + "n")(torch.tensor(x), s=s, dim=dims, norm=norm)
    expected = getattr(scipy.fft, name + "n")(x, s=s, axes=dims, norm=norm)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [4, 5, 7])
@pytest.mark.parametrize("name", [*REAL, *COMPLEX, *HALF])
def test_derivatives(name: str, n: int) -> None:
    x, t = signal((2, 4), name not in REAL), signal((2, 4), name not in REAL, 1)
    for norm in ("backward", "ortho"):

        def f(v: Any, norm: str = norm) -> Any:
            return getattr(torch.fft, name)(v, n=n, norm=norm)

        y = f(torch.tensor(x))
        w = torch.tensor(signal(tuple(y.shape), y.is_complex(), 2))

        def loss(v: Any, f: Any = f, w: Any = w) -> Any:
            return (f(v) * w).real.sum() if w.is_complex() else (f(v) * w).sum()

        g = torch.func.grad(loss)(torch.tensor(x)).numpy()
        change = float(loss(torch.tensor(x + t)) - loss(torch.tensor(x)))  # it is linear: any step is exact
        np.testing.assert_allclose((np.conj(g) * t).sum().real, change, rtol=1e-9, atol=1e-9)
        tangent = torch.func.jvp(f, (torch.tensor(x),), (torch.tensor(t),))[1]
        np.testing.assert_allclose(tangent.numpy(), f(torch.tensor(t)).numpy(), atol=1e-12)
        batched = torch.vmap(f)(torch.tensor(x))
        np.testing.assert_allclose(batched.numpy(), y.numpy(), atol=1e-12)


def test_dtypes() -> None:
    assert torch.fft.fft(torch.ones(4)).dtype == torch.complex64
    assert torch.fft.fft(torch.ones(4, dtype=torch.int64)).dtype == torch.complex64
    assert torch.fft.rfft(torch.ones(4).double()).dtype == torch.complex128
    assert torch.fft.irfft(torch.ones(3, dtype=torch.complex64)).dtype == torch.float32


def test_helpers() -> None:
    for n in (1, 4, 5):
        np.testing.assert_allclose(torch.fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-6)
        np.testing.assert_allclose(torch.fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5), rtol=1e-6)
        x = signal((n, 3), False)
        np.testing.assert_array_equal(torch.fft.fftshift(torch.tensor(x)).numpy(), np.fft.fftshift(x))
        np.testing.assert_array_equal(torch.fft.ifftshift(torch.tensor(x), 0).numpy(), np.fft.ifftshift(x, 0))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: torch.fft.fft(torch.ones(2).half()), RuntimeError),
        (lambda: torch.fft.fft(torch.ones(2), n=0), RuntimeError),
        (lambda: torch.fft.fft(torch.ones(0)), RuntimeError),
        (lambda: torch.fft.fft(torch.ones(2), norm="x"), RuntimeError),
        (lambda: torch.fft.fft(torch.tensor(1.0)), IndexError),
        (lambda: torch.fft.fft(torch.ones(2), dim=1), IndexError),
        (lambda: torch.fft.fft([1.0]), TypeError),
        (lambda: torch.fft.rfft(torch.ones(2, dtype=torch.complex64)), RuntimeError),
        (lambda: torch.fft.fftn(torch.ones(2, 2), dim=(0, 0)), RuntimeError),
        (lambda: torch.fft.fftn(torch.ones(2, 2), s=(2,), dim=(0, 1)), RuntimeError),
        (lambda: torch.fft.rfftn(torch.ones(2, 2), dim=()), RuntimeError),
        (lambda: torch.fft.irfft(torch.ones(1)), RuntimeError),
    ],
)
def test_errors(call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


# ------------------------------------------------------------------------------------------- stft


@pytest.mark.parametrize("n_fft", [8, 9])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("onesided", [False, True])
def test_stft_is_the_transform_of_the_frames(n_fft: int, normalized: bool, onesided: bool) -> None:
    x, w = signal((2, 40), False), np.hanning(6) + 0.1
    y = torch.stft(
        torch.tensor(x), n_fft, 3, 6, torch.tensor(w), normalized=normalized, onesided=onesided, return_complex=True
    )  # fmt: skip
    padded = np.pad(x, ((0, 0), (n_fft // 2, n_fft // 2)), mode="reflect")
    window = np.zeros(n_fft)
    left = (n_fft - 6) // 2
    window[left : left + 6] = w
    frames = np.stack(
        [padded[:, i : i + n_fft] * window for i in range(0, padded.shape[1] - n_fft + 1, 3)], 1
    )
    expected = (np.fft.rfft if onesided else np.fft.fft)(frames, norm="ortho" if normalized else None)
    np.testing.assert_allclose(y.numpy(), np.swapaxes(expected, 1, 2), atol=1e-10)
    back = torch.istft(y, n_fft, 3, 6, torch.tensor(w), normalized=normalized, onesided=onesided, length=40)
    valid = min(40, n_fft + 3 * (y.shape[-1] - 1) - n_fft // 2 - 3)
    np.testing.assert_allclose(back.numpy()[:, :valid], x[:, :valid], atol=1e-10)


def test_stft_of_complex_signals_and_gradients() -> None:
    x = torch.tensor(signal((30,), True), requires_grad=True)
    w = torch.hann_window(8, dtype=torch.float64)
    y = torch.stft(x, 8, 2, window=w)
    assert y.shape == (8, 16)
    back = torch.istft(y, 8, 2, window=w, return_complex=True)
    np.testing.assert_allclose(back.detach().numpy(), x.detach().numpy(), atol=1e-10)
    back.real.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.ones(30), atol=1e-10)


def test_stft_errors() -> None:
    x = torch.ones(10)
    with pytest.raises(RuntimeError, match="return_complex"):
        torch.stft(x, 4)
    with pytest.raises(RuntimeError, match="hop_length > 0"):
        torch.stft(x, 4, 0, return_complex=True)
    with pytest.raises(RuntimeError, match="window"):
        torch.stft(x, 4, window=torch.ones(3), return_complex=True)
    y = torch.stft(x, 4, window=torch.ones(4), return_complex=True)
    with pytest.raises(RuntimeError, match="window overlap add min"):
        torch.istft(y, 4, window=torch.zeros(4))
    with pytest.raises(RuntimeError, match="complex-valued"):
        torch.istft(y.real, 4)


# ------------------------------------------------------------------------------------------- windows

SIGNAL_WINDOWS: dict[str, tuple[dict[str, Any], Any]] = {
    "bartlett": ({}, "bartlett"),
    "blackman": ({}, "blackman"),
    "cosine": ({}, "cosine"),
    "exponential": ({"tau": 2.0}, ("exponential", None, 2.0)),
    "gaussian": ({"std": 1.5}, ("gaussian", 1.5)),
    "general_cosine": ({"a": [0.5, 0.3, 0.2]}, ("general_cosine", [0.5, 0.3, 0.2])),
    "general_hamming": ({"alpha": 0.6}, ("general_hamming", 0.6)),
    "hamming": ({}, "hamming"),
    "hann": ({}, "hann"),
    "kaiser": ({"beta": 8.0}, ("kaiser", 8.0)),
    "nuttall": ({}, "nuttall"),
}


@pytest.mark.parametrize("name", SIGNAL_WINDOWS)
@pytest.mark.parametrize("sym", [False, True])
def test_signal_windows(name: str, sym: bool) -> None:
    kwargs, spec = SIGNAL_WINDOWS[name]
    for n in (0, 1, 2, 7, 8):
        w = getattr(torch.signal.windows, name)(n, sym=sym, dtype=torch.float64, **kwargs)
        expected = scipy.signal.get_window(spec, n, fftbins=not sym) if n else np.zeros(0)
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="non-negative"):
        getattr(torch.signal.windows, name)(-1, **kwargs)
    with pytest.raises(ValueError, match="dtypes"):
        getattr(torch.signal.windows, name)(3, dtype=torch.int64, **kwargs)


@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hann", "kaiser"])
@pytest.mark.parametrize("periodic", [False, True])
def test_old_windows(name: str, periodic: bool) -> None:
    for n in (0, 1, 2, 7, 8):
        w = getattr(torch, f"{name}_window")(n, periodic, dtype=torch.float64)
        spec: Any = ("kaiser", 12.0) if name == "kaiser" else name
        expected = scipy.signal.get_window(spec, n, fftbins=periodic) if n else np.zeros(0)
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-12, atol=1e-14)
    with pytest.raises(RuntimeError, match="non-negative"):
        getattr(torch, f"{name}_window")(-1)
    with pytest.raises(RuntimeError, match="floating point"):
        getattr(torch, f"{name}_window")(3, dtype=torch.int64)
    with pytest.raises(TypeError):
        getattr(torch, f"{name}_window")(3.5)


def test_kaiser_window_with_a_large_beta_does_not_overflow() -> None:
    w = torch.signal.windows.kaiser(9, beta=1e4, dtype=torch.float64)
    assert torch.isfinite(w).all() and float(w.max()) == 1.0


def test_half_types_where_pytorch_has_them() -> None:
    x = torch.full((2, 2), 0.5)
    for d in (torch.float16, torch.bfloat16):
        assert torch.linalg.matrix_exp(x.to(d)).dtype == d
        assert torch.linalg.norm(x.to(d)).dtype == d
