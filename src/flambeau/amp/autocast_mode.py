"""Autocast: regions in which matrix products are computed in a 16-bit dtype and delicate functions in float32."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from ..core import public
from ..core.state import tls
from ..core.tensor import Tensor
from ..runtime import dtypes
from .casts import Cache, Caster

__all__ = ["autocast", "autocast_decorator", "custom_bwd", "custom_fwd", "is_autocast_available"]

F = TypeVar("F", bound=Callable[..., Any])

# The devices that PyTorch knows autocast for, and the dtype of each; only the CPU exists here.
FAST = {
    "cpu": dtypes.bfloat16,
    **dict.fromkeys(
        ("cuda", "hpu", "ipu", "maia", "mps", "mtia", "privateuseone", "xla", "xpu"), dtypes.float16
    ),
}
FAST["xla"] = FAST["mtia"] = dtypes.bfloat16
SUPPORTED = (dtypes.bfloat16, dtypes.float16)


class _Settings(threading.local):
    """What is set for the running thread."""

    def __init__(self) -> None:
        self.enabled = dict.fromkeys(FAST, False)
        self.dtype = dict(FAST)
        self.cache_enabled = True
        self.nesting = 0
        self.cache = Cache()
        self.asking = False  # are functions made to ask on this thread's behalf?


_set = _Settings()


def _apply() -> None:
    """Bring `tls.autocast` in line with the settings."""
    on = _set.enabled["cpu"]
    if on and not _set.asking:
        public.OVERRIDES.append(autocast)  # makes functions ask
    elif _set.asking and not on:
        public.OVERRIDES.remove(autocast)
    _set.asking = on
    tls.autocast = Caster(_set.dtype["cpu"], _set.cache if _set.cache_enabled else None) if on else None


def _known(device_type: Any) -> str:
    """Raises: RuntimeError for a device type that PyTorch does not know."""
    if device_type not in FAST:
        raise RuntimeError(f"unknown device type for autocast: {device_type!r} (known: {', '.join(FAST)})")
    return device_type  # type: ignore[no-any-return]


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows the device type (not whether there is such a device)."""
    return device_type in FAST


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a device type in this thread."""
    return _set.enabled[_known(device_type)]


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Turn autocast on or off for a device type, in this thread; a bool alone is for CUDA."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    _set.enabled[_known(device_type)] = bool(enabled)
    _apply()


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The dtype that autocast computes in on a device type."""
    return _set.dtype[_known(device_type)]


def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Set the dtype that autocast computes in on a device type.

    Raises: TypeError for anything but a dtype.
    """
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"set_autocast_dtype(): argument 'dtype' must be a dtype, not {type(dtype).__name__}")
    _set.dtype[_known(device_type)] = dtype
    _apply()


def is_autocast_cache_enabled() -> bool:
    """Whether autocast keeps the parameters it has cast."""
    return _set.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Whether autocast is to keep the parameters it has cast."""
    _set.cache_enabled = bool(enabled)
    _apply()


def clear_autocast_cache() -> None:
    """Forget the parameters that were cast."""
    _set.cache.entries.clear()


def autocast_increment_nesting() -> int:
    """Count a region; returns how many there are."""
    _set.nesting += 1
    return _set.nesting


def autocast_decrement_nesting() -> int:
    """Count a region's end; returns how many are left."""
    _set.nesting -= 1
    return _set.nesting


def is_autocast_cpu_enabled() -> bool:
    """``is_autocast_enabled("cpu")``."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """``set_autocast_enabled("cpu", enabled)``."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> dtypes.dtype:
    """``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: dtypes.dtype) -> None:
    """``set_autocast_dtype("cpu", dtype)``."""
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> dtypes.dtype:
    """``get_autocast_dtype("cuda")``."""
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: dtypes.dtype) -> None:
    """``set_autocast_dtype("cuda", dtype)``."""
    set_autocast_dtype("cuda", dtype)


class autocast:
    """A region (or, as a decorator, a function) of mixed precision.

    Matrix products and convolutions compute in `dtype` (bfloat16 on the CPU), losses and solvers in float32, everything
    else in the dtypes it is given; `flambeau.amp.casts` has the lists.  ``enabled=False`` makes a region without casts
    inside another one.  Run backward outside of it.

    For "cuda" it warns and does nothing, as there is none; so does a dtype that is not bfloat16 or float16.

    Raises: ValueError unless `device_type` is a string, RuntimeError for an unknown one.

    >>> import flambeau as torch
    >>> linear = torch.nn.Linear(2, 2)
    >>> with torch.autocast("cpu"):
    ...     y = linear(torch.ones(1, 2))
    ...     loss = torch.nn.functional.mse_loss(y, torch.zeros(1, 2))
    >>> y.dtype, loss.dtype
    (torch.bfloat16, torch.float32)
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtypes.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in SUPPORTED:
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{device_type.upper()} Autocast only supports dtypes of torch.bfloat16, torch.float16, not "
                f"{self.fast_dtype}.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._before: list[tuple[bool, dtypes.dtype, bool]] = []  # one entry for each region that is open

    def __enter__(self) -> autocast:
        device = self.device
        self._before.append((is_autocast_enabled(device), get_autocast_dtype(device), _set.cache_enabled))
        _set.enabled[device], _set.dtype[device] = self._enabled, self.fast_dtype
        _set.cache_enabled = self._cache_enabled
        autocast_increment_nesting()
        _apply()
        return self

    def __exit__(self, *exc: Any) -> None:
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        device = self.device
        _set.enabled[device], _set.dtype[device], _set.cache_enabled = self._before.pop()
        _apply()

    def __call__(self, func: F) -> F:
        """`func` run in such a region.

        Raises: TypeError unless it is callable.
        """
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you mean to use autocast as "
                "a context manager: with autocast(device_type=...): ...?"
            )
        return autocast_decorator(self, func)


def autocast_decorator(autocast_instance: autocast, func: F) -> F:
    """`func` run in the region `autocast_instance`."""

    @functools.wraps(func)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with autocast_instance:
            return func(*args, **kwargs)

    return decorated  # type: ignore[return-value]


def _cast(value: Any, device_type: str, dtype: dtypes.dtype) -> Any:
    """`value` with its floating tensors (but for float64) as `dtype`, through mappings and iterables."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type
        return value.to(dtype) if eligible and value.dtype is not dtypes.float64 else value
    if isinstance(value, (str, bytes, np.ndarray)):
        return value
    if isinstance(value, Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, Iterable):
        values = (_cast(v, device_type, dtype) for v in value)
        return type(value)(values) if isinstance(value, (list, tuple)) else values
    return value


def _need_device(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: dtypes.dtype | None = None) -> Any:
    """For the ``forward`` of an `autograd.Function`: remembers whether autocast was on.

    With `cast_inputs`, inside an autocast region it runs without autocast on arguments of that dtype.
    """
    _need_device(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args: Any, **kwargs: Any) -> Any:
        ctx, on = args[0], is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """For the ``backward`` of an `autograd.Function` whose forward has `custom_fwd`: runs as the forward did."""
    _need_device(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return backward
