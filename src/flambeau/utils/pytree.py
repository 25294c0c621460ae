"""Nested containers ("pytrees"): flatten them to a list of leaves, map over them, register your own.

The same structures that the function transforms accept. PyTorch users find these names in ``torch.utils._pytree``;
`flambeau.utils._pytree` is this module.

>>> from flambeau.utils.pytree import tree_flatten, tree_map
>>> tree_map(lambda x: x + 1, {"a": 1, "b": (2, [3])})
{'a': 2, 'b': (3, [4])}
>>> leaves, spec = tree_flatten({"a": 1, "b": (2, [3])})
>>> leaves, spec.num_leaves
([1, 2, 3], 3)
"""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..core import pytree as core
from ..core.pytree import LEAF, Spec

__all__ = [
    "GetAttrKey",
    "LeafSpec",
    "MappingKey",
    "PyTree",
    "PyTreeSpec",
    "SequenceKey",
    "TreeSpec",
    "is_namedtuple",
    "is_namedtuple_class",
    "is_namedtuple_instance",
    "key_get",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "tree_all",
    "tree_all_only",
    "tree_any",
    "tree_any_only",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_is_leaf",
    "tree_iter",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_map_only_",
    "tree_map_with_path",
    "tree_structure",
    "tree_unflatten",
    "treespec_pprint",
]

PyTree = Any
TreeSpec = PyTreeSpec = Spec
IsLeaf = Callable[[Any], bool] | None


def LeafSpec() -> Spec:
    """The structure of a leaf."""
    return LEAF


class SequenceKey(NamedTuple):
    """A place in a list or tuple."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, parent: Any) -> Any:
        return parent[self.idx]


class MappingKey(NamedTuple):
    """A key of a dictionary."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, parent: Any) -> Any:
        return parent[self.key]


class GetAttrKey(NamedTuple):
    """A field of a namedtuple or dataclass."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, parent: Any) -> Any:
        return getattr(parent, self.name)


# ----------------------------------------------------------------------------------------------- registration


class NodeDef(NamedTuple):
    """How containers of a type are taken apart, ``flatten_fn(x) -> (children, context)``, and put together."""

    type: Any
    flatten_fn: Callable[[Any], tuple[list[Any], Any]]
    unflatten_fn: Callable[[Any, Any], Any]


class _Supported(Mapping[Any, NodeDef]):
    """The registered containers; ``collections.namedtuple`` stands for all classes that it has made."""

    def __getitem__(self, kind: Any) -> NodeDef:
        if kind is namedtuple:
            return NodeDef(kind, _namedtuple_flatten, _namedtuple_unflatten)
        return NodeDef(kind, *core._NODES[kind])

    def __iter__(self) -> Iterator[Any]:
        return iter([*core._NODES, namedtuple])

    def __len__(self) -> int:
        return len(core._NODES) + 1


SUPPORTED_NODES = _Supported()


def _get_node_type(tree: Any) -> Any:
    """The key of `SUPPORTED_NODES` for `tree`, if it is a container."""
    return namedtuple if is_namedtuple_instance(tree) and type(tree) not in core._NODES else type(tree)


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_fn: Callable[[Any, Any], Any],
    **kwargs: Any,
) -> None:
    """Treat instances of `cls` as containers: ``flatten_fn(x) -> (children, context)`` and back.

    Raises: ValueError when `cls` is registered already, TypeError for anything but a class.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_pytree_node expects a class, but got {cls!r}")
    if core.is_registered(cls):
        raise ValueError(f"{cls!r} is already registered as pytree node.")

    def flatten(x: Any) -> tuple[list[Any], Any]:
        children, context = flatten_fn(x)
        return list(children), context

    core.register_pytree_node(cls, flatten, unflatten_fn, **kwargs)


def _dict_flatten(d: dict[Any, Any]) -> tuple[list[Any], list[Any]]:
    """The values, and as context the keys: what PyTorch registers for dict, and other libraries for their kinds."""
    return list(d.values()), list(d.keys())


def _dict_flatten_with_keys(d: dict[Any, Any]) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """`_dict_flatten` with each value's key."""
    values, keys = _dict_flatten(d)
    return [(MappingKey(k), v) for k, v in zip(keys, values)], keys


def _dict_unflatten(values: Iterable[Any], context: list[Any]) -> dict[Any, Any]:
    """Undo `_dict_flatten`."""
    return dict(zip(context, values))


def _namedtuple_flatten(d: Any) -> tuple[list[Any], type]:
    """The fields, and as context the class."""
    return list(d), type(d)


def _namedtuple_unflatten(values: Iterable[Any], context: type) -> Any:
    """Undo `_namedtuple_flatten`."""
    return context(*values)


def register_dataclass(
    cls: type, *, field_names: list[str] | None = None, drop_field_names: list[str] | None = None, **_: Any
) -> type:
    """Treat a dataclass as a container of its fields (or those named; `drop_field_names` get their defaults).

    Raises: TypeError for classes that are no dataclasses, ValueError for names that are no fields or a field of
    ``__init__`` that is named nowhere.

    >>> import dataclasses
    >>> from flambeau.utils.pytree import register_dataclass, tree_leaves
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Point:
    ...     x: float
    ...     y: float
    >>> tree_leaves([Point(1.0, 2.0), 3.0])
    [1.0, 2.0, 3.0]
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError(
            f"register_dataclass expects a dataclass, but got {cls!r}; decorate it with @dataclass"
        )
    known = [f.name for f in dataclasses.fields(cls) if f.init]
    dropped = drop_field_names or []
    names = field_names if field_names is not None else [n for n in known if n not in dropped]
    if set(names) | set(dropped) != set(known):
        raise ValueError(
            f"field_names {names} and drop_field_names {dropped} together must be the fields of {cls.__name__}.__init__: {known}"
        )
    register_pytree_node(
        cls,
        lambda x: ([getattr(x, n) for n in names], None),
        lambda children, _: cls(**dict(zip(names, children))),
    )
    return cls


def is_namedtuple_class(cls: type) -> bool:
    """Whether `cls` was made by namedtuple or NamedTuple."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_namedtuple_instance(obj: object) -> bool:
    """Whether `obj` is an instance of such a class."""
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj: object) -> bool:
    """Whether `obj` is a namedtuple, class or instance."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


# -------------------------------------------------------------------------------------------------- flattening


def tree_flatten(tree: PyTree, is_leaf: IsLeaf = None) -> tuple[list[Any], Spec]:
    """(leaves from left to right, structure); where `is_leaf(subtree)` holds, it is not entered."""
    return core.tree_flatten(tree, is_leaf)


def tree_unflatten(leaves: Iterable[Any], treespec: Spec) -> PyTree:
    """The tree with this structure and these leaves.

    Raises: TypeError for anything but a structure, ValueError for another number of leaves.
    """
    if not isinstance(treespec, Spec):
        raise TypeError(f"tree_unflatten expects a TreeSpec, but got {type(treespec).__name__}")
    found = list(leaves)
    if len(found) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten: {len(found)} leaves for a structure that holds {treespec.num_leaves}"
        )
    return core.tree_unflatten(found, treespec)


def tree_leaves(tree: PyTree, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves from left to right."""
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: PyTree, is_leaf: IsLeaf = None) -> Iterator[Any]:
    """The leaves one after another."""
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: PyTree, is_leaf: IsLeaf = None) -> Spec:
    """The structure alone."""
    return tree_flatten(tree, is_leaf)[1]


def tree_is_leaf(tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether this is a leaf, not a container."""
    return (is_leaf is not None and is_leaf(tree)) or core.children_of(tree) is None


def _keys(tree: Any, count: int) -> list[Any]:
    if isinstance(tree, dict):
        return [MappingKey(k) for k in tree]
    if is_namedtuple_instance(tree):
        return [GetAttrKey(n) for n in tree._fields]
    if dataclasses.is_dataclass(tree):
        return [GetAttrKey(f.name) for f in dataclasses.fields(tree)][:count]
    return [SequenceKey(i) for i in range(count)]


def tree_leaves_with_path(tree: PyTree, is_leaf: IsLeaf = None) -> list[tuple[tuple[Any, ...], Any]]:
    """Each leaf with the keys that lead to it."""
    children = None if is_leaf is not None and is_leaf(tree) else core.children_of(tree)
    if children is None:
        return [((), tree)]
    return [
        ((key, *path), leaf)
        for key, child in zip(_keys(tree, len(children)), children)
        for path, leaf in tree_leaves_with_path(child, is_leaf)
    ]


def tree_flatten_with_path(tree: PyTree, is_leaf: IsLeaf = None) -> tuple[list[Any], Spec]:
    """(pairs of path and leaf, structure)."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def keystr(kp: Iterable[Any]) -> str:
    """A path as text.

    >>> from flambeau.utils.pytree import keystr, tree_leaves_with_path
    >>> [keystr(path) for path, _ in tree_leaves_with_path({"a": [1, 2]})]
    ["['a'][0]", "['a'][1]"]
    """
    return "".join(str(k) for k in kp)


def key_get(obj: Any, kp: Iterable[Any]) -> Any:
    """What lies at a path."""
    for key in kp:
        obj = key.get(obj)
    return obj


def treespec_pprint(treespec: Spec) -> str:
    """A structure as text, `*` for the leaves."""
    return core.shown(treespec)


# ----------------------------------------------------------------------------------------------------- mapping


def tree_map(func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """`func` applied to corresponding leaves.

    Raises: ValueError when the trees differ in structure.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    others = []
    for i, r in enumerate(rests):
        found, other = tree_flatten(r, is_leaf)
        if other != spec:
            raise ValueError(
                f"tree_map: tree {i + 2} has the structure {treespec_pprint(other)}, the first one {treespec_pprint(spec)}"
            )
        others.append(found)
    return tree_unflatten([func(*xs) for xs in zip(leaves, *others)], spec)


def tree_map_(func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """Call `func` on corresponding leaves for its effects; returns the first tree."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_with_path(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None
) -> PyTree:
    """Like `tree_map`, with the path as first argument."""
    paths = iter([path for path, _ in tree_leaves_with_path(tree, is_leaf)])
    return tree_map(lambda *xs: func(next(paths), *xs), tree, *rests, is_leaf=is_leaf)


def _only(types: Any, func: Callable[[Any], Any]) -> Callable[[Any], Any]:
    wanted = types if isinstance(types, (type, tuple)) or not callable(types) else None
    if wanted is None:
        return lambda x: func(x) if types(x) else x
    return lambda x: func(x) if isinstance(x, wanted) else x


def tree_map_only(
    type_or_types_or_pred: Any, func: Callable[[Any], Any], tree: PyTree, is_leaf: IsLeaf = None
) -> PyTree:
    """`func` applied to the leaves of some types (or for which a predicate holds); others stay."""
    return tree_map(_only(type_or_types_or_pred, func), tree, is_leaf=is_leaf)


def tree_map_only_(
    type_or_types_or_pred: Any, func: Callable[[Any], Any], tree: PyTree, is_leaf: IsLeaf = None
) -> PyTree:
    """Call `func` on these leaves for its effects; returns the tree."""
    return tree_map_(_only(type_or_types_or_pred, func), tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether `pred` holds for all leaves."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether `pred` holds for a leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(types: Any, pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether `pred` holds for all leaves of some types."""
    return all(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, types))


def tree_any_only(types: Any, pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether `pred` holds for a leaf of some types."""
    return any(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, types))
