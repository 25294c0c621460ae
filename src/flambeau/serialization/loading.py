"""`load`: from a file to objects."""

from __future__ import annotations

import io
import os
import pickle
import sys
from contextlib import ExitStack
from typing import Any, BinaryIO

from ..runtime.types import device
from . import legacy
from .archive import ArchiveReader, Bytes, is_archive
from .errors import CorruptFileError
from .loader import Loader
from .pickles import PickleStream
from .plain import as_storage

__all__ = ["load"]

MAX_VERSION = 10  # of PyTorch's container; what later versions change is unknown


class _Assumed:
    """What `options.set_default_load_endianness` sets."""

    def __init__(self) -> None:
        self.endianness: Any = None


assumed = _Assumed()


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what `save`, or PyTorch's ``torch.save``, wrote.

    By default (`weights_only`) only data are built: tensors, parameters, numbers, text, containers, Size,
    dtype, device, NumPy arrays and scalars, and what `add_safe_globals` names.  Nothing from the file is
    executed, and memory use is bounded by the file's size.  ``weights_only=False`` is Python's unpickling: it
    **executes** what the file says; use it only for files that you trust as much as a program.

    Args:
        f: a path, or a binary file object with ``read``, ``seek`` and ``tell``.
        map_location: a device or its name, a dict from names to names, or a function (storage, location) that
            returns the storage or None; where the tensors go.
        pickle_module: refused with `weights_only`; otherwise only Python's `pickle`.
        mmap: do not read the tensors, map the file (copy-on-write); `f` must be a path.
        encoding: for text that Python 2 wrote.

    Raises: FileNotFoundError; EOFError for an empty or truncated pickle; RuntimeError (`CorruptFileError`)
    for a damaged file or an unavailable device; pickle.UnpicklingError (`UnsafeFileError`) for content that
    is not allowed.

    >>> import io
    >>> import flambeau as torch
    >>> file = io.BytesIO()
    >>> torch.save({"weight": torch.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> torch.load(file)
    {'weight': tensor([1., 1.])}
    """
    restricted = True if weights_only is None else bool(weights_only)
    if restricted and pickle_module is not None:
        raise RuntimeError(
            "Can not safely load weights when explicit pickle_module is specified; leave it out, or pass "
            "weights_only=False if you trust the file"
        )
    if pickle_module not in (None, pickle):
        raise ValueError(f"only Python's pickle is supported as pickle_module, got {pickle_module!r}")
    if not (map_location is None or callable(map_location) or isinstance(map_location, (str, dict, device))):
        raise TypeError(
            f"map_location must be a device, a string, a dict or a function, got "
            f"{type(map_location).__name__}"
        )
    encoding = pickle_load_args.pop("encoding", "utf-8")
    is_path = isinstance(f, (str, os.PathLike))
    if mmap and not is_path:
        raise ValueError("f must be a file path in order to use the mmap argument")
    with ExitStack() as stack:
        if is_path:
            stream: BinaryIO = stack.enter_context(open(f, "rb"))
            file = os.fspath(f)
        else:
            stream = _checked_stream(f)
            file = str(getattr(f, "name", f"<{type(f).__name__}>"))
        begin = stream.tell()
        start = stream.read(4)
        stream.seek(begin)
        if not start:
            raise EOFError(f"{file} is empty (or was read to its end: seek(0) first)")
        if is_archive(start):
            if begin:
                stream = io.BytesIO(stream.read())
            return _load_archive(
                stream, str(file), map_location, restricted, bool(mmap), encoding, pickle_load_args
            )
        if mmap:
            raise RuntimeError(
                f"{file}: mmap can only be used with files saved in the zip format (the default)"
            )
        size = stream.seek(0, os.SEEK_END) - begin
        stream.seek(begin)
        data = stream.read(size)
    pickles = PickleStream(data, restricted, encoding, pickle_load_args)
    return as_storage(legacy.load(pickles, str(file), map_location))


def _checked_stream(f: Any) -> BinaryIO:
    for method in ("read", "seek", "tell"):
        if not hasattr(f, method):
            raise AttributeError(
                f"'{type(f).__name__}' object has no attribute '{method}'. You can only torch.load from a "
                "path or a seekable binary file; wrap bytes into io.BytesIO"
            )
    if isinstance(f, io.TextIOBase):
        raise TypeError("the file was opened as text; open it with mode 'rb'")
    return f  # type: ignore[no-any-return]


def _load_archive(
    stream: BinaryIO,
    file: str,
    map_location: Any,
    weights_only: bool,
    mapped: bool,
    encoding: str,
    options: dict[str, Any],
) -> Any:
    archive = ArchiveReader(stream, file, mapped)
    if "constants.pkl" in archive:
        raise RuntimeError(f"{file} is a TorchScript archive; only files of torch.save can be loaded")
    if "version" in archive:
        version = archive.read("version").strip()
        if len(version) > 4 or not version.isdigit() or not 0 < int(version) <= MAX_VERSION:
            raise CorruptFileError(file, "version", f"version {version[:40]!r} is not 1 to {MAX_VERSION}")
    byteorder: str = {3: "big", 1: sys.byteorder}.get(getattr(assumed.endianness, "value", 2), "little")
    if "byteorder" in archive:
        byteorder = archive.read("byteorder").decode("latin-1")
        if byteorder not in ("little", "big"):
            raise ValueError(f"{file}: Unknown endianness type: {byteorder[:40]!r}")

    def fetch(key: str, nbytes: int) -> Bytes:
        name = f"data/{key}"
        size = archive.size(name)
        if size != nbytes:
            raise CorruptFileError(file, name, f"it has {size} bytes, but its tensors expect {nbytes}")
        return archive.data(name)

    data = archive.read("data.pkl")
    total = sum(entry.size for entry in archive.entries.values())
    loader = Loader(file, map_location, fetch, 4 * total + 4096, byteorder)
    return as_storage(PickleStream(data, weights_only, encoding, options).next(loader))
