"""From a region to a transform onto it: `biject_to` (one-to-one) and `transform_to` (any, often cheaper).

>>> import flambeau as torch
>>> positive = torch.distributions.constraints.positive
>>> torch.distributions.biject_to(positive)(torch.zeros(2))
tensor([1., 1.])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.tensor import Tensor
from . import constraints, transforms

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Factories of transforms by the type of a constraint."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable[..., Any]] = {}
        super().__init__()

    def register(self, constraint: Any, factory: Callable[..., Any] | None = None) -> Any:
        """Register `factory(constraint)` for a subclass of `Constraint`, or for the class of a constraint.

        Without `factory` it is a decorator.  Raises: TypeError for anything else.
        """
        if factory is None:
            return lambda factory: self.register(constraint, factory)
        if isinstance(constraint, constraints.Constraint):
            constraint = type(constraint)
        if not isinstance(constraint, type) or not issubclass(constraint, constraints.Constraint):
            raise TypeError(
                f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}"
            )
        self._registry[constraint] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        """A transform onto `constraint` from unconstrained numbers.

        Raises: NotImplementedError when none is registered.
        """
        try:
            factory = self._registry[type(constraint)]
        except KeyError:
            raise NotImplementedError(
                f"Cannot transform {type(constraint).__name__} constraints: register a factory for them"
            ) from None
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()
BOTH = (biject_to, transform_to)


def _affine(first: Any, loc: Any, scale: Any) -> Any:
    return transforms.ComposeTransform([first, transforms.AffineTransform(loc, scale)])


def _interval(c: Any) -> Any:
    low, high = c.lower_bound, c.upper_bound
    if not isinstance(low, Tensor) and not isinstance(high, Tensor) and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return _affine(transforms.SigmoidTransform(), low, high - low)


# constraint, the registries that know it, factory
for _constraints, _registries, _factory in (
    ((constraints.real,), BOTH, lambda c: transforms.identity_transform),
    (
        (constraints.greater_than, constraints.greater_than_eq),
        BOTH,
        lambda c: _affine(transforms.ExpTransform(), c.lower_bound, 1),
    ),
    ((constraints.less_than,), BOTH, lambda c: _affine(transforms.ExpTransform(), c.upper_bound, -1)),
    ((constraints.interval, constraints.half_open_interval), BOTH, _interval),
    ((constraints.simplex,), BOTH[:1], lambda c: transforms.StickBreakingTransform()),
    ((constraints.simplex,), BOTH[1:], lambda c: transforms.SoftmaxTransform()),
    ((constraints.lower_cholesky,), BOTH[1:], lambda c: transforms.LowerCholeskyTransform()),
    (
        (constraints.positive_definite, constraints.positive_semidefinite),
        BOTH[1:],
        lambda c: transforms.PositiveDefiniteTransform(),
    ),
    ((constraints.corr_cholesky,), BOTH, lambda c: transforms.CorrCholeskyTransform()),
):
    for _registry in _registries:
        for _constraint in _constraints:
            _registry.register(_constraint, _factory)


def _recursive(registry: ConstraintRegistry) -> None:
    """Regions made of others."""
    registry.register(
        constraints.independent,
        lambda c: transforms.IndependentTransform(registry(c.base_constraint), c.reinterpreted_batch_ndims),
    )
    registry.register(
        constraints.cat, lambda c: transforms.CatTransform([registry(b) for b in c.cseq], c.dim, c.lengths)
    )
    registry.register(
        constraints.stack, lambda c: transforms.StackTransform([registry(b) for b in c.cseq], c.dim)
    )


_recursive(biject_to)
_recursive(transform_to)
