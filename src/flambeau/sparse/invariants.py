"""Whether sparse tensors are checked when they are made: the part of it that costs sorting."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["check_sparse_tensor_invariants"]


class _State:
    enabled = False


class check_sparse_tensor_invariants:  # noqa: N801
    """Checks of the invariants that PyTorch leaves to the user unless told otherwise, in a ``with`` block or a function.

    Ranges and shapes are always checked here; with this, the order of the indices of compressed layouts, too.

    >>> import flambeau as torch
    >>> with torch.sparse.check_sparse_tensor_invariants():
    ...     torch.sparse.check_sparse_tensor_invariants.is_enabled()
    True
    """

    def __init__(self, enable: bool = True) -> None:
        self.state = enable
        self.saved: bool | None = None

    @staticmethod
    def is_enabled() -> bool:
        """Whether the checks are on."""
        return _State.enabled

    @staticmethod
    def enable() -> None:
        """Turn the checks on."""
        _State.enabled = True

    @staticmethod
    def disable() -> None:
        """Turn the checks off."""
        _State.enabled = False

    def __enter__(self) -> None:
        if self.saved is not None:
            raise RuntimeError(
                "This context manager instance is already activated. Use a different context manager instance for "
                "context nesting."
            )
        self.saved = _State.enabled
        _State.enabled = self.state

    def __exit__(self, *exc: Any) -> None:
        assert self.saved is not None
        _State.enabled, self.saved = self.saved, None

    def __call__(self, mth: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(mth)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.state):
                return mth(*args, **kwargs)

        return inner
