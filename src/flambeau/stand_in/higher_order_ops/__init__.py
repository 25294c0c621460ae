"""``torch._higher_order_ops``: operations that take functions."""

from __future__ import annotations

from ...runtime.absent import names_of
from .associative_scan import associative_scan

__all__ = ["associative_scan"]

__getattr__ = names_of(__name__)
