"""Other libraries that are told about our tensors, because they have no protocol to ask.

Most need nothing: NumPy, SciPy, scikit-learn, pandas, matplotlib, JAX and jaxtyping use `__array__`, `__dlpack__` or
`__array_namespace__`.  einops knows frameworks by name; it is told when it is imported, before or after flambeau.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

__all__ = ["when_imported"]


class _Finder:
    """Waits for one module, and calls a function when it has been imported (`importlib.abc` takes long to load)."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name = name
        self.action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        loader: Any = spec and spec.loader
        if loader is None or not hasattr(loader, "exec_module"):
            return None
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            self.action()

        loader.exec_module = exec_module
        return spec


def when_imported(name: str, action: Callable[[], None]) -> Callable[[], None]:
    """Call `action` once the module `name` is imported: now, or when a program imports it.  Gives what ends the waiting."""
    finder: Any = _Finder(name, action)
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, finder)

    def stop() -> None:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)

    return stop


def _tell_einops() -> None:
    from . import einops

    einops.register()


def install() -> None:
    """What `import flambeau` does."""
    when_imported("einops._backends", _tell_einops)
