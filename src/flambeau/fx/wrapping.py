"""Functions that are not traced through: `wrap`, and putting other functions in the place of globals for a while."""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

from ..core.public import METHODS
from ..core.tensor import Tensor
from ..tensor.protocol import OPERATORS, REFLECTED
from .node import map_aggregate
from .proxy import METHOD_OF_OPERATOR, Proxy

__all__ = ["Patcher", "wrap"]

F = TypeVar("F", bound=Callable[..., Any] | str)

# (id of a module's globals, name) -> the globals; classes and their methods.
_wrapped_fns_to_patch: dict[tuple[int, str], dict[str, Any]] = {}
_wrapped_methods_to_patch: list[tuple[type, str]] = []
_ABSENT = object()


def wrap(fn_or_name: F) -> F:
    """Have calls of a global function become one node each, instead of what it does; gives back what it is given.

    At the top of a module, as a decorator or with the name of a function, also of one of Python's: ``wrap("len")``.

    Raises: RuntimeError for anything else, NotImplementedError inside a function.
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    name = fn_or_name if isinstance(fn_or_name, str) else fn_or_name.__name__
    frame = sys._getframe(1)
    if frame.f_code.co_name != "<module>":
        raise NotImplementedError("wrap must be called at the top level of a module")
    _wrapped_fns_to_patch[(id(frame.f_globals), name)] = frame.f_globals
    return fn_or_name


wrap.__module__ = "flambeau.fx._symbolic_trace"  # where PyTorch has it, for generated code


def find_proxy(*values: Any) -> Proxy | None:
    """A traced value among these, also in containers."""
    found: list[Proxy] = []

    def note(x: Any) -> Any:
        if isinstance(x, Proxy):
            found.append(x)
        return x

    map_aggregate(values, note)
    return found[-1] if found else None


def wrapped_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, but a call with a traced value is a node."""

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        proxy = find_proxy(args, kwargs)
        if proxy is None:
            return fn(*args, **kwargs)
        made = proxy.tracer.create_proxy("call_function", fn, args, kwargs)
        made.node.meta["is_wrapped"] = True
        return made

    return wrapped


def wrapped_method(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A method `fn`, but a call with a traced value is a node that calls the method `name`."""

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        proxy = find_proxy(args, kwargs)
        if proxy is None:
            return fn(*args, **kwargs)
        return proxy.tracer.create_proxy("call_method", name, args, kwargs)

    return wrapped


_wrapped_once = functools.cache(wrapped_method)  # of the methods of tensors, which every trace asks for


class Patcher:
    """Puts values into dicts and classes until the ``with`` block ends."""

    def __init__(self) -> None:
        self.undo: list[Callable[[], None]] = []
        self.visited: set[int] = set()

    def __enter__(self) -> Patcher:
        return self

    def __exit__(self, *exc: Any) -> None:
        while self.undo:
            self.undo.pop()()

    def patch(self, table: dict[str, Any], name: str, make: Callable[[Any], Any]) -> None:
        """Replace a global by what `make` makes of it; once."""
        before = table.get(name, _ABSENT)
        if before is _ABSENT and not hasattr(builtins, name):
            raise KeyError(name)
        if getattr(before, "_fx_patched", False):
            return
        made = make(getattr(builtins, name) if before is _ABSENT else before)
        made._fx_patched = True
        table[name] = made
        self.undo.append(
            (lambda: table.pop(name)) if before is _ABSENT else lambda: table.__setitem__(name, before)
        )

    def patch_method(self, cls: type, name: str, value: Any, deduplicate: bool = True) -> None:
        """Replace a class's attribute."""
        before = vars(cls)[name] if name in vars(cls) else _ABSENT
        setattr(cls, name, value)
        self.undo.append(
            (lambda: delattr(cls, name)) if before is _ABSENT else lambda: setattr(cls, name, before)
        )

    def patch_wrapped(self) -> None:
        """Replace all that programs gave to `wrap`."""
        for (_, name), table in list(_wrapped_fns_to_patch.items()):
            self.patch(table, name, wrapped_function)
        for cls, name in _wrapped_methods_to_patch:
            self.patch_method(cls, name, wrapped_method(name, getattr(cls, name)))
        # Methods of tensors, given a traced value, are nodes that call methods, as in PyTorch.
        for name in sorted({*OPERATORS, *METHODS} - REFLECTED):
            own = vars(Tensor).get(name)
            if isinstance(own, FunctionType):
                self.patch_method(Tensor, name, _wrapped_once(METHOD_OF_OPERATOR.get(name, name), own))

    def autowrap(self, table: dict[str, Any], ids: set[int]) -> None:
        """Replace the functions with these ids among a module's globals."""
        if id(table) in self.visited:
            return
        self.visited.add(id(table))
        for name, value in list(table.items()):
            if not name.startswith("_") and id(value) in ids and callable(value):
                self.patch(table, name, wrapped_function)
