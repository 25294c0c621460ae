"""``torch.range``, which has its end in it."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..core.public import public
from ..core.tensor import Tensor
from ..prims.base import from_value
from ..runtime import dtypes
from .args import as_dtype, check_sizes
from .creation import finish


@public(method=False, out=True)
def range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The values from `start` to `end`, which is among them, at distance `step`; deprecated in favour of `arange`.

    Shapes: a vector of floor((end - start) / step) + 1 numbers.

    Dtypes: integer and floating; the default dtype, if none is given.

    Raises: RuntimeError for a zero or wrongly signed step, or infinite bounds.

    >>> import warnings
    >>> import flambeau as torch
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     torch.range(1, 4)
    tensor([1., 2., 3., 4.])
    """
    if end is None:
        raise TypeError('range() missing 1 required positional arguments: "end"')
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent "
        "with Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=3,
    )
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    d = as_dtype(dtype, None)
    if d.category <= dtypes.INTEGRAL:
        start, end, step = int(start), int(end), int(step)
    elif d.itemsize == 2:  # computed in single precision
        start, end, step = np.float32(start), np.float32(end), np.float32(step)
    n = int((end - start) / step + 1)
    check_sizes((n,), "range", d.itemsize)
    values = np.arange(n, dtype=np.float32 if isinstance(step, np.float32) else np.int64) * step + start
    return finish(from_value(values.astype(d.numpy)), requires_grad, device)
