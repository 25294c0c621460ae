"""Names that programs under a launcher import; the launcher is `flambeau.distributed.run`."""

from __future__ import annotations

from ...runtime.absent import names_of as _names_of
from . import multiprocessing

__all__ = ["multiprocessing"]

__getattr__ = _names_of(__name__)
