"""What generated code may read of Python objects, after it was checked here.

Arrays' data pointers, shapes and types are read from `PyArrayObject` in place: the layout is part of NumPy's
binary interface, which extension modules compile in.  It is tested all the same, on live arrays, and if
anything is not as expected (another interpreter, a debug or free-threaded build) `usable` is False and calls
go through `ctypes`.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from functools import cache, lru_cache
from typing import Any

import numpy as np

__all__ = ["ARRAY_DATA", "ARRAY_DESCR", "ARRAY_DIMS", "ARRAY_FLAGS", "ARRAY_NDIM", "OBJECT_TYPE"]
__all__ += ["ALIGNED", "C_CONTIGUOUS", "WRITEABLE", "libm_address", "make_function", "symbols", "usable"]

OBJECT_TYPE = 8
ARRAY_DATA, ARRAY_NDIM, ARRAY_DIMS, ARRAY_STRIDES, ARRAY_DESCR, ARRAY_FLAGS = 16, 24, 32, 40, 56, 64
C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400
METH_FASTCALL = 0x80

_API = (
    *(
        "PyTuple_GetItem",
        "PyTuple_Size",
        "PySequence_Tuple",
        "PyFloat_AsDouble",
        "PyErr_Occurred",
        "Py_DecRef",
    ),
    *(
        "PyLong_AsLongLong",
        "PyObject_VectorcallDict",
        "PyEval_SaveThread",
        "PyEval_RestoreThread",
        "Py_IncRef",
    ),
    *("PyMem_RawMalloc", "PyMem_RawFree", "PyErr_NoMemory"),
)


@lru_cache(maxsize=1)
def usable() -> bool:
    """Whether the layout of arrays is the expected one."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8 or object.__basicsize__ != 16 or np.ndarray.__basicsize__ < 72:
        return False
    if any(not hasattr(ctypes.pythonapi, name) for name in _API):
        return False
    return all(_as_expected(a) for a in _samples())


def _samples() -> list[np.ndarray[Any, Any]]:
    base = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    frozen = np.zeros(3, np.int64)
    frozen.flags.writeable = False
    return [base, base[1:, ::2], base.T, frozen, np.zeros((), np.float64), np.zeros((0, 7), np.bool_)]


def _as_expected(a: np.ndarray[Any, Any]) -> bool:
    def word(offset: int) -> int:
        return int(ctypes.c_uint64.from_address(id(a) + offset).value)

    flags = ctypes.c_int32.from_address(id(a) + ARRAY_FLAGS).value
    if word(OBJECT_TYPE) != id(np.ndarray) or word(ARRAY_DATA) != a.ctypes.data:
        return False
    if ctypes.c_int32.from_address(id(a) + ARRAY_NDIM).value != a.ndim or word(ARRAY_DESCR) != id(a.dtype):
        return False
    if (bool(flags & C_CONTIGUOUS), bool(flags & ALIGNED), bool(flags & WRITEABLE)) != (
        a.flags.c_contiguous,
        a.flags.aligned,
        a.flags.writeable,
    ):
        return False
    for offset, expected in ((ARRAY_DIMS, a.shape), (ARRAY_STRIDES, a.strides)):
        if a.ndim and tuple((ctypes.c_int64 * a.ndim).from_address(word(offset))) != expected:
            return False
    return True


def symbols() -> dict[str, int]:
    """Addresses of the CPython functions and types that launchers use."""
    found = {name: _address(getattr(ctypes.pythonapi, name)) for name in _API}
    return found | {
        "type.ndarray": id(np.ndarray),
        "type.list": id(list),
        "type.tuple": id(tuple),
        "none": id(None),
    }


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    if address is None:
        raise RuntimeError(f"{function} has no address")
    return address


class _MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_definitions: dict[tuple[str, int], _MethodDef] = {}  # functions refer to them: they are never freed


def make_function(name: str, address: int, owner: object) -> Any:
    """A built-in function: ``PyObject *f(PyObject *owner, PyObject *const *args, Py_ssize_t n)``."""
    definition = _definitions.get((name, address))
    if definition is None:
        definition = _MethodDef(name.encode(), address, METH_FASTCALL, None)
        _definitions[name, address] = definition
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return new(ctypes.addressof(definition), owner, None)


@cache
def libm_address(name: str) -> int:
    """The address of a function of the C library's mathematics."""
    if sys.platform == "win32":
        return _address(getattr(ctypes.CDLL("ucrtbase"), name))
    try:
        return _address(getattr(ctypes.CDLL(None), name))
    except AttributeError:  # an interpreter that does not link it itself
        from ctypes.util import find_library

        return _address(getattr(ctypes.CDLL(find_library("m")), name))
