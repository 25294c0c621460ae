"""`spawn`: several processes that run one function, and their errors brought home."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

__all__ = [
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "spawn",
    "start_processes",
]


class ProcessException(Exception):
    """A process did not end well: its message, its number (`error_index`) and its process id (`error_pid`)."""

    def __init__(self, msg: str, error_index: int, pid: int) -> None:
        super().__init__(msg)
        self.msg = msg
        self.error_index = error_index
        self.error_pid = pid

    def __reduce__(self) -> Any:
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """The function raised an exception; the message has its traceback."""


class ProcessExitedException(ProcessException):
    """The process ended with an exit code other than zero (`exit_code`), or by a signal (`signal_name`)."""

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None
    ) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name

    def __reduce__(self) -> Any:
        return type(self), (self.msg, self.error_index, self.error_pid, self.exit_code, self.signal_name)


def _run(fn: Callable[..., Any], index: int, args: tuple[Any, ...], error_file: str) -> None:
    try:
        fn(index, *args)
    except KeyboardInterrupt:
        pass  # the parent was interrupted too, and says so
    except Exception:
        with open(error_file, "wb") as stream:
            pickle.dump(traceback.format_exc(), stream)
        sys.exit(1)


class ProcessContext:
    """Processes that were started together."""

    def __init__(self, processes: list[Any], error_files: list[str]) -> None:
        self.processes = processes
        self.error_files = error_files
        self.sentinels = {process.sentinel: i for i, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The process ids."""
        return [int(process.pid) for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait for the processes; True when all have ended.

        When one fails the others are stopped: asked to terminate, and killed after `grace_period` seconds (30 by
        default).  `timeout` (seconds) limits the wait; False is returned when some still run.

        Raises: ProcessRaisedException with the traceback of the one that failed, or ProcessExitedException.
        """
        if not self.sentinels:
            return True
        failed = None
        for sentinel in connection.wait(self.sentinels.keys(), timeout):
            index = self.sentinels.pop(sentinel)
            self.processes[index].join()
            if self.processes[index].exitcode != 0:
                failed = index
                break
        if failed is None:
            if not self.sentinels:
                self._remove_files()
            return not self.sentinels
        self._stop_all(30 if grace_period is None else grace_period)
        try:
            raise self._error(failed)
        finally:
            self._remove_files()

    def _stop_all(self, grace_period: float) -> None:
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        end = time.monotonic() + grace_period
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()
        self.sentinels.clear()

    def _error(self, index: int) -> ProcessException:
        process = self.processes[index]
        if os.path.getsize(self.error_files[index]):
            with open(self.error_files[index], "rb") as stream:
                text = pickle.load(stream)
            message = f"\n\n-- Process {index} terminated with the following error:\n{text}"
            return ProcessRaisedException(message, index, process.pid)
        if process.exitcode < 0:
            try:
                name = signal.Signals(-process.exitcode).name
            except ValueError:
                name = f"<unknown signal {-process.exitcode}>"
            message = f"process {index} terminated with signal {name}"
            return ProcessExitedException(message, index, process.pid, process.exitcode, name)
        message = f"process {index} terminated with exit code {process.exitcode}"
        return ProcessExitedException(message, index, process.pid, process.exitcode)

    def _remove_files(self) -> None:
        for path in self.error_files:
            if os.path.exists(path):
                os.unlink(path)


SpawnContext = ProcessContext


def start_processes(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Run ``fn(i, *args)`` in `nprocs` processes, i from 0, and wait for them; ``join=False`` returns the context instead.

    Tensors among the arguments are shared.  `fn` must be importable by name when processes are spawned.

    Raises: as `ProcessContext.join`.
    """
    context: Any = multiprocessing.get_context(start_method)
    processes, files = [], []
    try:
        for i in range(nprocs):
            handle, path = tempfile.mkstemp(prefix="flambeau-error-")
            os.close(handle)
            files.append(path)
            process = context.Process(target=_run, args=(fn, i, args, path), daemon=daemon)
            process.start()
            processes.append(process)
    except BaseException:
        for process in processes:
            process.terminate()
            process.join()
        for path in files:
            os.unlink(path)
        raise
    started = ProcessContext(processes, files)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """`start_processes` with fresh interpreters.

    Raises: ValueError for another start method (use `start_processes`), and as `ProcessContext.join`.
    """
    if start_method != "spawn":
        raise ValueError(
            f"spawn() starts processes by 'spawn' only, not {start_method!r}; use start_processes()"
        )
    return start_processes(fn, args, nprocs, join, daemon, start_method="spawn")
