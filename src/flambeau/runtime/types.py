"""The small value types of the API: Size, device, layout, memory_format."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "Size",
    "channels_last",
    "contiguous_format",
    "device",
    "layout",
    "memory_format",
    "preserve_format",
    "strided",
]


class Size(tuple):  # type: ignore[type-arg]
    """The shape of a tensor: a tuple of ints.

    >>> import flambeau as torch
    >>> torch.Size([2, 3]).numel()
    6
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[int] = ()) -> Size:
        values = tuple(sizes)
        for n in values:
            if not hasattr(n, "__index__"):
                raise TypeError(f"torch.Size() takes an iterable of 'int' (got '{type(n).__name__}')")
        return tuple.__new__(cls, [n if type(n) is int else n.__index__() for n in values])

    def numel(self) -> int:
        """The number of elements of a tensor of this size."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __add__(self, other: Any) -> Size:
        return tuple.__new__(Size, tuple.__add__(self, tuple(other)))

    def __radd__(self, other: Any) -> Size:
        return tuple.__new__(Size, tuple(other) + tuple(self))

    def __mul__(self, n: Any) -> Size:
        return tuple.__new__(Size, tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __getitem__(self, i: Any) -> Any:
        r = tuple.__getitem__(self, i)
        return tuple.__new__(Size, r) if isinstance(i, slice) else r

    def __reduce__(self) -> Any:
        return Size, (tuple(self),)


class device:
    """Where a tensor lives.  Comparable, hashable, usable as a context manager for factories.

    Raises: RuntimeError for unknown device types.

    >>> import flambeau as torch
    >>> torch.device("cuda:1").index
    1
    """

    __slots__ = ("type", "index")
    type: str
    index: Any
    KINDS = ("cpu", "cuda", "meta", "mps", "xpu", "ipu", "hpu", "xla", "mtia", "vulkan", "privateuseone")

    def __init__(self, type: Any, index: Any = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, int or device, not {type!r}")
        name, colon, number = type.partition(":")
        if name not in self.KINDS or colon and not number.isdigit():
            raise RuntimeError(
                f"Expected one of {', '.join(self.KINDS)} device type at start of device string: {type}"
            )
        if colon:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed explicitly: {type}"
                )
            index = int(number)
        if index is not None and index < 0:
            raise RuntimeError(f"Device index must not be negative, got {index}")
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", index)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"device attributes are read-only: {name}")

    def __repr__(self) -> str:
        tail = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{tail})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> Any:
        return device, (str(self),)

    def __enter__(self) -> device:
        for enter, _ in device.contexts:
            enter(self)
        return self

    def __exit__(self, *exc: Any) -> None:
        for _, leave in device.contexts:
            leave(self)

    # What has `with device:` make factories use it, as (on entering, on leaving): put here by the layer that has factories.
    contexts: list[tuple[Callable[[device], None], Callable[[device], None]]] = []


CPU = device("cpu")


def check_device(d: Any) -> device:
    """A usable device, or the error PyTorch gives.

    Raises: AssertionError for CUDA devices on a machine (or build) without CUDA.
    """
    d = d if isinstance(d, device) else device(d)
    if d.type == "cpu":
        return d  # type: ignore[no-any-return]
    if d.type == "cuda":
        raise AssertionError(
            f"Torch not compiled with CUDA enabled: device '{d}' was asked for, and flambeau found no CUDA device. "
            "Use device='cpu', or choose at run time: torch.device('cuda' if torch.cuda.is_available() else 'cpu')"
        )
    raise RuntimeError(f"device '{d}' is not available; flambeau runs on 'cpu' (see docs/compatibility.md)")


class layout:
    """How a tensor is stored; only ``strided`` exists here."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format:
    """The order of dimensions in memory."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


strided = layout("strided")
sparse_coo = layout(
    "sparse_coo"
)  # this and the following are named in comparisons only: all tensors are strided
sparse_csr, sparse_csc = layout("sparse_csr"), layout("sparse_csc")
sparse_bsr, sparse_bsc = layout("sparse_bsr"), layout("sparse_bsc")
jagged = layout("jagged")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
