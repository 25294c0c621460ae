"""Type promotion: the dtype in which tensors and Python numbers meet, and operands made to fit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..runtime import dtypes
from ..runtime.dtypes import BOOL, COMPLEX, FLOATING, INTEGRAL, dtype
from .op import REGISTRY
from .state import defaults
from .tape import helpers
from .tensor import Tensor

__all__ = [
    "COMPARE",
    "FLOAT",
    "LOGICAL",
    "SAME",
    "adapt",
    "check_size",
    "convert",
    "default_for",
    "promote",
    "result_type",
    "scalar_category",
]

# How an elementwise operation treats dtypes.
SAME, FLOAT, COMPARE, LOGICAL = "same", "float", "compare", "logical"


def scalar_category(x: Any) -> int:
    """Promotion category of a Python (or NumPy) scalar.

    Raises: TypeError for anything else.
    """
    kind = type(x)
    if kind is float:
        return FLOATING
    if kind is bool or isinstance(x, np.bool_):
        return BOOL
    if kind is int or isinstance(x, (int, np.integer)):
        return INTEGRAL
    if isinstance(x, (float, np.floating)):
        return FLOATING
    if isinstance(x, (complex, np.complexfloating)):
        return COMPLEX
    if hasattr(x, "__float__") and hasattr(x, "__index__"):
        return INTEGRAL
    raise TypeError(f"unsupported operand type: a Tensor or a number was expected, not {type(x).__name__}")


def default_for(category: int) -> dtype:
    """The dtype that a bare Python scalar of this category has."""
    if category == BOOL:
        return dtypes.bool_
    if category == INTEGRAL:
        return dtypes.int64
    return defaults.dtype if category == FLOATING else defaults.dtype.to_complex()


def result_type(*args: Any) -> dtype:
    """The dtype of the result of combining tensors and Python scalars.

    Dimensioned tensors decide; a 0-dim tensor, then a Python scalar, counts only if its category (bool, integer,
    floating, complex) is higher.

    >>> import flambeau as torch
    >>> torch.result_type(torch.tensor([1, 2], dtype=torch.int32), 1.0)
    torch.float32
    """
    dimmed: dtype | None = None
    zero: dtype | None = None
    scalar = -1
    for x in args:
        if isinstance(x, Tensor):
            d = dtypes.OF_NUMPY[x._a.dtype]
            if x._a.shape:
                dimmed = d if dimmed is None else dtypes.promote_types(dimmed, d)
            else:
                zero = d if zero is None else dtypes.promote_types(zero, d)
        else:
            scalar = max(scalar, scalar_category(x))
    result = dimmed
    if zero is not None and (result is None or zero.category > result.category):
        if result is not None and result.is_floating_point and zero.category == COMPLEX:
            result = result.to_complex()  # the parts keep the precision of the dimensioned tensors
        else:
            result = zero if result is None else dtypes.promote_types(result, zero)
    if scalar >= 0 and (result is None or scalar > result.category):
        s = default_for(scalar)
        if result is None:
            result = s
        elif scalar == COMPLEX and result.is_floating_point:
            result = result.to_complex()
        else:
            result = s
    assert result is not None
    return result


def convert(x: Tensor, d: dtype) -> Tensor:
    """`x` as dtype `d` (itself when it already is)."""
    if x._a.dtype == d.numpy:
        return x
    return REGISTRY["convert"](x, dtype=d.numpy)  # type: ignore[no-any-return]


_RANGES = {
    d.numpy: (int(np.iinfo(d.numpy).min), int(np.iinfo(d.numpy).max))
    for d in dtypes.OF_NUMPY.values()
    if d.category == INTEGRAL
}


def check_size(x: int) -> None:
    """Raises: OverflowError for an integer that no dtype of 64 bits holds, whatever it is to become."""
    if not -(1 << 63) <= x < 1 << 64:
        raise OverflowError(
            f"int too big to convert: {int(x).bit_length()} bits fit no integer dtype; a float may be as large"
        )


def adapt(x: Any, d: dtype) -> Any:
    """An operand for an operation in dtype `d`: tensors are converted, Python scalars made to fit.

    Integers of 64 bits wrap around as in PyTorch.  Raises: OverflowError for larger ones, even beside floats.
    """
    if isinstance(x, Tensor):
        return convert(x, d)
    if isinstance(x, np.generic):
        x = x.item()  # a number as Python's: NumPy would let its dtype count
    if type(x) is bool and d.category != BOOL:
        return int(x)
    if isinstance(x, int):
        check_size(x)
    if d.category == INTEGRAL and isinstance(x, int):
        low, high = _RANGES[d.numpy]
        if not low <= x <= high:
            return d.numpy.type(np.array(int(x) & 0xFFFFFFFFFFFFFFFF, np.uint64).astype(d.numpy))
    return x


def promote(args: Sequence[Any], kind: str) -> list[Any]:
    """Operands converted to their common dtype for an operation of this kind."""
    d = result_type(*args)
    if kind == FLOAT and d.category < FLOATING:
        d = defaults.dtype
    out = [adapt(x, d) for x in args]
    if not any(isinstance(x, Tensor) for x in out):
        out[0] = helpers["scalar"](out[0], d)
    return out
