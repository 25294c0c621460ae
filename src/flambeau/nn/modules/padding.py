"""Padding with a constant, by reflection, by replication, circularly."""

from __future__ import annotations

from typing import Any

from ...core.tensor import Tensor
from .. import functional as F
from .module import Module
from .utils import ntuple

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _PadNd(Module):
    """`padding` is one number for all sides, or (left, right), (left, right, top, bottom), …"""

    _dims = 0
    _mode = ""

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._dims + 1
        if input.dim() not in (n, n + 1):
            raise ValueError(f"expected {n}D or {n + 1}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """Continues (N, C, L) or (C, L) on each side with the other side's values.

    Raises: ValueError for inputs of other dimensions.

    >>> import flambeau as torch
    >>> torch.nn.CircularPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])
    """

    _dims = 1


class CircularPad2d(_CircularPadNd):
    """As CircularPad1d, for (N, C, H, W) or (C, H, W)."""

    _dims = 2


class CircularPad3d(_CircularPadNd):
    """As CircularPad1d, for (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Pads the last dim with `value`.

    >>> import flambeau as torch
    >>> torch.nn.ConstantPad1d((1, 0), 9.0)(torch.tensor([1.0, 2.0]))
    tensor([9., 1., 2.])
    """

    _dims = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads the last two dims with `value`."""

    _dims = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads the last three dims with `value`."""

    _dims = 3


class ReflectionPad1d(_PadNd):
    """Mirrors (N, C, L) or (C, L) at its ends, without repeating them.

    >>> import flambeau as torch
    >>> torch.nn.ReflectionPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[2., 1., 2., 3., 2.]])
    """

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_PadNd):
    """As ReflectionPad1d, for (N, C, H, W) or (C, H, W)."""

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_PadNd):
    """As ReflectionPad1d, for (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_PadNd):
    """Repeats the end values of (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.nn.ReplicationPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 1., 2., 3., 3.]])
    """

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_PadNd):
    """As ReplicationPad1d, for (N, C, H, W) or (C, H, W)."""

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_PadNd):
    """As ReplicationPad1d, for (N, C, D, H, W) or (C, D, H, W)."""

    _dims = 3
    _mode = "replicate"


class ZeroPad1d(ConstantPad1d):
    """Pads the last dim with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Pads the last two dims with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Pads the last three dims with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"
