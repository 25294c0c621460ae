"""Optimizers that divide their state among processes: absent, but for their names in programs' type checks."""

from __future__ import annotations

from typing import Any

from ..runtime.absent import WHERE, names_of

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer:
    """An optimizer whose state several processes share.  There are no such groups: use the optimizer itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"ZeroRedundancyOptimizer is for several processes; use the optimizer itself ({WHERE})"
        )


__getattr__ = names_of(__name__)
