"""A place for generated machine code that speeds up the slowest loops of the random functions.

`runtime` does not know the compiler; the compiler `offer`s a loader here.  Loading costs tens of milliseconds,
so the functions say how much time they would have saved, and once the sum reaches that cost the code is
loaded.  Results are the same bits with and without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

__all__ = ["Kernels", "kernels", "offer"]

_COST_COLD, _COST_WARM = 0.1, 0.01  # seconds, with LLVM still to be imported and without


class Kernels(Protocol):
    """The generated functions.  Arrays are C-contiguous and one-dimensional."""

    has_normal32: bool
    """Whether the processor has fused multiply-adds, without which `normal32` would be slow."""

    libm: Mapping[str, Callable[[npt.NDArray[np.float64]], None]]
    """Functions of the C library (those of `math` used here, by name), applied in place."""

    def outputs(self, engine: int, out: npt.NDArray[np.uint32]) -> None:
        """Fill ``out`` from the Mersenne Twister at address ``engine``: 624 words, then the position (int32)."""

    def normal32(self, bits: npt.NDArray[np.uint32], mean: float, std: float) -> None:
        """Turn outputs of the engine, a multiple of 16, into float32 normals in place (`fill16_float32`)."""

    def normal32_at(self, address: int, n: int, mean: float, std: float) -> None:
        """`normal32` of the `n` outputs at an address."""

    def shuffle(self, order: npt.NDArray[np.int64], raw: npt.NDArray[np.uint32]) -> None:
        """Exchange order[i] with order[i + raw[i] % (n - i)] for i = 0 .. n-2."""


class _State:
    loader: Callable[[], Kernels | None] | None = None
    loaded: Kernels | None = None
    saving = 0.0


def offer(loader: Callable[[], Kernels | None]) -> None:
    """Use what ``loader`` returns (None: nothing) when it becomes worth calling."""
    _State.loader, _State.loaded, _State.saving = loader, None, 0.0


def kernels(saving: float) -> Any:
    """The `Kernels`, or None as long as they are not worth loading; ``saving`` in seconds for the present call."""
    if _State.loaded is not None or _State.loader is None:
        return _State.loaded
    _State.saving += saving
    if _State.saving < (_COST_WARM if "llvmlite.binding" in sys.modules else _COST_COLD):
        return None
    loader, _State.loader = _State.loader, None  # not asked twice, whatever it answers
    _State.loaded = loader()
    return _State.loaded
