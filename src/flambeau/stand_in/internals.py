"""The few names of ``torch._C`` that programs use."""

from __future__ import annotations

import enum
import importlib

from ..core.tensor import Tensor
from ..ops.random import Generator
from ..overrides import DisableTorchFunction, DisableTorchFunctionSubclass
from ..prims.linalg import LinAlgError
from ..runtime.absent import WHERE, no_such_name
from ..runtime.dtypes import dtype
from ..runtime.types import Size, device, layout, memory_format
from ..tensor.protocol import disabled_torch_function

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
_TensorMeta = type(Tensor)
_disabled_torch_function_impl = disabled_torch_function
_LinAlgError = LinAlgError


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _get_tracing_state() -> None:
    """None: Python runs everything."""


def _get_default_device() -> str:
    """The name of `torch.get_default_device()`."""
    from ..settings import get_default_device

    return str(get_default_device())


class Value:
    """A value in a graph of TorchScript.  Nothing is an instance: libraries name it in annotations.

    Raises: RuntimeError when constructed.
    """

    def __init__(self) -> None:
        raise RuntimeError(f"torch._C.Value is absent: there is no TorchScript ({WHERE})")


class DispatchKey(enum.Enum):
    """Names of PyTorch's dispatcher, for programs that make sets of them."""

    CPU = enum.auto()
    CUDA = enum.auto()
    AutocastCPU = enum.auto()
    AutocastCUDA = enum.auto()
    AutocastXPU = enum.auto()


class DispatchKeySet(frozenset[DispatchKey]):
    """A set of keys, from one of them; ``|`` joins."""

    def __new__(cls, key: DispatchKey) -> DispatchKeySet:
        return super().__new__(cls, (key,))


class _Namespace:
    """``torch._C._linalg`` and its like: the functions of a namespace, with its name before theirs."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> object:
        before, _, own = name.partition("_")
        if before == self._module:
            found: object = getattr(importlib.import_module(f"flambeau.{self._module}"), own, None)
            if found is not None:
                return found
        raise no_such_name(f"torch._C._{self._module}", name)


_linalg, _fft, _special = _Namespace("linalg"), _Namespace("fft"), _Namespace("special")


def __getattr__(name: str) -> object:
    if name == "_nn":  # when it is asked for: it loads `nn`
        return importlib.import_module("flambeau.stand_in.nn_functions")
    raise no_such_name(__name__, name)
