"""``torch.utils._python_dispatch``: there is no dispatcher to put Python into, which programs that ask are told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..runtime.absent import WHERE
from ..runtime.absent import names_of as _names_of

__all__ = ["TorchDispatchMode", "is_traceable_wrapper_subclass"]


class TorchDispatchMode:
    """A block whose operations reach ``__torch_dispatch__``.

    Libraries derive from it when they are imported, and few programs enter it.

    Raises: NotImplementedError when entered. `flambeau.overrides.TorchFunctionMode` sees the calls of public functions.
    """

    def __init__(self, _dispatch_key: Any = None) -> None:
        if _dispatch_key is not None:
            raise NotImplementedError(f"TorchDispatchMode: there are no dispatch keys here ({WHERE})")

    def __enter__(self) -> TorchDispatchMode:
        raise NotImplementedError(
            f"{type(self).__name__}: operations do not reach __torch_dispatch__ here. "
            f"torch.overrides.TorchFunctionMode sees the calls of public functions ({WHERE})"
        )

    def __exit__(self, *error: object) -> None:
        """Nothing to undo."""


def is_traceable_wrapper_subclass(t: object) -> bool:
    """Whether `t` consists of tensors that the compiler would take it apart into: never."""
    return False


def is_traceable_wrapper_subclass_type(t: type) -> bool:
    """The same for a class."""
    return False


@contextlib.contextmanager
def _disable_current_modes() -> Iterator[list[TorchDispatchMode]]:
    """A block outside all modes; gives those that were entered, of which there are none."""
    yield []


def _get_current_dispatch_mode() -> None:
    """The innermost mode: none."""


def _get_current_dispatch_mode_stack() -> list[TorchDispatchMode]:
    """All modes: none."""
    return []


__getattr__ = _names_of(__name__)
