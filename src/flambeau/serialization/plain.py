"""What plain pickles of PyTorch's tensors call: ``pickle.load`` of a file that PyTorch wrote, not `torch.load`.

Such a pickle contains each tensor's storage as the bytes of a small file of `torch.save`, and a call that puts the tensor
over it.  These are the functions by the names that the pickle has for them.
"""

from __future__ import annotations

import io
from typing import Any

from ..ops.memory import empty_strided
from ..runtime import dtypes
from ..tensor.storage import TypedStorage, UntypedStorage
from . import binding, tensors

__all__ = [
    "as_storage",
    "load_from_bytes",
    "rebuild_from_type_v2",
    "rebuild_parameter",
    "rebuild_parameter_with_state",
    "rebuild_tensor",
    "rebuild_tensor_v2",
    "rebuild_tensor_v3",
]


def as_storage(value: Any) -> Any:
    """A loaded storage as users know storages; anything else as it is."""
    if not isinstance(value, tensors.LoadedStorage):
        return value
    whole = UntypedStorage(value.bytes)
    return whole if value.dtype is None else TypedStorage(wrap_storage=whole, dtype=value.dtype)


def load_from_bytes(data: bytes) -> Any:
    """The storage in the bytes of a file.  As the pickle around it, it may execute what it likes."""
    from .loading import load

    return load(io.BytesIO(data), weights_only=False)


def rebuild_tensor(storage: Any, storage_offset: int, size: Any, stride: Any) -> Any:
    """A tensor over a storage, without gradients.

    Raises: TypeError for what is no storage, ValueError for a window that reaches beyond it.
    """
    return rebuild_tensor_v2(storage, storage_offset, size, stride, False, None)


def rebuild_tensor_v2(
    storage: Any,
    storage_offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    backward_hooks: Any,
    metadata: Any = None,
) -> Any:
    """A tensor with the dtype of its storage.  Raises as `rebuild_tensor`, and for hooks, which are not loaded."""
    dtype = getattr(storage, "dtype", dtypes.uint8)
    return rebuild_tensor_v3(
        storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, metadata
    )


def rebuild_tensor_v3(
    storage: Any,
    storage_offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    backward_hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Any:
    """A tensor whose dtype is stated.  Raises as `rebuild_tensor_v2`."""
    if not isinstance(storage, (TypedStorage, UntypedStorage)):
        raise TypeError(f"a storage was expected, not {type(storage).__name__}")
    tensors.check_hooks(backward_hooks)
    if storage.device.type == "meta":
        made = empty_strided(tuple(size), tuple(stride), dtype=dtype, device="meta")
        return made.requires_grad_(requires_grad)
    data = storage.untyped().array()
    window = tensors.LoadedStorage(data, dtype, "cpu", binding.new_handle())
    tensor = tensors.build(window, dtype, storage_offset, tuple(size), tuple(stride), requires_grad)
    if metadata:
        tensors.resolve(tensor, metadata)
    return tensor


def rebuild_parameter(data: Any, requires_grad: bool, backward_hooks: Any) -> Any:
    """A Parameter over the tensor's memory.  Raises ValueError for hooks, which are not loaded."""
    tensors.check_hooks(backward_hooks)
    return binding.make_parameter(data, requires_grad)


def rebuild_parameter_with_state(data: Any, requires_grad: bool, backward_hooks: Any, state: Any) -> Any:
    """A Parameter with Python attributes."""
    return tensors.set_attributes(rebuild_parameter(data, requires_grad, backward_hooks), state)


def rebuild_from_type_v2(build: Any, cls: type, args: tuple[Any, ...], state: Any) -> Any:
    """A tensor of a subclass, with its Python attributes."""
    tensor = build(*args)
    if type(tensor) is not cls:
        tensor = tensor.as_subclass(cls)
    for part in state if isinstance(state, tuple) else (state,):
        for key, value in (part or {}).items():
            setattr(tensor, key, value)
    return tensor
