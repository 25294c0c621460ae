"""Tracing tensors: absent, which programs that ask are told."""

from __future__ import annotations

from ...runtime.absent import names_of as _names_of

__all__ = ["get_proxy_mode"]


def get_proxy_mode() -> None:
    """None: nothing is traced."""


__getattr__ = _names_of(__name__)
