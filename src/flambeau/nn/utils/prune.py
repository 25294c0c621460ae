"""Pruning: parameters with elements or channels held at zero by a mask.

A pruned parameter ``weight`` of a module becomes the parameter ``weight_orig`` and the buffer ``weight_mask``; before
each forward their product is stored as the plain attribute ``weight``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ... import ops
from ...runtime.absent import names_of as _names_of
from ..modules.module import Module
from .convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]

__getattr__ = _names_of(__name__)


def _hooks(module: Module, name: str | None = None) -> list[tuple[int, BasePruningMethod]]:
    """The pruning hooks of a module with their keys; those of one parameter, if it is named."""
    return [
        (key, hook)
        for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, BasePruningMethod) and name in (None, hook._tensor_name)
    ]


class BasePruningMethod(ABC):
    """A way to choose what is pruned, and the hook that applies it.

    Subclasses set `PRUNING_TYPE` ("unstructured", "structured" with an attribute `dim`, or "global") and implement
    `compute_mask`.
    """

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """A mask for scores `t`, that keeps what `default_mask` has pruned already."""

    def apply_mask(self, module: Module) -> Any:
        """The masked parameter."""
        orig = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(dtype=orig.dtype) * orig

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune the parameter `name` of a module by ``cls(*args, **kwargs)``, on top of what has been pruned.

        An element's rank is its `importance_scores` (the parameter itself by default).  When it fails, the module is
        as it was.  Raises: AssertionError for scores of another shape.
        """
        orig = getattr(module, name)
        scores = orig if importance_scores is None else importance_scores
        if scores.shape != orig.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, got {scores.shape} vs "
                f"{orig.shape}"
            )
        method = cls(*args, **kwargs)
        method._tensor_name = name
        before = _hooks(module, name)
        if not before:
            mask = method.compute_mask(scores, ops.ones_like(orig))
            del module._parameters[name]
            module.register_parameter(name + "_orig", orig)
        else:
            old = before[0][1]
            container = PruningContainer(*(old if isinstance(old, PruningContainer) else (old,)), method)
            mask = container.compute_mask(scores, getattr(module, name + "_mask").detach().clone())
            method = container
            for key, _ in before:
                del module._forward_pre_hooks[key]
        module.register_buffer(name + "_mask", mask.detach())
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Any:
        """A tensor with what this method chooses set to zero; no module is involved."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as tensor t, got {scores.shape} vs {t.shape}"
            )
        return t * self.compute_mask(scores, ops.ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Module) -> None:
        """Make the pruned values the parameter's own; what is zero stays so until it is trained."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        orig: Any = module._parameters[name + "_orig"]
        orig.data = weight.detach()
        del module._parameters[name + "_orig"], module._buffers[name + "_mask"]
        setattr(module, name, orig)


class PruningContainer(BasePruningMethod):
    """Several methods one after the other, each applied to what the ones before have left.

    Raises: TypeError for what is no method, ValueError for one of another parameter.
    """

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        for method in args:
            if not self._pruning_methods and isinstance(method, BasePruningMethod):
                self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Add one at the end."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: int) -> BasePruningMethod:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The last method's choice among what is left.

        Raises: ValueError for an unknown PRUNING_TYPE.
        """
        method = self._pruning_methods[-1]
        kind = method.PRUNING_TYPE
        if kind == "unstructured":
            left: Any = default_mask == 1
        elif kind == "structured":
            dim = method.dim  # type: ignore[attr-defined]
            if not -t.dim() <= dim < t.dim():
                raise IndexError(f"Index is out of bounds for tensor with dimensions {t.dim()}")
            dim %= t.dim()
            channels = default_mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0
            left = (slice(None),) * dim + (channels,)
        elif kind == "global":
            left = ...
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        mask = default_mask.to(dtype=t.dtype)
        mask = mask.clone() if mask is default_mask else mask
        mask[left] = method.compute_mask(t[left], default_mask=default_mask[left]).to(dtype=mask.dtype)
        return mask


def _check_amount(amount: Any) -> None:
    """Raises: TypeError or ValueError for what is neither a fraction nor a count."""
    if not isinstance(amount, (int, float)):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if amount < 0 or (isinstance(amount, float) and amount > 1):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
        )


def _count(amount: float, size: int) -> int:
    """How many of `size` are to go.

    Raises: ValueError for more than there are.
    """
    if not isinstance(amount, int):
        return round(amount * size)
    if amount > size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={size}")
    return amount


def _channels(t: Any, dim: int) -> int:
    """The size of a dim.

    Raises: ValueError for vectors, IndexError for a dim that there is not.
    """
    if t.dim() <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
            f"{t.shape} with {t.dim()} dims"
        )
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")
    return int(t.shape[dim])


def _along(t: Any, dim: int, keep: Any) -> Any:
    """A mask of t's shape from one value for each channel."""
    shape = [1] * t.dim()
    shape[dim] = -1
    return keep.to(t.dtype).reshape(shape).expand(t.shape)


class Identity(BasePruningMethod):
    """Prunes nothing: a parameter gets a mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        return default_mask


class RandomUnstructured(BasePruningMethod):
    """Prunes single elements at random: a number or a fraction of them."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: Any) -> None:
        _check_amount(amount)
        self.amount = amount

    def _scores(self, t: Any) -> Any:
        return -ops.rand_like(t)

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        count = _count(self.amount, t.nelement())
        mask = default_mask.clone()
        if count:
            mask.view(-1)[ops.topk(-self._scores(t).reshape(-1), count).indices] = 0
        return mask


class L1Unstructured(RandomUnstructured):
    """Prunes the elements nearest to zero."""

    def _scores(self, t: Any) -> Any:
        return t.detach().abs()


class RandomStructured(BasePruningMethod):
    """Prunes channels along a dim at random."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        _check_amount(amount)
        self.amount, self.dim = amount, dim

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        size = _channels(t, self.dim)
        count = _count(self.amount, size)
        if not count:
            return default_mask
        chance = ops.rand(size)
        keep = chance > ops.kthvalue(chance, count).values
        return _along(t, self.dim, keep) * default_mask.to(t.dtype)


class LnStructured(BasePruningMethod):
    """Prunes the channels along a dim whose L`n` norm is least."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        _check_amount(amount)
        self.amount, self.n, self.dim = amount, n, dim

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        size = _channels(t, self.dim)
        count = _count(self.amount, size)
        if not count:
            return default_mask
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        norms = ops.norm(t.detach(), p=self.n, dim=others)
        keep = ops.zeros(size)
        keep[ops.topk(norms, size - count).indices] = 1
        return _along(t, self.dim, keep) * default_mask.to(t.dtype)


class CustomFromMask(BasePruningMethod):
    """Prunes where a given mask is zero."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any) -> None:
        self.mask = mask

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"mask shape {self.mask.shape} does not match the parameter's shape {default_mask.shape}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)


def identity(module: Module, name: str) -> Module:
    """Give a parameter a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Any) -> Module:
    """Prune `amount` (a count, or a fraction) of a parameter's elements at random."""
    RandomUnstructured.apply(module, name, amount=amount)
    return module


def l1_unstructured(module: Module, name: str, amount: Any, importance_scores: Any = None) -> Module:
    """Prune the `amount` of a parameter's elements that are nearest to zero, or least by `importance_scores`.

    >>> import flambeau as torch
    >>> layer = torch.nn.utils.prune.l1_unstructured(torch.nn.Linear(2, 3), "weight", amount=2)
    >>> int((layer.weight == 0).sum()), sorted(layer.state_dict())
    (2, ['bias', 'weight_mask', 'weight_orig'])
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Any, dim: int) -> Module:
    """Prune `amount` channels along a dim at random."""
    RandomStructured.apply(module, name, amount=amount, dim=dim)
    return module


def ln_structured(
    module: Module, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None
) -> Module:
    """Prune the `amount` channels along a dim that have the least L`n` norm."""
    LnStructured.apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Any) -> Module:
    """Prune a parameter where `mask` is zero."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Mapping[Any, Any] | None = None, **kwargs: Any
) -> None:
    """Prune several parameters, given as (module, name), as if they were one.

    Raises: TypeError for anything else, or for a method that is not unstructured.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    if importance_scores is not None and not isinstance(importance_scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = list(parameters)
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method {pruning_method} of '
            f"type {method.PRUNING_TYPE}"
        )
    given = importance_scores or {}
    values = [getattr(module, name) for module, name in pairs]
    scores = parameters_to_vector([given.get(pair, value) for pair, value in zip(pairs, values)])
    masks = [
        getattr(module, name + "_mask") if hasattr(module, name + "_mask") else ops.ones_like(value)
        for (module, name), value in zip(pairs, values)
    ]
    method._tensor_name = "all"
    mask = PruningContainer(method).compute_mask(scores, parameters_to_vector(masks))
    for (module, name), value, part in zip(pairs, values, mask.split([v.numel() for v in values])):
        custom_from_mask(module, name, part.view_as(value))


def remove(module: Module, name: str) -> Module:
    """Make the pruning of a parameter final: the mask goes, the zeros stay.

    Raises: ValueError when it was not pruned.
    """
    for key, hook in _hooks(module, name):
        hook.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module, or of one inside it, is pruned."""
    return any(_hooks(inner) for inner in module.modules())
