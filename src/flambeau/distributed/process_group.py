"""`ProcessGroup`: some processes, the connections between them, and how what they do together fails."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from .dtypes import described
from .errors import DistBackendError
from .letters import Post
from .reductions import ReduceOp
from .rings import Call, Mismatch
from .stores import Store
from .wire import Gone, Late, meet
from .work import Lane, Work

__all__ = ["Backend", "ProcessGroup"]

KINDS = (
    *("barrier", "broadcast", "all_reduce", "reduce", "all_gather", "gather", "scatter"),
    *("reduce_scatter", "all_to_all"),
)


class Backend(str):
    """The name of a backend, in lower case.  ``gloo`` and ``tcp`` are this library's sockets."""

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    XCCL = "xccl"
    UCC = "ucc"
    MPI = "mpi"
    TCP = "tcp"
    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI, TCP]
    default_device_backend_map = {"cpu": GLOO, "cuda": NCCL, "xpu": XCCL, "mps": GLOO}
    backend_capability = {GLOO: ["cpu"], TCP: ["cpu"]}

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish, but got {name!r}")
        return super().__new__(cls, name.lower())


class ProcessGroup:
    """A group of processes.  `init_process_group` and `new_group` make them.

    What a group does together it does in the order of the calls, which has to be the same in all its processes.  When
    a process ends, does not come in time or calls something else, the call raises DistBackendError in all of them,
    and so does every later one: there is no telling what they have in common then.
    """

    def __init__(
        self,
        backend: str,
        name: str,
        ranks: list[int],
        rank: int,
        store: Store,
        timeout: timedelta,
        description: str = "",
        patience: timedelta | None = None,  # to connect; `timeout` by default
    ) -> None:
        self._backend, self.group_name, self.group_desc = Backend(backend), name, description
        self.ranks, self._rank, self.store, self.timeout = ranks, rank, store, timeout
        self.bound_device_id = None
        self._failure: str | None = None
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.calls = itertools.count()  # of things that are made of messages: they need tags of their own
        seconds = (timeout if patience is None else patience).total_seconds()
        self.channels, letters = meet(store, rank, len(ranks), seconds)
        self.post = Post(rank, ranks, letters, self._told)
        self.lane = Lane(f"collectives of {name or 'the default group'}")

    def rank(self) -> int:
        """This process's number in the group."""
        return self._rank

    def size(self) -> int:
        """How many processes the group has."""
        return len(self.ranks)

    def name(self) -> str:
        """The backend's name."""
        return str(self._backend)

    def get_group_store(self) -> Store:
        """The store with the group's own keys."""
        return self.store

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.group_name!r} of ranks {self.ranks}, here {self.ranks[self._rank]}>"

    # ----------------------------------------------------------------------------------------------- collectives

    def collective(
        self,
        what: str,
        kind: str,
        call: Callable[[Call], None],
        *,
        dtype: int = 0,
        op: ReduceOp | None = None,
        total: int = 0,
        result: Any = None,
        async_op: bool = False,
        timeout: timedelta | None = None,
    ) -> Work | None:
        """Have `call` run, now or (with `async_op`) in the background, when everything before has been done."""
        seconds = (self.timeout if timeout is None else timeout).total_seconds()
        number, code = next(self._numbers), KINDS.index(kind)

        def execute() -> None:
            self.check_alive(what)
            end = time.monotonic() + seconds
            try:
                call(Call(self.channels, number, code, dtype, op, total, end))
            except Gone as error:
                raise self._gone(what, error.peer) from None
            except Late as error:
                late = [self.ranks[p] for p in error.peers]
                raise self._give_up(
                    f"{what}: timed out after {seconds:g} s waiting for {_ranks(late)}"
                ) from None
            except Mismatch as error:
                raise self._give_up(f"{what}: {self._different(error)}") from None
            except BaseException as error:
                self._give_up(f"{what}: {type(error).__name__}: {error}")
                raise

        work = Work(what, result)
        if async_op:
            self.lane.submit(work, execute)
            return work
        self.lane.run(work, execute)
        return None

    def check_alive(self, what: str) -> None:
        """Raises DistBackendError where something has failed before."""
        if self._failure is not None:
            raise DistBackendError(f"{what}: {self._failure}")

    def _give_up(self, message: str) -> DistBackendError:
        """Note that collectives are over, and tell the others."""
        with self._lock:
            first = self._failure is None
            if first:
                self._failure = message
        if first:
            self.post.tell_failure(f"rank {self.ranks[self._rank]} gave up: {message}")
            self.channels.stop()
        return DistBackendError(message)

    def _told(self, message: str) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = message
        self.channels.stop()

    def _gone(self, what: str, peer: int) -> DistBackendError:
        """A connection has ended: because the process has, or because it gave up, as its last letter says."""
        self.post.wait_for_news(peer, lambda: self._failure is not None, 5.0)
        if self._failure is not None:
            return DistBackendError(f"{what}: {self._failure}")
        reason = self.post.dead.get(peer, f"rank {self.ranks[peer]} has closed its connection")
        return self._give_up(f"{what}: {reason}")

    def _different(self, error: Mismatch) -> str:
        def words(head: tuple[int, ...]) -> str:
            number, kind, dtype, op, total, length = head
            name = KINDS[kind] if kind < len(KINDS) else f"call of kind {kind}"
            by = "" if op == 255 else f" by {ReduceOp(op).name}"
            return f"{name}{by} of {described(dtype, total or length)} (call {number} of the group)"

        return (
            f"rank {self.ranks[error.peer]} is in {words(error.came)}, "
            f"rank {self.ranks[self._rank]} in {words(error.expected)}"
        )

    # ------------------------------------------------------------------------------------------------- messages

    def letter_work(self, what: str, result: Any = None, timeout: timedelta | None = None) -> Work:
        """Work that a letter will finish."""
        work = Work(what, result, (self.timeout if timeout is None else timeout).total_seconds())
        work._on_late = self.post.forget
        return work

    def close(self) -> None:
        """Finish what was begun, and end the connections."""
        self.lane.end()
        thread = self.lane.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)
        self.channels.close()
        self.post.close()


def _ranks(ranks: list[int]) -> str:
    return f"rank{'' if len(ranks) == 1 else 's'} {', '.join(map(str, ranks))}"
