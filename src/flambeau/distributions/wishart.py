"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from ..ops.shape import broadcast_shapes
from ..runtime.dtypes import finfo
from ..runtime.types import Size
from . import constraints
from .chi2 import Chi2
from .exp_family import ExponentialFamily
from .multivariate_normal import _log_diagonal, _precision_to_scale_tril
from .utils import lazy_property

__all__ = ["Wishart"]

LOG_2 = math.log(2)


class Wishart(ExponentialFamily):
    """Positive definite matrices: scatter matrices of `df` normal vectors of the given covariance.

    Draws by Bartlett's decomposition (Proc. R. Soc. Edinburgh 53, 1933).
    """

    support: Any = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure: Any = 0
    _batched = {
        "df": 0,
        "covariance_matrix": 2,
        "precision_matrix": 2,
        "scale_tril": 2,
        "_unbroadcasted_scale_tril": 2,
        "_dist_chi2": 1,
    }

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = {k: v for k, v in given.items() if v is not None}
        if len(given) != 1:
            raise AssertionError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        event, p = matrix.shape[-2:], matrix.shape[-1]
        batch = Size(broadcast_shapes(matrix.shape[:-2], getattr(df, "shape", ())))
        self.df = ops.tensor(df, dtype=matrix.dtype) if isinstance(df, Number) else df
        self.df = self.df.expand(batch)
        if (self.df <= p - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {p - 1}.")
        if (self.df < p).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        self.__dict__[name] = matrix.expand(Size((*batch, *event)))
        super().__init__(batch, event, validate_args=validate_args)
        self._unbroadcasted_scale_tril = (
            matrix
            if name == "scale_tril"
            else ops.linalg_cholesky(matrix)
            if name == "covariance_matrix"
            else _precision_to_scale_tril(matrix)
        )
        self._dist_chi2 = Chi2(self.df.unsqueeze(-1) - ops.arange(p, dtype=matrix.dtype))

    @property
    def arg_constraints(self) -> Any:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._extended_shape())

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance of the normal vectors."""
        lower = self._unbroadcasted_scale_tril
        return (lower @ lower.mT).expand(self._extended_shape())

    @lazy_property
    def precision_matrix(self) -> Any:
        """Its inverse."""
        return ops.cholesky_inverse(self._unbroadcasted_scale_tril).expand(self._extended_shape())

    def _times(self, factor: Tensor) -> Tensor:
        return factor.unsqueeze(-1).unsqueeze(-1) * self.covariance_matrix

    @property
    def mean(self) -> Tensor:
        return self._times(self.df)

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        return self._times(factor.masked_fill(factor <= 0, math.nan))

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        outer = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df.unsqueeze(-1).unsqueeze(-1) * (v.pow(2) + outer)

    def _bartlett(self, sample_shape: Sequence[int]) -> Tensor:
        p = self._event_shape[-1]
        root = self._dist_chi2.rsample(sample_shape).sqrt()
        noise = root.clamp(min=finfo(root.dtype).eps).diag_embed(dim1=-2, dim2=-1)
        i, j = ops.tril_indices(p, p, offset=-1)
        below = ops.randn((*sample_shape, *self._batch_shape, p * (p - 1) // 2), dtype=noise.dtype)
        noise[..., i, j] = below
        factor = self._unbroadcasted_scale_tril @ noise
        return factor @ factor.mT

    def _singular(self, sample: Tensor) -> Tensor:
        """Which draws have a singular matrix anywhere in their batch."""
        singular = ~self.support.check(sample)
        batch = len(self._batch_shape)
        return singular.flatten(singular.dim() - batch).any(-1) if batch else singular

    def rsample(self, sample_shape: Sequence[int] = (), max_try_correction: int | None = None) -> Tensor:
        """Draws; singular ones are replaced, with a warning.

        PyTorch 2.13 takes a first draw that is not singular for a singular one and draws it again, so seeded programs
        see the second; here it is drawn twice as well.
        """
        shape = Size(sample_shape)
        sample = self._bartlett(shape)
        again = self.support.check(sample)
        if self._batch_shape:
            again = again.flatten(again.dim() - len(self._batch_shape)).any(-1)
        tries = 10 if max_try_correction is None else max_try_correction
        for _ in range(tries):
            if not again.any():
                break
            new = self._bartlett((int(again.sum()),) if shape else ())
            if shape:
                sample[again] = new
            else:
                sample = new
            singular = self._singular(new)
            if singular.any():
                warnings.warn("Singular sample detected.", stacklevel=2)
            again = again.masked_scatter(again, singular) if shape else singular
        return sample

    def _log_det(self) -> Tensor:
        """``log(2**p |V|) / 2``."""
        return self._event_shape[-1] * LOG_2 / 2 + _log_diagonal(self._unbroadcasted_scale_tril)

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        p, nu = self._event_shape[-1], self.df
        lower = self._unbroadcasted_scale_tril
        trace = ops.cholesky_solve(value, lower).diagonal(dim1=-2, dim2=-1).sum(-1)
        log_det = ops.linalg_slogdet(value)[1]
        return -nu * self._log_det() - ops.mvlgamma(nu / 2, p) + (nu - p - 1) / 2 * log_det - trace / 2

    def entropy(self) -> Tensor:
        p, nu = self._event_shape[-1], self.df
        digammas = (nu.unsqueeze(-1) / 2 - ops.arange(p, dtype=nu.dtype) / 2).digamma().sum(-1)
        return (p + 1) * self._log_det() + ops.mvlgamma(nu / 2, p) - (nu - p - 1) / 2 * digammas + nu * p / 2

    @property
    def _natural_params(self) -> tuple[Tensor, Tensor]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        p = self._event_shape[-1]
        half = y + (p + 1) / 2
        return half * (p * LOG_2 - ops.linalg_slogdet(-2 * x)[1]) + ops.mvlgamma(half, p)
