"""Copies, conversions and constants of large arrays, on all threads and in recycled memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import acceleration
from ..runtime import pool

LARGE = 1 << 20  # bytes from which one thread takes noticeably long
SLOW = 1 << 16  # the same for conversions of 16-bit numbers, which NumPy makes one by one
ROW = 64  # elements that lie together, from which rows are copied by a kernel
HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)
SOURCES = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "bool")
UNSIGNED = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}  # what holds the bits of an element

_kernels: dict[Any, Any] = {}


def _kernel(key: Any, body: Callable[..., Any], ins: list[str], outs: list[str], scalars: Any = 0) -> Any:
    """The kernel, or False where this processor cannot have it."""
    found = _kernels.get(key)
    if found is None:
        make = acceleration.make_kernel()
        assert make is not None
        try:
            found = make(body, ins, outs, scalars)
        except TypeError:  # no conversions of float16, for example
            found = False
        _kernels[key] = found
    return found


def _bits(x: Any) -> Any:
    """The array's elements as integers of their size."""
    return x.view(UNSIGNED[x.dtype.itemsize])


def copied(x: Any) -> Any:
    """A C-contiguous copy of a large array, in recycled memory; None for small ones."""
    if x.nbytes < LARGE:
        return None
    if not any(x.strides):
        return filled(x.shape, x[(0,) * x.ndim], x.dtype)  # one number in every place: nothing to read
    out = pool.empty(x.shape, x.dtype)
    copy_into(out, x)
    return out


def copy_into(out: Any, x: Any) -> None:
    """``out[...] = x`` for arrays of one shape and dtype."""
    size = x.dtype.itemsize
    dense = x.flags.c_contiguous and out.flags.c_contiguous
    rows = dense or x.ndim and x.shape[-1] >= ROW and x.strides[-1] == out.strides[-1] == size
    if x.nbytes < LARGE or not rows or size not in UNSIGNED or not acceleration.ready(x.nbytes, False):
        np.copyto(out, x)
        return
    name = UNSIGNED[size]
    kernel = _kernel(("copy", name), lambda k, v: v, [name], [name])
    if dense:
        kernel.fn(_bits(out), _bits(x))
    else:
        kernel.broadcast([_bits(out)], [_bits(x)])


def converted(x: Any, dtype: Any) -> Any:
    """`x` in another dtype where a kernel makes it with NumPy's numbers, else None."""
    source, target = x.dtype.name, dtype.name
    if target not in FLOATS and target != "bool" or source not in SOURCES or source == target:
        return None
    if x.nbytes < (SLOW if source in HALVES or target in HALVES else LARGE) or not x.flags.c_contiguous:
        return None
    if target in HALVES and source not in FLOATS or not acceleration.ready(x.nbytes):
        return None

    def body(k: Any, v: Any) -> Any:
        if target == "bool":
            return v if v.type.kind == "b" else v != 0
        return k.cast(v, "float64" if target == "float64" else "float32")

    kernel = _kernel((source, target), body, [source], [target])
    if not kernel:
        return None
    out = pool.empty(x.shape, dtype)
    kernel.fn(out, x)
    return out


def counted(n: int, key: Any, body: Callable[..., Any], dtype: Any, *scalars: int | float) -> Any:
    """A large vector whose element i is ``body(k, i, *scalars)``, for an int64 i; None where a kernel does not pay.

    `key` stands for the body. Floats among the scalars are passed in `dtype`, integers as int64.
    """
    if n * dtype.itemsize < SLOW or dtype.name not in SOURCES or not acceleration.ready(n * dtype.itemsize):
        return None
    kinds = ["int64" if type(v) is int else dtype.name for v in scalars]
    name = ("count", key, dtype.name, *kinds)
    kernel = _kernel(name, lambda k, i, j, *v: body(k, i + j, *v), ["int64", "int64"], [dtype.name], kinds)
    if not kernel:
        return None
    out = pool.empty((n,), dtype)
    rows = n // _ROW
    whole = rows * _ROW
    kernel.broadcast(
        [out[:whole].reshape(rows, _ROW)], [np.arange(0, whole, _ROW)[:, None], _STEPS], *scalars
    )
    if whole < n:
        kernel.broadcast([out[whole:]], [np.array([whole]), _STEPS[: n - whole]], *scalars)
    return out


_ROW = 2048
_STEPS = np.arange(_ROW)


def filled(shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
    """A large constant array."""
    out = pool.empty(shape, dtype)
    fill(out, value)
    return out


def fill(out: Any, value: Any) -> None:
    """``out[...] = value``."""
    dtype = out.dtype
    if (
        out.nbytes < SLOW
        or not out.flags.c_contiguous
        or dtype.itemsize not in UNSIGNED
        or not acceleration.ready(out.nbytes, False)
    ):
        out[...] = value
        return
    name = UNSIGNED[dtype.itemsize]
    one = np.empty(1, dtype)
    one[0] = value
    _kernel(("fill", name), lambda k, v: v, [], [name], [name]).fn(_bits(out), int(_bits(one)[0]))
