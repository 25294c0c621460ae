"""What the namespace can do: `__array_namespace_info__`."""

from __future__ import annotations

from typing import Any

from ..core.state import defaults
from ..runtime import dtypes
from ..runtime.types import CPU, device
from .creation import on_device
from .promotion import isdtype

_NAMES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)
DTYPES = {name: dtypes.BY_NAME[name] for name in (*_NAMES, "complex64", "complex128")}


class __array_namespace_info__:
    """The inspection API of the standard.

    >>> import flambeau.array_api as xp
    >>> info = xp.__array_namespace_info__()
    >>> info.default_device(), sorted(info.dtypes(kind="complex floating"))
    (device(type='cpu'), ['complex128', 'complex64'])
    """

    def capabilities(self) -> dict[str, Any]:
        """Boolean indexing and shapes that depend on data are there; arrays have up to 64 dimensions (NumPy's limit)."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> device:
        """The device of new arrays."""
        return CPU

    def devices(self) -> list[device]:
        """The devices that there are."""
        return [CPU]

    def default_dtypes(self, *, device: Any = None) -> dict[str, dtypes.dtype]:
        """The dtypes of new arrays; the floating ones follow `flambeau.set_default_dtype`."""
        on_device(device)
        real = defaults.dtype
        return {
            "real floating": real,
            "complex floating": real.to_complex(),
            "integral": dtypes.int64,
            "indexing": dtypes.int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, dtypes.dtype]:
        """The standard's dtypes by name, all or those of a kind (as `isdtype` names them)."""
        on_device(device)
        return {n: d for n, d in DTYPES.items() if kind is None or isdtype(d, kind)}
