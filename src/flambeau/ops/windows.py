"""Window functions, computed in float64 and rounded once: the old ones of the main namespace, and what both kinds share.

A symmetric window of M points samples its shape at k / (M - 1), a periodic one at k / M.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.public import public
from ..core.tensor import Tensor
from ..prims.base import from_value
from ..runtime import types
from .args import as_dtype
from .creation import finish


def cosine_sum(M: int, symmetric: bool, coefficients: Sequence[float]) -> Any:
    """sum_i (-1)^i a_i cos(2 pi i x), for x from 0 to 1 (Harris, "On the use of windows for harmonic analysis", 1978)."""
    if M == 1:
        return np.ones(1)
    x = 2 * math.pi * np.arange(M) / (M - 1 if symmetric else M)
    return sum(((-1) ** i * a * np.cos(i * x) for i, a in enumerate(coefficients)), np.zeros(M))


def triangle(M: int, symmetric: bool) -> Any:
    """Bartlett's window."""
    if M == 1:
        return np.ones(1)
    return 1 - np.abs(2 * np.arange(M) / (M - 1 if symmetric else M) - 1)


def kaiser(M: int, symmetric: bool, beta: float) -> Any:
    """I0(beta sqrt(1 - x^2)) / I0(beta), for x from -1 to 1 (Kaiser and Schafer 1980), scaled so as not to overflow."""
    from scipy.special import i0e

    if M == 1:
        return np.ones(1)
    x = 2 * np.arange(M) / (M - 1 if symmetric else M) - 1
    inside = beta * np.sqrt(np.maximum(1 - x * x, 0))
    return i0e(inside) / i0e(beta) * np.exp(inside - abs(beta))


def finish_window(values: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    return finish(from_value(np.asarray(values).astype(as_dtype(dtype).numpy)), requires_grad, device)


def _length(window_length: Any, dtype: Any, layout: Any, name: str) -> int:
    """The checked length.

    Raises: TypeError unless it is an integer, RuntimeError when negative, or for a dtype that is not floating.
    """
    if not hasattr(window_length, "__index__"):
        raise TypeError(
            f"{name}(): argument 'window_length' (position 1) must be int, not {type(window_length).__name__}"
        )
    n = window_length.__index__()
    if n < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={n}")
    if not as_dtype(dtype).is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    if layout is not None and layout is not types.strided:
        raise RuntimeError(f"{name} is not implemented for sparse types, got: {layout}")
    return n  # type: ignore[no-any-return]


@public(method=False)
def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Bartlett's triangular window.

    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    n = _length(window_length, dtype, layout, "bartlett_window")
    return finish_window(triangle(n, not periodic), dtype, device, requires_grad)


@public(method=False)
def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hann window (1 - cos(2 pi x)) / 2.

    Raises: RuntimeError for a negative length or a dtype that is not floating.

    >>> import flambeau as torch
    >>> torch.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    n = _length(window_length, dtype, layout, "hann_window")
    return finish_window(cosine_sum(n, not periodic, (0.5, 0.5)), dtype, device, requires_grad)


@public(method=False)
def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hamming window alpha - beta cos(2 pi x).

    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    n = _length(window_length, dtype, layout, "hamming_window")
    return finish_window(cosine_sum(n, not periodic, (alpha, beta)), dtype, device, requires_grad)


@public(method=False)
def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Blackman's window 0.42 - 0.5 cos(2 pi x) + 0.08 cos(4 pi x).

    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    n = _length(window_length, dtype, layout, "blackman_window")
    return finish_window(cosine_sum(n, not periodic, (0.42, 0.5, 0.08)), dtype, device, requires_grad)


@public(method=False)
def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Kaiser's window with shape parameter beta.

    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    n = _length(window_length, dtype, layout, "kaiser_window")
    return finish_window(kaiser(n, not periodic, float(beta)), dtype, device, requires_grad)
