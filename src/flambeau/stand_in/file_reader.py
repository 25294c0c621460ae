"""``torch.PyTorchFileReader``: the records of a file that `flambeau.save` wrote, by name."""

from __future__ import annotations

import zipfile
from typing import IO

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
