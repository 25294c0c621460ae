"""How the error of a process gets to the launcher: `record` writes it to a file that the launcher named."""

from __future__ import annotations

import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from .....runtime.absent import names_of as _names_of

__all__ = ["ChildFailedError", "record"]

F = TypeVar("F", bound=Callable[..., Any])

__getattr__ = _names_of(__name__)


class ChildFailedError(Exception):
    """Processes that a launcher started have failed.  `failures` has (rank, exit code, message) of each."""

    def __init__(self, name: str, failures: list[tuple[int, int, str]]) -> None:
        self.name, self.failures = name, failures
        lines = [f"{name} FAILED"]
        for rank, code, message in failures:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            lines.append(f"  rank {rank}: {how}{': ' if message else ''}{message}")
        super().__init__("\n".join(lines))


def record(fn: F, error_handler: Any = None) -> F:
    """`fn`, whose exceptions the launcher will know of.

    >>> from flambeau.distributed.elastic.multiprocessing.errors import record
    >>> @record
    ... def main():
    ...     return 3
    >>> main()
    3
    """

    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except SystemExit:
            raise
        except Exception as error:
            path = os.environ.get("TORCHELASTIC_ERROR_FILE")
            if path:
                message = {
                    "message": f"{type(error).__name__}: {error}",
                    "extraInfo": {"py_callstack": traceback.format_exc(), "timestamp": str(int(time.time()))},
                }
                with open(path, "w", encoding="utf-8") as stream:
                    json.dump({"message": message}, stream)
            raise

    return recorded  # type: ignore[return-value]
