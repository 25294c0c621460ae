"""Methods of Tensor for single purposes: Python functions over elements, diagonals, comparison of shapes, loading."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import inplace
from ..core.eager import raw
from ..core.families import unbroadcast
from ..core.grad_names import rename
from ..core.promotion import convert
from ..core.public import FUNCTIONS, METHODS, of_tensors, overridable
from ..core.state import tls
from ..core.tensor import Tensor
from ..ops.args import dtype_of, int_tuple, numel, sizes
from ..prims import base
from ..prims.pointwise import where_op
from ..runtime.types import check_device, memory_format
from .storage import storage, untyped_storage


def method(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Attach a function to Tensor under its own name."""
    METHODS[fn.__name__] = fn
    setattr(Tensor, fn.__name__, fn)
    return fn


method(storage)
method(untyped_storage)


# ------------------------------------------------------------------------------------------ Python functions


def _elementwise(name: str, self: Tensor, others: tuple[Tensor, ...], fn: Callable[..., Any]) -> Tensor:
    """Write ``fn(element, ...)`` into every element.

    Raises: RuntimeError for tensors that require grad or live inside a transform, and for shapes that differ.
    """
    if tls.stack:
        raise RuntimeError(f"{name} calls Python for each element: it is not possible inside a transform")
    if self.requires_grad:
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
        )
    inplace.check_writable(self, name)
    for other in others:
        if not isinstance(other, Tensor):
            raise TypeError(f"{name}(): argument 'tensor' must be Tensor, not {type(other).__name__}")
        if other._a.dtype != self._a.dtype:
            raise TypeError(
                f"{name}(): expected {dtype_of(self)} for the other tensor, got {dtype_of(other)}"
            )
    shape = tuple(self._a.shape)
    arrays = [raw(x if tuple(x._a.shape) == shape else x.expand(shape)) for x in (self, *others)]
    rows = zip(*[a.reshape(-1).tolist() for a in arrays])
    values = np.array([fn(*row) for row in rows], self._a.dtype).reshape(self._a.shape)
    return inplace.write(self, base.from_value(values), name)


@method
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element by ``callable(element)``, in place (slow: Python runs for every element).

    Raises: TypeError or RuntimeError for tensors that require grad.
    """
    return _elementwise("apply_", self, (), callable)


@method
def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each element by ``callable(element, element of the other tensor)``, in place."""
    return _elementwise("map_", self, (tensor,), callable)


@method
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """`map_` with two other tensors."""
    return _elementwise("map2_", self, (x, y), callable)


# ------------------------------------------------------------------------------------------------ shapes and values


@method
def sum_to_size(self: Tensor, *sizes_: Any, size: Any = None) -> Tensor:
    """Sum over the dims that broadcasting from `size` to this shape would expand.

    Raises: RuntimeError when `size` does not broadcast to this shape.

    >>> import flambeau as torch
    >>> torch.ones(2, 3).sum_to_size(1, 3)
    tensor([[2., 2., 2.]])
    """
    shape, own = sizes(sizes_ if size is None else (size,), "sum_to_size"), tuple(self._a.shape)
    tail = own[len(own) - len(shape) :]
    if len(shape) > len(own) or any(n not in (1, m) for n, m in zip(shape, tail)):
        raise RuntimeError(f"size {list(shape)} is not expandable to size {list(own)}.")
    summed = shape != own or not own  # sums of integers are int64
    wide = self.long() if summed and self._a.dtype.kind in "bui" else self
    if not own:
        return wide.sum()  # type: ignore[no-any-return]
    y = unbroadcast(wide, shape)
    return (
        y if tls.stack else rename(y, "SumBackward1" if len(shape) == len(own) else "ViewBackward0", (self,))
    )


@method
def is_same_size(self: Tensor, other: Tensor) -> bool:
    """Whether both tensors have the same shape."""
    return tuple(self._a.shape) == tuple(other._a.shape)


@method
def is_nonzero(self: Tensor) -> bool:
    """Whether the only element is not zero.

    Raises: RuntimeError when there is not exactly one.
    """
    if numel(self) != 1:
        many = "no values" if numel(self) == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {many} is ambiguous")
    return bool(self)


@method
def dim_order(self: Tensor, *, ambiguity_check: bool | list[Any] = False) -> tuple[int, ...]:
    """The dims from the outermost in memory to the innermost.

    Raises: with `ambiguity_check`, RuntimeError where strides leave the order open; with a list of memory formats
    where they leave open which of these it is. TypeError for other values of it.
    """
    formats = ambiguity_check if isinstance(ambiguity_check, list) else []
    if not isinstance(ambiguity_check, bool | list) or any(not isinstance(f, memory_format) for f in formats):
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    strides = self.stride()
    found = tuple(sorted(range(len(strides)), key=lambda d: (-strides[d], d)))
    neighbours = any(a == b for a, b in zip(strides, strides[1:]))
    matching = sum(self.is_contiguous(memory_format=f) for f in formats)
    if ambiguity_check is not False and (neighbours or 1 in self._a.shape) and matching != 1:
        raise RuntimeError(
            "The tensor does not have unique dim order, or cannot map to exact one of the given memory formats."
        )
    return found


@method
def const_data_ptr(self: Tensor) -> int:
    """``data_ptr()``."""
    return self.data_ptr()  # type: ignore[no-any-return]


@method
def to_dense(self: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself (every tensor is dense), converted to `dtype` if one is given."""
    return self if dtype is None else convert(self, dtype)


@method
def __reversed__(self: Tensor) -> Tensor:
    """The tensor flipped along its first dim."""
    return self.flip(0) if self._a.shape else self


@method
def is_distributed(self: Tensor) -> bool:
    """False."""
    return False


@method
def new(self: Tensor, *args: Any, size: Any = None, other: Any = None, device: Any = None) -> Tensor:
    """A tensor of this dtype: uninitialised with the sizes given, or with the data given; a tensor gives an alias.

    Raises: TypeError for a tensor of another dtype.
    """
    if device is not None:
        check_device(device)
    if size is not None or not args and other is None:
        return self.new_empty((0,) if size is None else int_tuple(size, "new"))  # type: ignore[no-any-return]
    elif len(args) == 1 and isinstance(args[0], Tensor) or other is not None:
        source: Tensor = args[0] if args else other
        if source.dtype != self.dtype:
            raise TypeError(f"expected a tensor of dtype {self.dtype}, but got {source.dtype}")
        return source.detach()  # type: ignore[no-any-return]
    if len(args) == 1 and not hasattr(args[0], "__index__") and not isinstance(args[0], type(self.shape)):
        return self.new_tensor(args[0])  # type: ignore[no-any-return]
    return self.new_empty(int_tuple(args[0] if len(args) == 1 else args, "new"))  # type: ignore[no-any-return]


@method
def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What ``load_state_dict`` puts in the place of this tensor: itself with the values of `other`, or a detached `other`."""
    if assign:
        return other.detach()  # type: ignore[no-any-return]
    return self.copy_(other).detach()  # type: ignore[no-any-return]


@method
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal, in place; with `wrap` a tall matrix starts anew after each square block.

    Raises: RuntimeError below two dims, or for more than two dims of different sizes.
    """
    s = tuple(self._a.shape)
    if len(s) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(s) > 2 and len(set(s)) != 1:
        raise RuntimeError(f"all dimensions of input must be of equal length (got {list(s)})")
    inplace.check_writable(self, "fill_diagonal_")
    at = np.indices(s, sparse=True)
    mask = np.ones(s, bool)
    rows = at[0]
    if wrap and len(s) == 2 and s[0] > s[1]:
        rows = rows % (s[1] + 1)
    for other in at[1:]:
        mask &= rows == other
    value = FUNCTIONS["scalar_tensor"](fill_value, dtype=dtype_of(self))
    from ..core.tensor import snapshot

    return inplace.write(self, where_op(base.from_value(mask), value, snapshot(self)), "fill_diagonal_")


for _name in ("is_ipu", "is_maia", "is_mtia", "is_vulkan"):
    setattr(Tensor, _name, property(lambda self: False, doc="False: tensors live on the CPU."))
setattr(Tensor, "name", property(lambda self: None, doc="None."))

# ------------------------------------------------------------------------------------- the array API standard


@method
def __array_namespace__(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """`flambeau.array_api`, the functions of the Python array API standard.

    Raises: ValueError for versions of the standard that it does not follow.

    >>> import flambeau as torch
    >>> torch.zeros(2).__array_namespace__().__name__
    'flambeau.array_api'
    """
    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"version {api_version!r} of the array API standard is not known here; 2024.12 is")
    return importlib.import_module(
        "flambeau.array_api"
    )  # the namespace is above the tensors: it loads when asked for


@method
def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device, as the array API standard spells ``to(device)``.

    Raises: ValueError when a stream is given, which no device here has.
    """
    if stream is not None:
        raise ValueError(f"to_device(): stream must be None on the CPU, not {stream!r}")
    return self.to(device)  # type: ignore[no-any-return]


# Methods that are also functions; the functions ask ``__torch_function__`` first, which a method of a subclass has done.
ALSO_FUNCTIONS = (
    *("detach", "detach_", "get_device", "is_complex", "is_conj", "is_distributed", "is_floating_point"),
    *("is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed", "numel", "resize_as_"),
    "conj_physical_",
)
for _name in ALSO_FUNCTIONS:
    FUNCTIONS[_name] = of_tensors(overridable(METHODS[_name]))
