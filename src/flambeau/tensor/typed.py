"""Tensor types of one dtype from PyTorch's early days: ``FloatTensor(2, 3)``, ``LongTensor([1, 2])``, ``isinstance(x, DoubleTensor)``."""

from __future__ import annotations

from typing import Any

from ..core.tensor import Tensor, constructors
from ..runtime import dtypes
from ..runtime.types import strided

NAMES = {
    **{
        "float32": "FloatTensor",
        "float64": "DoubleTensor",
        "float16": "HalfTensor",
        "bfloat16": "BFloat16Tensor",
    },
    **{"int64": "LongTensor", "int32": "IntTensor", "int16": "ShortTensor", "int8": "CharTensor"},
    **{"uint8": "ByteTensor", "bool": "BoolTensor"},
}
__all__ = list(NAMES.values())  # noqa: PLE0605


class TensorType(type):
    """Calls make plain tensors of the dtype; instances are all tensors of it."""

    _legacy_dtype: dtypes.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        return constructors["legacy"](cls, *args, **kwargs)  # type: ignore[no-any-return]

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor) and x.dtype is cls._legacy_dtype and x.layout is strided

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


def _define(dtype_name: str, name: str) -> type:
    d = dtypes.BY_NAME[dtype_name]
    doc = f"Tensors of dtype {d}; new code says ``tensor(..., dtype={d})``."
    return TensorType(name, (), {"_legacy_dtype": d, "dtype": d, "__doc__": doc})


for _dtype, _name in NAMES.items():
    globals()[_name] = _define(_dtype, _name)


class DeviceTensorType(TensorType):
    """The types of tensors on a device: there are none, so that calls raise."""

    _prefix: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        raise TypeError(f"type {cls._prefix}.{cls.__name__} not available: the only device is the CPU")

    def __instancecheck__(cls, x: object) -> bool:
        return False

    def __repr__(cls) -> str:
        return f"<class '{cls._prefix}.{cls.__name__}'>"


def on_device(name: str, prefix: str) -> type:
    """The type `name` (one of `NAMES`) of tensors on a device, for ``isinstance``.

    >>> from flambeau.tensor.typed import on_device
    >>> on_device("FloatTensor", "torch.cuda")
    <class 'torch.cuda.FloatTensor'>
    """
    return DeviceTensorType(name, (), {"_prefix": prefix, "__doc__": "Nothing is an instance."})
