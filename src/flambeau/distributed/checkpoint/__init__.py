"""State of modules in a world of one process: `flambeau.distributed.checkpoint.state_dict`."""

from __future__ import annotations

from ...runtime.absent import names_of
from . import state_dict as state_dict

__all__ = ["state_dict"]

__getattr__ = names_of(__name__)
