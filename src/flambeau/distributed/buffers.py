"""The memory of tensors, as collectives read and write it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.pending import settle
from ..core.state import tls
from ..core.tensor import Tensor, composed, mark_written

__all__ = ["Written", "check_tensor", "check_tensors", "read"]


def check_tensor(value: Any, name: str) -> None:
    """Raises TypeError for what is no tensor, ValueError for those without elements to send."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor, to be a tensor, "
            f"but got {value!r} of type {type(value).__name__}"
        )
    if value.is_meta or composed(value):
        raise ValueError(
            f"parameter `{name}` has to be a strided tensor on the CPU, not on {value.device} with "
            f"layout {value.layout}"
        )


def check_tensors(values: Any, name: str) -> None:
    """Raises TypeError unless these are tensors in a list."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, Tensor) for v in values):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor], "
            f"but got {values!r}"
        )
    for value in values:
        check_tensor(value, name)


def read(tensor: Tensor) -> Any:
    """The elements, as a contiguous array of one dim: the tensor's memory where that is contiguous."""
    return np.ascontiguousarray(raw(tensor)).reshape(-1)


class Written:
    """A tensor that a collective writes to: `flat` has its elements, and `finish` puts them there."""

    def __init__(self, tensor: Tensor, what: str, keep: bool = True) -> None:
        array = raw(tensor)
        settle(tls.capture)
        if not array.flags.writeable:
            raise RuntimeError(
                f"{what}: the tensor of shape {tuple(tensor.shape)} has memory that is only for reading"
            )
        mark_written(tensor, what)
        self.array = array
        if array.flags.c_contiguous:
            self.flat = array.reshape(-1)
        else:
            self.flat = array.ravel() if keep else np.empty(array.size, array.dtype)

    def finish(self) -> None:
        """Put the elements into the tensor, where they are not there already."""
        if not self.array.flags.c_contiguous:
            self.array[...] = self.flat.reshape(self.array.shape)
