"""Tools around training: `flambeau.utils.data`."""

from . import data

__all__ = ["data"]
