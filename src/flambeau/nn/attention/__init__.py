"""Choosing how attention is computed: `flambeau.nn.attention`.  Here every way gives the same numbers."""

from __future__ import annotations

import contextlib
import enum
import importlib
from collections.abc import Iterator
from typing import Any

from ...runtime.absent import names_of as _names_of

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.IntEnum):
    """Ways to compute `scaled_dot_product_attention`."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[dict[str, Any]]:
    """Allow only these ways in a ``with`` block; checked, and without effect on the result.

    Raises: AssertionError for anything but an `SDPBackend` or a list of them.
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    if isinstance(backends, list) and not all(isinstance(b, SDPBackend) for b in backends):
        raise AssertionError(f"sdpa_kernel: every backend must be an SDPBackend, got {backends}")
    yield {}


_absent = _names_of(__name__)


def __getattr__(name: str) -> Any:
    if name == "bias":  # loads when first asked for
        return importlib.import_module(f"{__name__}.bias")
    return _absent(name)
