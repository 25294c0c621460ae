"""What the processes of tests/multiprocessing run: spawned interpreters import it by name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import flambeau as torch


def add_index(index: int, t: Any) -> None:
    t[index] += index + 1


def add_to_all(t: Any, amount: float) -> None:
    with torch.no_grad():
        t += amount


def square(t: Any) -> Any:
    return t * t


def echo(receiver: Any, sender: Any) -> None:
    """Send back what comes, until None does; views of one memory must come as such."""
    while True:
        item = receiver.recv()
        if item is None:
            return
        sender.send(item)


def produce(queue: Any, done: Any) -> None:
    base = torch.arange(6.0)
    queue.put([base, base[2:4]])
    queue.put(torch.nn.Parameter(torch.ones(2)))
    done.wait(60)


def fail(index: int, which: int, how: str) -> None:
    if index != which:
        time.sleep(60)
    if how == "raise":
        raise KeyError("the reason")
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


def train(index: int, model: Any, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        ((model(torch.ones(1, 2)) - 3) ** 2).sum().backward()
        optimizer.step()
