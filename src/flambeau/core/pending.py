"""Stand-ins for arrays that a compiled function has promised and not computed yet.

A `Pending` is a tensor's payload while a function under `flambeau.compile` runs.  Its shape, dtype and strides are
known; whatever else is asked of it (its elements, its address) makes the recorder compute what was noted so far, and
is then answered by the array.  So code that knows nothing of compilation gets eager's answer, only later.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from .state import everyone

__all__ = ["NO_DATA", "Layout", "Pending", "known", "resolve", "settle"]


class Owner(Protocol):
    """What a recorder is to its pending arrays."""

    def compute(self, pending: Pending) -> None:
        """Give `pending` its value."""


class Layout:
    """The flags of an array that does not exist yet."""

    __slots__ = ("c_contiguous", "f_contiguous")
    writeable = aligned = owndata = True

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> None:
        self.c_contiguous = _dense(shape[::-1], strides[::-1], itemsize)
        self.f_contiguous = _dense(shape, strides, itemsize)

    @property
    def contiguous(self) -> bool:
        return self.c_contiguous


def _dense(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Whether dims, fastest first, lie without gaps."""
    for n, stride in zip(shape, strides):
        if n == 0:
            return True
        if n != 1:
            if stride != itemsize:
                return 0 in shape
            itemsize *= n
    return True


class NoData:
    """The owner of the promises that stand for the memory of meta tensors."""

    def compute(self, pending: Pending) -> None:
        """Raises: NotImplementedError, always."""
        raise NotImplementedError(
            "this needs the values of a tensor on the meta device, which has a shape and a dtype but no data "
            f"(shape {list(pending.shape)}, dtype {pending.dtype}). Make it with device='cpu', or give its module memory "
            "with to_empty(device='cpu') and load its values"
        )

    def __reduce__(self) -> str:
        return "NO_DATA"


NO_DATA = NoData()


@lru_cache(maxsize=1024)  # making one takes longer than noting an operation
def _stand_in(shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...]) -> Any:
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides)


class Pending:
    """An array to come.

    `owner` computes it (None once that has happened, or failed); `slot` is its number in the owner's segment;
    `is_view` says that it shares its memory with another array, `is_viewed` that another shares it.
    """

    __slots__ = ("shape", "dtype", "strides", "value", "owner", "slot", "is_view", "is_viewed")
    __array_priority__ = 1000

    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...]
    value: Any
    owner: Owner | None
    slot: int
    is_view: bool
    is_viewed: bool

    def force(self) -> Any:
        """The array, computed now if need be."""
        if self.owner is not None:
            self.owner.compute(self)
        if self.value is None:
            raise RuntimeError(
                "a tensor of a compiled function has no value: the program that was to compute it failed before"
            )
        return self.value

    def copy(self) -> Any:
        """A copy of the array; where there are no elements, none is needed."""
        return self if self.owner is NO_DATA else self.force().copy()

    def stand_in(self) -> Any:
        """An array with this layout and no memory: to be asked for strides and flags, never for elements."""
        if self.value is not None:
            return self.value
        return _stand_in(self.shape, self.dtype, self.strides)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for s in self.shape:
            n *= s
        return n

    @property
    def itemsize(self) -> int:
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        return self.size * int(self.dtype.itemsize)

    @property
    def flags(self) -> Any:
        return self.value.flags if self.value is not None else Layout(self.shape, self.strides, self.itemsize)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        a = self.force()
        if dtype is not None and a.dtype != dtype:
            return a.astype(dtype)
        return a.copy() if copy else a

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocols that an array of numbers does not have
            raise AttributeError(name)
        return getattr(self.force(), name)

    def __len__(self) -> int:
        return len(self.force())

    def __bool__(self) -> bool:
        return bool(self.force())

    __hash__ = object.__hash__


def _forward(name: str) -> Any:
    def method(self: Pending, *args: Any) -> Any:
        return getattr(self.force(), name)(*[a.force() if type(a) is Pending else a for a in args])

    method.__name__ = name
    return method


for _name in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul and rand or ror "
    "xor rxor neg pos abs invert lt le gt ge eq ne getitem setitem iter int float index complex contains"
).split():
    setattr(Pending, f"__{_name}__", _forward(f"__{_name}__"))


def known(t: Any) -> Any:
    """The array under a tensor, for a check of its values; None where a transform hides them, or there are none."""
    if everyone.listener is not None:
        everyone.listener(None, (), {}, None)
    a = t._a
    if type(a) is np.ndarray:
        return a
    return resolve(t) if type(a) is Pending and a.owner is not NO_DATA else None


def seen(t: Any) -> Any:
    """The array under a tensor and all transforms around it, for a check of its values: those of all examples at once.

    A meta tensor has none: an empty array.
    """
    if everyone.listener is not None:
        everyone.listener(None, (), {}, None)
    while type(t._a) is not np.ndarray:
        if type(t._a) is Pending:
            return np.empty(0, t._a.dtype) if t._a.owner is NO_DATA else resolve(t)
        t = t._a.inner
    return t._a


def resolve(t: Any) -> Any:
    """Give a tensor whose payload is Pending its array."""
    t._a = a = t._a.force()
    return a


def settle(recorder: Any) -> None:
    """Compute what is pending before memory is written or shown: pending operations read it as it is now."""
    if recorder is not None:
        recorder.flush()
