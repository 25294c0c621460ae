"""``torch.sym_max`` and the like: for the sizes of traced programs in PyTorch, for numbers here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = [
    "SymBool",
    "SymFloat",
    "SymInt",
    "sym_float",
    "sym_int",
    "sym_ite",
    "sym_max",
    "sym_min",
    "sym_not",
    "sym_sqrt",
    "sym_sum",
]


class SymInt:
    """A size that is not known yet, in PyTorch's traced programs.  There are none here: nothing is an instance."""

    def __init__(self, node: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__}: sizes are numbers here, there is nothing to trace symbols with"
        )


class SymFloat(SymInt):
    """A number that is not known yet: nothing is an instance."""


class SymBool(SymInt):
    """A condition that is not known yet: nothing is an instance."""


def sym_float(a: Any) -> float:
    """``float(a)``."""
    return float(a)


def sym_int(a: Any) -> int:
    """``int(a)``: the part before the decimal point."""
    return int(a)


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """``t if b else f``."""
    return t if b else f


def _either(a: Any, b: Any, first: bool) -> Any:
    """One of two numbers: of two kinds the result is a float, whichever was chosen."""
    chosen = a if first else b
    return float(chosen) if isinstance(a, float) or isinstance(b, float) else chosen


def sym_max(a: Any, b: Any) -> Any:
    """The larger of two numbers; a float if one of them is.

    >>> import flambeau as torch
    >>> torch.sym_max(3, 2.0)
    3.0
    """
    return _either(a, b, a >= b)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a float if one of them is."""
    return _either(a, b, a <= b)


def sym_not(a: Any) -> bool:
    """``not a``."""
    return not a


def sym_sqrt(a: Any) -> float:
    """``math.sqrt(a)``."""
    return math.sqrt(a)


def sym_sum(args: Iterable[Any]) -> Any:
    """``sum(args)``."""
    return sum(args)
