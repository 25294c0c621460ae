"""How tensors of several processes are combined."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["ReduceOp", "check", "combine", "divide", "fold"]


class ReduceOp(enum.Enum):
    """How tensors of several processes are combined.

    AVG is the sum divided by the number of processes, for floating and complex dtypes.
    """

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8
    UNUSED = 9


# As in PyTorch, where ReduceOp is a class around this enum.
ReduceOp.RedOpType = ReduceOp  # type: ignore[attr-defined]

_BY: dict[ReduceOp, Any] = {
    ReduceOp.SUM: np.add,
    ReduceOp.AVG: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}
_BITS = (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR)


def check(op: Any, dtype: Any) -> ReduceOp:
    """`op`, if tensors of this dtype can be combined by it.

    Raises: TypeError for what is no ReduceOp; ValueError for complex numbers that cannot be ordered; RuntimeError for
    bits of numbers that are not whole, averages of whole ones, and PREMUL_SUM.
    """
    if not isinstance(op, ReduceOp):
        raise TypeError(f"Expected a ReduceOp such as ReduceOp.SUM, but got {op!r}")
    if op not in _BY:
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} here: it is for GPUs")
    if dtype.is_complex and op not in (ReduceOp.SUM, ReduceOp.AVG):
        raise ValueError(f"all_reduce does not support {op} on complex tensors")
    whole = not (dtype.is_floating_point or dtype.is_complex)
    if op in _BITS and not whole:
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} with non-integral dtype: {dtype}")
    if op is ReduceOp.AVG and whole:
        raise RuntimeError(f"Cannot use ReduceOp.AVG with {dtype}: use ReduceOp.SUM, and divide")
    return op


def combine(op: ReduceOp, target: Any, other: Any) -> None:
    """Combine `target` with `other`, in place."""
    with np.errstate(all="ignore"):
        _BY[op](other, target, out=target)


def divide(op: ReduceOp, target: Any, count: int) -> None:
    """What an average still needs after the sum."""
    if op is ReduceOp.AVG:
        np.divide(target, count, out=target, casting="unsafe")


def fold(op: ReduceOp, arrays: Sequence[Any], target: Any) -> None:
    """Combine `arrays` in their order into `target`.  Sums of 16-bit numbers are rounded once."""
    wide = arrays[0].dtype.itemsize <= 2 and op in (ReduceOp.SUM, ReduceOp.AVG, ReduceOp.PRODUCT)
    wide = wide and (arrays[0].dtype.kind == "f" or arrays[0].dtype.kind == "V")
    total = arrays[0].astype(np.float32) if wide else arrays[0].copy()
    with np.errstate(all="ignore"):
        for array in arrays[1:]:
            _BY[op](total, array.astype(np.float32) if wide else array, out=total)
        divide(op, total, len(arrays))
        target[:] = total
