"""Random numbers with a parameter for each element: Poisson and binomial counts."""

from __future__ import annotations

from typing import Any

from ..core import families as fam
from ..core.op import bind
from ..core.public import public
from ..core.tensor import Tensor
from ..prims.pointwise import overwrite_op
from ..runtime import rejection
from .args import dtype_of
from .random import _gen
from .shape import broadcast_shapes, expand_to


def _floating(x: Any, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    if x._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"{name}_cpu" not implemented for {dtype_of(x)}')


def _poisson(rate: Any, *, generator: Any) -> Any:
    return rejection.poisson(generator, rate)


def _binomial(count: Any, prob: Any, *, generator: Any) -> Any:
    return rejection.binomial(generator, count, prob)


_poisson_op = fam.random_op("random_poisson", _poisson)
_binomial_op = fam.random_op("random_binomial", _binomial)


@public(method=False)
def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson counts with each element's rate, in the dtype of `input`; gradients are zero.

    Raises: RuntimeError for negative rates or tensors that are not floating.
    """
    _floating(input, "poisson")
    drawn = bind(_poisson_op, (input.detach(),), {"generator": _gen(generator)})
    return overwrite_op(input, drawn) if input.requires_grad else drawn  # type: ignore[no-any-return]


@public(method=False)
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """Successes in `count` trials with probability `prob` each (they broadcast), in the dtype of `count`."""
    _floating(count, "binomial")
    _floating(prob, "binomial")
    if count._a.dtype != prob._a.dtype:
        raise RuntimeError(f"Found dtype {dtype_of(prob)} but expected {dtype_of(count)} (binomial)")
    shape = tuple(broadcast_shapes(tuple(count._a.shape), tuple(prob._a.shape)))
    n, p = expand_to(count, shape), expand_to(prob, shape)
    drawn = bind(_binomial_op, (n.detach(), p.detach()), {"generator": _gen(generator)})
    return overwrite_op(p, drawn) if prob.requires_grad else drawn  # type: ignore[no-any-return]
