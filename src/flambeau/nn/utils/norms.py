"""The arithmetic of weight and spectral normalisation, which has two interfaces."""

from __future__ import annotations

from typing import Any

from ...core.tensor import Tensor
from .. import functional as F


def norm_except_dim(v: Any, dim: int) -> Tensor:
    """The 2-norm of each slice of `v` along `dim`, shaped to broadcast; of all of it when dim is -1."""
    if dim == -1:
        return v.norm()  # type: ignore[no-any-return]
    shape = [1] * v.dim()
    shape[dim] = v.size(dim)
    return v.transpose(0, dim).reshape(v.size(dim), -1).norm(2, 1).reshape(shape)  # type: ignore[no-any-return]


def weight_norm(v: Any, g: Any, dim: int) -> Tensor:
    """``v * (g / |v|)`` (Salimans and Kingma 2016)."""
    return v * (g / norm_except_dim(v, dim))  # type: ignore[no-any-return]


def as_matrix(weight: Any, dim: int) -> Any:
    """`weight` with `dim` first and the other dims flattened."""
    if dim != 0:
        weight = weight.permute(dim, *[d for d in range(weight.dim()) if d != dim])
    return weight.reshape(weight.size(0), -1)


def unit_vector(weight: Any, size: int, eps: float) -> Any:
    """A random direction, drawn as PyTorch draws it."""
    return F.normalize(weight.new_empty(size).normal_(0, 1), dim=0, eps=eps)


def spectral_dim(module: Any, dim: int | None) -> int:
    """The dim that counts as output: that given, else 1 for transposed convolutions and 0 for others."""
    return dim if dim is not None else 1 if getattr(module, "transposed", False) else 0
