"""Lists and dictionaries that nodes hold their arguments in: changing one in place would not be noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from ..core.pytree import register_pytree_node

__all__ = ["immutable_dict", "immutable_list"]


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__!r} object does not support mutation. To change the arguments of a node, "
            "make a new list or dict and assign it: node.args = ..., node.kwargs = ..."
        )

    refuse.__name__ = name
    return refuse


class immutable_list(list[Any]):  # noqa: N801  PyTorch's name
    """A list that cannot be changed."""

    for _name in (
        *("__delitem__", "__iadd__", "__imul__", "__setitem__", "append", "clear", "extend", "insert"),
        *("pop", "remove", "reverse", "sort"),
    ):
        locals()[_name] = _refusal(_name)
    del _name

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return (immutable_list, (tuple(self),))


class immutable_dict(dict[Any, Any]):  # noqa: N801  PyTorch's name
    """A dict that cannot be changed."""

    for _name in ("__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update"):
        locals()[_name] = _refusal(_name)
    del _name

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return (immutable_dict, (list(self.items()),))


def _list_from(values: Iterable[Any], _: Any) -> immutable_list:
    return immutable_list(values)


def _dict_from(values: Iterable[Any], keys: Iterable[Any]) -> immutable_dict:
    return immutable_dict(zip(keys, values))


register_pytree_node(immutable_list, lambda x: (list(x), None), _list_from)
register_pytree_node(immutable_dict, lambda x: (list(x.values()), list(x)), _dict_from)
