"""Tracing tensors: absent, which programs that ask are told."""

from __future__ import annotations

from typing import Any, NoReturn

from ...runtime.absent import WHERE
from ...runtime.absent import names_of as _names_of

__all__ = ["get_proxy_mode", "make_fx"]


def get_proxy_mode() -> None:
    """None: nothing is traced."""


def make_fx(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError."""
    raise RuntimeError(f"torch.fx.experimental.proxy_tensor.make_fx is absent ({WHERE})")


__getattr__ = _names_of(__name__)
