"""One call of `load`: the storages of a file, and the account of what the file makes us copy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..runtime import dtypes
from ..runtime.types import device
from . import binding
from .allowed import StorageType
from .archive import Bytes
from .errors import CorruptFileError, UnsafeFileError, brief
from .tensors import LoadedStorage

__all__ = ["Loader", "clean_bools"]

_KEY_DEPTH = 8
_SCALAR_KEYS = (str, int, float, bool, type(None), bytes, complex)


class Loader:
    """State of one call of `load`.

    `fetch(key, nbytes)` gives the bytes of a storage; nbytes is checked by it against the file.
    """

    def __init__(
        self,
        file: str,
        map_location: Any,
        fetch: Callable[[str, int], Bytes],
        budget: int,
        byteorder: str = "little",
        filled_later: bool = False,
    ) -> None:
        self.file = file
        self.map_location = map_location
        self.fetch = fetch
        self.budget = budget
        self.byteorder = byteorder
        self.filled_later = filled_later  # the storages' bytes are read after the tensors are built
        self.unresolved: list[tuple[Any, dict[str, Any]]] = []  # tensors to conjugate or negate after that
        self.storages: dict[str, LoadedStorage] = {}

    def charge(self, n: int) -> None:
        """Account for n copied bytes or elements.

        Raises: ValueError when the file makes us copy many times its own size.
        """
        self.budget -= n
        if self.budget < 0:
            raise ValueError("the file asks for more copies than its size can justify")

    def check_key(self, key: Any) -> None:
        """Accept values that hash in bounded time: scalars, dtypes, devices, and flat enough tuples of them.

        Raises: TypeError for other values.
        """
        level = [key]
        for _ in range(_KEY_DEPTH):
            following: list[Any] = []
            for item in level:
                if isinstance(item, tuple):
                    self.charge(len(item))
                    following.extend(item)
                elif type(item) not in _SCALAR_KEYS and not isinstance(
                    item, (dtypes.dtype, device, np.generic, frozenset)
                ):
                    raise TypeError(f"a {type(item).__name__} may not be a key or a member of a set")
            if not following:
                return
            level = following
        raise TypeError(f"a key nests tuples more than {_KEY_DEPTH} deep")

    # -- storages

    def storage(self, pid: Any) -> LoadedStorage:
        """The storage that a persistent id names: ("storage", type, key, location, number of elements)."""
        if type(pid) is not tuple or len(pid) < 5 or type(pid[0]) is not str or pid[0] != "storage":
            raise UnsafeFileError(self.file, f"only storages may be persistent, got {brief(pid)}")
        _, kind, key, location, count = pid[:5]
        if not isinstance(kind, StorageType) or type(key) is not str or type(location) is not str:
            raise UnsafeFileError(self.file, f"the storage description {brief(pid)} is malformed")
        if type(count) is not int or count < 0:
            raise UnsafeFileError(self.file, f"storage '{key}' has an impossible size {brief(count)}")
        itemsize = kind.dtype.itemsize if kind.dtype else 1
        found = self.storages.get(key)
        if found is None:
            data = self.fetch(key, count * itemsize)
            found = self.storages[key] = self._place(self._native(data, kind), kind.dtype, location, key)
        elif count * itemsize != found.nbytes():
            raise CorruptFileError(
                self.file,
                f"data/{key}",
                f"it has {found.nbytes()} bytes where {count} x {itemsize} are expected",
            )
        return found if found.dtype is kind.dtype else found.typed(kind.dtype)

    def _native(self, data: Bytes, kind: StorageType) -> Bytes:
        """The bytes in this machine's order, aligned, with clean bools."""
        d = kind.dtype
        if self.byteorder != sys.byteorder and data.size:
            if d is None:
                raise CorruptFileError(self.file, None, "untyped storages in another byte order are not read")
            width = d.itemsize // (2 if d.is_complex else 1)
            if width > 1:
                data = np.ascontiguousarray(data.reshape(-1, width)[:, ::-1]).reshape(-1)
        if data.__array_interface__["data"][0] % 16:
            data = data.copy()
        if d is dtypes.bool_:
            clean_bools(data)
        return data

    def _place(self, data: Bytes, dtype: Any, location: str, key: str) -> LoadedStorage:
        """The storage where `map_location` wants it."""
        stored = LoadedStorage(data, dtype, location, binding.new_handle())
        target = self.map_location
        if callable(target) and not isinstance(target, (str, device)):
            moved = target(stored, location)
            if moved is None:
                self._check_location(location, key)
                return stored
            if not isinstance(moved, LoadedStorage) or moved.nbytes() != stored.nbytes():
                raise RuntimeError(
                    f"map_location must return the storage or None, got {type(moved).__name__}"
                )
            return moved
        if isinstance(target, dict):
            location = str(target.get(location, location))
        elif target is not None:
            location = str(target)
        self._check_location(location, key)
        stored.location = location
        return stored

    def _check_location(self, location: str, key: str) -> None:
        kind = location.partition(":")[0]
        if kind in ("cpu", "meta"):
            return
        try:
            device(location)
        except RuntimeError:
            raise RuntimeError(
                f"{self.file}: don't know how to restore data location of storage '{key}' (tagged with {location})"
            ) from None
        name = "CUDA" if kind == "cuda" else kind
        raise RuntimeError(
            f"{self.file}: Attempting to deserialize object on a {name} device (storage '{key}') but it is not available here. Use "
            "torch.load with map_location=torch.device('cpu') to map your storages to the CPU."
        )


def clean_bools(data: Bytes) -> None:
    """Make every true byte a 1: operations rely on it."""
    if data.size and int(data.max()) > 1:
        np.minimum(data, 1, out=data)
