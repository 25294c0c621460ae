"""Nested containers ("pytrees"): flatten to leaves and back."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Spec(NamedTuple):
    """The structure of a pytree; `kind` None is a leaf."""

    kind: Any
    context: Any
    children: tuple[Any, ...]

    @property
    def num_leaves(self) -> int:
        return 1 if self.kind is None else sum(c.num_leaves for c in self.children)


LEAF = Spec(None, None, ())

# type -> (flatten(x) -> (children, context), unflatten(children, context))
_NODES: dict[type, tuple[Callable[[Any], tuple[list[Any], Any]], Callable[[Any, Any], Any]]] = {}


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[list[Any], Any]],
    unflatten_fn: Callable[[Any, Any], Any],
    **_: Any,
) -> None:
    """Treat instances of `cls` as containers."""
    _NODES[cls] = (flatten_fn, unflatten_fn)


def register_dataclass(cls: type, **_: Any) -> type:
    """Treat instances of a dataclass as containers of their fields (usable as a decorator)."""
    names = list(cls.__dataclass_fields__)  # type: ignore[attr-defined]
    register_pytree_node(
        cls,
        lambda x: ([getattr(x, n) for n in names], None),
        lambda children, _: cls(**dict(zip(names, children))),
    )
    return cls


register_pytree_node(list, lambda x: (list(x), None), lambda c, _: list(c))
register_pytree_node(tuple, lambda x: (list(x), None), lambda c, _: tuple(c))
register_pytree_node(dict, lambda x: (list(x.values()), list(x)), lambda c, keys: dict(zip(keys, c)))
register_pytree_node(
    OrderedDict, lambda x: (list(x.values()), list(x)), lambda c, keys: OrderedDict(zip(keys, c))
)
register_pytree_node(deque, lambda x: (list(x), x.maxlen), lambda c, maxlen: deque(c, maxlen))
register_pytree_node(
    defaultdict,
    lambda x: (list(x.values()), (x.default_factory, list(x))),
    lambda c, ctx: defaultdict(ctx[0], zip(ctx[1], c)),
)


def _kind(x: Any) -> Any | None:
    cls = type(x)
    if cls in _NODES:
        return cls
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return namedtuple
    return None


def is_registered(cls: type) -> bool:
    """Whether instances of `cls` are containers by registration."""
    return cls in _NODES


def children_of(tree: Any) -> list[Any] | None:
    """What a container holds; None for a leaf."""
    kind = _kind(tree)
    if kind is None:
        return None
    return list(tree) if kind is namedtuple else list(_NODES[kind][0](tree)[0])


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Spec]:
    """(leaves from left to right, structure)."""
    kind = None if is_leaf is not None and is_leaf(tree) else _kind(tree)
    if kind is None:
        return [tree], LEAF
    if kind is namedtuple:
        children, context = list(tree), type(tree)
    else:
        children, context = _NODES[kind][0](tree)
    leaves: list[Any] = []
    specs = []
    for c in children:
        found, spec = tree_flatten(c, is_leaf)
        leaves += found
        specs.append(spec)
    return leaves, Spec(kind, context, tuple(specs))


def tree_unflatten(leaves: Any, spec: Spec) -> Any:
    """The tree with this structure and these leaves."""
    return _build(iter(leaves), spec)


def _build(leaves: Iterator[Any], spec: Spec) -> Any:
    # Not a function inside `tree_unflatten`: one that calls itself is a cycle, and keeps the leaves alive.
    if spec.kind is None:
        return next(leaves)
    children = [_build(leaves, c) for c in spec.children]
    if spec.kind is namedtuple:
        return spec.context(*children)
    return _NODES[spec.kind][1](children, spec.context)


def shown(spec: Spec) -> str:
    """A structure as text, with `*` for the leaves."""

    class Star:
        def __repr__(self) -> str:
            return "*"

    return repr(tree_unflatten([Star()] * spec.num_leaves, spec))


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`fn` applied to corresponding leaves of trees with the same structure."""
    leaves, spec = tree_flatten(tree)
    others = [tree_flatten(r)[0] for r in rest]
    return tree_unflatten([fn(*xs) for xs in zip(leaves, *others)], spec)


def tree_leaves(tree: Any) -> list[Any]:
    return tree_flatten(tree)[0]


def broadcast_prefix(prefix: Any, tree: Any, what: str) -> list[Any]:
    """One entry of `prefix` for each leaf of `tree`; an entry in the place of a subtree counts for all of it.

    Raises: ValueError when the structures do not match.
    """
    mine, theirs = children_of(prefix), children_of(tree)
    if mine is None:
        return [prefix] * len(tree_flatten(tree)[0])
    if theirs is None:
        raise ValueError(f"{what}: structure {prefix!r} goes deeper than the values")
    if isinstance(prefix, dict) and isinstance(tree, dict):
        if set(prefix) != set(tree):
            raise ValueError(f"{what}: keys {list(prefix)} do not match those of the values, {list(tree)}")
        mine = [prefix[k] for k in tree]
    elif type(prefix) is not type(tree):
        raise ValueError(
            f"{what}: {prefix!r} is a {type(prefix).__name__} where the values are in a {type(tree).__name__}"
        )
    if len(mine) != len(theirs):
        raise ValueError(f"{what}: expected {len(theirs)} entries, got {len(mine)}: {prefix!r}")
    return [entry for p, c in zip(mine, theirs) for entry in broadcast_prefix(p, c, what)]
