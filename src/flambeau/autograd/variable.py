"""`Variable`, the name that tensors with gradients had in early PyTorch."""

from ..core.tensor import Tensor as Variable

__all__ = ["Variable"]
