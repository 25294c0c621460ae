"""Marks for NVIDIA's profiler: there is no CUDA, so each raises, as in PyTorch's builds for the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]


def _none() -> NoReturn:
    raise RuntimeError("NVTX functions not installed. Are you sure you have a CUDA build?")


def range_push(msg: str) -> int:
    """Raises RuntimeError."""
    _none()


def range_pop() -> int:
    """Raises RuntimeError."""
    _none()


def range_start(msg: str) -> int:
    """Raises RuntimeError."""
    _none()


def range_end(range_id: int) -> None:
    """Raises RuntimeError."""
    _none()


def mark(msg: str) -> None:
    """Raises RuntimeError."""
    _none()


@contextlib.contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """Raises RuntimeError."""
    range_push(msg.format(*args, **kwargs))
    yield
