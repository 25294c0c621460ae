"""Storages: the memory under tensors as bytes (`UntypedStorage`) or as elements (`TypedStorage`)."""

from __future__ import annotations

import importlib
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.interpreters import Value
from ..core.meta import is_meta
from ..core.tensor import Tensor, mark_written, wrap
from ..ops.args import dtype_of
from ..runtime import dtypes, memory, types
from ..runtime.dlpack import to_dlpack

__all__ = ["TypedStorage", "UntypedStorage"]


class _Bytes:
    """All bytes between the first and the last element of an array, through NumPy's array interface."""

    def __init__(self, owner: Any) -> None:
        low, high = np.lib.array_utils.byte_bounds(owner)
        self.owner = owner
        self.__array_interface__ = {
            **{"version": 3, "typestr": "|u1", "shape": (high - low,)},
            "data": (low, not owner.flags.writeable),
        }


def _memory_of(x: Tensor) -> Any:
    if is_meta(x):  # as many bytes as there would be, all of them the same one
        whole = x._a if x._base is None else x._base._a
        n = (
            0
            if 0 in whole.shape
            else sum([(n - 1) * s for n, s in zip(whole.shape, whole.strides)]) + whole.dtype.itemsize
        )
        return np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (n,), (0,), writeable=False)
    a: Any = memory.root(raw(x))
    return np.asarray(_Bytes(a)) if a.size else np.empty(0, np.uint8)


class UntypedStorage:
    """The bytes under a tensor, shared by all its views.

    >>> import flambeau as torch
    >>> x = torch.zeros(4)
    >>> x[1:].untyped_storage().nbytes()
    16
    """

    is_cuda = is_sparse = is_sparse_csr = is_hpu = False
    device = types.CPU
    filename: Any = None

    def __init__(self, data: Any = 0) -> None:
        self._tensor_of: Tensor | None = None
        if isinstance(data, np.ndarray):
            self._bytes = data
        elif isinstance(data, int):
            self._bytes = np.empty(data, np.uint8)
        else:
            self._bytes = np.array(list(data), np.uint8)

    @classmethod
    def of(cls, x: Tensor) -> UntypedStorage:
        """The storage of a tensor.

        Raises: NotImplementedError inside a transform, where tensors have no memory of their own.
        """
        if isinstance(x._a, Value):
            raise NotImplementedError(
                f"Cannot access storage of a tensor inside {x._a.interp}: it has none of its own"
            )
        found = cls(_memory_of(x))
        found._tensor_of = x
        if is_meta(x):
            found.device = x.device
        return found

    @classmethod
    def from_file(
        cls, filename: str | os.PathLike[str], shared: bool = False, nbytes: int = 0
    ) -> UntypedStorage:
        """The first `nbytes` bytes of a file, mapped: read when they are used.

        What is written stays in memory, or with `shared` goes to the file, which is made or lengthened if need be.

        Raises: OSError; RuntimeError when the file is shorter than `nbytes`; ValueError when `nbytes` is negative.
        """
        if nbytes < 0:
            raise ValueError(f"from_file: nbytes must not be negative, got {nbytes}")
        with open(os.open(filename, os.O_RDWR | os.O_CREAT, 0o600) if shared else filename, "r+b" if shared else "rb") as f:  # fmt: skip
            size = os.fstat(f.fileno()).st_size
            if size < nbytes:
                if not shared:
                    raise RuntimeError(
                        f"from_file: {os.fspath(filename)!r} has {size} bytes, fewer than {nbytes}"
                    )
                os.ftruncate(f.fileno(), nbytes)
            if not nbytes:
                return cls(0)
            mapped = mmap.mmap(f.fileno(), nbytes, access=mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY)
        found = cls(np.frombuffer(mapped, np.uint8))
        found.filename = os.fspath(filename)
        return found

    def __dlpack__(self, **options: Any) -> Any:
        """The bytes for ``asarray`` and ``from_dlpack`` (not in PyTorch, whose asarray knows storages)."""
        options.pop("stream", None)
        return to_dlpack(self._bytes, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def array(self) -> Any:
        """The bytes as a NumPy array that shares the memory (not in PyTorch)."""
        return self._bytes

    def nbytes(self) -> int:
        """The number of bytes."""
        return int(self._bytes.size)

    size = nbytes

    def __len__(self) -> int:
        return self.nbytes()

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self.nbytes()

    def data_ptr(self) -> int:
        """The address of the first byte (0 when empty)."""
        if self.device.type == "meta":
            return 0
        return int(self._bytes.__array_interface__["data"][0]) if self._bytes.size else 0

    def element_size(self) -> int:
        """1."""
        return 1

    def untyped(self) -> UntypedStorage:
        """Itself."""
        return self

    def resizable(self) -> bool:
        """False: the memory belongs to NumPy."""
        return False

    def resize_(self, size: int) -> UntypedStorage:
        """Accepts the present size only.

        Raises: RuntimeError for another: NumPy's memory cannot grow or shrink under the tensors that use it.
        """
        if size != self.nbytes():
            raise RuntimeError(
                f"Trying to resize storage that is not resizable: from {self.nbytes()} to {size} bytes. Use Tensor.resize_, or make a "
                "new tensor"
            )
        return self

    def _written(self) -> None:
        if self._tensor_of is not None:
            mark_written(self._tensor_of, "storage")

    def copy_(self, source: UntypedStorage, non_blocking: bool = False) -> UntypedStorage:
        """Copy the bytes of a storage of the same size.

        Raises: RuntimeError when sizes differ.
        """
        if len(source) != len(self):
            raise RuntimeError(f"size mismatch: {len(self)} and {len(source)} bytes")
        self._bytes[...] = source._bytes
        self._written()
        return self

    def fill_(self, value: int) -> UntypedStorage:
        """Set every byte."""
        self._bytes[...] = value
        self._written()
        return self

    def clone(self) -> UntypedStorage:
        """A copy."""
        return UntypedStorage(self._bytes.copy())

    def tolist(self) -> list[int]:
        """The bytes as integers."""
        return self._bytes.tolist()  # type: ignore[no-any-return]

    def cpu(self) -> UntypedStorage:
        """Itself."""
        return self

    def is_pinned(self, device: Any = "cuda") -> bool:
        """False."""
        return False

    def get_device(self) -> int:
        """-1: the CPU."""
        return -1

    def _tensor(self, dtype: Any) -> Tensor:
        """A tensor of all the bytes, as elements of a NumPy dtype."""
        whole = self._bytes.size // dtype.itemsize * dtype.itemsize
        return wrap(self._bytes[:whole].view(dtype))

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return UntypedStorage(self._bytes[i])
        return int(self._bytes[i])

    def __setitem__(self, i: Any, value: Any) -> None:
        self._bytes[i] = value
        self._written()

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and (self.data_ptr(), len(self)) == (
            other.data_ptr(),
            len(other),
        )

    def __hash__(self) -> int:
        return hash((self.data_ptr(), len(self)))

    def __repr__(self) -> str:
        rows = "..." if self.device.type == "meta" else "\n".join(f" {v}" for v in self.tolist())
        return f"{rows}\n[torch.storage.UntypedStorage(device={self.device}) of size {len(self)}]"


class TypedStorage:
    """The elements of a storage as one vector of a dtype (PyTorch keeps it for old code; new code says `UntypedStorage`)."""

    is_cuda = is_sparse = False
    device = types.CPU
    dtype: dtypes.dtype = dtypes.float32

    def __init__(
        self,
        *args: Any,
        wrap_storage: UntypedStorage | None = None,
        dtype: Any = None,
        device: Any = None,
        _internal: bool = False,
    ) -> None:
        if dtype is not None:
            self.dtype = dtype
        if device is not None:
            self.device = types.device(device)
        if wrap_storage is not None:
            self._untyped = wrap_storage
        elif args and not isinstance(args[0], int):
            self._untyped = UntypedStorage(np.array(list(args[0]), self.dtype.numpy).view(np.uint8))
        else:
            self._untyped = UntypedStorage((args[0] if args else 0) * self.dtype.itemsize)

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return self._untyped

    @property
    def _untyped_storage(self) -> UntypedStorage:
        """`untyped`, as libraries reach it."""
        return self._untyped

    def _typed_storage(self) -> TypedStorage:
        """Itself: what libraries ask of storages of either kind."""
        return self

    def _array(self) -> Any:
        return self._untyped._tensor(self.dtype.numpy)._a

    def _tensor(self, dtype: Any) -> Tensor:
        if dtype != self.dtype.numpy:
            raise RuntimeError(
                f"Could not set a tensor of dtype {dtypes.OF_NUMPY[dtype]} to a storage of {self.dtype}"
            )
        return self._untyped._tensor(dtype)

    def size(self) -> int:
        """The number of elements."""
        return len(self)

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self.nbytes()

    def __len__(self) -> int:
        return len(self._untyped) // self.dtype.itemsize  # type: ignore[no-any-return]

    def nbytes(self) -> int:
        """The number of bytes."""
        return len(self._untyped)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._untyped.data_ptr()

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize  # type: ignore[no-any-return]

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        a = self._array()
        return (a.astype(np.float32) if a.dtype.kind == "V" else a).tolist()  # type: ignore[no-any-return]

    def clone(self) -> TypedStorage:
        """A copy."""
        return TypedStorage(wrap_storage=self._untyped.clone(), dtype=self.dtype)

    def copy_(self, source: TypedStorage, non_blocking: bool = False) -> TypedStorage:
        """Copy the elements of a storage of the same length, converted."""
        if len(source) != len(self):
            raise RuntimeError(f"size mismatch: {len(self)} and {len(source)} elements")
        self._array()[...] = source._array().astype(self.dtype.numpy)
        self._untyped._written()
        return self

    def fill_(self, value: Any) -> TypedStorage:
        """Set every element."""
        self._array()[...] = value
        self._untyped._written()
        return self

    def resize_(self, size: int) -> TypedStorage:
        """Accepts the present size only (in elements); see `UntypedStorage.resize_`."""
        self._untyped.resize_(size * self.dtype.itemsize)
        return self

    def cpu(self) -> TypedStorage:
        """Itself."""
        return self

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        v = self._array()[i]
        return float(v) if self.dtype.numpy.kind == "V" else v.item()

    def __setitem__(self, i: Any, value: Any) -> None:
        self._array()[i] = value
        self._untyped._written()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __repr__(self) -> str:
        rows = "\n".join(f" {v}" for v in self.tolist())
        return f"{rows}\n[torch.storage.TypedStorage(dtype={self.dtype}, device=cpu) of size {len(self)}]"


def _load_from_bytes(data: bytes) -> Any:
    """What pickles of PyTorch's tensors call for their memory."""
    return importlib.import_module("flambeau.serialization.plain").load_from_bytes(data)


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The bytes under this tensor and its views."""
    return UntypedStorage.of(self)


def storage(self: Tensor) -> TypedStorage:
    """The elements under this tensor and its views."""
    return TypedStorage(wrap_storage=UntypedStorage.of(self), dtype=dtype_of(self))
