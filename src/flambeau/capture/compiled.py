"""Compiled functions: their Python runs on every call, with a recorder below it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..core.pending import Pending, resolve
from ..core.state import tls
from ..core.tensor import Tensor
from .program import generate, interpret
from .recorder import Recorder, Statistics
from .trie import Root

__all__ = ["Compiled"]

_everything: list[Root] = []  # the memories of all compiled functions, for `reset`


class Compiled:
    """What calls a function under a recorder."""

    def __init__(self, fn: Callable[..., Any], *, fullgraph: bool = False, backend: str = "flambeau") -> None:
        self.fn = fn
        self.fullgraph = fullgraph
        self.make = interpret if backend in ("eager", "aot_eager") else generate
        self.root = Root()
        self.statistics = Statistics()
        _everything.append(self.root)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function's result; inside another compiled function it is simply part of that one."""
        if tls.capture is not None:
            return self.fn(*args, **kwargs)
        result = self.record(self.fn, args, kwargs, self.fullgraph)
        if settle_results(result):
            tls.compiled = self
        return result

    def record(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], fullgraph: bool = False
    ) -> Any:
        """Call `fn` under a recorder: also for the backward pass, outside, of what was made inside."""
        recorder = Recorder(self.root, self.make, self.statistics, fullgraph)
        tls.begin_capture(recorder)
        try:
            return fn(*args, **kwargs)
        except BaseException:
            recorder.fullgraph = False  # what was promised before is kept; the error is the function's own
            raise
        finally:
            try:
                recorder.flush(last=True)
            finally:
                tls.end_capture()
                recorder.close()


def settle_results(x: Any) -> bool:
    """Give every tensor in a result its array; whether one of them has a history."""
    if isinstance(x, Tensor):
        if type(x._a) is Pending:
            resolve(x)
        return x._node is not None
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        return any([settle_results(v) for v in x])
    return False


def reset() -> None:
    """Forget what every compiled function has learnt."""
    for root in _everything:
        root.clear()


def outside(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, run eagerly where a compiled function calls it."""

    @functools.wraps(fn)
    def eagerly(*args: Any, **kwargs: Any) -> Any:
        recorder = tls.capture
        if recorder is None:
            return fn(*args, **kwargs)
        recorder.flush("a function that is not compiled is called")
        tls.end_capture()
        try:
            return fn(*args, **kwargs)
        finally:
            tls.begin_capture(recorder)

    return eagerly
