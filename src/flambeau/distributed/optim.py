"""Optimizers for several processes; `ZeroRedundancyOptimizer` is at home in `flambeau.optim`, above this package."""

from __future__ import annotations

import importlib
from typing import Any

from ..runtime.absent import no_such_name

__all__ = ["ZeroRedundancyOptimizer"]  # noqa: F822  # found when first asked for


def __getattr__(name: str) -> Any:
    if name == "ZeroRedundancyOptimizer":
        found = importlib.import_module("flambeau.optim.zero_redundancy").ZeroRedundancyOptimizer
        globals()[name] = found
        return found
    raise no_such_name(__name__, name)
