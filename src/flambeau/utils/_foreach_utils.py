"""What optimizers outside the library use to treat parameters of a kind together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.tensor import Tensor
from ..runtime.absent import names_of
from ..runtime.types import device

__all__ = ["_group_tensors_by_device_and_dtype"]


def _group_tensors_by_device_and_dtype(
    tensorlistlist: Sequence[Sequence[Tensor | None]], with_indices: bool = False
) -> dict[Any, tuple[list[list[Tensor | None]], list[int]]]:
    """Lists of equal length, divided by the device and dtype of the first list's tensors.

    The keys are (device, dtype), the values the divided lists and the indices where their entries were, which are
    empty unless asked for.
    """
    groups: dict[Any, tuple[list[list[Tensor | None]], list[int]]] = {}
    for i, first in enumerate(tensorlistlist[0]):
        assert first is not None
        lists, indices = groups.setdefault(
            (first.device, first.dtype), ([[] for _ in tensorlistlist], list[int]())
        )
        for divided, whole in zip(lists, tensorlistlist):
            if whole:
                divided.append(whole[i])
        if with_indices:
            indices.append(i)
    return groups


def _get_foreach_kernels_supported_devices() -> list[str]:
    return ["cpu"]


def _get_fused_kernels_supported_devices() -> list[str]:
    return ["cpu"]


def _device_has_foreach_support(device: device) -> bool:
    return device.type == "cpu"


def _has_foreach_support(tensors: Sequence[Tensor | None], device: device) -> bool:
    return _device_has_foreach_support(device) and all(t is None or type(t) is Tensor for t in tensors)


__getattr__ = names_of(__name__)
