"""The short-time Fourier transform and its inverse (Griffin & Lim 1984, equation 6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.families import linear_op
from ..core.grad_names import rename
from ..core.public import FUNCTIONS, public
from ..core.tensor import Tensor
from ..prims.base import from_value, full, index_view_op, reshape
from ..prims.fft import fft_op, irfft_op, rfft_op
from ..prims.indexing import window_adjoint_op, window_op
from ..prims.pointwise import imag, real
from .args import dtype_of
from .shape import cat, expand_to, stack

PAD_MODES = ("constant", "reflect", "replicate", "circular")


def _padded(x: Tensor, pad: int, mode: str) -> Tensor:
    """The signal (*, L) with `pad` more values at both ends.

    Raises: RuntimeError when the signal is too short for the mode, NotImplementedError for an unknown mode.
    """
    n = x._a.shape[-1]
    if mode not in PAD_MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if mode == "reflect" and pad >= n:
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding ({pad}, {pad}) at dimension 2 of input {[1] * (3 - len(x._a.shape)) + list(x._a.shape)}"
        )
    if mode == "circular" and pad > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    if mode == "constant":
        shape = (*x._a.shape[:-1], n + 2 * pad)
        key = (*[slice(None)] * (len(shape) - 1), slice(pad, pad + n))
        return index_view_op.put(full(shape, 0, x._a.dtype), x, index=key)  # type: ignore[no-any-return]
    at = np.arange(-pad, n + pad)
    if mode == "reflect":
        at = np.abs(at)
        at = np.where(at >= n, 2 * (n - 1) - at, at)
    else:
        at = np.clip(at, 0, n - 1) if mode == "replicate" else at % n
    return FUNCTIONS["index_select"](x, -1, from_value(at))  # type: ignore[no-any-return]


def _full_window(window: Tensor | None, win_length: int, n_fft: int, d: Any, name: str) -> Tensor:
    """The window, centred in n_fft values."""
    if window is None:
        window = full((win_length,), 1, d)
    if win_length == n_fft:
        return window
    left = (n_fft - win_length) // 2
    key = (slice(left, left + win_length),)
    return index_view_op.put(full((n_fft,), 0, window._a.dtype), window, index=key)  # type: ignore[no-any-return]


def _real_like(d: Any) -> Any:
    return np.dtype(f"f{d.itemsize // 2}") if d.kind == "c" else d


@public()
def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None, align_to_window: bool | None = None,
) -> Tensor:  # fmt: skip
    """Fourier transforms of overlapping windowed pieces of a signal (L,) or (B, L): (B?, frequencies, frames).

    Pieces have n_fft values and start every `hop_length` (n_fft // 4); `center` first pads the signal by n_fft // 2 at
    both ends.  `onesided` (the default for real signals) gives the first n_fft // 2 + 1 frequencies only.

    Raises: RuntimeError for a dtype, shape or length that does not fit, or return_complex missing for real signals.

    >>> import flambeau as torch
    >>> torch.stft(torch.ones(8), 4, window=torch.ones(4), return_complex=True).shape
    torch.Size([3, 9])
    """
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    x = input
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    kind = x._a.dtype.kind
    is_complex = kind == "c" or window is not None and window._a.dtype.kind == "c"
    if return_complex is None:
        if not is_complex:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    what = f"stft(input of shape {list(x._a.shape)}, n_fft={n_fft}, hop_length={hop}, win_length={win})"
    if kind not in "fcV":
        raise RuntimeError(
            f"{what}: expected a tensor of floating point or complex values, got {dtype_of(x)}"
        )
    if len(x._a.shape) not in (1, 2):
        raise RuntimeError(f"{what}: expected a 1D or 2D tensor")
    one = len(x._a.shape) == 1
    if one:
        x = reshape(x, (1, x._a.shape[0]))
    if center:
        x = _padded(x, n_fft // 2, pad_mode)
    length = x._a.shape[-1]
    if not 0 < n_fft <= length:
        raise RuntimeError(f"{what}: expected 0 < n_fft <= {length}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"{what}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < win <= n_fft:
        raise RuntimeError(f"{what}: expected 0 < win_length <= n_fft, but got win_length={win}")
    if window is not None and tuple(window._a.shape) != (win,):
        raise RuntimeError(
            f"{what}: expected a 1D window tensor of size equal to win_length={win}, but got window with size {list(window._a.shape)}"
        )
    if align_to_window and window is not None:
        # frames are aligned to the window: the last one needs only the window's values, the rest is padding
        x = _aligned(x, n_fft, win)
    frames = window_op(x, dim=1, size=int(n_fft), step=int(hop))
    if window is not None or win < n_fft:
        frames = frames * _full_window(window, win, n_fft, _real_like(x._a.dtype), "stft")
    onesided = not is_complex if onesided is None else onesided
    norm = "ortho" if normalized else "backward"
    if frames._a.dtype.kind == "c":
        if onesided:
            raise RuntimeError("Cannot have onesided output if window or input is complex")
        y = fft_op(frames, dims=(2,), forward=True, norm=norm)
    elif onesided:
        y = rfft_op(frames, dim=2, norm=norm)
    else:
        y = fft_op(frames, dims=(2,), forward=True, norm=norm)
    y = rename(y.transpose(1, 2), "TransposeBackward1")
    if one:
        y = rename(reshape(y, tuple(y._a.shape[1:])), "SqueezeBackward4")
    return y if return_complex else rename(stack([real(y), imag(y)], -1), "ViewAsRealBackward0")  # type: ignore[no-any-return]


def _aligned(x: Tensor, n_fft: int, win: int) -> Tensor:
    pad = (n_fft - win) // 2
    return _padded(x, pad, "constant") if pad else x


def _check_envelope(x: Any) -> Any:
    """Passes on the sum of squared windows.

    Raises: RuntimeError where it vanishes: no signal can be recovered there (the NOLA condition).
    """
    if x.size and float(np.abs(x).min()) <= 1e-11:
        raise RuntimeError(
            f"istft: window overlap add min: {float(np.abs(x).min())} is not larger than 1e-11 (the window leaves gaps)"
        )
    return x


check_envelope_op = linear_op(_check_envelope, lambda g: g, name="check_envelope")


@public()
def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: int | None = None, return_complex: bool = False,
) -> Tensor:  # fmt: skip
    """The signal (B?, L) whose `stft` is nearest to the input (B?, frequencies, frames), by windowed overlap-add.

    Raises: RuntimeError for a dtype, shape or length that does not fit, or windows that leave gaps.
    """
    x = input
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    what = f"istft(input of shape {list(x._a.shape)}, n_fft={n_fft}, hop_length={hop}, win_length={win})"
    if x._a.dtype.kind != "c":
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    nd = len(x._a.shape)
    if 0 in x._a.shape:
        raise RuntimeError(f"{what}: input tensor cannot be empty.")
    if nd not in (2, 3):
        raise RuntimeError(f"{what}: expected a tensor with 2 or 3 dimensions, but got {nd}")
    bins, frames = x._a.shape[-2:]
    if onesided is None:
        onesided = bins != n_fft
    if bins != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError(
            f"{what}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft "
            f"{'/ 2 + 1 when onesided=True' if onesided else 'when onesided=False'}, but got {bins}"
        )
    if not 0 < hop <= win:
        raise RuntimeError(f"{what}: expected 0 < hop_length <= win_length")
    if not 0 < win <= n_fft:
        raise RuntimeError(f"{what}: expected 0 < win_length <= n_fft")
    if window is not None and tuple(window._a.shape) != (win,):
        raise RuntimeError(f"{what}: Invalid window shape. window has to be 1D and length of `win_length`")
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and window is not None and window._a.dtype.kind == "c":
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    shaped = _full_window(window, win, n_fft, _real_like(x._a.dtype), "istft")
    y = x if nd == 3 else reshape(x, (1, bins, frames))
    y = y.transpose(1, 2)  # (B, frames, frequencies)
    norm = "ortho" if normalized else "backward"
    if return_complex:
        pieces = fft_op(y, dims=(2,), forward=False, norm=norm)
    else:
        if not onesided:
            y = index_view_op(y, index=(slice(None), slice(None), slice(0, n_fft // 2 + 1)))
        pieces = irfft_op(y, dim=2, n=int(n_fft), norm=norm)
    pieces = pieces * shaped
    total = n_fft + hop * (frames - 1)
    batch = pieces._a.shape[0]
    signal = window_adjoint_op(pieces, base_shape=(batch, total), dim=1, size=int(n_fft), step=int(hop))
    squares = shaped * shaped
    envelope = window_adjoint_op(
        expand_to(squares, (frames, n_fft)), base_shape=(total,), dim=0, size=int(n_fft), step=int(hop)
    )
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - n_fft // 2 if center else total
    stop = min(end, total)
    signal = index_view_op(signal, index=(slice(None), slice(start, stop)))
    envelope = check_envelope_op(index_view_op(envelope, index=(slice(start, stop),)))
    signal = signal / envelope
    if end > stop:
        signal = cat([signal, full((batch, end - stop), 0, signal._a.dtype)], 1)
    return signal if nd == 3 else rename(reshape(signal, (signal._a.shape[1],)), "SqueezeBackward1")  # type: ignore[no-any-return]
