"""Training on several machines is absent; programs that ask are told so: `flambeau.distributed`."""

from __future__ import annotations

from .runtime.absent import names_of as _names_of

__all__ = ["is_available", "is_initialized", "is_torchelastic_launched"]


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False."""
    return False


__getattr__ = _names_of(__name__)
