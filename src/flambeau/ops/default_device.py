"""The device that factories use when none is given: ``with torch.device(...)`` and `set_default_device`.

While one is set, functions are asked to look for modes (`core.public.OVERRIDES`), and this mode gives the factories
their ``device=``.  So nothing is asked anywhere in programs that set none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.public import OVERRIDES
from ..core.state import tls
from ..runtime.types import check_device, device

__all__ = ["current", "set_default"]

FACTORIES = frozenset(
    """
    arange as_tensor asarray bartlett_window blackman_window empty empty_permuted empty_strided eye fft_fftfreq fft_rfftfreq
    fftfreq rfftfreq full hamming_window hann_window kaiser_window linspace logspace normal ones rand randint randn randperm
    range scalar_tensor tensor tril_indices triu_indices zeros
    """.split()
)


class DefaultDevice:
    """A mode that tells factories where to make their tensors."""

    def __init__(self, where: device) -> None:
        self.where = where

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = {} if kwargs is None else kwargs
        if getattr(func, "__name__", None) in FACTORIES and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": self.where}
        return func(*args, **kwargs)


def _modes() -> list[Any]:
    return tls.__dict__.setdefault("function_modes", [])  # type: ignore[no-any-return]


def current() -> device | None:
    """The innermost default, if one is set."""
    found = [m.where for m in _modes() if type(m) is DefaultDevice]
    return found[-1] if found else None


def _checked(where: device) -> device:
    return where if where.type == "meta" else check_device(where)


def enter(where: device) -> None:
    """Beginning of ``with where:``."""
    mode = DefaultDevice(_checked(where))
    _modes().append(mode)
    OVERRIDES.append(DefaultDevice)


def leave(where: device) -> None:
    """End of ``with where:``."""
    modes = _modes()
    at = max(i for i, m in enumerate(modes) if type(m) is DefaultDevice and m.where == where)
    del modes[at]
    OVERRIDES.remove(DefaultDevice)


def set_default(where: Any) -> None:
    """Where factories make tensors from now on, in this thread, outside of ``with`` blocks; None: the CPU."""
    modes = _modes()
    new = None if where is None else _checked(where if isinstance(where, device) else device(where))
    old = tls.__dict__.pop("default_device", None)
    if old is not None:
        modes.remove(old)
        OVERRIDES.remove(DefaultDevice)
    if new is not None and new.type != "cpu":
        mode = tls.__dict__["default_device"] = DefaultDevice(new)
        modes.insert(0, mode)
        OVERRIDES.append(DefaultDevice)


device.contexts.append((enter, leave))
