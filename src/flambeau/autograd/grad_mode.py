"""no_grad, enable_grad, set_grad_enabled, inference_mode: as context managers and as decorators."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.state import tls

GENERATOR = 0x20  # the flag of generator functions in a code object (inspect.CO_GENERATOR)
F = TypeVar("F", bound=Callable[..., Any])


class _Mode:
    """A context manager that also decorates functions and generator functions."""

    def __call__(self, fn: F) -> F:
        if isinstance(fn, type):
            warnings.warn(
                f"Decorating classes is deprecated: the mode is in force while {fn.__name__} is made, not in its methods. "
                "Decorate __init__ instead.",
                FutureWarning,
                stacklevel=2,
            )
        if getattr(getattr(fn, "__code__", None), "co_flags", 0) & GENERATOR:

            @functools.wraps(fn)
            def generator(*args: Any, **kwargs: Any) -> Any:
                # the mode is in force while the generator runs, not while its consumer does
                gen = fn(*args, **kwargs)
                with self.clone():
                    try:
                        item = next(gen)
                    except StopIteration as stop:
                        return stop.value
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with self.clone():
                            gen.close()
                        raise
                    except BaseException as e:
                        with self.clone():
                            try:
                                item = gen.throw(e)
                            except StopIteration as stop:
                                return stop.value
                        continue
                    with self.clone():
                        try:
                            item = gen.send(sent)
                        except StopIteration as stop:
                            return stop.value

            return generator  # type: ignore[return-value]

        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return fn(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def clone(self) -> Any:
        return type(self)()

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, *exc: Any) -> None:
        raise NotImplementedError


class no_grad(_Mode):
    """Operations inside are not recorded.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    mode = False

    def __new__(cls, fn: Any = None) -> Any:
        self = object.__new__(cls)
        return self if fn is None else self(fn)  # `@no_grad` without parentheses

    def __enter__(self) -> None:
        self.prev = tls.grad
        try:
            tls.grad = self.mode
            tls.refresh()
        except BaseException:
            tls.set_grad(self.prev)
            raise

    def __exit__(self, *exc: Any) -> None:
        try:
            tls.grad = self.prev
            tls.refresh()
        except BaseException:
            tls.set_grad(self.prev)
            raise


class enable_grad(no_grad):
    """Operations inside are recorded, also within ``no_grad``."""

    mode = True


class set_grad_enabled(_Mode):
    """Turns recording on or off, at once and until the end of the ``with`` block, if used as one."""

    def __init__(self, mode: bool) -> None:
        self.prev = tls.grad
        self.mode = bool(mode)
        try:
            tls.set_grad(self.mode)
        except BaseException:
            tls.set_grad(self.prev)
            raise

    def __call__(self, fn: F) -> F:
        tls.set_grad(self.prev)
        return super().__call__(fn)

    def clone(self) -> Any:
        return set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        try:
            tls.set_grad(self.mode)
        except BaseException:
            tls.set_grad(self.prev)
            raise

    def __exit__(self, *exc: Any) -> None:
        try:
            tls.set_grad(self.prev)
        except BaseException:
            tls.set_grad(self.prev)
            raise


class inference_mode(_Mode):
    """Like ``no_grad``, and tensors made inside never take part in autograd.

    >>> import flambeau as torch
    >>> with torch.inference_mode():
    ...     y = torch.ones(2)
    >>> y.is_inference()
    True
    """

    mode: bool
    prev: tuple[bool, bool]

    def __new__(cls, mode: Any = True) -> Any:
        self = object.__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        self.mode = bool(mode)
        return self

    def clone(self) -> Any:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self.prev = (tls.grad, tls.inference)
        try:
            tls.inference = self.mode
            tls.set_grad(not self.mode)
        except BaseException:
            self._back()
            raise

    def __exit__(self, *exc: Any) -> None:
        try:
            self._back()
        except BaseException:
            self._back()
            raise

    def _back(self) -> None:
        tls.grad, tls.inference = self.prev
        tls.refresh()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return tls.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside ``inference_mode``."""
    return tls.inference


class set_multithreading_enabled:
    """Whether backward passes may use several threads: remembered only, as they run in the thread that calls them.

    The setting is in force at once, and until the end of the ``with`` block, if used as one.
    """

    def __init__(self, mode: bool) -> None:
        self.prev = is_multithreading_enabled()
        self.mode = bool(mode)
        tls.multithreading = self.mode

    def __enter__(self) -> None:
        """The setting is in force already."""

    def __exit__(self, *exc: Any) -> None:
        tls.multithreading = self.prev

    def clone(self) -> set_multithreading_enabled:
        """The same setting, anew."""
        return set_multithreading_enabled(self.mode)


def is_multithreading_enabled() -> bool:
    """What `set_multithreading_enabled` was last told in this thread; True before."""
    return bool(tls.__dict__.get("multithreading", True))
