"""Errors of the processes that a launcher started."""

from __future__ import annotations

from ....runtime.absent import names_of as _names_of
from . import errors

__all__ = ["errors"]

__getattr__ = _names_of(__name__)
