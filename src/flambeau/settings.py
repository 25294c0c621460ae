"""Process-wide settings that PyTorch has, and questions about the build.

Numbers do not depend on them: every operation is deterministic and computes float32 products in float32, so the
settings are checked, remembered and reported, and nothing else.
"""

from __future__ import annotations

from typing import Any

from .core import remembered
from .core.state import defaults
from .core.tensor import Tensor
from .ops import default_device
from .runtime.threads import get_num_threads, set_num_threads
from .runtime.types import CPU, device

__all__ = [
    "are_deterministic_algorithms_enabled",
    "compiled_with_cxx11_abi",
    "get_default_device",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "get_num_threads",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_storage",
    "is_warn_always_enabled",
    "set_default_device",
    "set_default_tensor_type",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_num_threads",
    "set_warn_always",
    "typename",
    "use_deterministic_algorithms",
]


class _State:
    """What was set."""

    deterministic = False
    warn_only = False
    precision = "highest"
    warn_always = False
    interop_threads = 1


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remembered: all operations are deterministic anyway.

    Raises: TypeError unless `mode` is a bool.
    """
    if not isinstance(mode, bool):
        raise TypeError(
            f"use_deterministic_algorithms(): argument 'mode' must be bool, not {type(mode).__name__}"
        )
    _State.deterministic, _State.warn_only = mode, bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told."""
    return _State.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was told about warnings."""
    return _State.deterministic and _State.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """ "default" (0), "warn" (1) or "error" (2): another way to call `use_deterministic_algorithms`.

    Raises: TypeError or RuntimeError for anything else.
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    names = {"default": 0, "warn": 1, "error": 2}
    mode = names.get(debug_mode, -1) if isinstance(debug_mode, str) else debug_mode
    if mode not in (0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected 'default', 'warn', 'error', 0, 1 or 2, but got {debug_mode}"
        )
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2; see `set_deterministic_debug_mode`."""
    return 0 if not _State.deterministic else 1 if _State.warn_only else 2


def set_float32_matmul_precision(precision: str) -> None:
    """Remembered: float32 products are always computed in float32 ("highest").

    Raises: RuntimeError for other values than "highest", "high" and "medium".
    """
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            f"float32_matmul_precision must be one of 'highest', 'high' or 'medium', got {precision!r}"
        )
    _State.precision = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told ("highest" at first)."""
    return _State.precision


def set_flush_denormal(mode: bool) -> bool:
    """False: denormal numbers are always kept."""
    return False


def get_num_interop_threads() -> int:
    """How many operations may run at once on behalf of one program."""
    return _State.interop_threads


def set_num_interop_threads(num: int) -> None:
    """Remembered: operations run one after the other.

    Raises: RuntimeError unless positive.
    """
    if num <= 0:
        raise RuntimeError(f"Expected positive number of threads, but got {num}")
    _State.interop_threads = int(num)


def set_warn_always(b: bool) -> None:
    """Remembered; Python's `warnings` filters decide how often a warning shows."""
    _State.warn_always = bool(b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was told."""
    return _State.warn_always


def get_default_device() -> device:
    """The device that factories use when none is given: the CPU, unless another was set.

    >>> import flambeau as torch
    >>> with torch.device("meta"):
    ...     torch.get_default_device(), torch.ones(2, 3)
    (device(type='meta'), tensor(..., device='meta', size=(2, 3)))
    """
    return default_device.current() or CPU


def set_default_device(device: Any) -> None:
    """Have factories use the CPU (or None), or ``"meta"`` for tensors without data, when no device is given.

    Raises: AssertionError for CUDA devices, RuntimeError for others: there is none here.
    """
    default_device.set_default(device)


def set_default_tensor_type(t: Any) -> None:
    """Set the default floating dtype by a tensor type (`flambeau.DoubleTensor`) or its name.

    Raises: TypeError for types that are not floating.
    """
    from .tensor import typed

    if isinstance(t, str):
        t = getattr(typed, t.removeprefix("torch."), None)
    d = getattr(t, "_legacy_dtype", None)
    if d is None or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, not {t}")
    defaults.dtype = d
    remembered.forget()


def is_storage(obj: object) -> bool:
    """Whether `obj` is a storage."""
    from .tensor.storage import TypedStorage, UntypedStorage

    return isinstance(obj, (TypedStorage, UntypedStorage))


def _has_compatible_shallow_copy_type(a: Tensor, b: Tensor) -> bool:
    """Whether ``a.data = b`` can be done, as far as the layouts go: what `Parameter` subclasses ask for."""
    return a.layout is b.layout


def typename(obj: Any) -> str:
    """The name of an object's type: ``torch.FloatTensor`` and the like for tensors."""
    if isinstance(obj, Tensor):
        return obj.type()  # type: ignore[no-any-return]
    cls = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(cls, "__module__", "") or ""
    return cls.__qualname__ if module in ("", "builtins") else f"{module}.{cls.__qualname__}"


def compiled_with_cxx11_abi() -> bool:
    """False: there is no C++."""
    return False
