"""How tensors are pickled for another process: a descriptor of their memory, and their place in it."""

from __future__ import annotations

from multiprocessing import reduction
from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.tensor import Storage, Tensor
from ..nn.parameter import Parameter
from ..runtime import shared
from ..tensor import copying

__all__ = ["init_reductions"]


def reduce_tensor(t: Tensor) -> Any:
    """Move the tensor to shared memory, and describe where it is.

    Raises: RuntimeError for a tensor with a graph behind it, which does not reach into other processes.
    """
    if t.requires_grad and not t.is_leaf:
        raise RuntimeError(
            "a tensor that requires grad and is not a leaf cannot be sent to another process: its graph stays here. Send "
            "t.detach(), or compute the gradient first"
        )
    array = raw(t)
    state = dict(t.__dict__)
    if not array.size:
        return _empty, (type(t), array.shape, array.dtype, t.requires_grad, state)
    t.share_memory_()
    array = raw(t)
    memory = shared.shared_under(array)
    assert memory is not None
    root = memory_array(array)
    offset = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    place = (array.dtype, array.shape, array.strides, offset)
    descriptor: Any = reduction.DupFd(memory.descriptor)
    return _attached, (type(t), descriptor, root.nbytes, place, t.requires_grad, state)


def memory_array(array: Any) -> Any:
    """All bytes of the shared memory under an array."""
    from ..runtime import memory

    return memory.root(array)


def _empty(
    cls: type, shape: tuple[int, ...], dtype: Any, requires_grad: bool, state: dict[str, Any]
) -> Tensor:
    return copying.build(cls, np.empty(shape, dtype), requires_grad, None, state)


def _attached(
    cls: type, descriptor: Any, size: int, place: Any, requires_grad: bool, state: dict[str, Any]
) -> Tensor:
    """Raises: RuntimeError or ValueError when memory and place do not fit each other."""
    root = shared.attach(descriptor.detach(), size)
    memory = shared.shared_under(root)
    assert memory is not None
    if memory.storage is None:
        memory.storage = Storage()
    return copying.build(cls, copying.put_together(root, place), requires_grad, memory.storage, state)


def init_reductions() -> None:
    """Have `multiprocessing` pickle tensors and parameters this way."""
    for cls in (Tensor, Parameter):
        reduction.register(cls, reduce_tensor)
