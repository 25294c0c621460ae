"""Automatic mixed precision: `flambeau.amp`."""

from ..runtime.absent import names_of as _names_of
from .autocast_mode import autocast, autocast_decorator, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = [
    "GradScaler",
    "autocast",
    "autocast_decorator",
    "custom_bwd",
    "custom_fwd",
    "is_autocast_available",
]

__getattr__ = _names_of(__name__)
