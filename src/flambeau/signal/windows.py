"""Window functions: `flambeau.signal.windows`.

Every function takes the number of points M, `sym` (False: periodic, for spectral analysis), and the usual `dtype`,
`layout`, `device` and `requires_grad`. In formulas, k counts points from 0, and x = k / (M - 1) goes from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..core.docstrings import with_parts
from ..core.tensor import Tensor
from ..ops.args import as_dtype
from ..ops.windows import cosine_sum, finish_window, triangle
from ..ops.windows import kaiser as kaiser_shape
from ..runtime import dtypes, types

__all__ = [
    *("bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming"),
    *("hamming", "hann", "kaiser", "nuttall"),
]


def _check(name: str, M: int, dtype: Any, layout: Any) -> None:
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not types.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if as_dtype(dtype) not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {as_dtype(dtype)}")


def _centred(M: int, sym: bool) -> Any:
    """Positions k - center, whose middle is zero in a symmetric window."""
    return np.arange(M) - (M if not sym and M > 1 else M - 1) / 2


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    layout: Any = types.strided, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-|k - center| / tau).

    Raises: ValueError for a negative M, another dtype or layout, tau <= 0, or a center in a symmetric window.

    >>> import flambeau as torch
    >>> torch.signal.windows.exponential(3)
    tensor([0.3679, 1.0000, 0.3679])
    """
    _check("exponential", M, dtype, layout)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    k = _centred(M, sym) if center is None else np.arange(M) - center
    return finish_window(np.exp(-np.abs(k) / tau), dtype, device, requires_grad)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = types.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """sin(pi (k + 1/2) / M).

    >>> import flambeau as torch
    >>> torch.signal.windows.cosine(3)
    tensor([0.5000, 1.0000, 0.5000])
    """
    _check("cosine", M, dtype, layout)
    k = np.arange(M) + 0.5
    values = np.sin(k * (math.pi / (M + 1 if not sym and M > 1 else max(M, 1))))
    return finish_window(values, dtype, device, requires_grad)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = types.strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-((k - center) / std)^2 / 2).

    Raises: ValueError for a negative M, another dtype or layout, or std <= 0.

    >>> import flambeau as torch
    >>> torch.signal.windows.gaussian(3)
    tensor([0.6065, 1.0000, 0.6065])
    """
    _check("gaussian", M, dtype, layout)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    k = _centred(M, sym) / (std * math.sqrt(2))
    return finish_window(np.exp(-(k**2)), dtype, device, requires_grad)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = types.strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Kaiser's window I0(beta sqrt(1 - x^2)) / I0(beta), x from -1 to 1.

    Raises: ValueError for a negative M, another dtype or layout, or beta < 0.

    >>> import flambeau as torch
    >>> torch.signal.windows.kaiser(3, beta=2.0)
    tensor([0.4387, 1.0000, 0.4387])
    """
    _check("kaiser", M, dtype, layout)
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return finish_window(kaiser_shape(M, sym, float(beta)), dtype, device, requires_grad)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, layout: Any = types.strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """sum_i (-1)^i a_i cos(2 pi i x).

    Raises: TypeError when `a` is not iterable, ValueError when it is empty, for a negative M, another dtype or layout.

    >>> import flambeau as torch
    >>> torch.signal.windows.general_cosine(3, a=[0.5, 0.5])
    tensor([0., 1., 0.])
    """
    _check("general_cosine", M, dtype, layout)
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    coefficients = [float(v) for v in a]
    if not coefficients:
        raise ValueError("Coefficients cannot be empty")
    return finish_window(cosine_sum(M, sym, coefficients), dtype, device, requires_grad)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = types.strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - (1 - alpha) cos(2 pi x).

    >>> import flambeau as torch
    >>> torch.signal.windows.general_hamming(3)
    tensor([0.0800, 1.0000, 0.0800])
    """
    _check("general_hamming", M, dtype, layout)
    return finish_window(cosine_sum(M, sym, (alpha, 1.0 - alpha)), dtype, device, requires_grad)


def hamming(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = types.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hamming window 0.54 - 0.46 cos(2 pi x).

    >>> import flambeau as torch
    >>> torch.signal.windows.hamming(3)
    tensor([0.0800, 1.0000, 0.0800])
    """
    _check("hamming", M, dtype, layout)
    return finish_window(cosine_sum(M, sym, (0.54, 0.46)), dtype, device, requires_grad)


def hann(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = types.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hann window (1 - cos(2 pi x)) / 2.

    >>> import flambeau as torch
    >>> torch.signal.windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    _check("hann", M, dtype, layout)
    return finish_window(cosine_sum(M, sym, (0.5, 0.5)), dtype, device, requires_grad)


def blackman(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = types.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Blackman's window 0.42 - 0.5 cos(2 pi x) + 0.08 cos(4 pi x).

    >>> import flambeau as torch
    >>> torch.signal.windows.blackman(3)
    tensor([-1.3878e-17,  1.0000e+00, -1.3878e-17])
    """
    _check("blackman", M, dtype, layout)
    return finish_window(cosine_sum(M, sym, (0.42, 0.5, 0.08)), dtype, device, requires_grad)


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = types.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Bartlett's triangular window 1 - |2 x - 1|.

    >>> import flambeau as torch
    >>> torch.signal.windows.bartlett(3)
    tensor([0., 1., 0.])
    """
    _check("bartlett", M, dtype, layout)
    return finish_window(triangle(M, sym), dtype, device, requires_grad)


def nuttall(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = types.strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Nuttall's four-term window with minimal side lobes (Nuttall 1981, table II).

    >>> import flambeau as torch
    >>> torch.signal.windows.nuttall(3)
    tensor([3.6280e-04, 1.0000e+00, 3.6280e-04])
    """
    _check("nuttall", M, dtype, layout)
    coefficients = (0.3635819, 0.4891775, 0.1365995, 0.0106411)
    return finish_window(cosine_sum(M, sym, coefficients), dtype, device, requires_grad)


_COMMON = {
    "Shapes:": " a vector of M numbers.",
    "Dtypes:": " float32 and float64: `dtype`, or the default dtype.",
    "Raises:": " ValueError for a negative M, another dtype, or a layout that is not strided.",
}
for _name in __all__:
    _fn = globals()[_name]
    _fn.__doc__ = with_parts(_fn.__doc__, _COMMON)
