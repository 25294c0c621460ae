"""Counting floating point operations: absent, but for what programs ask before anything was counted."""

from __future__ import annotations

from typing import Any

from ..runtime.absent import WHERE
from ..runtime.absent import names_of as _names_of

__all__ = ["FlopCounterMode"]


class FlopCounterMode:
    """A block in which operations are counted.

    Raises: RuntimeError when entered, as nothing counts them.
    """

    def __init__(
        self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: Any = None
    ) -> None:
        self.depth, self.display = depth, display

    def __enter__(self) -> FlopCounterMode:
        raise RuntimeError(f"torch.utils.flop_counter.FlopCounterMode is absent ({WHERE})")

    def __exit__(self, *error: object) -> None:
        """Nothing to undo."""

    def get_total_flops(self) -> int:
        """0: nothing was counted."""
        return 0

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """Nothing was counted."""
        return {}


__getattr__ = _names_of(__name__)
