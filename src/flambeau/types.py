"""Names for annotations: `flambeau.types`."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import Any, Union

from .core.tensor import Tensor
from .runtime.dtypes import dtype
from .runtime.types import Size, device, layout, memory_format

__all__ = ["Device", "FileLike", "IntLikeType", "Number", "Storage", "Tensor"]

Number = Union[int, float, bool]  # noqa: UP007  (isinstance and get_type_hints of Python 3.10 want the old form)
Device = Union[device, str, int, None]  # noqa: UP007
FileLike = Union[str, os.PathLike, Any]  # type: ignore[type-arg]  # noqa: UP007
IntLikeType = int
FloatLikeType = float
BoolLikeType = bool
Storage = Any

_int, _float, _bool = builtins.int, builtins.float, builtins.bool
_dtype, _device, _layout, _size = dtype, device, layout, Union[Size, list[int], tuple[int, ...]]  # noqa: UP007
_TensorOrTensors = Union[Tensor, Sequence[Tensor]]  # noqa: UP007
_memory_format = memory_format
