"""Files in the safetensors format, through the `safetensors` library (an extra, imported when first used).

The format holds named tensors and text, never code: a JSON header, then the bytes
(https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..runtime import dtypes
from . import binding
from .errors import CorruptFileError
from .tensors import LoadedStorage

__all__ = ["load_safetensors", "save_safetensors"]

_DTYPES = {
    **{
        "BOOL": dtypes.bool_,
        "U8": dtypes.uint8,
        "I8": dtypes.int8,
        "I16": dtypes.int16,
        "U16": dtypes.uint16,
    },
    **{"I32": dtypes.int32, "U32": dtypes.uint32, "I64": dtypes.int64, "U64": dtypes.uint64},
    **{"F16": dtypes.float16, "BF16": dtypes.bfloat16, "F32": dtypes.float32, "F64": dtypes.float64},
    **{"C64": dtypes.complex64, "F8_E4M3": dtypes.float8_e4m3fn, "F8_E5M2": dtypes.float8_e5m2},
    **{"F8_E4M3FNUZ": dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz},
}


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError("this needs the safetensors library: pip install safetensors") from None


def save_safetensors(
    tensors: Mapping[str, Any], filename: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors; tensors that share memory are written separately, and gradients are not written.

    Raises: TypeError unless names are text and values tensors; ValueError for a dtype that the format
    lacks; ImportError without the library.
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(f"a dict from names to tensors was expected, got {type(tensors).__name__}")
    arrays = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not binding.is_tensor(tensor):
            raise TypeError(f"names must be str and values tensors, got {name!r}: {type(tensor).__name__}")
        array = binding.array_of(tensor)
        if dtypes.OF_NUMPY[array.dtype] not in _DTYPES.values():
            raise ValueError(
                f"safetensors files cannot hold dtype {dtypes.OF_NUMPY[array.dtype]} (tensor '{name}')"
            )
        # The library writes the memory as it lies, whatever the strides.
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata must be text, got {key!r}: {text!r}")
    _library("safetensors.numpy").save_file(arrays, os.fspath(filename), dict(metadata) if metadata else None)


def load_safetensors(filename: str | os.PathLike[str]) -> dict[str, Any]:
    """The tensors in a safetensors file, by name.

    Raises: FileNotFoundError; RuntimeError (`CorruptFileError`) for a damaged file; ImportError without the
    library.
    """
    library = _library("safetensors")
    file = os.fspath(filename)
    with open(file, "rb") as stream:
        raw = stream.read()
    try:
        items = library.deserialize(raw)
    except library.SafetensorError as e:
        raise CorruptFileError(str(file), None, str(e)) from None
    tensors = {}
    for name, item in items:
        dtype = _DTYPES.get(item["dtype"])
        if dtype is None:
            raise CorruptFileError(str(file), name, f"dtype {item['dtype']} is not supported")
        content = item["data"]  # a copy already, but not writable in every version of the library
        content = content if isinstance(content, bytearray) else bytearray(content)
        data = np.frombuffer(content, np.uint8) if content else np.empty(0, np.uint8)
        shape = tuple(item["shape"])
        if math.prod(shape) * dtype.itemsize != data.nbytes:
            raise CorruptFileError(
                str(file), name, f"{data.nbytes} bytes do not make shape {list(shape)} of {dtype}"
            )
        if dtype is dtypes.bool_:
            np.minimum(data, 1, out=data)
        storage = LoadedStorage(data, dtype, "cpu", binding.new_handle())
        tensors[name] = binding.rebuild(data.view(dtype.numpy).reshape(shape), storage, False)
    return tensors
