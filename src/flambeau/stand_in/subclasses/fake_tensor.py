"""Tensors without memory: there are none, which programs that ask are told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ...runtime.absent import WHERE, names_of

__all__ = ["FakeTensor", "FakeTensorMode", "is_fake", "unset_fake_temporarily"]


class FakeTensor:
    """A tensor without memory.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"{type(self).__name__}: shapes are computed together with values ({WHERE})")


class FakeTensorMode(FakeTensor):
    """A block in which tensors are made without memory."""


def is_fake(x: object) -> bool:
    """False."""
    return False


@contextlib.contextmanager
def unset_fake_temporarily() -> Iterator[None]:
    """A block in which tensors have memory: as everywhere."""
    yield


__getattr__ = names_of(__name__)
