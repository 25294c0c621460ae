"""The parameters of what nodes call: arguments put in order, functions that write into their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ..core.public import METHODS
from ..nn import functional
from .graph_module import _get_attr
from .naming import known

__all__ = [
    "ArgsKwargsPair",
    "check_for_mutable_operation",
    "create_type_hint",
    "get_signature_for_torch_op",
    "normalize_function",
    "normalize_module",
    "type_matches",
]


class ArgsKwargsPair(NamedTuple):
    """Arguments of a call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def get_signature_for_torch_op(op: Any, return_schemas: bool = False) -> Any:
    """The signatures of one of the library's functions in a list; None for other functions."""
    found = None
    if id(op) in known().of:
        try:
            found = [inspect.signature(op)]
        except ValueError:
            found = None
    return (found, None) if return_schemas else found


def normalize_function(
    target: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    arg_types: tuple[Any, ...] | None = None,
    kwarg_types: dict[str, Any] | None = None,
    normalize_to_only_use_kwargs: bool = False,
) -> ArgsKwargsPair | None:
    """The arguments of a call by the parameters of a function of the library, with defaults; None where they do not fit.

    >>> import flambeau as torch
    >>> normalize_function(torch.nn.functional.relu, (1,), {}, normalize_to_only_use_kwargs=True)
    ArgsKwargsPair(args=(), kwargs={'input': 1, 'inplace': False})
    """
    signatures = get_signature_for_torch_op(target)
    return (
        _normalized(signatures[0], args, kwargs or {}, normalize_to_only_use_kwargs) if signatures else None
    )


def normalize_module(
    root: Any,
    target: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    normalize_to_only_use_kwargs: bool = False,
) -> ArgsKwargsPair | None:
    """The arguments of a call by the parameters of a module of the library; None for other modules."""
    module = _get_attr(root, target)
    if type(module).__module__.split(".")[:2] != ["flambeau", "nn"]:
        return None
    return _normalized(inspect.signature(module.forward), args, kwargs or {}, normalize_to_only_use_kwargs)


def _normalized(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any], only_kwargs: bool
) -> ArgsKwargsPair | None:
    kinds = {p.kind for p in signature.parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return None
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    if only_kwargs:
        return ArgsKwargsPair((), dict(bound.arguments))
    plain = tuple(
        v for n, v in bound.arguments.items() if n not in kwargs and signature.parameters[n].default is _EMPTY
    )
    rest = {
        n: v
        for n, v in bound.arguments.items()
        if n in kwargs or signature.parameters[n].default is not _EMPTY
    }
    return ArgsKwargsPair(plain, rest)


_EMPTY = inspect.Parameter.empty


def check_for_mutable_operation(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises: RuntimeError for a function that writes into its arguments."""
    name = getattr(target, "__name__", "")
    writes = name.endswith("_") and not name.endswith("__") and id(target) in known().of
    if writes or (kwargs.get("inplace") and getattr(functional, name, None) is target):
        raise RuntimeError(
            f"Tried to trace mutable operation aten::{name}. FX only supports functional code, so operations that mutate "
            "operands in-place (e.g. via `out` arguments) are not supported"
        )
    if kwargs.get("out") is not None and (id(target) in known().of or name in METHODS):
        raise RuntimeError(
            f"Tried to trace mutable operation aten::{name}.out. FX only supports functional code, so operations that "
            "mutate operands in-place are not supported"
        )


def create_type_hint(x: Any) -> Any:
    """``List[T]`` or ``Tuple[T, ...]`` for a list or tuple of types; anything else as it is."""
    if not isinstance(x, (list, tuple)):
        return x
    kinds = list(x)
    base = Any if not kinds else kinds[0]
    for kind in kinds:
        if isinstance(kind, type) and isinstance(base, type) and issubclass(base, kind):
            base = kind
        elif not (isinstance(kind, type) and isinstance(base, type) and issubclass(kind, base)):
            base = Any
            break
    return list[base] if isinstance(x, list) else tuple[base, ...]  # type: ignore[valid-type]


def type_matches(signature_type: Any, argument_type: Any) -> bool:
    """Whether an argument of one type could be given for a parameter of the other."""
    if signature_type is argument_type or signature_type is Any:
        return True
    if signature_type is float and argument_type is int:
        return True
    return (
        isinstance(signature_type, type)
        and isinstance(argument_type, type)
        and issubclass(argument_type, signature_type)
    )
