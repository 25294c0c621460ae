"""`flambeau.compile`: the entry point of the compiler.

What it does today: the Python of the function runs on every call, and its operations run eagerly, each with the
kernels that eager mode uses.  So the answer is always eager's, nothing can go stale, and there is nothing to warm up;
fusing what runs between two reads of a value into one program is the work of the capture layer (issue 5), which will
take this function's place without changing what it returns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

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

    `backend` names the compiler ("inductor", PyTorch's default, means ours; "eager" none); `mode` is "default",
    "reduce-overhead" or "max-autotune".  See this module's docstring for what is done today.

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
    from .nn.modules.module import Module

    def make(fn: Callable[..., Any]) -> Compiled:
        return Compiled(fn, fullgraph=fullgraph, backend=backend if isinstance(backend, str) else "flambeau")

    if isinstance(model, Module):
        return _optimized_module(model, make)
    made = make(model)

    @functools.wraps(model)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        return made.call(args, kwargs)

    compiled.compiled = made  # type: ignore[attr-defined]

    compiled._torchdynamo_orig_callable = model  # type: ignore[attr-defined]
    return compiled


def _optimized_module(model: Any, make: Callable[[Any], Any]) -> Any:
    from .nn.modules.module import Module

    class OptimizedModule(Module):
        """A compiled module: shares everything with the original, which is its `_orig_mod`."""

        def __init__(self, mod: Any) -> None:
            super().__init__()
            self._orig_mod = mod
            self.training = mod.training
            self.__dict__["compiled"] = make(mod)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.compiled.call(args, kwargs)

        def train(self, mode: bool = True) -> Any:
            self._orig_mod.train(mode)
            return super().train(mode)

        def __getattr__(self, name: str) -> Any:
            if name == "_orig_mod":
                return self._modules["_orig_mod"]
            return getattr(self._orig_mod, name)

    return OptimizedModule(model)
