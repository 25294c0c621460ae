"""NumPy arrays and scalars from a pickle, with everything checked before NumPy sees it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import brief

if TYPE_CHECKING:
    from .loader import Loader

# Numbers, bools, and text or bytes of fixed width; no objects, records or dates.
_CODE = re.compile(r"(?:[biufc]\d{1,2}|[SU]\d{1,7})\Z")


def make_dtype(loader: Loader, code: Any, align: Any = False, copy: Any = True) -> np.dtype[Any]:
    """``numpy.dtype(code, align, copy)`` for the codes above; a fresh object: its state is set later."""
    if type(code) is not str or not _CODE.match(code) or align is not False:
        raise ValueError(
            f"NumPy dtype {brief(code)} is not allowed (numbers, bools and fixed-width text are)"
        )
    return np.dtype(code, copy=True)


def set_dtype_state(d: np.dtype[Any], state: Any) -> None:
    """The state that `numpy.dtype` pickles: of interest is only the byte order."""
    if (
        type(state) is not tuple
        or len(state) not in (8, 9)
        or any(type(s) not in (int, str, type(None)) for s in state)
    ):
        raise ValueError("the state of a NumPy dtype was expected")
    version, order, sub, names, fields, size, alignment, flags = state[:8]
    if (sub, names, fields) != (None, None, None) or order not in ("<", ">", "|", "="):
        raise ValueError(f"NumPy dtype state {brief(state)} is not allowed")
    if (
        size not in (-1, d.itemsize)
        or alignment not in (-1, d.alignment)
        or (version, flags) not in ((3, d.flags), (4, d.flags))
    ):
        raise ValueError(f"NumPy dtype state {brief(state)} does not fit {d}")
    d.__setstate__(state)  # type: ignore[attr-defined]


def scalar(loader: Loader, d: Any, data: Any) -> Any:
    """A NumPy scalar from its bytes."""
    if not isinstance(d, np.dtype) or type(data) is not bytes or len(data) != d.itemsize:
        raise ValueError("a dtype and as many bytes as its item size were expected")
    return np.frombuffer(data, d)[0]


def empty_array(loader: Loader, cls: Any, shape: Any, code: Any) -> Any:
    """The empty array whose state follows."""
    if getattr(cls, "name", None) != "numpy.ndarray" or shape != (0,):
        raise ValueError("only plain, empty arrays are built before their state is set")
    return np.empty(0, np.uint8)


def set_array_state(loader: Loader, array: Any, state: Any) -> None:
    """(version, shape, dtype, Fortran order, data)."""
    if type(state) is not tuple or len(state) != 5 or array.shape != (0,):
        raise ValueError("the state of a NumPy array was expected")
    _, shape, d, fortran, data = state
    if type(shape) is not tuple or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"NumPy shape {brief(shape)} is not allowed")
    if not isinstance(d, np.dtype) or type(fortran) is not bool or type(data) is not bytes:
        raise ValueError("a dtype, an order and bytes were expected")
    if math.prod(shape) * d.itemsize != len(data) or math.prod(n or 1 for n in shape) > 1 << 48:
        raise ValueError(f"{len(data)} bytes do not make an array of shape {shape} and dtype {d}")
    loader.charge(len(data))
    array.__setstate__((1, shape, d, fortran, data))
