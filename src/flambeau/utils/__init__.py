"""Tools around training: `flambeau.utils.data`, `flambeau.utils.dlpack`."""

from . import data, dlpack

__all__ = ["data", "dlpack"]
