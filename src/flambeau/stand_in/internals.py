"""The few names of ``torch._C`` that programs use."""

from __future__ import annotations

from ..core.tensor import Tensor
from ..ops.random import Generator
from ..overrides import DisableTorchFunction, DisableTorchFunctionSubclass
from ..runtime.absent import names_of
from ..runtime.dtypes import dtype
from ..runtime.types import Size, device, layout, memory_format
from ..tensor.methods import disabled_torch_function

__all__ = [
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "Generator",
    "Size",
    "device",
    "dtype",
    "layout",
    "memory_format",
]

TensorBase = _TensorBase = Tensor
_disabled_torch_function_impl = disabled_torch_function


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _get_tracing_state() -> None:
    """None: Python runs everything."""


__getattr__ = names_of(__name__)
