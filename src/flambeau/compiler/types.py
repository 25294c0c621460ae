"""Element types as the kernel engine sees them: how they lie in memory and what is computed with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["COMPUTE", "FLOATS", "Compute", "Storage", "UnsupportedError", "storage"]


class UnsupportedError(TypeError):
    """The engine has no code for this; the caller computes it another way."""


@dataclass(frozen=True, eq=False)  # one object per type: compared and hashed by identity
class Compute:
    """A type of values in registers. `kind`: f(loat), i(nteger), u(nsigned), b(oolean mask)."""

    name: str
    llvm: str
    kind: str
    bits: int


@dataclass(frozen=True, eq=False)
class Storage:
    """A NumPy dtype and the type its elements are computed in."""

    name: str
    numpy: np.dtype[Any]
    llvm: str
    compute: Compute

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.numpy.itemsize


COMPUTE = {
    c.name: c
    for c in (
        Compute("float32", "float", "f", 32),
        Compute("float64", "double", "f", 64),
        Compute("int8", "i8", "i", 8),
        Compute("int16", "i16", "i", 16),
        Compute("int32", "i32", "i", 32),
        Compute("int64", "i64", "i", 64),
        Compute("uint8", "i8", "u", 8),
        Compute("bool", "i1", "b", 1),
    )
}


def _make(dtype: Any, llvm: str, compute: str) -> Storage:
    numpy = np.dtype(dtype)
    return Storage(numpy.name, numpy, llvm, COMPUTE[compute])


_STORAGE = {
    s.numpy: s
    for s in (
        _make(np.float32, "float", "float32"),
        _make(np.float64, "double", "float64"),
        _make(np.float16, "i16", "float32"),  # 16-bit floats are read and written as bit patterns
        _make(ml_dtypes.bfloat16, "i16", "float32"),
        _make(np.int8, "i8", "int8"),
        _make(np.int16, "i16", "int16"),
        _make(np.int32, "i32", "int32"),
        _make(np.int64, "i64", "int64"),
        _make(np.uint8, "i8", "uint8"),
        _make(np.bool_, "i8", "bool"),
    )
}


FLOATS = (
    np.dtype(np.float32),
    np.dtype(np.float64),
)  # asking an array's dtype for its name takes a microsecond


def storage(dtype: Any) -> Storage:
    """The storage type of anything that `numpy.dtype` accepts.

    Raises: UnsupportedError for a dtype without kernels.
    """
    found = _STORAGE.get(np.dtype(dtype))
    if found is None:
        names = ", ".join(s.name for s in _STORAGE.values())
        raise UnsupportedError(
            f"no kernels exist for dtype {np.dtype(dtype)}; those with kernels are {names}"
        )
    return found
