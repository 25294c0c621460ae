"""Kernels whose work comes in units of their own: the generated function with what calls it.

Such a kernel is ``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)`` and computes the units ``lo <= i < hi``. Its first
three scalars are always the number of units, what one costs (`work`, about nanoseconds) and how many a thread takes
at a time (`grain`); the Python caller has checked shapes and layouts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime.threads import get_num_threads
from . import engine, launch, native
from .dialect import Dialect
from .types import Storage
from .vector_loop import attributes

__all__ = ["finish", "make_unit_kernel", "share", "share_with_room"]

ENOUGH = 10_000  # nanoseconds that a thread should work at a time


def finish(k: Dialect) -> str:
    """The module of a kernel whose body was written into `k`."""
    k.line("ret void")
    function = k.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")
    return "\n".join(k.declarations.values()) + "\n" + function + attributes(k.host)


def share(units: int, work: int) -> int:
    """The grain: enough work for a thread at a time, and some parts for each thread."""
    return max(1, min(units, -(-ENOUGH // max(work, 1)), units // (4 * get_num_threads()) or 1))


def share_with_room(units: int, work: int) -> int:
    """The grain where each part has memory of its own: few parts, each of which stays in a cache."""
    return max(share(units, work), -(-units // (8 * get_num_threads())))


def make_unit_kernel(
    name: str,
    text: str,
    outputs: int,
    kinds: Sequence[Storage | np.dtype[Any]],
    scalars: int | Sequence[bool],
) -> Callable[..., None]:
    """A function of arrays of the given kinds, outputs first, and numbers: units, work, grain, and others.

    `scalars` says how many whole ones, or of each whether it is whole; the others are floats.
    """
    integers = (True,) * scalars if isinstance(scalars, int) else tuple(scalars)
    entry = launch.launcher("units")
    address = engine.build(text, ["kernel"])["kernel"]
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)
    count = len(kinds)

    def through_ctypes(*arguments: Any) -> None:
        pointers = np.array([a.ctypes.data for a in arguments[:count]], np.uint64)
        values = zip(arguments[count:], integers, strict=True)
        words = np.array([v if whole else np.float64(v).view(np.int64) for v, whole in values], np.int64)
        run(address, pointers.ctypes.data, words.ctypes.data, arguments[count], arguments[count + 2])

    if not entry.builtin:
        return through_ctypes
    dtypes = [k.numpy if isinstance(k, Storage) else k for k in kinds]
    sizes = tuple(d.itemsize for d in dtypes)
    descriptor = launch.Descriptor(address, outputs, tuple(map(id, dtypes)), sizes, integers, cost=1.0)
    words = np.array(descriptor.words(), np.int64)
    made: Callable[..., None] = native.make_function(name, entry.builtin, (words, through_ctypes))
    return made
