"""Taking part in ``__torch_function__``: `flambeau.overrides`.

A class with a ``__torch_function__`` sees the calls that get one of its instances; a `TorchFunctionMode` sees the
calls in its ``with`` block, of functions that make tensors too.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .core import public
from .core.state import tls
from .core.tensor import Tensor
from .runtime.absent import names_of
from .tensor import protocol
from .tensor.protocol import disabled_torch_function

__all__ = [
    "BaseTorchFunctionMode",
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "TorchFunctionMode",
    "get_default_nowrap_functions",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
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
    values = [getattr(Tensor, name) for kind in Tensor.__mro__[:-1] for name in vars(kind)]
    return {v for v in values if callable(v)} | {v.fget for v in values if isinstance(v, property)}


def resolve_name(f: Callable[..., Any]) -> str | None:
    """A readable name for what a ``__torch_function__`` got: ``torch.add``, ``torch.Tensor.shape.__get__``; None if unknown.

    >>> import flambeau as torch
    >>> torch.overrides.resolve_name(torch.Tensor.add), torch.overrides.resolve_name(torch.nn.functional.relu)
    ('torch.Tensor.add', 'torch.nn.functional.relu')
    """
    try:
        return _overridable()[1].get(f)
    except TypeError:  # not hashable
        return None


def get_overridable_functions() -> dict[Any, list[Callable[..., Any]]]:
    """The functions that ask the protocol, by where they are found: namespaces, and Tensor with its attributes' getters."""
    return {space: list(found) for space, found in _overridable()[0].items()}


_IGNORED = """
    allclose_ as_tensor asarray arange blackman_window bartlett_window empty empty_permuted empty_strided eye fill from_dlpack
    from_file from_numpy frombuffer full full_like hamming_window hann_window kaiser_window linspace logspace ones rand randint
    randn randperm range scalar_tensor tensor tril_indices triu_indices vander zeros normal sparse_coo_tensor sparse_csr_tensor
""".split()


@functools.lru_cache(None)
def _overridable() -> tuple[dict[Any, list[Any]], dict[Any, str]]:
    """(the functions of each namespace, the name of each function)."""
    import flambeau
    from flambeau import fft, linalg, nn, special

    spaces: list[tuple[str, Any, list[str]]] = [
        ("torch", flambeau, sorted(public.FUNCTIONS)),
        ("torch.nn.functional", nn.functional, nn.functional.__all__),
        ("torch.nn.init", nn.init, ["uniform_", "normal_", "constant_", "kaiming_uniform_"]),
        ("torch.Tensor", Tensor, sorted(protocol.names())),
        ("torch.linalg", linalg, [n for n in dir(linalg) if not n.startswith("_")]),
        ("torch.fft", fft, [n for n in dir(fft) if not n.startswith("_")]),
        ("torch.special", special, [n for n in dir(special) if not n.startswith("_")]),
    ]
    functions: dict[Any, list[Any]] = {}
    names: dict[Any, str] = {}
    for prefix, space, given in spaces:
        for name in given:
            value = getattr(space, name, None) if space is not flambeau else vars(flambeau).get(name)
            if isinstance(value, property):
                found: list[tuple[str, Any]] = [(f"{name}.__get__", value.__get__)]
                found += [(f"{name}.__set__", value.__set__)] if value.fset else []
            elif (
                callable(value)
                and not isinstance(value, type)
                and not (prefix == "torch" and name in _IGNORED)
            ):
                found = [(name, value)]
            else:
                continue
            for label, fn in found:
                functions.setdefault(space, []).append(fn)
                names[fn] = f"{prefix}.{label}"
    return functions, names


def get_ignored_functions() -> set[Callable[..., Any]]:
    """Public functions of the torch namespace that no class can take over, as they take no tensors that decide.

    >>> import flambeau as torch
    >>> torch.zeros in torch.overrides.get_ignored_functions()
    True
    """
    import flambeau

    known = _overridable()[1]
    values = [v for n, v in vars(flambeau).items() if not n.startswith("_")]
    return {v for v in values if inspect.isfunction(v) and v not in known}


def get_testing_overrides() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For each function that can be taken over, one with its parameters that returns -1: for tests of one's own classes.

    >>> import flambeau as torch
    >>> torch.overrides.get_testing_overrides()[torch.add](1, 2)
    -1
    """
    return {fn: _stand_in(fn) for fn in _overridable()[1]}


def _stand_in(fn: Callable[..., Any]) -> Callable[..., Any]:
    def answer(*args: Any, **kwargs: Any) -> int:
        return -1

    try:
        answer.__signature__ = inspect.signature(fn)  # type: ignore[attr-defined]
    except (TypeError, ValueError):  # `__get__` and `__set__` of attributes have none
        pass
    return answer


def get_default_nowrap_functions() -> set[Callable[..., Any]]:
    """The functions whose results the default ``__torch_function__`` leaves as they are."""
    return set(protocol.not_wrapped())


def _get_current_function_mode() -> TorchFunctionMode | None:
    modes = tls.__dict__.get("function_modes")
    return modes[-1] if modes else None


def _get_current_function_mode_stack() -> list[TorchFunctionMode]:
    return list(tls.__dict__.get("function_modes") or ())


_quick: dict[str, Any] = {}


def _operators_ask() -> None:
    """Operators, methods and attributes of plain tensors do not look for modes; while there is one, these do."""
    for name in protocol.names():
        asking = protocol.asking(name) if name in vars(Tensor) else None
        if asking is not None:
            _quick[name] = vars(Tensor)[name]
            setattr(Tensor, name, asking)


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
