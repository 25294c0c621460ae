"""An interrupt may come wherever Python calls a function; the modes that are in force afterwards are those from before.

Each program runs again and again under a profiler that raises at its first, second, third ... call or return: the
places where Python looks for signals.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
from flambeau.core.state import RECORD, everyone, tls

nn = torch.nn


class Interrupt(KeyboardInterrupt):
    """Like the one of Ctrl-C, but nobody's."""


def interrupted(program: Callable[[], Any], at: int) -> Any:
    """Where `program` was interrupted, at its event number `at`; None if it ended before."""
    count = 0
    where = None

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count, where
        if event not in ("call", "return", "c_return") or where is not None:
            return
        if (event, frame.f_code.co_name) in (("call", "__exit__"), ("return", "__enter__")):
            return  # the one is before its first line, where nothing can be done; after the other nobody looks
        if event == "c_return" and arg is sys.setprofile:
            return
        count += 1
        if count == at:
            where = event, frame.f_code.co_name, frame.f_lineno
            sys.setprofile(None)
            raise Interrupt

    try:
        sys.setprofile(profile)
        try:
            program()
        finally:
            sys.setprofile(None)
    except Interrupt:
        pass
    return where


def model() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    return net, torch.optim.SGD(net.parameters(), lr=0.1), torch.ones(3, 2)


def training() -> Callable[[], Any]:
    net, optimizer, x = model()

    def step() -> None:
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()

    return step


def modes() -> Callable[[], Any]:
    x = torch.ones(2, requires_grad=True)

    def nested() -> None:
        with torch.no_grad():
            with torch.enable_grad():
                x * 2
        with torch.inference_mode():
            x * 2
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            (x * x).sum().backward()

    return nested


def transforms() -> Callable[[], Any]:
    x = torch.ones(2, 3)
    return lambda: torch.func.vmap(torch.func.grad(lambda v: (v * v).sum()))(x)


def compiled_step() -> Callable[[], Any]:
    step = torch.compile(training())
    for _ in range(3):
        step()
    return step


def compiled_forward() -> Callable[[], Any]:
    net, _, x = model()
    forward = torch.compile(lambda x: net(x).tanh().sum())
    for _ in range(3):
        forward(x).backward()
    return lambda: forward(x).backward()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # in a generator that is thrown away
@pytest.mark.parametrize("make", [training, modes, transforms, compiled_step, compiled_forward])
def test_modes_are_restored(make: Callable[[], Callable[[], Any]]) -> None:
    program = make()
    assert everyone.special == 0
    at = 1
    while (where := interrupted(program, at)) is not None:
        state = (tls.grad, tls.inference, tls.stack, tls.saved_hooks, tls.capture, tls.noting, tls.mode)
        assert state == (True, False, [], [], None, False, RECORD), f"after event {at}: {where}"
        assert (everyone.special, everyone.plain, everyone.captures) == (0, True, 0), (
            f"after event {at}: {where}"
        )
        at += 1
    assert at > 100
    program()
