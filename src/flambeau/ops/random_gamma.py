"""Draws with gradients for their parameters: gamma and Dirichlet (used by `flambeau.distributions`)."""

from __future__ import annotations

from typing import Any

from ..core import families as fam
from ..core.op import bind
from ..core.public import public
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims import implicit
from ..runtime import rejection
from .random import _gen
from .random_counts import _floating


def _standard_gamma_draw(alpha: Any, *, generator: Any) -> Any:
    return rejection.standard_gamma(generator, alpha)


def _dirichlet_draw(alpha: Any, *, generator: Any) -> Any:
    return rejection.dirichlet(generator, alpha)


_gamma_op = fam.random_op("random_standard_gamma", _standard_gamma_draw)
_dirichlet_op = fam.random_op("random_dirichlet", _dirichlet_draw)


@public(method=False, name="_standard_gamma")
def standard_gamma(input: Tensor, generator: Any = None) -> Tensor:
    """Gamma draws with each element's shape parameter (rate 1), differentiable in it.

    Raises: NotImplementedError for dtypes other than float32 and float64.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> alpha = torch.ones(3, requires_grad=True)
    >>> torch._standard_gamma(alpha).sum().backward()
    >>> (alpha.grad > 0).all()
    tensor(True)
    """
    _floating(input, "_standard_gamma")
    drawn = bind(_gamma_op, (input.detach(),), {"generator": _gen(generator)})
    return implicit.gamma_draw(input, drawn) if input.requires_grad or tls.stack else drawn  # type: ignore[no-any-return]


@public(method=False, name="_sample_dirichlet")
def sample_dirichlet(input: Tensor, generator: Any = None) -> Tensor:
    """Dirichlet draws over the last dim, differentiable in the concentration.

    Raises: NotImplementedError for dtypes other than float32 and float64.
    """
    _floating(input, "_sample_dirichlet")
    drawn = bind(_dirichlet_op, (input.detach(),), {"generator": _gen(generator)})
    return implicit.dirichlet_draw(input, drawn) if input.requires_grad or tls.stack else drawn  # type: ignore[no-any-return]


@public(method=False, name="_standard_gamma_grad")
def standard_gamma_grad(input: Tensor, output: Tensor) -> Tensor:
    """The derivative of a standard gamma draw `output` by its parameter `input`."""
    return implicit.standard_gamma_grad(input, output)  # type: ignore[no-any-return]


@public(method=False, name="_dirichlet_grad")
def dirichlet_grad(x: Tensor, alpha: Tensor, total: Tensor) -> Tensor:
    """The derivative of a component `x` of a Dirichlet draw by its concentration, divided by ``1 - x``."""
    return implicit.dirichlet_grad(x, alpha, total)  # type: ignore[no-any-return]
