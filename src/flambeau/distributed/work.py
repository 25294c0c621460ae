"""What is under way: `Work`, and the order in which a group does it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .errors import DistBackendError

if TYPE_CHECKING:
    from ..futures import Future

__all__ = ["Lane", "Work"]


class Work:
    """What ``async_op=True`` and `isend` give: something that goes on while the program does other things."""

    def __init__(self, what: str = "", result: Any = None, seconds: float | None = None) -> None:
        self.what, self.seconds = what, seconds
        self.source: int | None = None
        self._result = result
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._future: Future[Any] | None = None
        self._on_late: Callable[[Work], None] | None = None
        self._held: Any = None  # memory that is being written to or sent
        self._before_end: Callable[[], None] | None = None  # runs when it has gone well

    @classmethod
    def done(cls, result: Any = None) -> Work:
        """Work that has been done already."""
        work = cls(result=result)
        work._done.set()
        return work

    def finish(self) -> None:
        """Say that it is done."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """Say that it has failed."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self._done.is_set():
                return
            if error is None and self._before_end is not None:
                self._before_end()
            self._error, self._held, self._before_end = error, None, None
            self._done.set()
            future = self._future
        if future is not None:
            self._settle(future)

    def _settle(self, future: Future[Any]) -> None:
        if self._error is None:
            future.set_result(self._result)
        elif isinstance(self._error, Exception):
            future.set_exception(self._error)
        else:
            future.set_exception(DistBackendError(str(self._error)))

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Wait until it is done, at most `timeout`; True.

        Raises: what the work failed with; DistBackendError when it takes longer.
        """
        seconds = self.seconds if timeout is None or not timeout else timeout.total_seconds()
        if not self._done.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX)):
            error = DistBackendError(f"Timed out after {seconds:g} s: {self.what}")
            if self._on_late is not None:
                self._on_late(self)
                self.fail(error)
            else:
                raise error
        if self._error is not None:
            raise self._error
        return True

    def is_completed(self) -> bool:
        """Whether it is done, or has failed."""
        return self._done.is_set()

    def is_success(self) -> bool:
        """Whether it is done and has not failed."""
        return self._done.is_set() and self._error is None

    def exception(self) -> BaseException | None:
        """What it failed with, None where it has not."""
        return self._error

    def source_rank(self) -> int:
        """From whom a `recv` received.  Raises RuntimeError for other work."""
        if self.source is None:
            raise RuntimeError("source_rank() is for a recv that has completed")
        return self.source

    def result(self) -> Any:
        """The tensors that were written to."""
        return self._result

    def synchronize(self) -> None:
        """`wait`, for programs that wait for a stream of a device."""
        self.wait()

    def get_future(self) -> Future[Any]:
        """A `flambeau.futures.Future` for the tensors that are written to."""
        from ..futures import Future

        with self._lock:
            future = self._future
            if future is None:
                future = self._future = Future()
                settled = self._done.is_set()
            else:
                settled = False
        if settled:
            self._settle(future)
        return future


class Lane:
    """Runs what a group is to do together, one after the other in the order of the calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Lock()  # held by who runs something
        self.changed = threading.Condition()
        self.queue: deque[tuple[Work, Callable[[], None]]] = deque()
        self.pending = 0
        self.ended = False
        self.thread: threading.Thread | None = None

    def run(self, work: Work, call: Callable[[], None]) -> None:
        """Run `call` now, in this thread where nothing else is under way.  Raises what it raises."""
        if not self.pending and self.turn.acquire(blocking=False):
            try:
                call()
            except BaseException as error:
                work.fail(error)
                raise
            finally:
                self.turn.release()
            work.finish()
            return
        self.submit(work, call)
        work.wait()

    def submit(self, work: Work, call: Callable[[], None]) -> None:
        """Run `call` in the background when its turn has come."""
        with self.changed:
            if self.ended:
                work.fail(DistBackendError("the process group was destroyed"))
                return
            self.pending += 1
            self.queue.append((work, call))
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self.thread.start()
            self.changed.notify()

    def _work(self) -> None:
        while True:
            with self.changed:
                while not self.queue and not self.ended:
                    self.changed.wait()
                if not self.queue:
                    return
                work, call = self.queue.popleft()
            try:
                with self.turn:
                    call()
            except BaseException as error:
                outcome: BaseException | None = error
            else:
                outcome = None
            with self.changed:
                self.pending -= 1
            if outcome is None:
                work.finish()
            else:
                work.fail(outcome)
            del work, call, outcome

    def end(self) -> None:
        """Run nothing more after what is in the queue."""
        with self.changed:
            self.ended = True
            self.changed.notify()
