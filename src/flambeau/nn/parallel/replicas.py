"""Copies of a module for several devices, of which there is one, and calling them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..modules.module import Module
from .scatter_gather import check_devices

__all__ = ["parallel_apply", "replicate"]


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """A module for each device that shares the network's parameters: for the CPU, the network itself.

    Raises: AssertionError for other devices.
    """
    check_devices(devices)
    return [network]


def parallel_apply(
    modules: Sequence[Module],
    inputs: Sequence[Any],
    kwargs_tup: Sequence[dict[str, Any]] | None = None,
    devices: Sequence[Any] | None = None,
) -> list[Any]:
    """``module(*input, **kwargs)`` for each of the modules, one after the other.

    Raises: AssertionError for lists of different lengths.
    """
    named = [{}] * len(modules) if kwargs_tup is None else kwargs_tup
    if not len(modules) == len(inputs) == len(named):
        raise AssertionError(
            f"{len(modules)} modules, but {len(inputs)} inputs and {len(named)} keyword arguments"
        )
    return [
        module(*(given if isinstance(given, (list, tuple)) else (given,)), **kwargs)
        for module, given, kwargs in zip(modules, inputs, named)
    ]
