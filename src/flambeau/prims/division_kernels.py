"""Remainders and rounded quotients of large float32 arrays, which NumPy computes number by number.

Computed in float64, in which a quotient below 2^28 of two float32 is on the right side of every integer, and the
product of its whole part and the divisor is exact. The few others are left to NumPy, and so are quotients from 2^22
on, which NumPy's steps in float32 round.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime import pool
from .row_kernels import WORTH, kernels

__all__ = ["divided"]

F32 = np.dtype(np.float32)
CERTAIN = {"remainder": float(1 << 28), "floor_divide": float(1 << 22)}

_kernels: dict[str, Any] = {}


def _body(name: str) -> Any:
    def body(k: Any, a: Any, b: Any) -> Any:
        x, y = k.cast(a, "float64"), k.cast(b, "float64")
        whole = k.floor(x / y)
        if name == "floor_divide":
            result = whole
        else:
            rest = x - whole * y
            # the remainder has the divisor's sign, and so has a zero
            result = k.select(rest == 0.0, k.copysign(rest, y), rest)
        return k.cast(result, "float32"), ~((k.abs(whole) < CERTAIN[name]) & k.isfinite(y))

    return body


def divided(name: str, a: Any, b: Any) -> Any:
    """``np.remainder(a, b)`` or ``np.floor_divide(a, b)`` by name; None where a kernel does not apply."""
    if max(getattr(a, "nbytes", 0), getattr(b, "nbytes", 0)) < WORTH:
        return None
    xs: list[Any] = [np.asarray(v, F32) if type(v) in (int, float) else v for v in (a, b)]
    if any(type(v) is not np.ndarray or v.dtype != F32 for v in xs):
        return None
    full = max(xs, key=lambda v: v.size)
    if kernels(full) is None or np.broadcast_shapes(xs[0].shape, xs[1].shape) != full.shape:
        return None
    kernel = _kernels.get(name)
    if kernel is None:
        from ..compiler.pointwise import pointwise_kernel

        kernel = _kernels[name] = pointwise_kernel(_body(name), ["float32"] * 2, ["float32", "bool"])
    out, hard = pool.empty(full.shape, F32), pool.empty(full.shape, np.dtype(bool))
    kernel.broadcast((out, hard), xs)
    if hard.any():
        ufunc: Any = np.floor_divide if name == "floor_divide" else np.remainder
        ufunc(*xs, out=out, where=hard)
    return out
