"""The CPU kernel engine, and PyTorch's `torch.compiler` functions.

The engine is code generated with LLVM for arrays, below the `Tensor` class; nothing of it is imported by
``import flambeau``, and llvmlite loads when the first kernel is built.  PyTorch's names (`disable`, `reset`,
`is_compiling` ...) belong to capture, far above the engine, and are found there when they are asked for.

>>> import flambeau as torch
>>> torch.compiler.is_compiling()
False
"""

from typing import Any

_PUBLIC = frozenset(
    (
        *("allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable"),
        *("is_compiling", "is_dynamo_compiling", "is_exporting", "list_backends", "nested_compile_region"),
        *("reset", "set_stance", "wrap_numpy"),
    )
)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(__name__.rpartition(".")[0] + ".compile_api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
