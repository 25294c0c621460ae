"""A device for what is made in a ``with`` block: PyTorch's way to ``with torch.device(...)``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..overrides import TorchFunctionMode
from ..runtime.types import check_device, device

F = TypeVar("F", bound=Callable[..., Any])


@functools.lru_cache(None)
def _device_constructors() -> set[Callable[..., Any]]:
    """The functions that make tensors and take a device."""
    import flambeau

    names = (
        "arange as_tensor asarray bartlett_window blackman_window empty empty_permuted empty_strided eye fft.fftfreq "
        "fft.rfftfreq full hamming_window hann_window kaiser_window linspace logspace normal ones rand randint randn "
        "randperm range scalar_tensor tensor tril_indices triu_indices zeros"
    ).split()
    space: Any = flambeau
    return {functools.reduce(getattr, name.split("."), space) for name in names}


class DeviceContext(TorchFunctionMode):
    """Functions that make tensors get this device, where they are not given one."""

    def __init__(self, device_: Any) -> None:
        self.device = device(device_)
        if self.device.type != "meta":
            check_device(self.device)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _device_constructors() and kwargs.get("device") is None:
            kwargs["device"] = self.device
        return func(*args, **kwargs)


def set_device(device_: Any) -> Callable[[F], F]:
    """A decorator: the function runs in a `DeviceContext`."""

    def decorate(fn: F) -> F:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with DeviceContext(device_):
                return fn(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate
