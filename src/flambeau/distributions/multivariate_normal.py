"""The multivariate normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from ..ops.shape import broadcast_shapes
from ..runtime.types import Size
from . import constraints
from .distribution import Distribution
from .utils import _standard_normal, lazy_property

__all__ = ["MultivariateNormal"]


def _batch_mv(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrix times vector, over batch dims."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _batch_mahalanobis(lower: Tensor, x: Tensor) -> Tensor:
    """``x' M**-1 x`` for M = lower @ lower.T; batch dims broadcast."""
    if lower.dim() == 2:  # one matrix for all vectors: one system with many right-hand sides
        flat = x.reshape(-1, x.size(-1)).mT
        return ops.linalg_solve_triangular(lower, flat, upper=False).pow(2).sum(0).reshape(x.shape[:-1])
    return ops.linalg_solve_triangular(lower, x.unsqueeze(-1), upper=False).pow(2).sum([-2, -1])


def _precision_to_scale_tril(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse: flipping both axes turns an upper factor into a lower one."""
    flipped = ops.linalg_cholesky(precision.flip(-2, -1)).flip(-2, -1).mT
    identity = ops.eye(precision.shape[-1], dtype=precision.dtype)
    return ops.linalg_solve_triangular(flipped, identity, upper=False)


def _log_diagonal(lower: Tensor) -> Tensor:
    """Half of the log determinant of ``lower @ lower.T``."""
    return lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class MultivariateNormal(Distribution):
    """Normal vectors of mean `loc` and a covariance given by itself, its inverse, or its Cholesky factor.

    >>> import flambeau as torch
    >>> d = torch.distributions.MultivariateNormal(torch.zeros(2), torch.diag(torch.tensor([1.0, 4.0])))
    >>> d.variance, d.log_prob(torch.zeros(2))
    (tensor([1., 4.]), tensor(-2.5310))
    """

    arg_constraints: Any = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support: Any = constraints.real_vector
    has_rsample = True
    _batched = {
        "loc": 1,
        "covariance_matrix": 2,
        "precision_matrix": 2,
        "scale_tril": 2,
        "_unbroadcasted_scale_tril": 2,
    }

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = {k: v for k, v in given.items() if v is not None}
        if len(given) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        ((name, matrix),) = given.items()
        if matrix is None or matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch = Size(broadcast_shapes(matrix.shape[:-2], loc.shape[:-1]))
        self.__dict__[name] = matrix.expand(Size((*batch, *matrix.shape[-2:])))
        self.loc = loc.expand(Size((*batch, loc.shape[-1])))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril: Any = (
            matrix
            if name == "scale_tril"
            else ops.linalg_cholesky(matrix)
            if name == "covariance_matrix"
            else _precision_to_scale_tril(matrix)
        )

    def _whole(self, x: Tensor) -> Tensor:
        """`x` for every distribution of the batch."""
        return x.expand(Size((*self._batch_shape, *self._event_shape, *self._event_shape)))

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        return self._whole(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        lower = self._unbroadcasted_scale_tril
        return self._whole(lower @ lower.mT)

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        return self._whole(ops.cholesky_inverse(self._unbroadcasted_scale_tril))

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        square = self._unbroadcasted_scale_tril.pow(2).sum(-1)
        return square.expand(Size((*self._batch_shape, *self._event_shape)))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        eps = _standard_normal(self._extended_shape(sample_shape), self.loc.dtype)
        return self.loc + _batch_mv(self._unbroadcasted_scale_tril, eps)

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        lower = self._unbroadcasted_scale_tril
        distance = _batch_mahalanobis(lower, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - _log_diagonal(lower)

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        value = 0.5 * n * (1.0 + math.log(2 * math.pi)) + _log_diagonal(self._unbroadcasted_scale_tril)
        return value.expand(self._batch_shape)
