"""The standard's Fourier transform extension: `flambeau.array_api.fft`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..runtime.dtypes import COMPLEX, FLOATING, dtype
from .arrays import Array, own, standard
from .creation import on_device
from .promotion import tensor_of

_ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
_MANY = ("fftn", "ifftn", "rfftn", "irfftn")
__all__ = [*_ONE, *_MANY, "fftfreq", "fftshift", "ifftshift", "rfftfreq"]


def _check(name: str, x: Any) -> None:
    """Raises: TypeError for dtypes that are not floating, and for complex input where real input is meant."""
    category = tensor_of(x, name).dtype.category
    if category < FLOATING or (category == COMPLEX and name in ("rfft", "rfftn", "ihfft")):
        kind = "a real floating" if name in ("rfft", "rfftn", "ihfft") else "a floating"
        raise TypeError(f"{name}(): {kind} dtype is needed, got {x.dtype}")


def _one(name: str) -> Callable[..., Array]:
    fn = FUNCTIONS["fft_" + name]

    def call(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
        _check(name, x)
        return own(fn(x, n, axis, norm), x)  # type: ignore[no-any-return]

    call.__doc__ = f"The transform `{name}` along one axis, of `n` points (cut or filled with zeros)."
    return call


def _many(name: str) -> Callable[..., Array]:
    fn = FUNCTIONS["fft_" + name]

    def call(
        x: Tensor,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str = "backward",
    ) -> Array:
        _check(name, x)
        return own(fn(x, s, axes, norm), x)  # type: ignore[no-any-return]

    call.__doc__ = (
        f"The transform `{name}` along several axes (all, or the last ones that `s` has sizes for)."
    )
    return call


for _names, _make in ((_ONE, _one), (_MANY, _many)):
    for _name in _names:
        _fn = _make(_name)
        _fn.__name__ = _fn.__qualname__ = _name
        globals()[_name] = _fn


@standard
def fftfreq(n: int, /, *, d: float = 1.0, dtype: dtype | None = None, device: Any = None) -> Any:
    """The frequencies of the points that `fft` gives, for samples at distance `d`."""
    on_device(device)
    return FUNCTIONS["fft_fftfreq"](n, d, dtype=dtype)


@standard
def rfftfreq(n: int, /, *, d: float = 1.0, dtype: dtype | None = None, device: Any = None) -> Any:
    """The frequencies of the points that `rfft` gives, for samples at distance `d`."""
    on_device(device)
    return FUNCTIONS["fft_rfftfreq"](n, d, dtype=dtype)


@standard
def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Any:
    """`x` with the zero frequency moved to the middle of the axes (all when None)."""
    return FUNCTIONS["fft_fftshift"](tensor_of(x, "fftshift"), axes)


@standard
def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Any:
    """The inverse of `fftshift`."""
    return FUNCTIONS["fft_ifftshift"](tensor_of(x, "ifftshift"), axes)
