"""`flambeau.compile`, and PyTorch's `torch.compiler` functions.

Inside a compiled function the Python runs on every call; its operations are noted instead of run (`capture.recorder`),
and what was noted runs as one program of generated kernels when the function ends, or when a value is read.  A sequence
of operations that was not seen before runs as in eager mode, so the first call costs what eager costs; the second makes
the kernels (5 to 10 ms each, or a fraction of that from the disk); later calls find them.  As the Python runs, nothing
can go stale: globals, closures, attributes, lists and branches are read as they are.

Every mode gives this, with one trade: ``mode="reduce-overhead"`` skips the Python of a function that was proved to do
the same in each call (`capture.replay`).  The proof reads the function's source and that of everything of the program's
own that it calls; each value that it reads from outside (globals, closures, attributes, elements) and every argument's
layout is checked before each replay.  A function that cannot be proved, because it prints, draws random numbers, reads
a value, or writes to memory or objects from outside, raises a RuntimeError with the reason and the line.  (Where
flambeau stands in for torch, whose mode never refuses, it warns once and uses the default.)  One that hands back a
tensor with a history has its Python run, so that the graph is recorded, with a warning; it is replayed under no_grad.
``mode="max-autotune"`` times several ways to run each part of a program on arrays of its shapes when the program is
made (NumPy's products or generated ones and their tiles, unrolled loops, how work is cut for the threads) and takes the
fastest that gives the same result but for rounding.  That takes 2 seconds for a program at most; the winners are kept in
the cache folder, for this processor and number of threads, so another process finds them (`capture.tune`).

Sizes are not part of machine code: a new size finds the kernels that exist, once there are those for arrays of its
magnitude (small ones are left to NumPy).  The exceptions are replays over small arrays, which are one function with all
sizes in it, unless ``dynamic=True``, and loops that "max-autotune" tries for the first time; else `dynamic` changes
nothing.

Limits: memory that a program writes through NumPy, behind the tensors' back and between an operation and the next
flush, is read as it is at the flush.  The environment variable ``FLAMBEAU_LOG`` (a list of graph, fusion, code, cache) prints
what is compiled, and ``compiled.explain(*args)`` gives it for one call.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from .core.state import tls

MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
BACKENDS = ("flambeau", "inductor", "eager", "aot_eager")


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """A callable with the results of `model` (a function or module), for use in its place; also a decorator.

    `backend` names the compiler ("inductor", PyTorch's default, means ours; "eager" runs the captured operations one
    by one with NumPy); `mode` is "default", "reduce-overhead" or "max-autotune", `fullgraph` makes a read of a value in
    the middle of the function an error that names the line.  See this module's docstring.

    Raises: RuntimeError for unknown modes, for mode together with options, or for a backend that does not exist;
    TypeError when `model` is not callable.

    >>> import flambeau as torch
    >>> torch.compile(lambda x: x * 2 + 1)(torch.ones(2))
    tensor([3., 3.])
    """
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    if mode not in MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(map(str, MODES[1:]))}")
    if isinstance(backend, str) and backend not in BACKENDS:
        raise RuntimeError(f"Invalid backend: '{backend}': flambeau has {', '.join(BACKENDS)}")
    recompute = "auto" if options is None else options.get("recompute", "auto")
    if recompute not in ("auto", "never", "always"):
        raise RuntimeError(f"options={{'recompute': {recompute!r}}} should be 'auto', 'never' or 'always'")
    if model is None:
        return functools.partial(
            compile,
            fullgraph=fullgraph,
            dynamic=dynamic,
            backend=backend,
            mode=mode,
            options=options,
            disable=disable,
        )
    if not callable(model):
        raise TypeError(f"compile() takes a function or a module, not {type(model).__name__}")
    if disable:
        return model
    from .capture.compiled import Compiled

    def make(fn: Callable[..., Any]) -> Compiled:
        return Compiled(
            fn,
            fullgraph=fullgraph,
            backend=backend if isinstance(backend, str) else "flambeau",
            mode=mode,
            dynamic=dynamic,
            recompute=recompute,
        )

    modules = sys.modules.get(
        __name__.rpartition(".")[0] + ".nn.modules.module"
    )  # not loaded: no module exists
    if modules is not None and isinstance(model, modules.Module):
        return _optimized_module(model, make)
    made = make(model)

    @functools.wraps(model)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        return made.call(args, kwargs)

    compiled.compiled = made  # type: ignore[attr-defined]
    compiled.explain = made.explain  # type: ignore[attr-defined]
    compiled._torchdynamo_orig_callable = model  # type: ignore[attr-defined]
    return compiled


def _optimized_module(model: Any, make: Callable[[Any], Any]) -> Any:
    from .nn.modules.compiled import OptimizedModule

    return OptimizedModule(model, make(model))


# ------------------------------------------------------------------------------------------------- torch.compiler


def is_compiling() -> bool:
    """Whether the caller runs inside a compiled function."""
    return tls.capture is not None


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """False: there is no export."""
    return False


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """`fn` as it is, also where a compiled function calls it: its operations run at once.  Also a decorator.

    >>> import flambeau as torch
    >>> @torch.compiler.disable
    ... def log(x):
    ...     return torch.compiler.is_compiling()
    >>> torch.compile(lambda x: log(x * 2))(torch.ones(2))
    False
    """
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    from .capture.compiled import outside

    return outside(fn)


def reset() -> None:
    """Forget what all compiled functions have learnt; they learn it again."""
    from .capture.compiled import reset as forget

    forget()


def list_backends(exclude_tags: Any = ("debug", "experimental")) -> list[str]:
    """The names that `compile` takes as `backend`."""
    return list(BACKENDS)


def _as_it_is(fn: Any) -> Any:
    return fn


# The Python of a compiled function always runs, so there is nothing that these would have to allow or to promise.
allow_in_graph = assume_constant_result = nested_compile_region = wrap_numpy = _as_it_is


def cudagraph_mark_step_begin() -> None:
    """Nothing: results are never overwritten by the next call."""


class set_stance:
    """Accepted for PyTorch's programs: "default", "force_eager" and the others all give eager's results here."""

    def __init__(
        self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False, force_backend: Any = None
    ) -> None:
        self.stance = stance

    def __enter__(self) -> set_stance:
        return self

    def __exit__(self, *exc: Any) -> None:
        pass

    def __call__(self, fn: Any) -> Any:
        return fn
