"""Storages of one dtype from PyTorch's early days: ``FloatStorage(3)``, ``isinstance(x.storage(), LongStorage)``."""

from __future__ import annotations

from typing import Any

from ..runtime import dtypes
from .storage import TypedStorage

NAMES = {
    **{"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long"},
    **{"int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"},
    **{"complex64": "ComplexFloat", "complex128": "ComplexDouble"},
}
__all__ = [f"{name}Storage" for name in NAMES.values()]  # noqa: PLE0605


class StorageType(type):
    """Calls make a `TypedStorage` of the dtype; instances are all storages of it."""

    dtype: dtypes.dtype

    def __call__(cls, *args: Any) -> TypedStorage:
        return TypedStorage(*args, dtype=cls.dtype)

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, TypedStorage) and x.dtype is cls.dtype

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


for _dtype, _name in NAMES.items():
    _d = dtypes.BY_NAME[_dtype]
    globals()[f"{_name}Storage"] = StorageType(
        f"{_name}Storage",
        (),
        {"dtype": _d, "__doc__": f"Storages of {_d}; new code says `UntypedStorage`."},
    )
