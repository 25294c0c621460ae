"""Copies, conversions and constants of large arrays, on all threads and in recycled memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import acceleration
from ..runtime import pool

LARGE = 1 << 20  # bytes from which one thread takes noticeably long
SLOW = 1 << 16  # the same for conversions of 16-bit numbers, which NumPy makes one by one
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
    out = pool.empty(x.shape, x.dtype)
    copy_into(out, x)
    return out


def copy_into(out: Any, x: Any) -> None:
    """``out[...] = x`` for arrays of one shape and dtype."""
    if (
        x.nbytes < LARGE
        or not (x.flags.c_contiguous and out.flags.c_contiguous)
        or x.dtype.itemsize not in UNSIGNED
        or not acceleration.ready(x.nbytes, False)
    ):
        np.copyto(out, x)
        return
    name = UNSIGNED[x.dtype.itemsize]
    _kernel(("copy", name), lambda k, v: v, [name], [name]).fn(_bits(out), _bits(x))


def converted(x: Any, dtype: Any) -> Any:
    """`x` in another dtype where a kernel makes it with NumPy's numbers, else None."""
    source, target = x.dtype.name, dtype.name
    if target not in FLOATS and target != "bool" or source not in SOURCES or source == target:
        return None
    if x.nbytes < (SLOW if source in HALVES or target in HALVES else LARGE) or not x.flags.c_contiguous:
        return None
    if target in HALVES and source not in FLOATS or not acceleration.ready(x.nbytes):
        return None
    if target in HALVES and source == "float64":
        return None  # would round twice

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


def filled(shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
    """A large constant array; None for dtypes without kernels."""
    out = pool.empty(shape, dtype)
    if dtype.itemsize not in UNSIGNED or not acceleration.ready(out.nbytes, False):
        out[...] = value
        return out
    name = UNSIGNED[dtype.itemsize]
    one = np.empty(1, dtype)
    one[0] = value
    kernel = _kernel(("fill", name), lambda k, v: v, [], [name], [name])
    kernel.fn(_bits(out), int(_bits(one)[0]))
    return out
