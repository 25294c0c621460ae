"""TorchScript's names, for programs that use them: `flambeau.jit`.

There is no TorchScript here.  Decorators and `script` give back what they were given, `trace` runs the function once
on the example, as PyTorch does, and gives it back; so programs run as they do with ``PYTORCH_JIT=0``.  Saving and loading
scripted programs raise.  To make a function fast: `flambeau.compile`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from .futures import Future
from .nn import Module
from .runtime.absent import names_of

__all__ = [
    "Attribute",
    "Error",
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "TracerWarning",
    "annotate",
    "enable_onednn_fusion",
    "export",
    "fork",
    "freeze",
    "fuser",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "optimize_for_inference",
    "optimized_execution",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "set_fusion_strategy",
    "trace",
    "trace_module",
    "unused",
    "wait",
]

T = TypeVar("T")
_isinstance = isinstance


class Error(RuntimeError):
    """What a scripted function raises; here only `AssertionFailed` is one."""


class AssertionFailed(AssertionError, Error):
    """What ``torch._assert`` raises: Python's error, and that of scripted functions, which here are the functions."""

    def __reduce__(self) -> tuple[type[AssertionError], tuple[object, ...]]:
        return AssertionError, self.args


# Shown as what it is in PyTorch.
AssertionFailed.__name__ = AssertionFailed.__qualname__ = "AssertionError"
AssertionFailed.__module__ = "builtins"


class TracerWarning(Warning):
    """Never given here; for filters of warnings."""

    @staticmethod
    def ignore_lib_warnings() -> None:
        """Nothing: there are none to be left out."""


class ScriptModule(Module):
    """A module like any other; `script` and `trace` give back the module itself, which is no instance of this class."""


class ScriptFunction:
    """Nothing is an instance of this class; for ``isinstance``."""


def script(obj: T, optimize: Any = None, *_: Any, **__: Any) -> T:
    """`obj` itself.

    >>> import flambeau as torch
    >>> @torch.jit.script
    ... def double(x: torch.Tensor):
    ...     return 2 * x
    >>> double(torch.ones(2))
    tensor([2., 2.])
    """
    return obj


def trace(func: Any, example_inputs: Any = None, *_: Any, **kwargs: Any) -> Any:
    """`func` itself, after one run on `example_inputs` (a tensor, or a tuple of arguments).

    Raises: what that run raises; RuntimeError without example inputs.
    """
    named = kwargs.get("example_kwarg_inputs")
    if example_inputs is None and named is None:
        raise RuntimeError("trace(): example_inputs or example_kwarg_inputs should be given")
    if named is not None:
        func(**named)
    else:
        func(*(example_inputs if _isinstance(example_inputs, (tuple, list)) else (example_inputs,)))
    return func


def trace_module(mod: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
    """`mod` itself, after one run of each method named in `inputs` (name -> tensor, or tuple of arguments)."""
    for name, example in inputs.items():
        getattr(mod, name)(*(example if _isinstance(example, (tuple, list)) else (example,)))
    return mod


def freeze(mod: T, *_: Any, **__: Any) -> T:
    """`mod` itself.

    Raises: RuntimeError for a module in training mode.
    """
    if getattr(mod, "training", False):
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. "
            "Please call .eval() on your module before freezing."
        )
    return mod


def optimize_for_inference(mod: T, other_methods: Any = None) -> T:
    """`mod` itself."""
    return mod


def export(fn: T) -> T:
    """`fn` itself."""
    return fn


def unused(fn: T) -> T:
    """`fn` itself."""
    return fn


def script_method(fn: T) -> T:
    """`fn` itself."""
    return fn


def _overload(fn: T) -> T:
    """`fn`: one of several signatures for TorchScript; the function that is called comes last."""
    return fn


_overload_method = _overload


def script_if_tracing(fn: T) -> T:
    """`fn` itself."""
    return fn


_script_if_tracing = script_if_tracing


def interface(obj: T) -> T:
    """`obj` itself."""
    return obj


def ignore(drop: Any = False, **_: Any) -> Any:
    """A decorator, with or without arguments, that changes nothing."""
    if callable(drop):
        return drop
    return lambda fn: fn


def annotate(the_type: Any, the_value: T) -> T:
    """`the_value`."""
    return the_value


def Attribute(value: T, type: Any = None) -> T:
    """`value`."""
    return value


def isinstance(obj: Any, target_type: Any) -> bool:
    """As the built-in; of ``List[int]`` and its kin only the container is checked."""
    kinds = target_type if _isinstance(target_type, tuple) else (target_type,)
    return any(_isinstance(obj, getattr(kind, "__origin__", kind)) for kind in kinds)


def fork(func: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
    """``func(*args, **kwargs)``, called at once as PyTorch does outside of TorchScript, as a Future.

    >>> import flambeau as torch
    >>> torch.jit.wait(torch.jit.fork(torch.add, torch.ones(2), 1))
    tensor([2., 2.])
    """
    found: Future[T] = Future()
    found.set_result(func(*args, **kwargs))
    return found


def wait(future: Future[T]) -> T:
    """The result of `fork`."""
    return future.wait()


_fork, _wait = fork, wait


def is_scripting() -> bool:
    """False: Python runs everything."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


@contextlib.contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    """Changes nothing."""
    yield


@contextlib.contextmanager
def fuser(name: str) -> Iterator[None]:
    """Changes nothing."""
    yield


def set_fusion_strategy(strategy: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Accepted without effect."""
    return strategy


def enable_onednn_fusion(enabled: bool) -> None:
    """Accepted without effect."""


def save(m: Any, f: Any, _extra_files: Any = None) -> None:
    """Raises: NotImplementedError; `flambeau.save` writes state dicts."""
    raise NotImplementedError(
        "torch.jit.save: there is no TorchScript here. Save the parameters: torch.save(model.state_dict(), file)"
    )


def load(f: Any, map_location: Any = None, _extra_files: Any = None, _restore_shapes: bool = False) -> Any:
    """Raises: NotImplementedError; `flambeau.load` reads state dicts."""
    raise NotImplementedError(
        "torch.jit.load: TorchScript programs cannot be run here. "
        "Build the model in Python and load its parameters: model.load_state_dict(torch.load(file))"
    )


__getattr__ = names_of(__name__)
