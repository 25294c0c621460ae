"""``__torch_function__`` on tensors: its default, and how methods, operators and attributes ask for it.

Methods of plain tensors do not ask, so they cost nothing. Classes of their own, and `Tensor` while a mode is active, have
descriptors in their place that do. Looked up on the class they are what they stand for: a program that compares the
function it is given with ``torch.Tensor.add`` or ``torch.Tensor.shape.__get__`` finds it at any time.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from ..core.public import METHODS, OVERRIDES, hand_over, overridden
from ..core.state import tls
from ..core.tensor import Tensor, subclass_hooks
from . import indexing, methods, more_methods, representation

_READY = (indexing, methods, more_methods, representation)  # what the class has is from these

OPERATORS = [
    *[
        f"__{p}{n}__"
        for n in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
        for p in ("", "r", "i")
    ],
    *[
        f"__{n}__"
        for n in "lt le gt ge eq ne neg pos abs invert getitem setitem float int complex index".split()
    ],
]
REFLECTED = {n for n in OPERATORS if n.startswith("__r")}


def disabled_torch_function(func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """``__torch_function__ = torch._C._disabled_torch_function_impl``: results are plain tensors."""
    return func(*args, **(kwargs or {}))


def __torch_function__(cls: type, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """The default protocol: run the operation, and give results the subclass's type."""
    before = tls.__dict__.get("torch_function", True)
    tls.torch_function = False
    try:
        result = func(*args, **(kwargs or {}))
        if cls is Tensor or getattr(cls, "_plain_results", False) or func in not_wrapped():
            return result
        return _converted(result, cls)
    finally:
        tls.torch_function = before


def _converted(x: Any, cls: type) -> Any:
    if type(x) is Tensor:
        return x.as_subclass(cls)
    if type(x) in (tuple, list):
        return type(x)(_converted(v, cls) for v in x)
    return x


setattr(Tensor, "__torch_function__", classmethod(__torch_function__))


@functools.cache
def not_wrapped() -> set[Any]:
    """Whose results keep their own class: PyTorch's ``get_default_nowrap_functions``."""
    attributes: Any = Tensor
    return {attributes._base.__get__, attributes.grad.__get__}


class Attribute(property):  # which knows its name; a docstring would show where an attribute has none
    __name__: str


for _name, _value in list(vars(Tensor).items()):
    if type(_value) is property:
        _named = Attribute(_value.fget, _value.fset, _value.fdel, _value.__doc__)
        _named.__name__, _named.__doc__ = _name, _value.__doc__
        setattr(Tensor, _name, _named)


class Asking:
    """A method that asks ``__torch_function__`` first."""

    __slots__ = ("base",)

    def __init__(self, base: Callable[..., Any]) -> None:
        self.base = base

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self.base if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = overridden(self.base, args, kwargs, as_method=True)
        return found[0] if found is not None else self.base(*args, **kwargs)

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self.base.__doc__

    @property
    def __name__(self) -> Any:
        return getattr(self.base, "__name__", "method")


class AskingReflected(Asking):
    """A reflected operator, which Python asks first only if the class's looks different from that of its base."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


class AskingAttribute:
    """An attribute that asks ``__torch_function__`` first: with its ``__get__``, ``__set__`` or ``__delete__``."""

    __slots__ = ("base",)

    def __init__(self, base: property) -> None:
        self.base = base

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self.base
        return _asked(self.base.__get__, instance)

    def __set__(self, instance: Any, value: Any) -> None:
        _asked(self.base.__set__, instance, value)

    def __delete__(self, instance: Any) -> None:
        _asked(self.base.__delete__, instance)


def _asked(fn: Callable[..., Any], *args: Any) -> Any:
    if tls.__dict__.get("torch_function", True):
        found: list[Any] = []
        for x in args:
            cls = type(x)
            if cls in OVERRIDES and not any(type(o) is cls for o in found):
                found.insert(next((i for i, o in enumerate(found) if isinstance(x, type(o))), len(found)), x)
        if found or tls.__dict__.get("function_modes"):
            return hand_over(fn, found, args, {})
    return fn(*args)


def asking(name: str) -> Any:
    """What is to stand for the attribute or method of this name while it has to ask; None where it cannot."""
    base = next((vars(k)[name] for k in Tensor.__mro__[:-1] if name in vars(k)), None)
    if isinstance(base, property):
        return AskingAttribute(base)
    if not callable(base):
        return None
    return AskingReflected(base) if name in REFLECTED else Asking(base)


def names() -> set[str]:
    """The methods, operators and attributes of Tensor that ask. (A class says itself what `as_subclass` gives.)"""
    attributes = {n for k in Tensor.__mro__[:-1] for n, v in vars(k).items() if isinstance(v, property)}
    return {*OPERATORS, *METHODS, *attributes} - {"as_subclass"}


def _prepare_subclass(cls: type) -> None:
    own_function: Any = getattr(cls, "__torch_function__")  # noqa: B009
    if getattr(cls, "_plain_results", False) or own_function is disabled_torch_function:
        return
    OVERRIDES.append(cls)
    for name in names():
        own = next((k for k in cls.__mro__ if name in k.__dict__), None)
        descriptor = asking(name) if own is Tensor else None
        if descriptor is not None:
            setattr(cls, name, descriptor)


subclass_hooks.append(_prepare_subclass)
