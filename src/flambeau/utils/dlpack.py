"""DLPack capsules by hand: `flambeau.utils.dlpack`.  New code says ``from_dlpack(array)`` and needs no capsule."""

from __future__ import annotations

import enum
from typing import Any

from ..core.tensor import Tensor
from ..ops.creation import from_dlpack

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


class DLDeviceType(enum.IntEnum):
    """DLPack's numbers for kinds of devices."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCPUPinned = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule (of DLPack 0.8) over the memory of a tensor, to be used once.

    Raises: BufferError for tensors that require grad and for read-only memory.

    >>> import flambeau as torch
    >>> t = torch.zeros(2)
    >>> torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(t)).fill_(3) is not None, t
    (True, tensor([3., 3.]))
    """
    return tensor.__dlpack__()
