"""Tensors spread over processes beside ordinary ones: absent, but for the names that programs import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...runtime.absent import names_of as _names_of

__all__ = ["implicit_replication"]


@contextmanager
def implicit_replication() -> Iterator[None]:
    """Does nothing: with one process every tensor is all there."""
    yield


__getattr__ = _names_of(__name__)
