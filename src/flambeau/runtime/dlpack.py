"""DLPack: arrays to and from other libraries without a copy (https://dmlc.github.io/dlpack).

NumPy makes and reads the capsules, with their lifetimes.  What it leaves out is added here: the 16-bit and 8-bit
floating types that are not NumPy's own, and memory from producers that cannot say whether it may be written.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["from_dlpack", "to_dlpack"]

# Type codes of the floating types that NumPy does not exchange, and the integers of the same width.
_CODES: dict[Any, int] = {
    np.dtype(ml_dtypes.bfloat16): 4,
    np.dtype(ml_dtypes.float8_e4m3fn): 10,
    np.dtype(ml_dtypes.float8_e4m3fnuz): 11,
    np.dtype(ml_dtypes.float8_e5m2): 12,
    np.dtype(ml_dtypes.float8_e5m2fnuz): 13,
}
_OF_CODE = {(code, d.itemsize * 8): d for d, code in _CODES.items()}
_UNSIGNED = 1
CPU_DEVICE = (1, 0)


class _Array(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned; the older DLManagedTensor begins with the DLTensor."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("array", _Array),
    )


def _capsule_name(capsule: Any) -> str:
    get = ctypes.pythonapi.PyCapsule_GetName
    get.restype, get.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return (get(capsule) or b"").decode()


def _content(capsule: Any) -> tuple[_Array, bool]:
    """The DLTensor in a capsule, and whether the capsule has a version.

    Raises: RuntimeError for a capsule that was consumed before, or is of another kind.
    """
    name = _capsule_name(capsule)
    if name not in ("dltensor", "dltensor_versioned"):
        raise RuntimeError(
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, "
            f"so you might have already constructed a tensor from it once (its name is {name!r})."
        )
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get(capsule, name.encode())
    if name == "dltensor":
        return _Array.from_address(address), False
    managed = _Versioned.from_address(address)
    if managed.major > 1:
        raise BufferError(f"DLPack {managed.major}.{managed.minor} is newer than the version read here, 1.x")
    return managed.array, True


def to_dlpack(array: Any, *, max_version: Any = None, dl_device: Any = None, copy: bool | None = None) -> Any:
    """A capsule over an array, with a version if the consumer knows of versions.

    Raises: BufferError for another device, and for read-only memory when the consumer could not be told.
    """
    if dl_device is not None and tuple(map(int, dl_device)) != CPU_DEVICE:
        raise BufferError(
            f"the tensor is on the CPU: DLPack device {tuple(dl_device)} cannot have it without a transfer"
        )
    versioned = max_version is not None and max_version[0] >= 1
    code = _CODES.get(array.dtype)
    if copy:
        array = array.copy()
    elif not array.flags.writeable and 0 in array.strides:
        array = _writable(array)  # broadcasting made it read-only, not the owner of the memory
    if code is not None:
        array = array.view(np.dtype(f"u{array.dtype.itemsize}"))
    capsule = array.__dlpack__(max_version=(1, 0) if versioned else None)
    if code is not None:
        _content(capsule)[0].code = code
    return capsule


class _Producer:
    """What `numpy.from_dlpack` asks for, over a capsule that was already made."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU_DEVICE


class _Memory:
    """The memory of an array, writable."""

    def __init__(self, array: Any) -> None:
        self.owner = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def _writable(array: Any) -> Any:
    bits = array.dtype.newbyteorder("=")
    if array.dtype in _CODES:  # the interface has no name for it
        return np.asarray(_Memory(array.view(np.dtype(f"u{array.dtype.itemsize}")))).view(bits)
    return np.asarray(_Memory(array))


def _capsule(source: Any, copy: bool | None) -> tuple[Any, bool]:
    """A capsule from a producer of any age, and whether it saw to `copy`."""
    attempts: tuple[dict[str, Any], ...] = (
        {"max_version": (1, 0), "copy": copy},
        {"max_version": (1, 0)},
        {},
    )
    if copy is None:
        attempts = attempts[1:]
    for options in attempts[:-1]:
        try:
            return source.__dlpack__(**options), "copy" in options
        except TypeError:
            continue
    return source.__dlpack__(), False


def from_dlpack(source: Any, copy: bool | None = None) -> Any:
    """An array over the memory of an object with ``__dlpack__``, or of a capsule.

    Memory that its producer marks read-only stays so.

    Raises: BufferError for memory that is not the CPU's, or types without a dtype here; RuntimeError for a capsule
    that was consumed before; TypeError for other objects.
    """
    copied = False
    if hasattr(source, "__dlpack__"):
        device = tuple(map(int, source.__dlpack_device__()))
        # Pinned and managed memory of CUDA (3, 13) can be read on the CPU as well.
        if device[0] not in (1, 3, 13):
            raise BufferError(f"the memory of the {type(source).__name__} is on DLPack device {device}; copy it to the CPU first")  # fmt: skip
        capsule, copied = _capsule(source, copy)
    else:
        if type(source).__name__ != "PyCapsule":
            raise TypeError(
                f"from_dlpack needs an object with __dlpack__, or a capsule, not {type(source).__name__}"
            )
        capsule = source
    content, versioned = _content(capsule)
    if content.lanes != 1:
        raise BufferError(f"DLPack vectors of {content.lanes} lanes are not tensors")
    special = _OF_CODE.get((content.code, content.bits))
    if special is not None:
        content.code = _UNSIGNED
    try:
        array = np.from_dlpack(_Producer(capsule))
    except RuntimeError as e:
        raise BufferError(
            f"{e} (DLPack type code {content.code}, {content.bits} bits, {content.ndim} dimensions)"
        ) from None
    if special is not None:
        array = array.view(special)
    if not versioned and not array.flags.writeable:
        array = _writable(array)
    return array.copy() if copy and not copied else array
