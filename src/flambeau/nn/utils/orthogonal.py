"""Orthogonal matrices as a parametrization."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...autograd.grad_mode import no_grad
from ...core.tensor import Tensor
from ...runtime.dtypes import finfo
from ..modules.module import Module
from .parametrize import register_parametrization

__all__ = ["orthogonal"]

MAPS = ("matrix_exp", "cayley", "householder")


def _is_orthogonal(q: Tensor) -> bool:
    n = q.size(-1)
    tolerance = 10 * n * finfo(q.dtype).eps
    return bool(ops.allclose(q.mH @ q, ops.eye(n, dtype=q.dtype), atol=tolerance))


def _make_orthogonal(a: Tensor) -> Any:
    """The Q of a QR decomposition whose R has a positive diagonal."""
    x, tau = ops.geqrf(a)
    return ops.linalg_householder_product(x, tau) * x.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """A map from matrices to those with orthonormal columns (rows, when there are fewer).

    With trivialization (Lezcano-Casado, NeurIPS 2019) the map is centred at the matrix that was assigned last: `base`
    times the map of a matrix that stands for the identity.
    """

    base: Any

    def __init__(self, weight: Any, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Any) -> Any:
        wide = x.size(-2) < x.size(-1)
        x = x.mT if wide else x
        q = self._householder(x) if self.orthogonal_map == "householder" else self._of_skew(x)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _of_skew(self, x: Any) -> Any:
        """The exponential or the Cayley transform of the skew matrix with the lower triangle of x."""
        n, k = x.shape[-2:]
        x = x.tril()
        if n != k:
            x = ops.cat([x, x.new_zeros((*x.shape[:-2], n, n - k))], -1)
        a = x - x.mH
        if self.orthogonal_map == "matrix_exp":
            q = ops.matrix_exp(a)
        else:
            one = ops.eye(n, dtype=a.dtype)
            q = ops.linalg_solve(one - 0.5 * a, one + 0.5 * a)
        return q[..., :k]

    def _householder(self, x: Any) -> Any:
        """The product of reflections, with the signs that stand on the diagonal."""
        a = x.tril(-1)
        q = ops.linalg_householder_product(a, 2.0 / (1.0 + (a * a).sum(-2)))
        return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)

    def right_inverse(self, q: Any) -> Any:
        with no_grad():
            return self._inverse(q)

    def _inverse(self, q: Any) -> Any:
        if q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}."
            )
        like, wide = q, q.size(-2) < q.size(-1)
        q = q.mT if wide else q
        n, k = q.shape[-2:]
        if not hasattr(self, "base"):
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            a, tau = ops.geqrf(q)
            diagonal = a.diagonal(dim1=-2, dim2=-1)
            signs = ops.where(tau == 0, -diagonal.sign(), diagonal.sign())
            a = a.tril(-1) + a.triu(1)
            a = a + ops.cat([signs.diag_embed(), signs.new_zeros((*a.shape[:-2], n - k, k))], -2)
            return a.mT if wide else a
        if n != k:
            more = ops.randn((*q.shape[:-2], n, n - k), dtype=q.dtype)
            self.base = _make_orthogonal(ops.cat([q, more], -1))
        else:
            self.base = q.clone() if _is_orthogonal(q) else _make_orthogonal(q)
        rows, columns = like.shape[-2:]
        return -ops.eye(rows, columns, dtype=like.dtype).expand(like.shape).clone()


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a matrix (or a batch of them) orthogonal, with orthonormal columns or rows. Returns the module.

    `orthogonal_map` is "matrix_exp" (for square matrices by default), "cayley" or "householder" (otherwise).

    Raises: ValueError when the module has no such parameter, when it is no matrix, or for another map.

    >>> import flambeau as torch
    >>> m = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(4, 3))
    >>> torch.allclose(m.weight @ m.weight.T, torch.eye(3), atol=1e-5)
    True
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    register_parametrization(
        module, name, _Orthogonal(weight, orthogonal_map, use_trivialization), unsafe=True
    )
    return module
