"""Taking part in ``__torch_function__``: `flambeau.overrides`.

A class with a ``__torch_function__`` sees the calls that get one of its instances; a `TorchFunctionMode` sees the
calls in its ``with`` block, of functions that make tensors too.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .core import public
from .core.state import tls
from .core.tensor import Tensor
from .runtime.absent import names_of
from .tensor.methods import OPERATORS, disabled_torch_function, dispatching

__all__ = [
    "BaseTorchFunctionMode",
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "TorchFunctionMode",
    "get_overridable_functions",
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]

F = TypeVar("F", bound=Callable[..., Any])


def _enabled() -> bool:
    return bool(tls.__dict__.get("torch_function", True))


def _takes_part(x: object) -> bool:
    kind: Any = type(x)
    own = getattr(kind, "__torch_function__", None)
    plain = kind is Tensor or getattr(kind, "_plain_results", False)
    return own is not None and not plain and own is not disabled_torch_function


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether one of the arguments, or a mode, may take over a call.

    >>> import flambeau as torch
    >>> torch.overrides.has_torch_function((torch.ones(2), 1))
    False
    """
    if not _enabled():
        return False
    return bool(tls.__dict__.get("function_modes")) or any(map(_takes_part, relevant_args))


def has_torch_function_unary(arg: Any) -> bool:
    """`has_torch_function` of one argument."""
    return has_torch_function((arg,))


def has_torch_function_variadic(*args: Any) -> bool:
    """`has_torch_function` of several arguments."""
    return has_torch_function(args)


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """Give a call to the first of `relevant_args` that wants it: subclasses before their bases, then left to right.

    Raises: TypeError when every one declines with NotImplemented.
    """
    found: list[Any] = []
    for x in relevant_args:
        if _takes_part(x) and not any(type(o) is type(x) for o in found):
            at = next((i for i, o in enumerate(found) if isinstance(x, type(o))), len(found))
            found.insert(at, x)
    return public.hand_over(public_api, found, args, kwargs)


def wrap_torch_function(dispatcher: Callable[..., Iterable[Any]]) -> Callable[[F], F]:
    """Have a function of one's own ask the protocol; `dispatcher` has its parameters and returns the relevant ones."""

    def decorate(fn: F) -> F:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapper, relevant, *args, **kwargs)
            return fn(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate


def is_tensor_like(inp: object) -> bool:
    """Whether `inp` is a tensor, or of a class with a ``__torch_function__``."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """Whether `func` belongs to Tensor, or is the getter of one of its properties."""
    return func in _of_tensor() or getattr(func, "__name__", None) == "__get__"


@functools.lru_cache(None)
def _of_tensor() -> set[Any]:
    values = [value for kind in Tensor.__mro__[:-1] for value in vars(kind).values()]
    return {v for v in values if callable(v)} | {v.fget for v in values if isinstance(v, property)}


def resolve_name(f: Callable[..., Any]) -> str | None:
    """A readable name for what a ``__torch_function__`` got: ``torch.add``, ``torch.Tensor.add``; None if unknown."""
    name = getattr(f, "__name__", None)
    if name is None:
        return None
    import flambeau

    if f in (public.FUNCTIONS.get(name), vars(flambeau).get(name)):
        return f"torch.{name}"
    if getattr(Tensor, name, None) is f:
        return f"torch.Tensor.{name}"
    return f"{getattr(f, '__module__', '')}.{name}"


def get_overridable_functions() -> dict[Any, list[Callable[..., Any]]]:
    """The functions that ask the protocol, by where they are found."""
    import flambeau

    return {
        flambeau: list(dict.fromkeys(public.FUNCTIONS.values())),
        Tensor: list(dict.fromkeys(public.METHODS.values())),
    }


_quick: dict[str, Any] = {}


def _operators_ask() -> None:
    """Operators and methods of plain tensors do not look for modes; while there is one, these do."""
    for name in {*OPERATORS, *public.METHODS}:
        if name in vars(Tensor):
            _quick[name] = vars(Tensor)[name]
            if callable(_quick[name]):
                setattr(Tensor, name, dispatching(_quick[name]))


def _operators_are_quick() -> None:
    for name, own in _quick.items():
        setattr(Tensor, name, own)
    _quick.clear()


class TorchFunctionMode:
    """Sees the calls on tensors made in its ``with`` block, through a ``__torch_function__`` that subclasses define.

    Calls made by that method itself go to the mode outside, or just run.

    >>> import flambeau as torch
    >>> class Count(torch.overrides.TorchFunctionMode):
    ...     n = 0
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         self.n += 1
    ...         return func(*args, **(kwargs or {}))
    >>> x = torch.ones(2)
    >>> with Count() as count:
    ...     y = torch.relu(x + 1)
    >>> count.n
    2
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __torch_function__")

    def __enter__(self) -> Any:
        tls.__dict__.setdefault("function_modes", []).append(self)
        if TorchFunctionMode not in public.OVERRIDES:
            _operators_ask()
        public.OVERRIDES.append(TorchFunctionMode)  # makes functions ask
        return self

    def __exit__(self, *exc: Any) -> None:
        tls.__dict__["function_modes"].remove(self)
        public.OVERRIDES.remove(TorchFunctionMode)
        if TorchFunctionMode not in public.OVERRIDES:
            _operators_are_quick()


class BaseTorchFunctionMode(TorchFunctionMode):
    """Changes nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Disabled(contextlib.ContextDecorator):
    def __enter__(self) -> None:
        self.before: list[bool] = [*getattr(self, "before", []), _enabled()]
        tls.torch_function = False

    def __exit__(self, *exc: Any) -> None:
        tls.torch_function = self.before.pop()


class DisableTorchFunctionSubclass(_Disabled):
    """In this ``with`` block subclasses of Tensor behave as plain tensors."""


class DisableTorchFunction(_Disabled):
    """In this ``with`` block neither subclasses nor modes take part."""


__getattr__ = names_of(__name__)
