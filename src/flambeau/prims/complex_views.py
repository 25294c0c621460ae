"""Complex tensors seen as pairs of real numbers, and back: the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from ..core.tensor import Tensor
from .base import innermost


def _view_as_real(x: Any) -> Any:
    parts = x.real
    return np.lib.stride_tricks.as_strided(parts, (*x.shape, 2), (*x.strides, x.itemsize // 2))


def _view_as_complex(x: Any) -> Any:
    return x.view(np.complex64 if x.itemsize == 4 else np.complex128)[..., 0]


def pairs_possible(x: Any) -> bool:
    """Whether the last dim (of size 2) of an array lies in memory as complex numbers do."""
    pair = 2 * x.itemsize
    return x.strides[-1] == x.itemsize and all(
        s % pair == 0 for s, n in zip(x.strides[:-1], x.shape) if n > 1
    )


def _to_complex(g: Tensor, x_meta: Any) -> Tensor:
    return view_as_complex_op(g if pairs_possible(innermost(g)) else fam.contiguous(g))  # type: ignore[no-any-return]


view_as_real_op: Any = fam.view_op(
    _view_as_real, inverse=_to_complex, name="view_as_real", grad_name="ViewAsRealBackward0"
)
view_as_complex_op: Any = fam.view_op(
    _view_as_complex,
    inverse=lambda g, x_meta: view_as_real_op(g),
    name="view_as_complex",
    grad_name="ViewAsComplexBackward0",
)
