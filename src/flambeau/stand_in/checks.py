"""``torch._check`` and its kin: assertions that libraries make in the library's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.public import OVERRIDES
from ..core.tensor import Tensor
from ..overrides import handle_torch_function, has_torch_function
from ..runtime.dtypes import bool_
from ..settings import typename

__all__ = [
    "_assert",
    "_assert_async",
    "_check",
    "_check_index",
    "_check_is_size",
    "_check_not_implemented",
    "_check_tensor_all",
    "_check_type",
    "_check_value",
    "_check_with",
]

Message = Callable[[], object] | None


def _check_with(error: type[Exception], cond: bool, message: Message) -> None:
    """Raise `error` with the message that `message` makes, unless `cond`.  Raises TypeError where it is no bool."""
    if not isinstance(cond, bool):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is not None and not callable(message):
        raise TypeError("message must be a callable")
    raise error("Expected cond to be True, but got False." if message is None else str(message()))


def _assert(condition: Any, message: Any) -> None:
    """Raises: AssertionError with `message` unless `condition` holds; it is a `torch.jit.Error`, too."""
    if OVERRIDES and type(condition) is not Tensor and has_torch_function((condition,)):
        handle_torch_function(_assert, (condition,), condition, message)
        return
    if not condition:
        from ..jit import AssertionFailed

        raise AssertionFailed(message)


def _assert_async(input: Tensor, assert_msg: str | None = None) -> None:
    """Raise RuntimeError unless the one element of `input` is true, or there are more or none."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"_assert_async(): argument 'input' (position 1) must be Tensor, not {typename(input)}"
        )
    if not bool(input):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


def _check(cond: bool, message: Message = None) -> None:
    """Raise RuntimeError unless `cond`."""
    _check_with(RuntimeError, cond, message)


def _check_index(cond: bool, message: Message = None) -> None:
    """Raise IndexError unless `cond`."""
    _check_with(IndexError, cond, message)


def _check_value(cond: bool, message: Message = None) -> None:
    """Raise ValueError unless `cond`."""
    _check_with(ValueError, cond, message)


def _check_type(cond: bool, message: Message = None) -> None:
    """Raise TypeError unless `cond`."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond: bool, message: Message = None) -> None:
    """Raise NotImplementedError unless `cond`."""
    _check_with(NotImplementedError, cond, message)


def _check_is_size(i: Any, message: Message = None, *, max: int | None = None) -> None:
    """Raise RuntimeError unless ``0 <= i``, and ``i <= max`` where there is one."""
    _check(bool(i >= 0) and (max is None or bool(i <= max)), message)


def _check_tensor_all(cond: Tensor, message: Message = None) -> None:
    """Raise RuntimeError unless all elements of the bool tensor `cond` are True."""
    if not isinstance(cond, Tensor) or cond.dtype is not bool_:
        raise TypeError(f"cond must be a bool tensor, but got {typename(cond)}")
    _check(bool(cond.all()), message)
