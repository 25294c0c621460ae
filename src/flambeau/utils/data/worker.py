"""Worker processes of a `DataLoader`: what runs in them, and the pool that the loader keeps."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import random
import traceback
import warnings
import weakref
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pickle import PicklingError
from typing import Any

import numpy as np

from ...ops.random import manual_seed
from ...runtime import threads
from . import transport
from .fetch import IterableFetcher, fetcher

__all__ = ["WorkerInfo", "get_worker_info"]

CHECK_INTERVAL = 5.0  # seconds between looks at whether the other side is still there
_pool_numbers = itertools.count()


@dataclass(frozen=True)
class WorkerInfo:
    """Which worker this is: `id` of `num_workers`, its `seed`, and its copy of the `dataset`.

    `rng` is None and `worker_method` "multiprocessing", as all workers here are processes.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: None = None
    worker_method: str = "multiprocessing"


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process of a `DataLoader`: which worker it is. None in the main process."""
    return _worker_info


class Failure:
    """An exception of a worker, with its traceback as text."""

    def __init__(self, error: BaseException, where: str) -> None:
        self.kind: Any = type(error)
        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.where = where

    def reraise(self) -> None:
        """Raise an exception of the same type, which shows the worker's traceback.

        Raises: what the worker raised; RuntimeError for types that cannot be made from a message.
        """
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            raise KeyError(_PlainKey(message))
        try:
            error = self.kind(message)
        except Exception:
            raise RuntimeError(message) from None
        raise error


class _PlainKey(str):
    """A KeyError's message shows the repr of its argument, which would hide the line breaks."""

    def __repr__(self) -> str:
        return str(self)


class StreamEnd:
    """A worker's iterable dataset has no more samples."""


class Restarted:
    """The worker is ready for another pass."""


RESTART = "restart"


@dataclass
class Job:
    """What all workers of a pool are told."""

    kind: int
    dataset: Any
    auto_collation: bool
    collate_fn: Any
    drop_last: bool
    base_seed: int
    init_fn: Any
    num_workers: int
    prefix: str  # of the files that carry batches


def numpy_seed(base_seed: int, worker_id: int) -> Any:
    """The seed of NumPy's legacy generator in a worker: four words, well mixed (NumPy's SeedSequence)."""
    entropy = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(entropy).generate_state(4)


class _Watch:
    """Whether the main process has ended, which need not be the one that this process was forked from."""

    def __init__(self) -> None:
        self._parent = os.getppid()  # under "forkserver" the server, which ends with the main process

    def orphaned(self) -> bool:
        main = multiprocessing.parent_process()
        return os.getppid() != self._parent or (main is not None and not main.is_alive())


def work(job: Job, worker_id: int, tasks: Any, results: Connection, done: Any) -> None:
    """The life of a worker: fetch what comes through `tasks`, send it to `results`."""
    global _worker_info
    watch = _Watch()
    sender = transport.Sender(job.prefix)
    try:
        threads.set_num_threads(1)
        seed = job.base_seed + worker_id
        random.seed(seed)
        manual_seed(seed)
        np.random.seed(numpy_seed(job.base_seed, worker_id))
        _worker_info = WorkerInfo(worker_id, job.num_workers, seed, job.dataset)
        _serve(job, worker_id, tasks, results, done, sender, watch)
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # the main process reports it, or is gone
    if watch.orphaned():
        transport.remove_all(job.prefix)


def _serve(
    job: Job, worker_id: int, tasks: Any, results: Connection, done: Any, sender: Any, watch: _Watch
) -> None:
    where = f"in DataLoader worker process {worker_id}"
    failure: Failure | None = None
    source: Any = None
    try:
        if job.init_fn is not None:
            job.init_fn(worker_id)
        source = fetcher(job.kind, job.dataset, job.auto_collation, job.collate_fn, job.drop_last)
    except Exception as error:
        failure = Failure(error, where)
    ended = False
    while not watch.orphaned():
        try:
            task = tasks.get(timeout=CHECK_INTERVAL)
        except queue.Empty:
            continue
        if task is None:
            return
        if done.is_set():
            continue
        if task == RESTART:
            source = fetcher(job.kind, job.dataset, job.auto_collation, job.collate_fn, job.drop_last)
            ended = False
            results.send((None, sender.pack(Restarted())))
            continue
        if ended:
            continue
        number, index = task
        data: Any = failure
        if failure is None:
            try:
                data = source.fetch(index)
            except StopIteration as stop:
                ended = isinstance(source, IterableFetcher)
                data = StreamEnd() if ended else Failure(stop, where)
            except Exception as error:
                data = Failure(error, where)
        failure = None
        results.send((number, _packed(sender, data, where)))
        del data, task


def _packed(sender: transport.Sender, data: Any, where: str) -> tuple[bytes, Any]:
    """`data`, or why it cannot be sent."""
    try:
        return sender.pack(data)
    except Exception as error:
        if isinstance(data, Failure):  # of a type that is not importable
            data.kind = RuntimeError
            return sender.pack(data)
        return sender.pack(Failure(error, where))


class Pool:
    """The worker processes of one pass, or with persistent workers of a loader."""

    def __init__(self, context: Any, job: Job) -> None:
        self._owner = os.getpid()
        self._prefix = job.prefix
        self._done = context.Event()
        self._closed = False
        self.processes: list[Any] = []
        self._tasks: list[Any] = []
        self._results: dict[Any, int] = {}  # readers of the workers that still answer
        # Also at the interpreter's exit, while everything needed is still there.
        self._finalizer = weakref.finalize(self, Pool._shut_down, self._owner, self._parts())
        for i in range(job.num_workers):
            self._start(context, job, i)

    def _parts(self) -> tuple[Any, ...]:
        return self._prefix, self._done, self.processes, self._tasks, self._results

    def _start(self, context: Any, job: Job, worker_id: int) -> None:
        tasks = context.Queue()
        tasks.cancel_join_thread()
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(job, worker_id, tasks, writer, self._done), daemon=True)
        try:
            process.start()
        except (TypeError, AttributeError, PicklingError):
            warnings.warn(
                "A worker process could not be started because its arguments cannot be pickled. Python 3.14 "
                "changed "
                "the start method to 'forkserver', which needs picklable datasets and functions; "
                "multiprocessing_context='fork' does not.",
                stacklevel=2,
            )
            raise
        writer.close()  # so that the end of the worker is the end of the pipe
        self.processes.append(process)
        self._tasks.append(tasks)
        self._results[reader] = worker_id

    def send(self, worker_id: int, task: Any) -> None:
        """Put a task into a worker's queue; None ends the worker."""
        self._tasks[worker_id].put(task)

    def receive(self, timeout: float) -> tuple[Any, Any]:
        """The next answer of any worker: the number of the task and the data.

        Raises: RuntimeError when a worker died, or after `timeout` seconds (0: never).
        """
        ready = wait(list(self._results), timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        reader: Any = ready[0]
        try:
            number, packed = reader.recv()
        except (EOFError, OSError) as error:
            process = self.processes[self._results.pop(reader)]
            process.join(CHECK_INTERVAL)
            raise RuntimeError(
                f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly (exit code {process.exitcode})"
            ) from error
        return number, transport.unpack(packed)

    def retire(self, worker_id: int) -> None:
        """End a worker that has nothing more to do."""
        self.send(worker_id, None)
        for reader, i in list(self._results.items()):
            if i == worker_id:
                del self._results[reader]
                reader.close()

    def shut_down(self) -> None:
        """End all workers; what they had prepared is freed."""
        self._finalizer()

    @staticmethod
    def _shut_down(owner: int, parts: tuple[Any, ...]) -> None:
        prefix, done, processes, tasks, results = parts
        if os.getpid() != owner:  # a copy of the pool in a forked process
            return
        done.set()
        for reader in results:
            reader.close()  # a worker that waits to send notices
        results.clear()
        for q in tasks:
            q.put(None)
        for process in processes:
            process.join(CHECK_INTERVAL)
            if process.is_alive():
                process.terminate()
                process.join(CHECK_INTERVAL)
        for q in tasks:
            q.cancel_join_thread()
            q.close()
        transport.remove_all(prefix)


def new_prefix() -> str:
    """A name for the files of one pool."""
    return f"flambeau-{os.getpid()}-{next(_pool_numbers)}-{os.urandom(4).hex()}"
