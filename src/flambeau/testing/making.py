"""`make_tensor`: random tensors of any dtype for tests."""

from __future__ import annotations

from typing import Any

from ..core.tensor import Tensor
from ..ops import creation, random
from ..runtime import dtypes

__all__ = ["make_tensor"]

DOMAINS: dict[str, tuple[float, float]] = {"bool": (0, 2), "uint8": (0, 10)}


def make_tensor(
    *shape: Any,
    dtype: dtypes.dtype,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor with uniformly drawn values in ``[low, high)``.

    Without bounds: [-9, 9) for floating and complex dtypes, [-9, 9] for signed integers, [0, 9] for uint8, and both
    bools.  Bounds are clamped to what the dtype holds.  `noncontiguous` doubles the strides; `exclude_zero` puts a
    small number (1 for integers) in place of zeros.

    Raises: ValueError for ``low >= high``, NaN bounds, `requires_grad` of integers, `noncontiguous` with
    `memory_format`; TypeError for dtypes that have no random values.

    >>> import flambeau as torch
    >>> torch.testing.make_tensor((2, 3), dtype=torch.float64, device="cpu", low=0, high=1).shape
    torch.Size([2, 3])
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    integral = not (dtype.is_floating_point or dtype.is_complex)
    if requires_grad and integral:
        raise ValueError(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, but got dtype={dtype}"
        )
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, "
            f"but got noncontiguous={noncontiguous} and memory_format={memory_format}"
        )
    first, last = _bounds(dtype, integral, low, high)
    double = noncontiguous and len(sizes) > 0 and sizes[-1] > 0
    drawn = (*sizes[:-1], 2 * sizes[-1]) if double else sizes
    result: Any
    if integral:
        result = random.randint(int(first), int(last), drawn, dtype=dtype, device=device)
    else:
        result = creation.empty(drawn, dtype=dtype, device=device)
        (result.view_as_real() if dtype.is_complex else result).uniform_(first, last)
    if double:
        result = result[..., 1::2]
    if memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        tiny = 1 if integral else dtypes.finfo(dtype).tiny
        result[result == 0] = complex(tiny, tiny) if dtype.is_complex else tiny
    return result.requires_grad_(requires_grad)  # type: ignore[no-any-return]


def _bounds(
    dtype: dtypes.dtype, integral: bool, low: float | None, high: float | None
) -> tuple[float, float]:
    """The bounds, the upper one excluded."""
    default = DOMAINS.get(dtype.name, (-9, 10) if integral else (-9, 9))
    lowest: float
    highest: float
    if dtype is dtypes.bool_:
        lowest, highest = 0, 2
    elif integral:
        lowest, highest = dtypes.iinfo(dtype).min, dtypes.iinfo(dtype).max
    else:
        lowest, highest = dtypes.finfo(dtype).min, dtypes.finfo(dtype).max
    first, last = (default[0] if low is None else low), (default[1] if high is None else high)
    if first != first or last != last:
        raise ValueError(f"`low` and `high` cannot be NaN, but got low={low} and high={high}")
    if first >= last:
        raise ValueError(f"`low` must be less than `high`, but got {first} >= {last}")
    if first > highest or last < lowest:
        raise ValueError(
            f"The interval [{first}, {last}) has nothing in common with the values of {dtype}, [{lowest}, {highest}]"
        )
    first, last = max(first, lowest), min(last, highest)
    if integral:
        import math

        first, last = math.ceil(first), math.ceil(last)
    return first, last
