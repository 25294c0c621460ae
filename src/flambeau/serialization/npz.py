"""NumPy's ``.npz`` files: named arrays in a ZIP file, each as ``.npy``.

The container is read by `zipfile` and the headers by NumPy, neither of which executes anything; what they announce is
compared with what is there before memory is asked for.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from ..runtime import dtypes, pool
from . import binding
from .errors import CorruptFileError, UnsafeFileError
from .tensors import LoadedStorage

__all__ = ["load_npz", "save_npz"]

_CHUNK = 1 << 20
_EXPANSION = 64  # how many times its size a file may unpack to, unless the caller allows more
_ALWAYS = 64 << 20  # bytes that any file may unpack to
_ENCRYPTED = 1


def save_npz(
    tensors: Mapping[str, Any], filename: str | os.PathLike[str], *, compressed: bool = False
) -> None:
    """Write named tensors where `numpy.load` reads them; gradients are not written.

    Raises: TypeError unless names are text and values tensors, and for dtypes that NumPy's files cannot hold
    (bfloat16, float8); ValueError for an empty name.

    >>> import tempfile, flambeau as torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.serialization.save_npz({"weight": torch.ones(2)}, f"{folder}/a.npz")
    ...     torch.serialization.load_npz(f"{folder}/a.npz")
    {'weight': tensor([1., 1.])}
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(f"a dict from names to tensors was expected, got {type(tensors).__name__}")
    arrays = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not binding.is_tensor(tensor):
            raise TypeError(f"names must be str and values tensors, got {name!r}: {type(tensor).__name__}")
        if not name:
            raise ValueError("an array in an .npz file needs a name")
        array = binding.array_of(tensor)
        if array.dtype.isbuiltin != 1:
            raise TypeError(
                f"NumPy's files cannot hold dtype {dtypes.OF_NUMPY[array.dtype]} (tensor '{name}'): convert it with .float(), or "
                "use save() or save_safetensors()"
            )
        arrays[name] = array
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(filename, "w", method, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                npy.write_array(stream, array, allow_pickle=False)


def load_npz(filename: str | os.PathLike[str], *, max_bytes: int | None = None) -> dict[str, Any]:
    """The arrays of an ``.npz`` file as tensors, by name.

    `max_bytes` limits what a compressed file may unpack to (default: 64 times its size, or 64 MiB if that is more).

    Raises: FileNotFoundError; RuntimeError (`CorruptFileError`) for a damaged file, one that unpacks to more than
    allowed, and dtypes without a tensor; pickle.UnpicklingError (`UnsafeFileError`) for arrays of Python objects,
    which are pickles.
    """
    file = os.fspath(filename)
    size = os.stat(file).st_size
    limit = max(_EXPANSION * size, _ALWAYS) if max_bytes is None else max_bytes
    with open(file, "rb") as raw:
        try:
            archive = zipfile.ZipFile(raw)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as e:
            raise CorruptFileError(str(file), None, f"this is no .npz file: {e}") from None
        with archive:
            return _read_all(archive, str(file), size, limit)


def _read_all(archive: zipfile.ZipFile, file: str, size: int, limit: int) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    total = 0
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in tensors:
            raise CorruptFileError(file, entry.filename, "the name comes twice")
        if entry.flag_bits & _ENCRYPTED:
            raise CorruptFileError(file, entry.filename, "it is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CorruptFileError(
                file, entry.filename, f"compression method {entry.compress_type} is not read"
            )
        if entry.compress_size > size or (
            entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size
        ):
            raise CorruptFileError(
                file, entry.filename, f"it has {entry.compress_size} bytes in a file of {size}"
            )
        total += entry.file_size
        if total > limit:
            raise CorruptFileError(
                file,
                entry.filename,
                f"with it the file unpacks to {total} bytes, more than {limit}; pass max_bytes= if you trust the file",
            )
        tensors[name] = _read(archive, entry, file)
    return tensors


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: str) -> Any:
    try:
        with archive.open(entry) as stream:
            shape, fortran, dtype = _header(stream)  # type: ignore[arg-type]
            if dtype.hasobject:
                raise UnsafeFileError(
                    file, f"array '{entry.filename}' holds Python objects, which are pickles"
                )
            found = dtypes.OF_NUMPY.get(dtype.newbyteorder("="))
            if found is None:
                raise CorruptFileError(file, entry.filename, f"tensors cannot have NumPy's dtype {dtype}")
            count = math.prod(shape)
            left = entry.file_size - stream.tell()
            if min(shape, default=0) < 0 or count * dtype.itemsize != left:
                raise CorruptFileError(
                    file, entry.filename, f"shape {list(shape)} of {dtype} does not fit its {left} bytes"
                )
            data = pool.empty((left,), np.dtype(np.uint8))
            _fill(stream, data)  # type: ignore[arg-type]
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        EOFError,
        OSError,
        NotImplementedError,
        SyntaxError,
    ) as e:
        raise CorruptFileError(file, entry.filename, str(e) or type(e).__name__) from None
    array = data.view(dtype)
    if not dtype.isnative:
        array = array.astype(found.numpy)
    elif found is dtypes.bool_:
        np.minimum(data, 1, out=data)
    array = array.reshape(shape, order="F" if fortran else "C")
    return binding.rebuild(array, LoadedStorage(data, found, "cpu", binding.new_handle()), False)


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, order and dtype of an array.

    Raises: ValueError for anything but a header that NumPy writes.
    """
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise ValueError(f"version {version} of the .npy format is not read")


def _fill(stream: BinaryIO, data: Any) -> None:
    """Raises: EOFError when the stream ends early."""
    view = memoryview(data)
    at = 0
    while at < len(view):
        part = stream.read(min(_CHUNK, len(view) - at))
        if not part:
            raise EOFError(f"it ends after {at} of {len(view)} bytes")
        view[at : at + len(part)] = part
        at += len(part)
    if stream.read(1):
        raise ValueError("there are more bytes than the array has")
