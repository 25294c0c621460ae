"""Sparse tensor types of PyTorch's early days: ``torch.sparse.FloatTensor(indices, values, size)``."""

from __future__ import annotations

from typing import Any

from ..core.tensor import Tensor
from ..runtime import dtypes
from ..runtime.types import Size
from ..tensor.typed import NAMES
from .construction import sparse_coo_tensor
from .tensors import CooTensor

__all__ = [
    "BFloat16Tensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
]


class SparseType(type):
    """Calls make COO tensors of the dtype; instances are all COO tensors of it."""

    dtype: dtypes.dtype

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        if args and isinstance(args[0], Tensor):
            return sparse_coo_tensor(*args)  # of the dtype of the values, as in PyTorch
        sizes = args[0] if len(args) == 1 and isinstance(args[0], (Size, tuple, list)) else args
        return sparse_coo_tensor(tuple(sizes) if sizes else (0,), dtype=cls.dtype)

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, CooTensor) and x.dtype is cls.dtype

    def __repr__(cls) -> str:
        return f"<class 'torch.sparse.{cls.__name__}'>"


def _define(name: str) -> SparseType:
    d = next(dtypes.BY_NAME[n] for n, typed in NAMES.items() if typed == name)
    doc = f"COO tensors of dtype {d}; new code says ``sparse_coo_tensor(..., dtype={d})``."
    return SparseType(name, (), {"dtype": d, "__doc__": doc})


BFloat16Tensor = _define("BFloat16Tensor")
ByteTensor = _define("ByteTensor")
CharTensor = _define("CharTensor")
DoubleTensor = _define("DoubleTensor")
FloatTensor = _define("FloatTensor")
HalfTensor = _define("HalfTensor")
IntTensor = _define("IntTensor")
LongTensor = _define("LongTensor")
ShortTensor = _define("ShortTensor")
