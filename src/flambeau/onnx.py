"""ONNX files are not written here; the name exists for programs that write one only when asked: `flambeau.onnx`."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import Any

from .runtime.absent import WHERE as _WHERE
from .runtime.absent import no_such_name as _no_such_name

__all__ = ["export", "is_in_onnx_export", "register_custom_op_symbolic"]


def export(*args: Any, **kwargs: Any) -> Any:
    """Raises: NotImplementedError."""
    raise NotImplementedError(
        f"torch.onnx.export: flambeau writes no ONNX files; torch.save writes parameters ({_WHERE})"
    )


def is_in_onnx_export() -> bool:
    """False."""
    return False


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int, *_: Any) -> None:
    """Accepted without effect: nothing is exported."""


def __getattr__(name: str) -> Any:
    if name.startswith("symbolic_"):  # a module: `from torch.onnx import symbolic_opset11`
        return _import_module("flambeau.stand_in.onnx_symbols")
    raise _no_such_name(__name__, name)
