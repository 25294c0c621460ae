"""Nested containers: `flambeau.utils.pytree`, also found as ``utils._pytree``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.pytree import (
    LEAF,
    Spec,
    register_dataclass,
    register_pytree_node,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)

__all__ = [
    "LeafSpec",
    "PyTree",
    "TreeSpec",
    "register_dataclass",
    "register_pytree_node",
    "tree_all",
    "tree_any",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_map_only",
    "tree_structure",
    "tree_unflatten",
]

PyTree = Any
TreeSpec = Spec


def LeafSpec() -> Spec:
    """The structure of a single leaf."""
    return LEAF


def tree_structure(tree: PyTree) -> Spec:
    """The structure without the leaves."""
    return tree_flatten(tree)[1]


def tree_map_only(kind: Any, fn: Any = None, tree: Any = None) -> Any:
    """`fn` applied to the leaves that are of a type (or of a tuple of types); the others stay.

    >>> import flambeau as torch
    >>> torch.utils.pytree.tree_map_only(int, lambda n: n + 1, {"a": 1, "b": [2.0, 3]})
    {'a': 2, 'b': [2.0, 4]}
    """
    return tree_map(lambda x: fn(x) if isinstance(x, kind) else x, tree)


def tree_all(predicate: Callable[[Any], bool], tree: PyTree) -> bool:
    """Whether `predicate` holds for every leaf."""
    return all(map(predicate, tree_leaves(tree)))


def tree_any(predicate: Callable[[Any], bool], tree: PyTree) -> bool:
    """Whether `predicate` holds for a leaf."""
    return any(map(predicate, tree_leaves(tree)))
