"""Ways to train together that build on groups: hooks for gradients, and inputs of different lengths."""

from __future__ import annotations

from ...runtime.absent import names_of as _names_of
from .join import Join, Joinable, JoinHook

__all__ = ["Join", "JoinHook", "Joinable"]

__getattr__ = _names_of(__name__)
