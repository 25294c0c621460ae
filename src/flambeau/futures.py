"""Values that come later: `flambeau.futures`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")
S = TypeVar("S")


class Future(Generic[T]):
    """A value that another thread will set, with callbacks for when it has.

    >>> from flambeau.futures import Future
    >>> f = Future()
    >>> doubled = f.then(lambda f: 2 * f.value())
    >>> f.set_result(21)
    >>> doubled.wait()
    42
    """

    def __init__(self, *, devices: Any = None) -> None:
        self._set, self._lock = threading.Event(), threading.Lock()
        self._result: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future[T]], Any]] = []

    def done(self) -> bool:
        """Whether the result, or an error, is there."""
        return self._set.is_set()

    def wait(self) -> T:
        """The result, once it is there.  Raises the error that was set instead."""
        self._set.wait()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)

    def value(self) -> T:
        """The result.  Raises RuntimeError where it is not there yet, and the error that was set instead."""
        if not self.done():
            raise RuntimeError("the Future has no result yet: wait() waits for it")
        return self.wait()

    def set_result(self, result: T) -> None:
        """Set the result and call the callbacks.  Raises RuntimeError the second time."""
        self._finish(result, None)

    def set_exception(self, result: BaseException) -> None:
        """Set an error, which `wait` and `value` will raise.  Raises RuntimeError the second time."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result!r} is of type {type(result).__name__}, not an Exception.")
        self._finish(None, result)

    def _finish(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            if self.done():
                raise RuntimeError("Future can only be marked completed once")
            self._result, self._error = result, error
            self._set.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def add_done_callback(self, callback: Callable[[Future[T]], Any]) -> None:
        """Call `callback` with this Future when it is done, at once if it is; what it raises is printed."""

        def guarded(future: Future[T]) -> None:
            try:
                callback(future)
            except Exception:
                import traceback

                traceback.print_exc()

        self._when_done(guarded)

    def then(self, callback: Callable[[Future[T]], S]) -> Future[S]:
        """A Future for what `callback` will return; for what it raises, if it does."""
        later: Future[S] = Future()

        def chained(future: Future[T]) -> None:
            try:
                result = callback(future)
            except Exception as e:
                later.set_exception(e)
            else:
                later.set_result(result)

        self._when_done(chained)
        return later

    def _when_done(self, callback: Callable[[Future[T]], Any]) -> None:
        with self._lock:
            if not self.done():
                self._callbacks.append(callback)
                return
        callback(self)


def collect_all(futures: list[Future[Any]]) -> Future[list[Future[Any]]]:
    """A Future for the list of `futures`, done when all of them are.

    >>> from flambeau.futures import Future, collect_all
    >>> a, b = Future(), Future()
    >>> both = collect_all([a, b])
    >>> a.set_result(1)
    >>> both.done()
    False
    >>> b.set_result(2)
    >>> [f.value() for f in both.wait()]
    [1, 2]
    """
    result: Future[list[Future[Any]]] = Future()
    left, lock = len(futures), threading.Lock()

    def one_done(_: Future[Any]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            result.set_result(list(futures))

    if not futures:
        result.set_result([])
    for future in futures:
        future._when_done(one_done)
    return result


def wait_all(futures: list[Future[Any]]) -> list[Any]:
    """The results of all, in order.  Raises the first error."""
    return [future.wait() for future in collect_all(futures).wait()]
