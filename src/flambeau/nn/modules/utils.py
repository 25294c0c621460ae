"""Small helpers of the modules: one value for every dimension, prefixes of state dicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["consume_prefix_in_state_dict_if_present"]


def ntuple(x: Any, n: int) -> tuple[Any, ...]:
    """`x` as a tuple: a single value is repeated `n` times."""
    return tuple(x) if isinstance(x, Iterable) else (x,) * n


def _ntuple(n: int, name: str = "parse") -> Any:
    """The function that makes tuples of length `n`."""

    def parse(x: Any) -> tuple[Any, ...]:
        return ntuple(x, n)

    parse.__name__ = name
    return parse


def _single(x: Any) -> tuple[Any, ...]:
    return ntuple(x, 1)


def _pair(x: Any) -> tuple[Any, ...]:
    return ntuple(x, 2)


def _triple(x: Any) -> tuple[Any, ...]:
    return ntuple(x, 3)


def _reverse_repeat_tuple(t: Sequence[Any], n: int) -> tuple[Any, ...]:
    """The elements in reverse order, each `n` times: paddings per dim in the order that `F.pad` wants."""
    return tuple(x for x in reversed(t) for _ in range(n))


def _state(module: Any, *names: str) -> str:
    """``name=value`` for the named attributes, as `extra_repr` shows them."""
    return ", ".join(f"{name}={getattr(module, name)}" for name in names)


def consume_prefix_in_state_dict_if_present(state_dict: dict[str, Any], prefix: str) -> None:
    """Take a prefix off the keys that have it, in place, as after training under a data-parallel wrapper.

    >>> from flambeau.nn.modules.utils import consume_prefix_in_state_dict_if_present
    >>> state = {"module.weight": 1}
    >>> consume_prefix_in_state_dict_if_present(state, "module.")
    >>> state
    {'weight': 1}
    """
    for key in list(state_dict):
        if key.startswith(prefix):
            state_dict[key[len(prefix) :]] = state_dict.pop(key)
    metadata = getattr(state_dict, "_metadata", None)
    for key in list(metadata or ()):
        if key and (key == prefix.replace(".", "") or key.startswith(prefix)):
            metadata[key[len(prefix) :]] = metadata.pop(key)  # type: ignore[index, union-attr]
