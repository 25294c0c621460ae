"""How many threads NumPy's and SciPy's linear algebra uses: the OpenBLAS that comes with their wheels.

OpenBLAS counts the CPUs of the machine, not those that the control group grants, and its threads spin while they wait:
where more of them run than there are CPUs to be had, a product of 0.2 ms takes 50 ms.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import os
import sys
from collections.abc import Callable

__all__ = ["limit_threads"]

_NAMES = ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads")


def _libraries(package: str) -> list[str]:
    """The OpenBLAS files beside an imported package's folder (Linux, Windows) or in it (macOS)."""
    module = sys.modules.get(package)
    if module is None or not getattr(module, "__file__", None):
        return []
    folder = os.path.dirname(str(module.__file__))
    return [
        path
        for place in (folder + ".libs", os.path.join(folder, ".dylibs"))
        for path in glob.glob(f"{place}/*openblas*")
    ]


@functools.cache
def _setter(path: str) -> Callable[[int], None] | None:
    """The function of a library that sets its threads; None where there is none, or nobody has loaded the library."""
    try:
        library = ctypes.CDLL(path, mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_NOW", 0))
    except OSError:
        return None
    return next((getattr(library, name) for name in _NAMES if hasattr(library, name)), None)


def limit_threads(n: int) -> None:
    """Let the linear algebra libraries that are loaded compute with `n` threads, but no more than the machine has CPUs.

    Other libraries than OpenBLAS are left alone.
    """
    n = min(n, os.cpu_count() or 1)
    for package in ("numpy", "scipy"):
        for path in _libraries(package):
            found = _setter(path)
            if found is None:
                _setter.cache_clear()  # it may be loaded later
            else:
                found(n)
