"""The container: ZIP files with stored (not compressed) entries, as PyTorch writes them.

Written after PKWARE's APPNOTE 6.3.10 (local header 4.3.7, data descriptor 4.3.9, central directory 4.3.12,
ZIP64 4.3.14 and 4.5.3) and, for what PyTorch adds: every entry lies in one top folder, is stored, and its
data begin at a multiple of 64 bytes, which padding in the local header's extra field (tag ``FB``) brings
about.

The reader trusts nothing: all sizes are compared with the file before memory is allocated, entries must not
overlap (so that the sum of their sizes is at most the file's), and names must be plain relative paths.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..runtime import pool
from .errors import CorruptFileError

__all__ = ["ALIGNMENT", "ArchiveReader", "Bytes", "is_archive", "write_archive"]

Bytes = npt.NDArray[np.uint8]

ALIGNMENT = 64
_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64, _LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_CENTRAL_HEADER = struct.Struct("<4s6H3I5H2I")
_END_RECORD = struct.Struct("<4s4H2IH")
_END64_RECORD = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64_RECORD = struct.Struct("<4sIQI")
_U16, _U32 = 0xFFFF, 0xFFFFFFFF
_UTF8_NAMES, _ENCRYPTED = 0x800, 0x1
_DATE_1980 = 0x21  # the earliest date of the format: files with equal content are equal
_PADDING_TAG = b"FB"


class Entry(NamedTuple):
    """One entry of the central directory."""

    full_name: bytes
    header: int  # offset of the local header
    size: int
    crc: int
    method: int
    flags: int
    limit: int  # where the next entry, or the directory, begins


def is_archive(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a ZIP file."""
    return start[:4] == _LOCAL


class ArchiveReader:
    """Checked access to the entries of an archive.

    `stream` must be seekable.  Names are without the top folder: ``"data.pkl"``, ``"data/0"``.

    Raises: CorruptFileError (a RuntimeError) here and in every method.
    """

    def __init__(self, stream: BinaryIO, file: str, mapped: bool = False) -> None:
        self.file = file
        self._stream = stream
        self._size = stream.seek(0, os.SEEK_END)
        self.entries = self._read_directory()
        # PyTorch's set_crc32_options(False) writes no check sums at all.
        self._checked = any(e.crc for e in self.entries.values())
        self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY) if mapped else None

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def read(self, name: str) -> bytes:
        """The content of a small entry."""
        offset, size = self._locate(name)
        data = self._read_at(offset, size, name)
        self._check_crc(name, data)
        return data

    def data(self, name: str) -> Bytes:
        """The content of an entry in memory of its own; with `mapped`, copy-on-write over the file."""
        offset, size = self._locate(name)
        if self._map is not None and size:
            return np.frombuffer(self._map, np.uint8, size, offset)
        array = pool.empty((size,), np.dtype(np.uint8))
        self._stream.seek(offset)
        read_exactly(self._stream, array, self.file, name)
        self._check_crc(name, array)
        return array

    def size(self, name: str) -> int:
        """Bytes of an entry."""
        return self._entry(name).size

    # -- reading the directory

    def _bad(self, reason: str, entry: str | None = None) -> CorruptFileError:
        return CorruptFileError(self.file, entry, reason)

    def _read_at(self, offset: int, size: int, entry: str | None = None) -> bytes:
        if offset < 0 or size < 0 or offset + size > self._size:
            raise self._bad(
                f"{size} bytes at offset {offset} are beyond the file's {self._size} bytes", entry
            )
        self._stream.seek(offset)
        data = self._stream.read(size)
        if len(data) != size:
            raise self._bad(
                f"{size} bytes at offset {offset} were expected, {len(data)} could be read", entry
            )
        return data

    def _find_directory(self) -> tuple[int, int, int]:
        """(entries, offset, size) of the central directory."""
        tail_size = min(self._size, _END_RECORD.size + _U16)
        tail = self._read_at(self._size - tail_size, tail_size)
        at = tail.rfind(_END)
        while at >= 0:  # the record's comment must reach to the end of the file exactly
            if at + _END_RECORD.size <= len(tail):
                record = _END_RECORD.unpack_from(tail, at)
                if at + _END_RECORD.size + record[7] == len(tail):
                    break
            at = tail.rfind(_END, 0, at)
        else:
            raise self._bad("no central directory found; the file is truncated or was not written completely")
        end = self._size - tail_size + at
        _, disk, start_disk, count_here, count, size, offset, _ = record
        if end >= _LOCATOR64_RECORD.size:
            locator = self._read_at(end - _LOCATOR64_RECORD.size, _LOCATOR64_RECORD.size)
            if locator[:4] == _LOCATOR64:
                _, _, end64, disks = _LOCATOR64_RECORD.unpack(locator)
                record64 = _END64_RECORD.unpack(self._read_at(end64, _END64_RECORD.size))
                if record64[0] != _END64 or disks > 1:
                    raise self._bad("the ZIP64 end record is damaged")
                _, _, _, _, disk, start_disk, count_here, count, size, offset = record64
                end = end64
        if disk or start_disk or count_here != count:
            raise self._bad("archives in several parts are not supported")
        if offset + size > end or count * _CENTRAL_HEADER.size > size:
            raise self._bad(f"the central directory ({count} entries, {size} bytes) is inconsistent")
        return count, offset, size

    def _read_directory(self) -> dict[str, Entry]:
        count, directory, size = self._find_directory()
        raw = self._read_at(directory, size)
        found: dict[str, Entry] = {}
        top: str | None = None
        position = 0
        for _ in range(count):
            if position + _CENTRAL_HEADER.size > size:
                raise self._bad("the central directory is truncated")
            fields = _CENTRAL_HEADER.unpack_from(raw, position)
            signature, _, _, flags, method, _, _, crc, packed, full, n, m, k, _, _, _, header = fields
            position += _CENTRAL_HEADER.size
            if signature != _CENTRAL or position + n + m + k > size:
                raise self._bad("the central directory is damaged")
            full_name = raw[position : position + n]
            extra = raw[position + n : position + n + m]
            position += n + m + k
            if full_name.endswith(b"/") and full == 0:
                continue  # a folder, which other tools list
            full, packed, header = self._wide(extra, full, packed, header)
            folder, name = self._split_name(full_name)
            if top is None:
                top = folder
            if folder != top or name in found:
                what = "lies outside" if folder != top else "appears twice in"
                raise self._bad(f"it {what} the folder '{top}'", folder + "/" + name)
            if packed != full and method == 0:
                raise self._bad(f"stored size {packed} differs from full size {full}", name)
            found[name] = Entry(
                full_name, header, full, crc, method, flags, header + _LOCAL_HEADER.size + n + packed
            )
        # From last to first: each entry must end before the next begins, so the sizes add up to less than the
        # file.
        limit = directory
        for name, entry in sorted(found.items(), key=lambda item: item[1].header, reverse=True):
            if entry.limit > limit:
                raise self._bad(f"its {entry.size} bytes at offset {entry.header} overlap what follows", name)
            found[name] = entry._replace(limit=limit)
            limit = entry.header
        return found

    def _wide(self, extra: bytes, full: int, packed: int, header: int) -> tuple[int, int, int]:
        """Sizes and offset, from the ZIP64 extra field where the plain ones are marked as too small."""
        if _U32 not in (full, packed, header):
            return full, packed, header
        position = 0
        while position + 4 <= len(extra):
            tag, length = struct.unpack_from("<2H", extra, position)
            position += 4
            if tag == 1:
                body = extra[position : position + length]
                wide = [v[0] for v in struct.iter_unpack("<Q", body[: len(body) // 8 * 8])]
                needed = [full, packed, header].count(_U32)
                if len(wide) < needed:
                    break
                values = iter(wide)
                full, packed, header = (next(values) if v == _U32 else v for v in (full, packed, header))
                return full, packed, header
            position += length
        raise self._bad("a ZIP64 extra field is missing or too short")

    def _split_name(self, raw: bytes) -> tuple[str, str]:
        """(top folder, rest) of an entry's name, which must be a plain relative path."""
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._bad(f"the entry name {raw[:80]!r} is not UTF-8") from None
        parts = name.split("/")
        if len(parts) < 2 or "\\" in name or "\0" in name or any(p in ("", ".", "..") for p in parts):
            raise self._bad(
                "its name is not of the form folder/path; this is not a file that `save` wrote", name
            )
        return parts[0], "/".join(parts[1:])

    # -- reading an entry

    def _entry(self, name: str) -> Entry:
        entry = self.entries.get(name)
        if entry is None:
            raise self._bad("it is missing from the archive", name)
        return entry

    def _locate(self, name: str) -> tuple[int, int]:
        """(offset, size) of an entry's data, after checking its local header against the directory."""
        entry = self._entry(name)
        if entry.method != 0:
            raise self._bad("it is compressed; only stored entries are read, as they cannot expand", name)
        if entry.flags & _ENCRYPTED:
            raise self._bad("it is encrypted", name)
        fields = _LOCAL_HEADER.unpack(self._read_at(entry.header, _LOCAL_HEADER.size, name))
        signature, _, flags, method, _, _, _, packed, full, n, m = fields
        if signature != _LOCAL or method != entry.method or flags & _ENCRYPTED:
            raise self._bad("its local header is damaged", name)
        if any(v not in (0, _U32, entry.size) for v in (packed, full)):
            raise self._bad(f"its local header says {full} bytes, the directory {entry.size}", name)
        start = entry.header + _LOCAL_HEADER.size
        if self._read_at(start, n, name) != entry.full_name:
            raise self._bad("its local header carries another name", name)
        offset = start + n + m
        if offset + entry.size > entry.limit:
            raise self._bad(f"its {entry.size} bytes at offset {offset} reach into the next entry", name)
        return offset, entry.size

    def _check_crc(self, name: str, data: Any) -> None:
        expected = self._entry(name).crc
        if self._checked and zlib.crc32(data) != expected:
            raise self._bad(f"the data are damaged: their check sum is not {expected:#010x}", name)


def read_exactly(stream: BinaryIO, into: Bytes, file: str, entry: str) -> None:
    """Fill an array from a stream.

    Raises: CorruptFileError when the stream ends before.
    """
    view = into.data
    readinto = getattr(stream, "readinto", None)
    done = 0
    while done < len(view):
        if readinto is not None:
            got = readinto(view[done:]) or 0
        else:
            chunk = stream.read(min(len(view) - done, 1 << 24))
            got = len(chunk)
            view[done : done + got] = chunk
        if not got:
            raise CorruptFileError(file, entry, f"the file ends after {done} of {len(view)} bytes")
        done += got


def write_archive(stream: Any, top: str, entries: Iterable[tuple[str, Any]]) -> None:
    """Write (name, bytes-like) entries under the folder `top`; `stream` needs only ``write``."""
    position = 0
    directory = []

    def put(data: Any) -> None:
        nonlocal position
        stream.write(data)
        position += len(data)

    for name, data in entries:
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        full_name = f"{top}/{name}".encode()
        size, header, crc = view.nbytes, position, zlib.crc32(view)
        wide = struct.pack("<2H2Q", 1, 16, size, size) if size >= _U32 else b""
        start = header + _LOCAL_HEADER.size + len(full_name) + len(wide) + 4
        padding = -start % ALIGNMENT
        extra = wide + _PADDING_TAG + struct.pack("<H", padding) + b"Z" * padding
        shown = _U32 if wide else size
        put(
            _LOCAL_HEADER.pack(
                *(_LOCAL, 45 if wide else 20, _UTF8_NAMES, 0, 0, _DATE_1980, crc),
                *(shown, shown, len(full_name), len(extra)),
            )
        )
        put(full_name + extra)
        put(view)
        values = [v for v in (size, size) if wide] + [v for v in (header,) if header >= _U32]
        central_extra = struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""
        directory.append(
            _CENTRAL_HEADER.pack(
                *(_CENTRAL, 45, 45 if values else 20, _UTF8_NAMES, 0, 0, _DATE_1980, crc, shown, shown),
                *(len(full_name), len(central_extra), 0, 0, 0, 0, min(header, _U32)),
            )
            + full_name
            + central_extra
        )
    start = position
    for record in directory:
        put(record)
    size, count = position - start, len(directory)
    if start >= _U32 or size >= _U32 or count >= _U16:
        end64 = position
        put(_END64_RECORD.pack(_END64, _END64_RECORD.size - 12, 45, 45, 0, 0, count, count, size, start))
        put(_LOCATOR64_RECORD.pack(_LOCATOR64, 0, end64, 1))
    n = min(count, _U16)
    put(_END_RECORD.pack(_END, 0, 0, n, n, min(size, _U32), min(start, _U32), 0))
