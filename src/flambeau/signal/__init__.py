"""Signal processing: `flambeau.signal`."""

from . import windows

__all__ = ["windows"]
