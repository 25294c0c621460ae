"""Tensors from their storages: PyTorch's rebuild functions, with every number checked against the storage."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..runtime import dtypes
from ..runtime.types import sparse_coo
from ..runtime.types import strided as strided_layout
from . import binding
from .errors import brief

if TYPE_CHECKING:
    from .archive import Bytes
    from .loader import Loader

MAX_DIMENSIONS = 64  # what NumPy and PyTorch can hold
_MAX_BYTES = (1 << 63) - 1


class LoadedStorage:
    """The memory behind one or more loaded tensors.

    `dtype` is None for an untyped storage; `handle` is whatever the tensors over it share.
    """

    __slots__ = ("bytes", "dtype", "handle", "location")

    def __init__(self, data: Bytes, dtype: Any, location: str, handle: Any) -> None:
        self.bytes = data
        self.dtype = dtype
        self.location = location
        self.handle = handle

    def nbytes(self) -> int:
        """Size in bytes."""
        return self.bytes.nbytes

    def cpu(self) -> LoadedStorage:
        """The storage in main memory, which it is already."""
        return self

    def typed(self, dtype: Any) -> LoadedStorage:
        """The same memory seen with another dtype."""
        return LoadedStorage(self.bytes, dtype, self.location, self.handle)


def strided(data: Bytes, dtype: Any, offset: Any, size: Any, stride: Any) -> npt.NDArray[Any]:
    """The array of `size` over `data` that starts at element `offset` and steps by `stride` elements.

    Raises: ValueError when a number is not a non-negative int or an element would lie outside the storage.
    """
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise ValueError(f"size {brief(size)} and stride {brief(stride)} do not describe a tensor")
    if any(type(n) is not int or n < 0 or n > _MAX_BYTES for n in (offset, *size, *stride)):
        raise ValueError(
            f"size {brief(size)}, stride {brief(stride)}, offset {brief(offset)} must be ints >= 0"
        )
    itemsize = dtype.itemsize
    if math.prod(size) == 0:
        return np.empty(size, dtype.numpy)
    needed = (offset + 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))) * itemsize
    if needed > data.nbytes or math.prod(size) * itemsize > _MAX_BYTES:
        raise ValueError(
            f"sizes {list(size)}, strides {list(stride)}, storage offset {offset} and itemsize {itemsize} "
            f"require a storage of {needed} bytes, but it has {data.nbytes}"
        )
    # Extents of 1 may carry any stride; NumPy wants them in range.
    steps = tuple(s * itemsize if n > 1 else itemsize for n, s in zip(size, stride, strict=True))
    array: npt.NDArray[Any] = np.ndarray(size, dtype.numpy, data, offset * itemsize, steps)
    return array


def build(storage: Any, dtype: Any, offset: Any, size: Any, stride: Any, requires_grad: Any) -> Any:
    """A tensor over a storage.

    Raises: TypeError for other types than PyTorch's, ValueError for a window that reaches beyond the storage.
    """
    if not isinstance(storage, LoadedStorage) or not isinstance(dtype, dtypes.dtype):
        raise TypeError("a storage and a dtype were expected")
    if type(size) is not tuple or type(stride) is not tuple or type(requires_grad) is not bool:
        raise TypeError("size and stride must be tuples, requires_grad a bool")
    if requires_grad and not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(f"a tensor of dtype {dtype} cannot require gradients")
    array = strided(storage.bytes, dtype, offset, size, stride)
    if storage.location == "meta":
        return binding.meta_tensor(dtype, size, stride, requires_grad)
    return binding.rebuild(array, storage, requires_grad)


def rebuild_meta(loader: Loader, dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Any:
    """A tensor on the meta device: there are no elements to load."""
    if not isinstance(dtype, dtypes.dtype) or type(requires_grad) is not bool:
        raise TypeError("a dtype and a bool were expected")
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise ValueError(f"size {brief(size)} and stride {brief(stride)} do not describe a tensor")
    if any(type(n) is not int or n < 0 for n in (*size, *stride)):
        raise ValueError(f"size {brief(size)} and stride {brief(stride)} must be ints >= 0")
    if math.prod([max(n, 1) for n in size]) * dtype.itemsize > _MAX_BYTES:
        raise ValueError(f"size {brief(size)} is more than there can be")
    return binding.meta_tensor(dtype, size, stride, requires_grad)


def rebuild_tensor(loader: Loader, storage: Any, offset: Any, size: Any, stride: Any) -> Any:
    """A tensor that requires no gradient (files of PyTorch before 0.4)."""
    return build(storage, getattr(storage, "dtype", None), offset, size, stride, False)


def rebuild_tensor_v2(
    loader: Loader,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> Any:
    """A tensor with the dtype of its storage.  Hooks are never stored; PyTorch writes an empty dict."""
    dtype = getattr(storage, "dtype", None)
    return rebuild_tensor_v3(loader, storage, offset, size, stride, requires_grad, hooks, dtype, metadata)


def rebuild_tensor_v3(
    loader: Loader,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Any:
    """A tensor whose dtype is stated."""
    check_hooks(hooks)
    tensor = build(storage, dtype, offset, size, stride, requires_grad)
    if metadata:
        if type(metadata) is not dict:
            raise TypeError("tensor metadata must be a dict")
        if not set(metadata) <= {"conj", "neg"}:
            raise ValueError(f"tensor metadata {brief(list(metadata))} is not known")
        loader.charge(binding.array_of(tensor).nbytes)
        if loader.filled_later:  # its elements are not there yet
            loader.unresolved.append((tensor, metadata))
        else:
            resolve(tensor, metadata)
    return tensor


def rebuild_sparse_tensor(loader: Loader, layout: Any, parts: Any) -> Any:
    """A sparse tensor of its parts: indices, values, size, and for COO whether it is coalesced.

    Raises: ValueError for parts that do not fit; the elements of all indices are looked at.
    """
    if loader.filled_later:
        raise ValueError(
            "sparse tensors are not read from the format before PyTorch 1.6; save dense tensors instead"
        )
    if type(layout) is not type(strided_layout) or type(parts) is not tuple or len(parts) not in (3, 4):
        raise TypeError("a layout and its parts were expected")
    count = 2 if layout is sparse_coo else 3
    size = parts[count] if len(parts) > count else None
    flags = parts[count + 1 :]
    if not all(binding.is_tensor(x) for x in parts[:count]) or not isinstance(size, tuple):
        raise TypeError("tensors and a size were expected")
    if any(type(x) is not bool for x in flags):
        raise TypeError("whether the tensor is coalesced was expected as a bool")
    try:
        return binding.make_sparse(layout, parts[:count], tuple(size), *flags)
    except (RuntimeError, NotImplementedError, IndexError) as e:
        raise ValueError(f"a tensor of layout {layout} cannot be built: {e}") from e


def resolve(tensor: Any, metadata: dict[str, Any]) -> None:
    """Conjugate or negate a tensor that PyTorch stored with a mark saying that this is still to be done."""
    array = binding.array_of(tensor)
    if metadata.get("conj"):
        array = np.conj(array)
    if metadata.get("neg"):
        array = np.negative(array)
    binding.replace(tensor, array)


def rebuild_parameter(loader: Loader, data: Any, requires_grad: Any, hooks: Any) -> Any:
    """A Parameter over the tensor's memory."""
    check_hooks(hooks)
    if not binding.is_tensor(data) or type(requires_grad) is not bool:
        raise TypeError("a tensor and a bool were expected")
    if any(data is tensor for tensor, _ in loader.unresolved):
        raise ValueError(
            "a Parameter over a lazily conjugated tensor is not read from the format before PyTorch 1.6"
        )
    return binding.make_parameter(data, requires_grad)


def rebuild_parameter_with_state(
    loader: Loader, data: Any, requires_grad: Any, hooks: Any, state: Any
) -> Any:
    """A Parameter with Python attributes."""
    return set_attributes(rebuild_parameter(loader, data, requires_grad, hooks), state)


def rebuild_from_type(loader: Loader, build: Any, cls: Any, args: Any, state: Any) -> Any:
    """A Tensor or Parameter with Python attributes."""
    name = getattr(cls, "name", None)
    if name not in ("torch.Tensor", "torch.nn.parameter.Parameter"):
        raise TypeError(f"tensor class {brief(cls)} is not known")
    if not getattr(build, "name", "").startswith("torch._utils._rebuild_") or type(args) is not tuple:
        raise TypeError("a rebuild function and its arguments were expected")
    tensor = build.build(loader, *args)
    if not binding.is_tensor(tensor):
        raise TypeError("the rebuild function made no tensor")
    return set_attributes(tensor, state)


def set_attributes(target: Any, state: Any) -> Any:
    """Set attributes from a pickle's state, but none that the class defines: no method is replaced."""
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    for part in parts:
        if part is None:
            continue
        if type(part) is not dict:
            raise TypeError("a dict of attributes was expected")
        for key in part:
            if type(key) is not str or hasattr(type(target), key) or key.startswith("__"):
                raise ValueError(f"attribute {brief(key)} may not be set from a file")
        target.__dict__.update(part)
    return target


def check_hooks(hooks: Any) -> None:
    """Raise ValueError unless there are no hooks: PyTorch writes an empty dict."""
    if hooks is not None and not (isinstance(hooks, OrderedDict) and not hooks):
        raise ValueError("backward hooks are not loaded from files")
