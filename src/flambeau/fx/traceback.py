"""What nodes are told about where they come from, while programs say so: `annotate`, `preserve_node_meta`."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

__all__ = [
    "annotate",
    "annotate_fn",
    "format_stack",
    "get_current_meta",
    "has_preserved_node_meta",
    "preserve_node_meta",
    "set_current_meta",
    "set_stack_trace",
]

F = TypeVar("F", bound=Callable[..., Any])
_current: dict[str, Any] = {}
_preserved = False


@contextlib.contextmanager
def _with(**meta: Any) -> Iterator[None]:
    global _current
    before = _current
    _current = {**before, **meta}
    try:
        yield
    finally:
        _current = before


@contextlib.contextmanager
def preserve_node_meta(enable: bool = True) -> Iterator[None]:
    """In this ``with`` block nodes that are made get the `meta` set by `set_current_meta` and `annotate`."""
    global _preserved, _current
    before, meta = _preserved, dict(_current)
    _preserved = enable
    try:
        yield
    finally:
        _preserved, _current = before, meta


def has_preserved_node_meta() -> bool:
    """Whether `preserve_node_meta` is on."""
    return _preserved


def get_current_meta() -> dict[str, Any]:
    """What nodes that are made get."""
    return _current


def set_current_meta(node: Any, pass_name: str = "") -> contextlib.AbstractContextManager[None]:
    """In this ``with`` block nodes that are made get the `meta` of `node`, if `preserve_node_meta` is on."""
    return _with(**node.meta) if _preserved and node.meta else contextlib.nullcontext()


def annotate(annotation_dict: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
    """In this ``with`` block nodes that are made get these entries in ``meta["custom"]``, if `preserve_node_meta` is on."""
    return _with(custom={**_current.get("custom", {}), **annotation_dict})


def annotate_fn(annotation_dict: dict[str, Any]) -> Callable[[F], F]:
    """`annotate` around each call of a function."""

    def decorate(fn: F) -> F:
        @functools.wraps(fn)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with annotate(annotation_dict):
                return fn(*args, **kwargs)

        return inside  # type: ignore[return-value]

    return decorate


def set_stack_trace(stack: list[str]) -> None:
    """Give nodes that are made this stack trace, if `preserve_node_meta` is on."""
    if _preserved and stack:
        _current["stack_trace"] = "".join(stack)


def format_stack() -> list[str]:
    """The stack trace that nodes would get."""
    if _preserved:
        return [_current.get("stack_trace", "")]
    return traceback.format_list(traceback.extract_stack()[:-1])
