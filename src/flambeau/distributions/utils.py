"""What the distributions share: broadcasting of parameters, probabilities and logits, triangular matrices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any, Final

from .. import ops
from ..autograd.grad_mode import enable_grad
from ..core.state import defaults
from ..core.tensor import Tensor
from ..runtime.dtypes import finfo
from ..runtime.types import Size

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

euler_constant: Final[float] = 0.57721566490153286060  # Euler's gamma


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """All values as tensors of one shape; numbers take the dtype of the first tensor, else the default one.

    Raises: ValueError for anything but tensors and numbers.
    """
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
            f"__torch_function__, not {[type(v).__name__ for v in values]}."
        )
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), defaults.dtype)
    tensors = [v if isinstance(v, Tensor) else ops.tensor(v, dtype=dtype) for v in values]
    return tuple(ops.broadcast_tensors(*tensors))


def _standard_normal(shape: Sequence[int], dtype: Any, device: Any = None) -> Tensor:
    """Normal draws of mean 0 and variance 1, in PyTorch's order."""
    return ops.empty(Size(shape), dtype=dtype).normal_()


def _sum_rightmost(value: Any, dim: int) -> Any:
    """The sum over the last `dim` dims."""
    return value if dim == 0 else value.reshape((*value.shape[:-dim], -1)).sum(-1)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities from log odds (`is_binary`) or from unnormalised log probabilities over the last dim."""
    return ops.sigmoid(logits) if is_binary else ops.softmax(logits, -1)


def clamp_probs(probs: Tensor) -> Tensor:
    """`probs` moved away from 0 and 1 by the dtype's epsilon."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The inverse of `logits_to_probs`, finite also for probabilities 0 and 1."""
    p = clamp_probs(probs)
    return p.log() - (-p).log1p() if is_binary else p.log()


class lazy_property(property):
    """A property computed when first read and kept; gradients are recorded also under ``no_grad``."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        super().__init__(wrapped)
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        name = self.wrapped.__name__
        if name in instance.__dict__:
            return instance.__dict__[name]
        with enable_grad():
            value = instance.__dict__[name] = self.wrapped(instance)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.wrapped.__name__] = value


def _tril_mask(n: int, diag: int) -> Any:
    return ops.ones(n, n).tril(diag).bool()


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements of a batch of D x D matrices on and below diagonal `diag`, row by row.

    Raises: ValueError for a diagonal outside the matrix.
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., _tril_mask(n, diag)]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """A batch of D x D matrices with the elements of `vec` on and below diagonal `diag`, and zeros elsewhere.

    Raises: ValueError when no D has that many elements there.
    """
    # n (n + 1) / 2 elements, with n rows when diag <= 0, less the triangles cut off above it
    size = vec.shape[-1]
    b = 1 + 2 * diag
    n = round((-b + (b * b + 8 * size + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2)
    mask = _tril_mask(n, diag)
    if int(mask.sum()) != size:
        raise ValueError(
            f"The size of last dimension is {size} which cannot be expressed as the lower triangular part of a square "
            "D x D matrix."
        )
    mat = vec.new_zeros((*vec.shape[:-1], n, n))
    mat[..., mask] = vec
    return mat


class ProbsOrLogits:
    """Mixin for distributions given either by probabilities or by log odds: each is derived from the other."""

    _binary = True
    _param: Tensor

    def _set_probs_or_logits(self, probs: Any, logits: Any, *with_: Any) -> tuple[Tensor, ...]:
        """Store the one that is given, broadcast with `with_`, whose broadcast forms are returned.

        Raises: ValueError unless exactly one is given.
        """
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        name = "logits" if probs is None else "probs"
        *others, value = broadcast_all(*with_, logits if probs is None else probs)
        self.__dict__[name] = self._param = value
        return tuple(others)

    @lazy_property
    def logits(self) -> Any:
        """Log odds (or log probabilities)."""
        return probs_to_logits(self.probs, self._binary)

    @lazy_property
    def probs(self) -> Any:
        """Probabilities."""
        return logits_to_probs(self.logits, self._binary)

    def _new(self, *args: Any, **kwargs: Any) -> Any:
        return self._param.new_empty(*args, **kwargs)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.size()
