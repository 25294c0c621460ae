"""The only place where serialization touches the Tensor class."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.meta import is_meta, payload
from ..core.tensor import Storage, Tensor, composed, node_of, wrap
from ..runtime import dtypes, memory
from ..runtime.types import sparse_coo

if TYPE_CHECKING:
    from .archive import Bytes
    from .tensors import LoadedStorage


class StoredTensor(NamedTuple):
    """A tensor as a window into the bytes of its storage."""

    key: tuple[int, int]  # equal for tensors that share memory: address and size of the storage
    data: Bytes  # the whole storage
    offset: int  # in elements
    size: tuple[int, ...]
    stride: tuple[int, ...]  # in elements
    dtype: dtypes.dtype
    requires_grad: bool


def is_tensor(value: Any) -> bool:
    """Whether this is one of our tensors."""
    return isinstance(value, Tensor)


def is_composed(value: Any) -> bool:
    """Whether this tensor consists of others, as sparse ones do."""
    return composed(value)


def is_parameter(value: Any) -> bool:
    """Whether this is a Parameter.  `nn` is imported only when there is a tensor subclass to ask about."""
    kind = type(value)
    return kind is not Tensor and issubclass(kind, Tensor) and issubclass(kind, _parameter_class())


def _parameter_class() -> Any:
    return importlib.import_module("flambeau.nn.parameter").Parameter


def class_named(full_name: str) -> Any:
    """The class behind PyTorch's name for Tensor or Parameter."""
    return Tensor if full_name == "torch.Tensor" else _parameter_class()


def array_of(tensor: Any) -> npt.NDArray[Any]:
    """The array under a tensor.

    Raises: RuntimeError for a tensor that has no values of its own, inside a transform.
    """
    array = tensor._a
    if type(array) is not np.ndarray:
        raise RuntimeError(
            "a tensor inside a transform has no data to save; return it from the transform first"
        )
    return array


def storage_of(tensor: Any) -> StoredTensor:
    """Where and how a tensor lies in its storage.

    The storage is the memory of the outermost array that the tensor's array is a view of, so all views of it
    share one.  Layouts that PyTorch cannot express (negative or fractional strides) are copied.
    """
    array = array_of(tensor)
    dtype = dtypes.OF_NUMPY[array.dtype]
    requires_grad = node_of(tensor) is not None
    if array.size == 0:
        stride = [math.prod(max(n, 1) for n in array.shape[i + 1 :]) for i in range(array.ndim)]
        empty = np.empty(0, np.uint8)
        return StoredTensor((id(tensor), 0), empty, 0, array.shape, tuple(stride), dtype, requires_grad)
    root: Any = memory.root(array)
    low, high = np.lib.array_utils.byte_bounds(root)
    itemsize = array.itemsize
    begin = _address(array)
    if (begin - low) % itemsize or any(s < 0 or s % itemsize for s in array.strides):
        root = array = array.copy(order="C")
        low, high = np.lib.array_utils.byte_bounds(root)
        begin = low
    return StoredTensor(
        (low, high - low),
        np.asarray(_Window(root, low, high - low)),
        (begin - low) // itemsize,
        array.shape,
        tuple(s // itemsize for s in array.strides),
        dtype,
        requires_grad,
    )


class _Window:
    """The bytes of an array's memory, whatever its layout, through NumPy's array interface."""

    def __init__(self, owner: Any, address: int, size: int) -> None:
        self.owner = owner
        self.__array_interface__ = {
            **{"version": 3, "typestr": "|u1", "shape": (size,)},
            "data": (address, not owner.flags.writeable),
        }


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def attributes_of(tensor: Any) -> dict[str, Any]:
    """The Python attributes to save with a tensor: the user's, and what marks buffers and parameters."""
    marks = ("_is_buffer", "_is_param")
    return {k: v for k, v in tensor.__dict__.items() if not k.startswith("_") or k in marks}


def data_of(parameter: Any) -> Any:
    """A plain tensor over the parameter's memory."""
    return wrap(parameter._a if is_meta(parameter) else array_of(parameter))


def meta_parts(tensor: Any) -> tuple[Any, ...] | None:
    """The dtype, size, stride and requires_grad of a tensor without data; None for others."""
    if not is_meta(tensor):
        return None
    a = tensor._a
    stride = tuple([s // a.dtype.itemsize for s in a.strides])
    return dtypes.OF_NUMPY[a.dtype], tuple(a.shape), stride, node_of(tensor) is not None


def meta_tensor(dtype: Any, size: Any, stride: Any, requires_grad: bool) -> Any:
    """The inverse of `meta_parts`."""
    tensor = wrap(payload(size, dtype.numpy, tuple([s * dtype.itemsize for s in stride])))
    if requires_grad:
        tensor.requires_grad_(True)
    return tensor


def rebuild(array: npt.NDArray[Any], storage: LoadedStorage, requires_grad: bool) -> Any:
    """A leaf tensor over an array; tensors with the same storage share a version counter."""
    tensor = wrap(array)
    tensor._st = storage.handle
    if requires_grad:
        tensor.requires_grad_(True)
    return tensor


def replace(tensor: Any, array: npt.NDArray[Any]) -> None:
    """Give a loaded tensor memory of its own."""
    tensor._a, tensor._st = array, Storage()


def new_handle() -> Storage:
    """What all tensors over one loaded storage share."""
    return Storage()


def make_parameter(data: Any, requires_grad: bool) -> Any:
    """A Parameter over the memory of `data`."""
    parameter = _parameter_class()(data, requires_grad)
    parameter._st = data._st
    return parameter


def make_sparse(layout: Any, parts: tuple[Any, ...], size: tuple[int, ...], coalesced: bool = False) -> Any:
    """A sparse tensor of tensors that may be anything.

    Raises: RuntimeError for parts that do not fit.
    """
    importlib.import_module("flambeau.sparse")
    make = importlib.import_module("flambeau.sparse.construction")
    if layout is sparse_coo:
        return make.sparse_coo_tensor(*parts, size, is_coalesced=coalesced)
    return make.sparse_compressed_tensor(*parts, size, layout=layout)
