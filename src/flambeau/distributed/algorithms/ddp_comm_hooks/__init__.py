"""Hooks for `DistributedDataParallel.register_comm_hook`."""

from __future__ import annotations

from ....runtime.absent import names_of as _names_of
from . import default_hooks, post_localSGD_hook

__all__ = ["default_hooks", "post_localSGD_hook"]

__getattr__ = _names_of(__name__)
