"""What the tests of `flambeau.distributed` run in several processes, and how: spawned processes must be able to import it."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

LIMIT = 90.0  # seconds: what takes longer hangs


def _child(
    fn: Callable[..., Any], rank: int, size: int, path: str, seconds: float, args: tuple[Any, ...], out: Any
) -> None:
    try:
        import flambeau

        flambeau.distributed.init_process_group(
            "gloo", f"file://{path}", timeout=timedelta(seconds=seconds), rank=rank, world_size=size
        )
        try:
            out.send(("result", fn(rank, size, *args)))
        finally:
            flambeau.distributed.destroy_process_group()
    except BaseException as error:
        out.send(("error", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))


def together(fn: Callable[..., Any], size: int, *args: Any, seconds: float = 60.0) -> list[Any]:
    """What ``fn(rank, size, *args)`` gives in each of `size` processes of one group.

    None stands for a process that ended without a result.  An exception becomes a RuntimeError here.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "keys")
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        processes = [
            context.Process(
                target=_child, args=(fn, rank, size, path, seconds, args, pipes[rank][1]), daemon=True
            )
            for rank in range(size)
        ]
        results: list[Any] = []
        end = time.monotonic() + LIMIT
        try:
            for process in processes:
                process.start()
            for _, sender in pipes:
                sender.close()
            for rank, (receiver, _) in enumerate(pipes):
                if not receiver.poll(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"rank {rank} of {fn.__name__} has not answered within {LIMIT} s")
                try:
                    results.append(receiver.recv())
                except EOFError:
                    results.append(("result", None))
        finally:
            for process in processes:
                process.join(5)
                if process.is_alive():
                    process.kill()
                    process.join()
    errors = [f"rank {rank}: {text}" for rank, (kind, text) in enumerate(results) if kind == "error"]
    if errors:
        raise RuntimeError("\n".join(errors))
    return [value for _, value in results]
