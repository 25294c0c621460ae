"""Dividing arguments among devices, of which there is one."""

from __future__ import annotations

from typing import Any

from ...runtime.types import device

__all__ = ["gather", "scatter"]


def _check(where: Any) -> None:
    if not isinstance(where, int) and device(where).type == "cpu":
        return
    raise AssertionError(f"Torch not compiled with CUDA enabled: there is no device {where}")


def check_devices(named: Any) -> None:
    """Raises: AssertionError for other devices than the CPU, ValueError for more than one."""
    for where in named:
        _check(where)
    if len(named) != 1:
        raise ValueError(f"there is one device, the CPU, but {len(named)} are named")


def scatter(inputs: Any, target_gpus: Any, dim: int = 0) -> list[Any]:
    """`inputs`, divided along `dim` among devices: all of it for the CPU.

    Raises: AssertionError for other devices.
    """
    check_devices(target_gpus)
    return [inputs]


def gather(outputs: Any, target_device: Any, dim: int = 0) -> Any:
    """The results of the devices, joined: of one device they are as they are.

    Raises: AssertionError for other devices than the CPU.
    """
    _check(target_device)
    if len(outputs) != 1:
        raise ValueError(f"there is one device, the CPU, but {len(outputs)} results")
    return outputs[0]
