"""Taking the arguments of a generated function apart as it was traced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ..core.pytree import Spec, children_of

__all__ = ["register_pytree_flatten_spec", "tree_flatten_spec"]

_own: dict[type, Callable[[Any, Spec], list[Any]]] = {}


def register_pytree_flatten_spec(
    cls: type,
    flatten_fn_spec: Callable[[Any, Any], list[Any]],
    flatten_fn_exact_match_spec: Callable[[Any, Any], bool] | None = None,
) -> None:
    """Say how an instance of `cls` is taken apart after the structure of another one."""
    _own[cls] = flatten_fn_spec


def tree_flatten_spec(pytree: Any, spec: Spec) -> list[Any]:
    """The leaves of `pytree`, as far as `spec` has them: what it has besides is left out.

    Raises: RuntimeError, KeyError or IndexError when it is not put together like that.
    """
    if spec.kind is None:
        return [pytree]
    if spec.kind in _own:
        below = _own[spec.kind](pytree, spec)
    elif isinstance(spec.kind, type) and issubclass(spec.kind, dict):
        keys = spec.context[1] if issubclass(spec.kind, defaultdict) else spec.context
        below = [pytree[k] for k in keys]
    elif not isinstance(spec.kind, type) or issubclass(spec.kind, (list, tuple)):  # a namedtuple, for one
        below = [pytree[i] for i in range(len(spec.children))]
    else:
        found = children_of(pytree)
        if found is None or len(found) != len(spec.children):
            raise RuntimeError(
                f"{type(pytree).__name__} cannot be taken apart like {spec.kind.__name__}, with which the function was traced"
            )
        below = found
    return [leaf for part, own in zip(below, spec.children) for leaf in tree_flatten_spec(part, own)]
