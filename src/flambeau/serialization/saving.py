"""`save`: from objects to a file that PyTorch loads too."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections import OrderedDict
from typing import Any

from ..runtime import dtypes
from ..runtime.types import Size, device, layout
from . import binding, legacy
from .allowed import STORAGE_NAMES
from .archive import Bytes, write_archive

__all__ = ["save"]

DEFAULT_PROTOCOL = 2  # the only one that PyTorch's restricted unpickler reads


class _Name:
    """A global of PyTorch's, written by name; it need not exist here."""

    def __init__(self, module: str, name: str) -> None:
        self.line = f"c{module}\n{name}\n".encode()

    def __call__(self, *args: Any) -> Any:  # pickle wants what it reduces to be callable
        raise TypeError("a name for a pickle, not a function")


_REBUILD_V2 = _Name("torch._utils", "_rebuild_tensor_v2")
_REBUILD_V3 = _Name("torch._utils", "_rebuild_tensor_v3")
_REBUILD_META = _Name("torch._utils", "_rebuild_meta_tensor_no_storage")
_REBUILD_PARAMETER = _Name("torch._utils", "_rebuild_parameter")
_REBUILD_PARAMETER_WITH_STATE = _Name("torch._utils", "_rebuild_parameter_with_state")
_REBUILD_SPARSE = _Name("torch._utils", "_rebuild_sparse_tensor")
_REBUILD_FROM_TYPE = _Name("torch._tensor", "_rebuild_from_type_v2")
_GET_LAYOUT = _Name("torch.serialization", "_get_layout")
_TENSOR = _Name("torch", "Tensor")
_SIZE = _Name("torch", "Size")
_DEVICE = _Name("torch", "device")
_ENCODE = _Name("_codecs", "encode")
_DTYPES = {d: _Name("torch", d.name) for d in dtypes.ALL}
_STORAGES = {dtypes.BY_NAME[d]: _Name("torch", n) for d, n in STORAGE_NAMES.items()}
_UNTYPED_STORAGE = _Name("torch.storage", "UntypedStorage")


class _StorageId(tuple[Any, ...]):
    """A persistent id: ("storage", type, key, location, number of elements)."""


# Python's own pickler in Python: the C version looks up every global that it writes, and torch is not there
# to find.
_PythonPickler: Any = pickle._Pickler


class _Pickler(_PythonPickler):  # type: ignore[misc]
    """Writes our values under PyTorch's names and collects the storages to write."""

    dispatch = dict(_PythonPickler.dispatch)

    def __init__(self, stream: Any, protocol: int, id_tail: tuple[None, ...] = ()) -> None:
        super().__init__(stream, protocol=protocol)
        self.id_tail = id_tail  # the old format's ids have one more field
        self.storages: dict[str, Bytes] = {}
        self._keys: dict[tuple[int, int], tuple[str, Any]] = {}  # of a memory: its key in the file, its dtype
        self._ids: dict[tuple[str, Any], _StorageId] = {}
        self.counts: dict[str, int] = {}  # elements in each storage, as the first id says

    def _save_name(self, name: _Name) -> None:
        self.write(name.line)
        self.memoize(name)

    dispatch[_Name] = _save_name

    def _save_dtype(self, dtype: dtypes.dtype) -> None:
        self.save(_DTYPES[dtype])

    dispatch[dtypes.dtype] = _save_dtype

    def _save_storage_id(self, pid: _StorageId) -> None:
        self.save(tuple(pid))
        self.write(pickle.BINPERSID)

    dispatch[_StorageId] = _save_storage_id

    def reducer_override(self, value: Any) -> Any:
        """How our types are spelled; everything else as Python does it."""
        kind = type(value)
        if binding.is_tensor(value):
            return self._reduce_tensor(value)
        if kind is Size:
            return _SIZE, (tuple(value),)
        if kind is device:
            return _DEVICE, (value.type,) if value.index is None else (value.type, value.index)
        if kind is layout:
            return _GET_LAYOUT, (str(value),)
        if kind is bytes and self.proto < 3 and not value:
            return _ENCODE, ("", "latin1")  # Python writes the class bytes, which PyTorch's loader refuses
        return NotImplemented

    def _reduce_tensor(self, tensor: Any) -> Any:
        attributes = binding.attributes_of(tensor)
        if binding.is_parameter(tensor):
            data = binding.data_of(tensor)
            args: tuple[Any, ...] = (data, tensor.requires_grad, OrderedDict())
            if attributes:
                return _REBUILD_PARAMETER_WITH_STATE, (*args, attributes)
            return _REBUILD_PARAMETER, args
        kind = type(tensor)
        if binding.is_composed(
            tensor
        ):  # sparse: its layout and its parts; as in PyTorch, not whether it requires grad
            build, parts = _REBUILD_SPARSE, (tensor.layout, tensor._parts())
            return (_REBUILD_FROM_TYPE, (build, _TENSOR, parts, attributes)) if attributes else (build, parts)
        build, parts = self._rebuild_call(tensor)
        if kind is not binding.class_named("torch.Tensor") and not getattr(kind, "_plain_when_kept", False):
            return _REBUILD_FROM_TYPE, (build, type(tensor), parts, attributes)
        if attributes:
            return _REBUILD_FROM_TYPE, (build, _TENSOR, parts, attributes)
        return build, parts

    def _rebuild_call(self, tensor: Any) -> tuple[_Name, tuple[Any, ...]]:
        meta = binding.meta_parts(tensor)
        if meta is not None:
            return _REBUILD_META, meta
        stored = binding.storage_of(tensor)
        key, first_dtype = self._keys.setdefault(stored.key, (str(len(self._keys)), stored.dtype))
        self.storages.setdefault(key, stored.data)
        # PyTorch has typed storages for the older dtypes only; a memory that is seen as two dtypes is
        # untyped.
        name = _STORAGES.get(stored.dtype) if stored.dtype is first_dtype else None
        pid = self._ids.get((key, name))
        if pid is None:
            count = stored.data.nbytes // (stored.dtype.itemsize if name else 1)
            pid = _StorageId(("storage", name or _UNTYPED_STORAGE, key, "cpu", count, *self.id_tail))
            self._ids[key, name] = pid
            self.counts.setdefault(key, count)
        parts: tuple[Any, ...] = (
            pid,
            stored.offset,
            tuple(stored.size),
            stored.stride,
            stored.requires_grad,
            OrderedDict(),
        )
        return (_REBUILD_V2, parts) if name else (_REBUILD_V3, (*parts, stored.dtype))


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write an object to a path or a binary file, in PyTorch's format (a ZIP file, since PyTorch 1.6; with
    ``_use_new_zipfile_serialization=False`` the format before that).

    Tensors that share memory share it after loading.  Gradients and hooks are not saved.  PyTorch loads the
    file with ``weights_only=True`` when the object consists of what its documentation allows there.  The
    object is pickled before the file is opened: an object that cannot be pickled leaves an existing file as
    it is.

    Raises: AttributeError when `f` is neither a path nor has ``write``; pickle.PicklingError, TypeError or
    AttributeError for what Python cannot pickle; ValueError for settings that are not supported.

    >>> import io
    >>> import flambeau as torch
    >>> file = io.BytesIO()
    >>> torch.save([torch.zeros(2, 3), "text"], file)
    >>> file.getvalue()[:2]
    b'PK'
    """
    if not isinstance(f, (str, os.PathLike)) and not hasattr(f, "write"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, "
            f"got {type(f).__name__}"
        )
    if isinstance(f, io.TextIOBase):
        raise TypeError("the file was opened as text; open it with mode 'wb'")
    if pickle_module is not pickle:
        raise ValueError(f"only Python's pickle is supported as pickle_module, got {pickle_module!r}")
    buffer = io.BytesIO()
    if not _use_new_zipfile_serialization:
        _write_legacy(obj, f, buffer, pickle_protocol)
        return
    pickler = _Pickler(buffer, pickle_protocol)
    pickler.dump(obj)
    entries: list[tuple[str, Any]] = [
        ("data.pkl", buffer.getvalue()),
        ("byteorder", sys.byteorder.encode()),
        *((f"data/{key}", data) for key, data in pickler.storages.items()),
        ("version", b"3\n"),
    ]
    if isinstance(f, (str, os.PathLike)):
        top = os.path.splitext(os.path.basename(os.fsdecode(f)))[0]
        with _created(f) as stream:
            write_archive(stream, _folder(top), entries)
    else:
        write_archive(f, "archive", entries)
        if hasattr(f, "flush"):  # writers that collect what they get wait for it
            f.flush()


def _created(path: Any) -> Any:
    """A new file, open for writing.

    Raises: RuntimeError when its folder does not exist, OSError for everything else.
    """
    folder = os.path.dirname(os.fsdecode(path))
    if folder and not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    return open(path, "wb")


def _write_legacy(obj: Any, f: Any, buffer: io.BytesIO, protocol: int) -> None:
    """Five pickles and the storages, as `legacy.load` describes."""
    machine = {
        **{"protocol_version": legacy.PROTOCOL, "little_endian": sys.byteorder == "little"},
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for value in (legacy.MAGIC, legacy.PROTOCOL, machine):
        pickle.dump(value, buffer, protocol)
    pickler = _Pickler(buffer, protocol, (None,))
    pickler.dump(obj)
    pickle.dump(list(pickler.storages), buffer, protocol)

    def write(stream: Any) -> None:
        stream.write(buffer.getvalue())
        for key, data in pickler.storages.items():
            stream.write(pickler.counts[key].to_bytes(8, "little", signed=True))
            stream.write(data.tobytes())

    if isinstance(f, (str, os.PathLike)):
        with _created(f) as stream:
            write(stream)
    else:
        write(f)


def _folder(name: str) -> str:
    """A top folder's name that every reader accepts."""
    plain = "".join(c for c in name if c.isalnum() or c in "._- ").strip(". ")
    return plain or "archive"
