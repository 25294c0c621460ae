"""``torch.PyTorchFileReader``: the records of a file that `flambeau.save` wrote, by name."""

from __future__ import annotations

import zipfile
from typing import IO, Any

import numpy as np

from ..runtime import dtypes
from ..tensor.storage import TypedStorage, UntypedStorage

__all__ = ["PyTorchFileReader"]


class PyTorchFileReader:
    """A file in PyTorch's ZIP format, open for reading.

    Raises: RuntimeError for files in other formats, and by `get_record` for names that are not there.
    """

    def __init__(self, file: str | IO[bytes]) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile as e:
            raise RuntimeError(f"PytorchStreamReader failed reading zip archive {file}: {e}") from None
        names = self._zip.namelist()
        self._folder = names[0].partition("/")[0] + "/" if names else ""

    def get_all_records(self) -> list[str]:
        """The names of all records."""
        return [n.removeprefix(self._folder) for n in self._zip.namelist()]

    def has_record(self, name: str) -> bool:
        """Whether there is a record `name`."""
        return name in self.get_all_records()

    def get_record(self, name: str) -> bytes:
        """The bytes of a record."""
        if not self.has_record(name):
            raise RuntimeError(f"PytorchStreamReader failed locating file {name}: file not found")
        return self._zip.read(self._folder + name)

    def get_storage_from_record(self, name: str, numel: int, dtype: Any) -> TypedStorage:
        """The bytes of a record as a storage of `numel` elements of `dtype` (of bytes, for ``UntypedStorage``).

        Raises: RuntimeError when the record has another size.
        """
        kind = dtypes.uint8 if dtype is UntypedStorage else dtype
        record = self.get_record(name)
        if len(record) != numel * kind.itemsize:
            raise RuntimeError(
                f"the record {name} has {len(record)} bytes, not {numel} elements of {kind.itemsize}"
            )
        return TypedStorage(
            wrap_storage=UntypedStorage(np.frombuffer(bytearray(record), np.uint8)), dtype=kind
        )
