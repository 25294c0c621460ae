"""The base class of all distributions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from .. import ops
from ..autograd.grad_mode import no_grad
from ..core.tensor import Tensor
from ..runtime.types import Size
from . import constraints
from .utils import lazy_property

__all__ = ["Distribution"]


class Distribution:
    """A batch of probability distributions over events of one shape.

    A subclass states its parameters' `arg_constraints` and its `support`, and implements `rsample` (or `sample`) and
    `log_prob`.  With `validate_args` (the default, but under ``python -O``) parameters and values are checked.

    A class whose tensors all follow the batch shape names them in `_batched` with the number of dims each has beyond
    it, and needs no `expand` of its own; `_kept` names what `expand` takes over as it is.

    >>> import flambeau as torch
    >>> normal = torch.distributions.Normal(torch.zeros(3), 1.0)
    >>> normal.batch_shape, normal.event_shape
    (torch.Size([3]), torch.Size([]))
    >>> normal.log_prob(torch.tensor(0.0))
    tensor([-0.9189, -0.9189, -0.9189])
    >>> torch.distributions.Normal(0.0, -1.0)
    Traceback (most recent call last):
        ...
    ValueError: Expected parameter scale (Tensor of shape ()) of distribution Normal(loc: 0.0, scale: -1.0) to satisfy
    the constraint GreaterThan(lower_bound=0.0), but found invalid values:
    -1.0
    """

    has_rsample: Any = False
    has_enumerate_support = False
    _validate_args = __debug__
    _batched: ClassVar[dict[str, int]] = {}
    _kept: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check parameters and values unless told otherwise.

        Raises: ValueError unless `value` is a bool.
        """
        if value not in (True, False):
            raise ValueError(f"validate_args must be True or False, not {value!r}")
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()
        super().__init__()

    def _check_parameters(self) -> None:
        """Raises: ValueError for a parameter outside its constraint."""
        try:
            rules = self.arg_constraints
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`: set `arg_constraints = {{}}`, or pass "
                "validate_args=False to have no checks",
                stacklevel=4,
            )
            return
        for name, constraint in rules.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue  # derived from another parameter, which is checked
            value = getattr(self, name)
            if not constraints.holds(constraint.check(value)):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                    f"distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    # ------------------------------------------------------------------------------------------------------- shapes

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch: independent distributions, each with parameters of its own."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one sample of one distribution."""
        return self._event_shape

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        """The same distributions, expanded (without copies) to `batch_shape`.

        Raises: NotImplementedError for subclasses that have a constructor of their own but no `expand`.
        """
        owner = next((c for c in type(self).__mro__ if vars(c).get("_batched")), None)
        if owner is None:
            raise NotImplementedError(f"{type(self).__name__} does not implement expand")
        new = self._get_checked_instance(owner, _instance)
        shape = Size(batch_shape)
        self._expand_into(new, shape)
        Distribution.__init__(new, shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _expand_into(self, new: Any, batch_shape: Size) -> None:
        """Give `new` the attributes named in `_batched` and `_kept`."""
        for name, extra in self._batched.items():
            value = self.__dict__.get(name)
            if value is not None:
                own = value.batch_shape if isinstance(value, Distribution) else value.shape
                new.__dict__[name] = value.expand(Size((*batch_shape, *own[len(own) - extra :])))
        for name in self._kept:
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name]

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """An object for `expand` to fill.

        Raises: NotImplementedError when the subclass has its own constructor, which `expand` cannot know.
        """
        if _instance is None and type(self).__init__ != cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method must also "
                "define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        """The shape of ``sample(sample_shape)``."""
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    # -------------------------------------------------------------------------------------------- what subclasses say

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """What each parameter has to satisfy."""
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """Which values have positive probability."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The most probable value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws of shape ``sample_shape + batch_shape + event_shape``, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws that are differentiable functions of the parameters (where `has_rsample`)."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        """``sample((n,))``; deprecated in PyTorch."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2
        )
        return self.sample(Size((n,)))

    def log_prob(self, value: Any) -> Tensor:
        """The log of the density (or mass) at `value`."""
        raise NotImplementedError

    def cdf(self, value: Any) -> Tensor:
        """The probability of values up to `value`."""
        raise NotImplementedError

    def icdf(self, value: Any) -> Tensor:
        """The value whose `cdf` is `value`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along a new first dim (broadcast over the batch with `expand`)."""
        raise NotImplementedError

    def _enumerated(self, n: int, dtype: Any, expand: bool) -> Tensor:
        """The numbers 0 .. n-1 along a new first dim."""
        values = ops.arange(n, dtype=dtype).view((n, *(1,) * len(self._batch_shape)))
        return values.expand((n, *self._batch_shape)) if expand else values

    def entropy(self) -> Tensor:
        """The entropy."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """``exp(entropy())``."""
        return self.entropy().exp()

    # ------------------------------------------------------------------------------------------------------ checking

    def _check(self, value: Any) -> None:
        """`_validate_sample`, when this distribution checks at all."""
        if self._validate_args:
            self._validate_sample(value)

    def _validate_sample(self, value: Any) -> None:
        """Raises: ValueError for values of a wrong type or shape, or outside the support."""
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        actual, event = value.size(), self._event_shape
        if actual[len(actual) - len(event) :] != event:
            raise ValueError(f"The right-most size of value must match event_shape: {actual} vs {event}.")
        expected = Size((*self._batch_shape, *event))
        for i, j in zip(reversed(actual), reversed(expected)):
            if 1 not in (i, j) and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {actual} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support`, so values are not checked: pass validate_args=False to "
                "turn checks off",
                stacklevel=4,
            )
            return
        if not constraints.holds(support.check(value)):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        shown = []
        for name in self.arg_constraints:
            if name in self.__dict__:
                value = self.__dict__[name]
                shown.append(f"{name}: {value if math.prod(value.shape) == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(shown)})"
