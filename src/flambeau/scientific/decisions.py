"""Numbers that an algorithm decides by: steps, tolerances."""

from __future__ import annotations

from ..core.eager import raw
from ..core.interpreters import Value
from ..core.tensor import Tensor

__all__ = ["largest"]


def largest(x: Tensor) -> float:
    """The largest element, as a number; under `vmap` over all examples, which so take the same decision.

    Derivatives do not see it: how many steps are taken, and how long they are, counts as given.
    """
    while isinstance(x._a, Value):
        x = x._a.inner
    return float(raw(x).max())
