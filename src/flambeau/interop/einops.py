"""einops on our tensors: ``rearrange``, ``reduce``, ``repeat``, ``pack``, ``unpack`` and ``einsum``."""

from __future__ import annotations

import sys
from typing import Any

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor

__all__ = ["register"]

_backends: list[Any] = []  # einops finds classes through their base, which does not keep them alive


def _reduce(x: Tensor, operation: str, axes: Any) -> Any:
    axes = tuple(axes)
    if operation in ("min", "max"):
        return getattr(x, f"a{operation}")(axes)
    if operation in ("sum", "mean", "any", "all"):
        return getattr(x, operation)(axes)
    if operation != "prod":
        raise NotImplementedError(f"einops: unknown reduction {operation!r}")
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis)
    return x


def register() -> None:
    """Define a backend among einops's own, which it finds by the name of the framework."""
    base: Any = sys.modules["einops._backends"].AbstractBackend

    class FlambeauBackend(base):  # type: ignore[misc]
        framework_name = "flambeau"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Tensor)

        def from_numpy(self, x: Any) -> Any:
            t = FUNCTIONS["from_numpy"](x)
            return t.requires_grad_() if t.is_floating_point() else t

        def to_numpy(self, x: Any) -> Any:
            return x.detach().numpy()

        def arange(self, start: int, stop: int) -> Any:
            return FUNCTIONS["arange"](start, stop)

        def reduce(self, x: Any, operation: str, axes: Any) -> Any:
            return _reduce(x, operation, axes)

        def transpose(self, x: Any, axes: Any) -> Any:
            return x.permute(tuple(axes))

        def stack_on_zeroth_dimension(self, tensors: Any) -> Any:
            return FUNCTIONS["stack"](list(tensors))

        def add_axis(self, x: Any, new_position: int) -> Any:
            return x.unsqueeze(new_position)

        def add_axes(self, x: Any, n_axes: int, pos2len: Any) -> Any:
            sizes = [-1] * n_axes
            for position, length in pos2len.items():
                x = x.unsqueeze(position)
                sizes[position] = length
            return x.expand(sizes)

        def tile(self, x: Any, repeats: Any) -> Any:
            return x.repeat(repeats)

        def concat(self, tensors: Any, axis: int) -> Any:
            return FUNCTIONS["cat"](list(tensors), axis)

        def is_float_type(self, x: Any) -> bool:
            return bool(x.is_floating_point())

        def einsum(self, pattern: str, *x: Any) -> Any:
            return FUNCTIONS["einsum"](pattern, *x)

    _backends.append(FlambeauBackend)
