"""Operations about memory: strided views, resizing, re-pointing a tensor."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.inplace import derive_views
from ..core.interpreters import Batched
from ..core.meta import is_meta, payload
from ..core.public import METHODS, public
from ..core.state import tls
from ..core.tape import helpers
from ..core.tensor import Storage, Tensor, become_view, storage
from ..prims.base import from_value
from ..prims.indexing import as_strided_op
from ..runtime import dtypes
from ..runtime.memory import root as memory_root
from .args import as_dtype, check_sizes, int_tuple, sizes
from .creation import empty_array, finish
from .meta_device import made, wants_meta
from .shape import contiguous


def _memory(x: Tensor) -> tuple[Tensor, int]:
    """(the tensor whose contiguous memory `x` lies in, where that memory begins in the storage)."""
    _with_surroundings(x if x._base is None else x._base)
    root = x._base if x._base is not None else x
    if x._base is None and not tls.stack and type(x._a) is np.ndarray:
        around = memory_root(x._a)
        if around is not x._a and x._a.size:  # as what `detach` and pickles give: views that know no base
            whole = from_value(_flat(around, x._a.dtype))
            whole._st = storage(x)
            return whole, 0
    if not root.is_contiguous():
        return contiguous(x), x.storage_offset()
    return root, root.storage_offset()


class _Bytes:
    """All bytes of an array, through NumPy's array interface; `base` keeps them the same storage's."""

    def __init__(self, array: Any) -> None:
        low, high = np.lib.array_utils.byte_bounds(array)
        self.base = array
        self.__array_interface__ = {
            **{"version": 3, "typestr": "|u1", "shape": (high - low,)},
            "data": (low, not array.flags.writeable),
        }


def _flat(array: Any, dtype: Any) -> Any:
    """All memory of `array`, which is a storage's, as elements of `dtype`."""
    whole = np.asarray(_Bytes(array))
    return whole[: whole.size // dtype.itemsize * dtype.itemsize].view(dtype)


def _with_surroundings(x: Tensor) -> None:
    """Where an argument of a transform is a view outside of it, make it one inside: of a constant around `x`.

    Forward mode and reverse mode alone: the examples of a batch are each other's surroundings.
    """
    top = tls.stack[-1] if tls.stack else None
    if top is None or x._base is not None or not top.owns(x) or isinstance(x._a, Batched):
        return
    inner = x._a.inner
    with top.lowered():
        _with_surroundings(inner)
        around = inner._base
        if around is None or around._a.dtype != x._a.dtype or not around.is_contiguous():
            return
        step = {
            "size": tuple(x._a.shape),
            "stride": inner.stride(),
            "offset": inner.storage_offset() - around.storage_offset(),
        }
    memory = as_strided_op.put(around, x, **step)
    become_view(x, memory, as_strided_op, step)
    derive_views(memory)


@public(inplace=False, grad_name="AsStridedBackward0")
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The view of the tensor's memory with these sizes, strides and offset (in elements).

    Raises: RuntimeError when it would reach outside the memory.
    """
    shape, strides = int_tuple(size, "as_strided"), int_tuple(stride, "as_strided")
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    check_sizes(shape, "as_strided")
    root, begin = _memory(input)
    offset = input.storage_offset() if storage_offset is None else int(storage_offset)
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    total = math.prod(root._a.shape)
    first = offset - begin
    if all(shape):
        last = first + sum((n - 1) * s for n, s in zip(shape, strides))
        if first < 0:
            raise RuntimeError(
                f"as_strided: storage offset {offset} lies before the memory of this tensor, which begins at {begin}"
            )
        if last >= total:
            raise RuntimeError(
                f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {input.element_size()} "
                f"requiring a storage size of {(begin + last + 1) * input.element_size()} are out of bounds for storage of size "
                f"{(begin + total) * input.element_size()}"
            )
    if input._node is not None and root._node is None and not tls.stack:
        # a leaf that is a view: the memory around it is constant, and what is read of the leaf itself has a gradient
        own_size, own_stride = tuple(input._a.shape), input.stride()
        own = input.storage_offset() - begin
        root = as_strided_op.put(root, input, size=own_size, stride=own_stride, offset=own)
    return as_strided_op(root, size=shape, stride=strides, offset=first)  # type: ignore[no-any-return]


def _replace(t: Tensor, a: Any) -> None:
    t._a = a
    t._base = None
    old = t._st
    t._st = Storage()
    if old is not None:
        t._st.version = old.version + 1


def _resized_in_transform(self: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Inside a transform there is no memory to lay out anew, but a view of the first elements will do."""
    from .view_in_place import become

    n, have = math.prod(shape), math.prod(self._a.shape)
    if n > have:
        raise RuntimeError(
            f"resize_ inside a transform cannot enlarge a tensor (from {have} to {n} elements): use pad"
        )
    return become(self, lambda x: x.reshape(-1)[:n].view(shape), "resize_")


def resize_(self: Tensor, *sizes_: Any, size: Any = None, memory_format: Any = None) -> Tensor:
    """Change the shape in place; what fits of the elements stays, new memory is uninitialised.

    Raises: RuntimeError for tensors that require grad.
    """
    shape = sizes(sizes_ if size is None else (size,), "resize_")
    check_sizes(shape, "resize_", self._a.dtype.itemsize)
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if tls.stack:
        return _resized_in_transform(self, shape)
    if is_meta(self):
        if tuple(self._a.shape) != shape:
            _replace(self, payload(shape, self._a.dtype))
        return self
    a = raw(self)
    if a.shape == shape:
        return self
    n = math.prod(shape)
    flat = a.reshape(-1)
    new = empty_array(shape, a.dtype)
    k = min(n, flat.size)
    if a.size >= n and a.flags.c_contiguous:
        self._a = flat[:n].reshape(shape)
        return self
    new.reshape(-1)[:k] = flat[:k]
    _replace(self, new)
    return self


def resize_as_(self: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """``resize_(the_template.size())``."""
    if not isinstance(the_template, Tensor):
        raise TypeError(
            f"resize_as_(): argument 'the_template' must be Tensor, not {type(the_template).__name__}"
        )
    return resize_(self, tuple(the_template._a.shape))


def resize_out(t: Tensor, shape: tuple[int, ...]) -> None:
    """Give an ``out=`` tensor the shape of the result; a warning when it was not empty."""
    if t._a.size:
        warnings.warn(
            f"An output with one or more elements was resized since it had shape {list(t._a.shape)}, which does not match the required "
            f"output shape {list(shape)}. This behavior is deprecated; resize out with t.resize_(0) first.",
            UserWarning,
            stacklevel=4,
        )
    _replace(t, payload(shape, t._a.dtype) if is_meta(t) else empty_array(shape, t._a.dtype))


helpers["resize_out"] = resize_out


def set_(
    self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None
) -> Tensor:
    """Make this tensor share the memory of another (or of a storage), with the given geometry."""
    if source is None:
        _replace(self, np.empty(0, self._a.dtype))
        return self
    if not isinstance(source, Tensor):
        if not hasattr(source, "_tensor"):
            raise TypeError(
                f"set_(): argument 'source' must be Tensor or Storage, not {type(source).__name__}"
            )
        source = source._tensor(self._a.dtype)
    if source._a.dtype != self._a.dtype:
        raise RuntimeError(f"Could not set tensor of type {source.type()} to a tensor of type {self.type()}")
    view = source
    if size is not None:
        shape = int_tuple(size, "set_")
        strides = int_tuple(stride, "set_") if stride is not None else _contiguous_strides(shape)
        view = as_strided(source, shape, strides, storage_offset)
    self._a = view._a
    self._st = storage(view)
    self._base = view._base
    if view._base is not None:
        self._how = view._how
    return self


def _contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    out = []
    step = 1
    for n in reversed(shape):
        out.append(step)
        step *= max(n, 1)
    return tuple(reversed(out))


for _fn in (resize_, resize_as_, set_):
    METHODS[_fn.__name__] = _fn
    setattr(Tensor, _fn.__name__, _fn)


@public(method=False)
def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """An uninitialised tensor with the given sizes and strides (in elements)."""
    shape, strides = int_tuple(size, "empty_strided"), int_tuple(stride, "empty_strided")
    if len(shape) != len(strides):
        raise RuntimeError(
            f"dimensionality of sizes ({len(shape)}) must match dimensionality of strides ({len(strides)})"
        )
    if any(s < 0 for s in strides):
        raise RuntimeError(f"empty_strided: Negative strides are not supported, got {list(strides)}")
    d = as_dtype(dtype)
    check_sizes(shape, "empty_strided", d.itemsize)
    if device is not None and wants_meta(device):
        return made(shape, d.numpy, requires_grad, tuple([s * d.itemsize for s in strides]))
    need = 1 + sum((n - 1) * s for n, s in zip(shape, strides)) if all(shape) else 0
    memory = empty_array((need,), d.numpy)
    a = np.lib.stride_tricks.as_strided(memory, shape, [s * d.itemsize for s in strides])
    return finish(from_value(a), requires_grad)


@public(method=False)
def empty_permuted(
    size: Any,
    physical_layout: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """An uninitialised tensor of this shape whose dims lie in memory in the order given (outermost first)."""
    shape, order = int_tuple(size, "empty_permuted"), int_tuple(physical_layout, "empty_permuted")
    if len(shape) != len(order):
        raise RuntimeError(
            f"Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = {len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    if sorted(order) != list(range(len(shape))):
        for d in order:
            if not 0 <= d < len(shape):
                raise RuntimeError(
                    f"Dimension out of range (expected to be between 0 and {len(shape) - 1}, but got {d}).  NB: negative dims not currently supported; file an issue if you want it."
                )
        raise RuntimeError("Duplicate dim not allowed")
    kind = as_dtype(dtype)
    check_sizes(shape, "empty_permuted", kind.itemsize)
    if device is not None and wants_meta(device):
        steps, step = [0] * len(shape), kind.itemsize
        for i in reversed(order):
            steps[i] = step
            step *= max(shape[i], 1)
        return made(shape, kind.numpy, requires_grad, tuple(steps))
    memory = empty_array(tuple([shape[i] for i in order]), kind.numpy)
    return finish(from_value(memory.transpose(np.argsort(order))), requires_grad)


def _new_empty_strided(
    self: Tensor, size: Any, stride: Any, dtype: dtypes.dtype | None = None, **kw: Any
) -> Tensor:
    """``empty_strided`` with this tensor's dtype and device unless others are given."""
    if kw.get("device") is None and is_meta(self):
        kw["device"] = "meta"
    return empty_strided(size, stride, dtype=dtype if dtype is not None else self.dtype, **kw)


setattr(Tensor, "new_empty_strided", _new_empty_strided)
METHODS["new_empty_strided"] = _new_empty_strided
