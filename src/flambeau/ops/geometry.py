"""The cross product of vectors along a dim that is found when not given."""

from __future__ import annotations

from typing import Any

from ..core.public import public
from ..core.tensor import Tensor
from .args import wrap_dim
from .linalg_products import cross as _cross
from .shape import broadcast_shapes


@public(out=True, grad_name="LinalgCrossBackward0")
def cross(input: Tensor, other: Tensor, dim: Any = None) -> Tensor:
    """The cross product of 3-vectors along `dim` (default: the first dim of size 3).

    Raises: RuntimeError when no dim has size 3, or shapes do not fit.

    >>> import flambeau as torch
    >>> torch.cross(torch.tensor([1, 0, 0]), torch.tensor([0, 1, 0]), dim=0)
    tensor([0, 0, 1])
    """
    if dim is None:
        shape = broadcast_shapes(tuple(input._a.shape), tuple(other._a.shape))
        if len(input._a.shape) != len(other._a.shape):
            raise RuntimeError(
                f"inconsistent tensors dimensions input: {input.ndim} other: {other.ndim} (cross needs equally many)"
            )
        if 3 not in shape:
            raise RuntimeError(f"no dimension of size 3 in input (cross got {list(shape)})")
        dim = list(shape).index(3)
    return _cross(input, other, dim=wrap_dim(dim, len(input._a.shape)))
