"""How many threads NumPy's and SciPy's linear algebra uses: the OpenBLAS that comes with their wheels.

OpenBLAS counts the CPUs of the machine, not those that the control group grants, and its threads spin while they wait:
where more of them run than there are CPUs to be had, a product of 0.2 ms takes 50 ms, and the eigenvalues of a matrix of
300 rows three seconds.  So `limit_threads` sets their number as a whole, and `guarded` calls run on one thread where more
would gain little, or where more have just been seen to wait for each other.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["guarded", "limit_threads"]

_SUFFIXES = ("64_", "")
_PREFIXES = ("scipy_openblas", "openblas")
ALONE = 256  # rows and columns up to which one thread is enough
TINY = 24  # and up to which OpenBLAS has only one, too
SECONDS_PER_STEP = 4e-10  # 25 n^3 steps, which no decomposition exceeds, on one thread of a slow machine
PAUSE = 30.0  # seconds for which calls stay on one thread after one has waited


def _libraries(package: str) -> list[str]:
    """The OpenBLAS files beside an imported package's folder (Linux, Windows) or in it (macOS)."""
    import glob  # here: importing it would cost half a millisecond

    module = sys.modules.get(package)
    if module is None or not getattr(module, "__file__", None):
        return []
    folder = os.path.dirname(str(module.__file__))
    places = folder + ".libs", os.path.join(folder, ".dylibs")
    return [path for place in places for path in glob.glob(f"{place}/*openblas*")]


class _Library:
    """One OpenBLAS: how many threads it uses, and calls of it that are to run on one."""

    def __init__(self, get: Callable[[], int], set_: Callable[[int], None]) -> None:
        self.get, self.set = get, set_
        self.lock = threading.Lock()
        self.alone = 0  # calls under way on one thread
        self.before = 1
        self.crowded = 0.0  # until when more threads would wait for each other

    def enter(self) -> None:
        with self.lock:
            if not self.alone:
                self.before = self.get()
                if self.before != 1:
                    self.set(1)
            self.alone += 1

    def leave(self) -> None:
        with self.lock:
            self.alone -= 1
            if not self.alone and self.before != 1:
                self.set(self.before)

    def limit(self, n: int) -> None:
        with self.lock:
            if self.alone:
                self.before = n
            else:
                self.set(n)


@functools.cache
def _loaded(path: str) -> _Library | None:
    """The library of a file; None where it has no such functions, or nobody has loaded it."""
    try:
        library = ctypes.CDLL(path, mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_NOW", 0))
    except OSError:
        return None
    for prefix in _PREFIXES:
        for suffix in _SUFFIXES:
            get, set_ = (f"{prefix}_{verb}_num_threads{suffix}" for verb in ("get", "set"))
            if hasattr(library, get) and hasattr(library, set_):
                return _Library(getattr(library, get), getattr(library, set_))
    return None


@functools.cache
def _of_package(package: str) -> _Library | None:
    found = [library for path in _libraries(package) if (library := _loaded(path)) is not None]
    return found[0] if len(found) == 1 else None


def limit_threads(n: int) -> None:
    """Let the linear algebra libraries that are loaded compute with `n` threads, but no more than the machine has CPUs.

    Other libraries than OpenBLAS are left alone.
    """
    n = min(n, os.cpu_count() or 1)
    for package in ("numpy", "scipy"):
        for path in _libraries(package):
            found = _loaded(path)
            if found is None:
                _loaded.cache_clear()  # it may be loaded later
            else:
                found.limit(n)


def guarded(fn: Callable[..., Any], package: str) -> Callable[..., Any]:
    """`fn`, a function that computes with the OpenBLAS of `package`, kept from waiting.

    Its first or second argument is an array of matrices (..., m, n), after whose size it is judged.
    """

    @functools.wraps(fn)
    def call(*args: Any, **options: Any) -> Any:
        a = args[0]
        if type(a) is not np.ndarray:
            a = args[1]
        shape = getattr(a, "shape", ())[-2:]
        n = max(shape) if shape else 0
        library = _of_package(package) if n > TINY else None
        if library is None:
            return fn(*args, **options)
        begun = perf_counter()
        if n >= ALONE and begun >= library.crowded:
            result = fn(*args, **options)
            now = perf_counter()
            if now - begun > 25 * a.size * n * SECONDS_PER_STEP:
                library.crowded = now + PAUSE
            return result
        library.enter()
        try:
            return fn(*args, **options)
        finally:
            library.leave()

    return call
