"""Compiled functions: their Python runs on every call, with a recorder below it."""

from __future__ import annotations

import functools
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.pending import Pending, resolve
from ..core.state import tls
from ..core.tensor import Tensor
from .program import Program, generate, generate_fixed, generate_tuned, interpret
from .recorder import CannotReplay, Recorder, Statistics
from .trie import Root

if TYPE_CHECKING:
    from .explanation import Explanation

__all__ = ["Compiled"]

_everything: weakref.WeakSet[Root] = weakref.WeakSet()  # the memories of all compiled functions, for `reset`


class Compiled:
    """What calls a function under a recorder."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        fullgraph: bool = False,
        backend: str = "flambeau",
        mode: str | None = None,
        dynamic: bool | None = None,
        recompute: str = "auto",
    ) -> None:
        self.fn = fn
        self.recompute = recompute
        self.fullgraph = fullgraph
        searching = mode is not None and mode.startswith("max-autotune")
        self.make = generate_tuned if searching else generate
        if backend in ("eager", "aot_eager"):
            self.make = interpret
        self.root = Root()
        self.statistics = Statistics()
        self.watch: Callable[[tuple[Program, float]], Any] | None = None
        _everything.add(self.root)
        self.replayed: Any = None
        if mode == "reduce-overhead":
            from .replay.entry import Replayed

            fixed = self.make if self.make is interpret or dynamic else generate_fixed
            self.replayed = Replayed(fn, fixed, self.statistics, self.plainly)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function's result; inside another compiled function it is simply part of that one."""
        if tls.capture is not None:
            return self.fn(*args, **kwargs)
        if self.replayed is not None:
            try:
                return self.replayed.call(args, kwargs)
            except CannotReplay as e:
                if not standing_in():
                    raise
                warnings.warn(f"{e}; it does so from now on", stacklevel=3)
                self.replayed = None
        return self.plainly(args, kwargs)

    def plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call in the default mode."""
        result = self.record(self.fn, args, kwargs, self.fullgraph)
        if settle_results(result):
            tls.compiled = self
        return result

    def record(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], fullgraph: bool = False
    ) -> Any:
        """Call `fn` under a recorder: also for the backward pass, outside, of what was made inside."""
        recorder = Recorder(
            self.root, self.make, self.statistics, fullgraph, self.watch, recompute=self.recompute
        )
        try:
            tls.begin_capture(recorder)
            return fn(*args, **kwargs)
        except BaseException:
            recorder.fullgraph = False  # what was promised before is kept; the error is the function's own
            raise
        finally:
            try:
                recorder.flush(last=True)
            finally:
                try:
                    recorder.end()
                except BaseException:  # an interrupt (core/state.py)
                    recorder.end()
                    raise

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """What happens in a call with these arguments: flushes and their reasons, kernels, the programs' source.

        A string, whose `llvm` and `assembly` are the generated code.  Calls the function three times (to learn, to
        generate, to time).
        """
        from .explanation import explanation

        self.plainly(args, kwargs)
        self.plainly(args, kwargs)

        def timed(watch: Any) -> tuple[Statistics, float]:
            before, self.statistics = self.statistics, Statistics()
            self.watch = watch
            start = time.perf_counter()
            try:
                self.plainly(args, kwargs)
                return self.statistics, time.perf_counter() - start
            finally:
                self.watch, self.statistics = None, before

        return explanation(timed, self.make)


def standing_in() -> bool:
    """Whether programs for PyTorch run, whose mode of this name never refuses a function."""
    installed = sys.modules.get(f"{__name__.partition('.')[0]}.stand_in.install")
    return installed is not None and installed.is_installed()


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
    for root in list(_everything):
        root.clear()


def outside(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, run eagerly where a compiled function calls it."""

    @functools.wraps(fn)
    def eagerly(*args: Any, **kwargs: Any) -> Any:
        recorder = tls.capture
        if recorder is None:
            return fn(*args, **kwargs)
        recorder.flush("a function that is not compiled is called")
        try:
            tls.end_capture()
            return fn(*args, **kwargs)
        finally:
            if tls.capture is None:
                tls.begin_capture(recorder)

    return eagerly
