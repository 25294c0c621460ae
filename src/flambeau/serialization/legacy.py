"""Files of PyTorch before 1.6: five pickles in a row, then the storages' bytes.

The pickles are a magic number, a protocol version, facts about the writing machine, the object, and the keys
of its storages.  For each key follow the number of elements (int64) and the data.  The object is built first,
over memory that is filled afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime import dtypes, pool
from .errors import CorruptFileError, UnsafeFileError, brief
from .loader import Loader, clean_bools
from .pickles import PickleStream
from .tensors import LoadedStorage, resolve

if TYPE_CHECKING:
    from .archive import Bytes

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def load(pickles: PickleStream, file: str, map_location: Any) -> Any:
    """The object in a file that is not an archive.

    Raises: as `flambeau.load`.
    """
    data = pickles.data
    promised = 0

    def fetch(key: str, nbytes: int) -> Bytes:
        nonlocal promised
        promised += nbytes
        if promised > len(data):
            raise CorruptFileError(file, key, f"its tensors expect {nbytes} bytes, more than the file has")
        return pool.empty((nbytes,), np.dtype(np.uint8))

    class LegacyLoader(Loader):
        """Understands the sixth field of a persistent id: a view into the storage (key, offset, size)."""

        def storage(self, pid: Any) -> LoadedStorage:
            whole = super().storage(pid)
            view = pid[5] if len(pid) > 5 else None
            if view is None:
                return whole
            if (
                type(view) is not tuple
                or len(view) != 3
                or any(type(n) is not int or n < 0 for n in view[1:])
            ):
                raise UnsafeFileError(file, f"the storage view {brief(view)} is malformed")
            itemsize = whole.dtype.itemsize
            begin, length = view[1] * itemsize, view[2] * itemsize
            if begin + length > whole.nbytes():
                raise CorruptFileError(file, pid[2], f"view {brief(view)} reaches beyond the storage")
            return LoadedStorage(
                whole.bytes[begin : begin + length], whole.dtype, whole.location, whole.handle
            )

    loader = LegacyLoader(file, map_location, fetch, 4 * len(data) + 4096, filled_later=True)
    magic = pickles.next(loader)
    if type(magic) is not int or magic != MAGIC:
        raise CorruptFileError(file, None, "Invalid magic number; corrupt file?")
    version = pickles.next(loader)
    if type(version) is not int or version != PROTOCOL:
        raise CorruptFileError(
            file, None, f"Invalid protocol version: {brief(version)}, {PROTOCOL} was expected"
        )
    machine = pickles.next(loader)
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise CorruptFileError(file, None, "of the format before PyTorch 1.6, only little-endian is read")
    result = pickles.next(loader)
    keys = pickles.next(loader)
    if type(keys) is not list or set(map(str, keys)) != set(loader.storages):
        raise CorruptFileError(file, None, "the list of storages does not match the storages in use")
    position = pickles.position
    for key in keys:
        storage = loader.storages[str(key)]
        if position + 8 + storage.nbytes() > len(data):
            raise CorruptFileError(file, str(key), "the file ends inside the data of this storage")
        count = int.from_bytes(data[position : position + 8], "little", signed=True)
        position += 8
        if count * (storage.dtype.itemsize if storage.dtype else 1) != storage.nbytes():
            raise CorruptFileError(file, str(key), f"{count} elements do not make {storage.nbytes()} bytes")
        storage.bytes[:] = np.frombuffer(data, np.uint8, storage.nbytes(), position)
        if storage.dtype is dtypes.bool_:
            clean_bools(storage.bytes)
        position += storage.nbytes()
    for tensor, metadata in loader.unresolved:
        resolve(tensor, metadata)
    return result
