"""The names that the nodes of composites show: PyTorch's, whatever the last operation is here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .op import parameter_names
from .state import tls
from .tape import Node, OutNode, PlainNode
from .tensor import Tensor

__all__ = ["GradName", "by_dim", "by_tensor", "rename", "show", "shows"]

F = TypeVar("F", bound=Callable[..., Any])


def rename(result: Any, name: str, args: Sequence[Any] = ()) -> Any:
    """Give the nodes of a composite's results the name under which PyTorch shows them.

    What the composite handed back as it came (one of `args`) keeps its own.
    """
    for t in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(t, Tensor) and t._node is not None and not any(t is a for a in args):
            node: Any = t._node
            if type(node) is OutNode:
                node = node.parent
            if isinstance(node, (Node, PlainNode)):
                node.show_as(name)
    return result


# The name of a result's node, or a function of a call's arguments that gives it.
GradName = str | Callable[[tuple[Any, ...], dict[str, Any]], "str | None"]


def shows(grad_name: GradName) -> Callable[[F], F]:
    """For a function that is not `public`: the name that its result's node shows."""

    def decorate(fn: F) -> F:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = fn(*args, **kwargs)
            if type(result) is Tensor and result._node is None or tls.stack:
                return result
            return show(result, grad_name, args, kwargs)

        wrapper.names = parameter_names(fn)  # type: ignore[attr-defined]
        return wrapper  # type: ignore[return-value]

    return decorate


def show(result: Any, grad_name: GradName, args: Any, kwargs: Any) -> Any:
    """Rename the nodes of a result, for this call."""
    name = grad_name if type(grad_name) is str else grad_name(args, kwargs)  # type: ignore[operator]
    return result if name is None else rename(result, name, (*args, *kwargs.values()) if kwargs else args)


def by_dim(one: str, other: str, position: int = 1, name: str = "dim") -> GradName:
    """The name for calls without a dim, and the one for calls with it."""

    def choose(args: Any, kwargs: Any) -> str:
        return other if len(args) > position or kwargs.get(name) is not None else one

    return choose


def by_tensor(tensor: str, number: str, position: int, name: str) -> GradName:
    """The name for calls in which an argument is a tensor, and the one where it is a number."""

    def choose(args: Any, kwargs: Any) -> str:
        given = args[position] if len(args) > position else kwargs.get(name)
        return tensor if isinstance(given, Tensor) else number

    return choose
