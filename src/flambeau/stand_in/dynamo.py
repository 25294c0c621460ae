"""The few names of ``torch._dynamo`` that programs use; the compiler's own are in `flambeau.compiler`."""

from __future__ import annotations

from types import SimpleNamespace

from ..compiler import allow_in_graph, disable, is_compiling, reset
from ..runtime.absent import names_of

__all__ = ["allow_in_graph", "config", "disable", "is_compiling", "reset"]

config = SimpleNamespace()  # settings of PyTorch's compiler, without effect

__getattr__ = names_of(__name__)
