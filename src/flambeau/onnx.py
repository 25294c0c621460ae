"""ONNX files are not written here; the name exists for programs that write one only when asked: `flambeau.onnx`."""

from __future__ import annotations

from typing import Any

from .runtime.absent import WHERE as _WHERE
from .runtime.absent import names_of as _names_of

__all__ = ["export", "is_in_onnx_export"]


def export(*args: Any, **kwargs: Any) -> Any:
    """Raises: NotImplementedError."""
    raise NotImplementedError(
        f"torch.onnx.export: flambeau writes no ONNX files; torch.save writes parameters ({_WHERE})"
    )


def is_in_onnx_export() -> bool:
    """False."""
    return False


__getattr__ = _names_of(__name__)
