"""Annotations that say a tensor's sizes: ``x: TensorType((1, 2, Dyn))``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Dyn", "TensorType", "is_consistent", "is_more_precise"]


class _DynType:
    """The type of `Dyn`."""

    def __init__(self) -> None:
        self.__name__ = "_DynType"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _DynType)

    def __hash__(self) -> int:
        return hash(_DynType)

    def __repr__(self) -> str:
        return "Dyn"


Dyn = _DynType()  # a size, or a whole tensor, of which nothing is known


class TensorType:
    """A tensor with these sizes; `Dyn` for one that is not known.

    >>> TensorType((1, 2)) == TensorType([1, 2]), TensorType[1, Dyn]
    (True, TensorType[(1, Dyn)])
    """

    def __init__(self, dim: Sequence[Any]) -> None:
        self.__origin__ = TensorType
        self.__args__ = dim

    @property
    def dims(self) -> Sequence[Any]:
        """The sizes."""
        return self.__args__

    def __repr__(self) -> str:
        return f"TensorType[{self.dims}]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorType) and list(self.dims) == list(other.dims)

    def __hash__(self) -> int:
        return hash(tuple(self.dims))

    def __class_getitem__(cls, args: Any) -> TensorType:
        return TensorType(args if isinstance(args, tuple) else (args,))


def _pairs(a: Any, b: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(a, TensorType) and isinstance(b, TensorType) and len(a.dims) == len(b.dims):
        return list(zip(a.dims, b.dims))
    return None


def is_consistent(t1: Any, t2: Any) -> bool:
    """Whether a value could be of both types: they agree wherever neither is `Dyn`."""
    if t1 == t2 or isinstance(t1, _DynType) or isinstance(t2, _DynType):
        return True
    pairs = _pairs(t1, t2)
    return pairs is not None and all(is_consistent(a, b) for a, b in pairs)


def is_more_precise(t1: Any, t2: Any) -> bool:
    """Whether `t1` says all that `t2` says."""
    if t1 == t2 or isinstance(t2, _DynType):
        return True
    pairs = _pairs(t1, t2)
    return pairs is not None and all(is_more_precise(a, b) for a, b in pairs)
