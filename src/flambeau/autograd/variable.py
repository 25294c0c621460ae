"""`Variable`, the name that tensors with gradients had in early PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from .engine import Engine

__all__ = ["Variable"]


class _VariableMeta(type):
    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=_VariableMeta):
    """``Variable(data, requires_grad)`` is a new leaf over the memory of the tensor `data`; all tensors are instances.

    Raises: TypeError for `data` that is no tensor.

    >>> import flambeau as torch
    >>> x = torch.autograd.Variable(torch.ones(2), requires_grad=True)
    >>> x.requires_grad, isinstance(x, torch.Tensor), isinstance(torch.ones(2), torch.autograd.Variable)
    (True, True, True)
    """

    _execution_engine = Engine()

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        if data is None:
            data = FUNCTIONS["empty"](0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        if volatile:
            warnings.warn("volatile has no effect any more: use `with torch.no_grad()`", stacklevel=2)
        leaf: Any = data.detach()
        return leaf.requires_grad_(requires_grad)
