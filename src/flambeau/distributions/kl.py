"""Kullback-Leibler divergences: the registry, and the dispatch on both types.

The formulas are in `kl_rules` (two distributions of one family) and `kl_expectations` (of two families).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..core.tensor import Tensor
from .distribution import Distribution

__all__ = ["kl_divergence", "register_kl"]

_KL_REGISTRY: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {}
_KL_MEMOIZE: dict[tuple[type, type], Callable[[Any, Any], Tensor] | None] = {}  # None: there is none


def register_kl(type_p: type, type_q: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that registers ``fn(p, q)`` for a pair of types and their subclasses.

    Other classes than distributions are accepted, as libraries have bases of their own above them.

    Raises: TypeError for anything but a class.
    """
    for name, value in (("type_p", type_p), ("type_q", type_q)):
        if not isinstance(value, type):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {value}")

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        _KL_REGISTRY[type_p, type_q] = fn
        _KL_MEMOIZE.clear()  # what was found for subclasses may change
        return fn

    return decorate


def _find(type_p: type, type_q: type) -> Callable[[Any, Any], Tensor] | None:
    """The rule of the closest pair of base classes: closest in `type_p` first, then in `type_q`.

    Warns: RuntimeWarning when the other order would choose another rule.
    """
    near_p = {c: i for i, c in enumerate(type_p.__mro__)}
    near_q = {c: i for i, c in enumerate(type_q.__mro__)}
    pairs = [(a, b) for a, b in _KL_REGISTRY if a in near_p and b in near_q]
    if not pairs:
        return None
    left = min(pairs, key=lambda pair: (near_p[pair[0]], near_q[pair[1]]))
    right = min(pairs, key=lambda pair: (near_q[pair[1]], near_p[pair[0]]))
    if _KL_REGISTRY[left] is not _KL_REGISTRY[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please register_kl("
            f"{left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[left]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """``E_p(log p - log q)``, of the batch's shape.

    Raises: NotImplementedError when no rule is registered for the two types.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> D.kl_divergence(D.Normal(0.0, 1.0), D.Normal(1.0, 1.0))
    tensor(0.5000)
    """
    key = type(p), type(q)
    if key not in _KL_MEMOIZE:
        _KL_MEMOIZE[key] = _find(*key)
    fn = _KL_MEMOIZE[key]
    if fn is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {key[0].__name__} and q type {key[1].__name__}"
        )
    return fn(p, q)
