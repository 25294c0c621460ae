"""Discrete Fourier transforms: to complex, real to half-complex, and half-complex to real.

All three are linear, and each one's adjoint is a transform of the opposite direction with the opposite scaling; the
half-complex ones weight the frequencies that stand for two (all but zero and, for even lengths, the last) by 1/2 or 2.
Through SciPy's pocketfft, which computes single precision in single precision.
`norm` says where the factor 1/n goes: "backward" (to the inverse), "forward" or "ortho" (half of it to each).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.families import Axes, Axis, linear_op
from ..core.tensor import Tensor
from ..runtime import threads
from .base import from_value
from .pointwise import real

SHARED = 1 << 18  # bytes from which more threads pay
OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _workers(x: Any) -> int:
    """How many threads share the lines of an array."""
    return threads.get_num_threads() if x.nbytes >= SHARED else 1


def _in_front(x: Any, dims: Any, last: Any = ()) -> tuple[Any, Any]:
    """`x` with the dims to be transformed behind the others, each in the order of its memory; the way back for a result.

    So a result lies in memory as PyTorch's with MKL: each line in one piece. `last` are dims behind even those: what
    another step has transformed.
    """
    if len(dims) == 1 and dims[0] == x.ndim - 1 and x.flags.c_contiguous and not last:
        return x, None
    outwards = sorted(range(x.ndim), key=x.strides.__getitem__, reverse=True)
    order = [d for d in outwards if d not in dims and d not in last]
    order += [d for d in outwards if d in dims] + list(last)
    back = [0] * x.ndim
    for i, d in enumerate(order):
        back[d] = i
    return x.transpose(order), back


def _fft(x: Any, *, dims: Axes, forward: bool, norm: str, last: Axes = ()) -> Any:  # type: ignore[assignment]
    from scipy import fft

    if x.size == 0:
        return x.astype(np.result_type(x.dtype, np.complex64))
    x, back = _in_front(x, dims, last)
    if len(dims) == 1:
        y = (fft.fft if forward else fft.ifft)(x, axis=-1 - len(last), norm=norm, workers=_workers(x))
    else:
        end = x.ndim - len(last)
        axes = tuple(range(end - len(dims), end))
        y = (fft.fftn if forward else fft.ifftn)(x, axes=axes, norm=norm, workers=_workers(x))
    return y if back is None else y.transpose(back)


def _fft_vjp(g: Tensor, x_meta: Any, dims: Any, forward: bool, norm: str) -> Tensor:
    gx = fft_op(g, dims=dims, forward=not forward, norm=OPPOSITE[norm])
    return gx if x_meta.dtype.kind == "c" else real(gx)


fft_op = linear_op(_fft, _fft_vjp, name="fft_c2c", grad_name="FftC2CBackward0")


def weights(x: Tensor, dim: int, n: int, inner: float) -> Tensor:
    """Half-complex frequencies with those that stand for two multiplied by `inner`."""
    k = n // 2 + 1
    w = np.full(k, inner, np.float64)
    w[0] = 1
    if n % 2 == 0:
        w[-1] = 1
    shape = [1] * len(x._a.shape)
    shape[dim] = k
    d = np.float32 if x._a.dtype.itemsize == 8 else np.float64
    return x * from_value(w.reshape(shape).astype(d))  # type: ignore[no-any-return]


def _rfft(x: Any, *, dim: Axis, norm: str) -> Any:
    from scipy import fft

    if x.size == 0:
        shape = list(x.shape)
        shape[dim] = shape[dim] // 2 + 1
        return np.zeros(shape, np.result_type(x.dtype, np.complex64))
    x, back = _in_front(x, (dim,))
    y = fft.rfft(x, norm=norm, workers=_workers(x))
    return y if back is None else y.transpose(back)


def _rfft_vjp(g: Tensor, x_meta: Any, dim: int, norm: str) -> Tensor:
    n = x_meta.shape[dim]
    return irfft_op(weights(g, dim, n, 0.5), dim=dim, n=n, norm=OPPOSITE[norm])  # type: ignore[no-any-return]


rfft_op = linear_op(_rfft, _rfft_vjp, name="fft_r2c", grad_name="FftR2CBackward0")


def _irfft(x: Any, *, dim: Axis, n: int, norm: str) -> Any:
    """The real signal of n values whose first n // 2 + 1 frequencies are given."""
    from scipy import fft

    if x.size == 0:
        shape = list(x.shape)
        shape[dim] = n
        return np.zeros(shape, np.float32 if x.dtype.itemsize == 8 else np.float64)
    x, back = _in_front(x, (dim,))
    y = fft.irfft(x, n, norm=norm, workers=_workers(x))
    return y if back is None else y.transpose(back)


def _irfft_vjp(g: Tensor, dim: int, n: int, norm: str) -> Tensor:
    return weights(rfft_op(g, dim=dim, norm=OPPOSITE[norm]), dim, n, 2.0)


irfft_op = linear_op(_irfft, _irfft_vjp, name="fft_c2r", grad_name="FftC2RBackward0")
