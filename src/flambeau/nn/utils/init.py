"""Modules made without the work of initialising them."""

from __future__ import annotations

import inspect
from typing import Any

from ...runtime.absent import names_of as _names_of
from ..modules.module import Module

__all__ = ["skip_init"]

__getattr__ = _names_of(__name__)


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """``module_cls(*args, **kwargs)`` with parameters of arbitrary values, to be loaded or set.

    It is made on the meta device, so nothing is drawn or computed, and then given memory on `device`.

    Raises: RuntimeError for a class that is no Module, or that takes no `device`.

    >>> import flambeau as torch
    >>> torch.nn.utils.skip_init(torch.nn.Linear, 2, 3).weight.shape
    torch.Size([3, 2])
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    where = kwargs.pop("device", "cpu")
    return module_cls(*args, **kwargs, device="meta").to_empty(device=where)
