"""Switching the stand-in on and off.

While it is on, ``torch`` and everything below it name flambeau's own modules: the same objects, so that a setting made
through one name is seen through the other.  A real PyTorch that was imported before is set aside and comes back.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import flambeau

from ..interop import when_imported
from .finder import Finder, is_torch
from .spawned import forget, remember
from .version import VERSION

_finder = Finder()
_set_aside: dict[str, ModuleType] = {}
_waiting: list[Callable[[], None]] = []  # what ends the waiting for modules that name tensors
_own_version = flambeau.__version__


# Classes by whose module libraries tell one framework's tensors from another's (autoray, opt_einsum, loggers).
_TENSORS = {
    ("flambeau.core.tensor", "Tensor"): "torch",
    ("flambeau.nn.parameter", "Parameter"): "torch.nn.parameter",
}


def _name_tensors() -> None:
    """Give these classes PyTorch's modules while the stand-in is on, as far as they are loaded, else their own."""
    for (module, name), theirs in _TENSORS.items():
        if module in sys.modules:
            getattr(sys.modules[module], name).__module__ = theirs if is_installed() else module


def is_installed() -> bool:
    """Whether ``import torch`` gives flambeau."""
    return _finder in sys.meta_path


def install() -> None:
    """Make ``import torch`` give flambeau, until `uninstall`.  Once is enough, more does nothing.

    Modules imported before, and the names that they hold, stay as they are.
    """
    if is_installed():
        return
    for name in [n for n in sys.modules if is_torch(n)]:
        _set_aside[name] = sys.modules.pop(name)
    flambeau.__version__ = VERSION
    flambeau.__name__ = "torch"  # libraries compare it with the first part of dotted names
    flambeau.torch = flambeau  # PyTorch's own module holds its name, and some use it
    sys.meta_path.insert(0, _finder)
    for module, _ in _TENSORS:
        _waiting.append(when_imported(module, _name_tensors))
    remember(install)


def uninstall() -> None:
    """Undo `install`: ``import torch`` gives PyTorch again, or an ImportError where there is none."""
    if not is_installed():
        return
    sys.meta_path.remove(_finder)
    while _waiting:
        _waiting.pop()()
    _name_tensors()
    forget()
    flambeau.__version__ = _own_version
    flambeau.__name__ = "flambeau"
    del flambeau.torch
    for name in [n for n in sys.modules if is_torch(n)]:
        del sys.modules[name]
    sys.modules.update(_set_aside)
    _set_aside.clear()


@contextlib.contextmanager
def standing_in() -> Iterator[None]:
    """The stand-in for the length of a ``with`` block; as it was before when the block ends.

    >>> import flambeau
    >>> from flambeau.stand_in import standing_in
    >>> with standing_in():
    ...     import torch
    >>> torch is flambeau
    True
    """
    before = is_installed()
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()
