"""Copies of views (``NAME_copy``), tensors with a view overwritten (``NAME_scatter``), complex numbers as pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.grad_names import rename
from ..core.promotion import convert
from ..core.public import FUNCTIONS, METHODS, public
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims import base
from ..prims.base import index_view_op
from ..prims.complex_views import pairs_possible, view_as_complex_op, view_as_real_op
from ..prims.indexing import as_strided_op, diagonal_op
from ..runtime.types import contiguous_format
from .args import dtype_of, int_tuple, wrap_dim
from .layouts import in_order_of
from .memory import as_strided
from .rearrange import diagonal

# --------------------------------------------------------------------------------------- complex numbers as pairs


@public(grad_name="ViewAsRealBackward0")
def view_as_real(input: Tensor) -> Tensor:
    """The complex tensor (...) as a real tensor (..., 2) over the same memory.

    Raises: RuntimeError for real tensors.

    >>> import flambeau as torch
    >>> torch.view_as_real(torch.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    if input._a.dtype.kind != "c":
        raise RuntimeError(f"view_as_real is only supported for complex tensors (got {dtype_of(input)})")
    return view_as_real_op(input)  # type: ignore[no-any-return]


@public(grad_name="ViewAsComplexBackward0")
def view_as_complex(input: Tensor) -> Tensor:
    """The real tensor (..., 2) as a complex tensor (...) over the same memory.

    Raises: RuntimeError unless the dtype is float32 or float64, the last size 2, and the pairs lie side by side.
    """
    s = tuple(input._a.shape)
    if input._a.dtype.kind != "f" or input._a.dtype.itemsize < 4:
        raise RuntimeError(
            f"view_as_complex is only supported for float and double tensors, but got a tensor of dtype {dtype_of(input)}"
        )
    if not s:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if s[-1] != 2:
        raise RuntimeError(f"Tensor must have a last dimension of size 2 (shape {list(s)})")
    if not pairs_possible(base.innermost(input)):
        raise RuntimeError(
            "Tensor must have a last dimension with stride 1, and its other strides divisible by 2: use .contiguous() first"
        )
    return view_as_complex_op(input)  # type: ignore[no-any-return]


# --------------------------------------------------------------------------------------------------------- copies


def _copy_of(view: str, method: bool = False) -> None:
    """Define ``view_copy``: what ``view`` gives, in memory of its own."""
    of: Callable[..., Any] = FUNCTIONS.get(view) or METHODS[view]

    def fn(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = of(input, *args, **kwargs)
        parts = [found] if isinstance(found, Tensor) else found
        copies = [v.clone(memory_format=contiguous_format) for v in parts]
        if parts and parts[0]._node is not None and not tls.stack:
            rename(copies, "NarrowCopyBackward0" if view == "narrow" else parts[0]._node.name() + "_copy")
        return copies[0] if isinstance(found, Tensor) else tuple(copies)

    fn.__doc__ = f"What ``{view}`` gives, in memory of its own."
    public(method=method, out=True, name=f"{view}_copy")(fn)


for _view in (
    *("as_strided", "diagonal", "expand", "permute", "select", "split", "split_with_sizes", "squeeze", "t"),
    *("transpose", "unbind", "unfold", "unsqueeze", "view", "view_as_complex", "view_as_real"),
):
    _copy_of(_view)
_copy_of("narrow", method=True)


def _clone(name: str) -> None:
    def fn(input: Tensor) -> Tensor:
        return input.clone()  # type: ignore[no-any-return]

    fn.__doc__ = "A copy of the tensor."
    public(method=False, out=True, name=name, grad_name="AliasBackward0_copy")(fn)


_clone("alias_copy")
_clone("detach_copy")


def _slice_key(x: Tensor, dim: int, start: Any, end: Any, step: int) -> tuple[Any, ...]:
    if not x._a.shape:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise RuntimeError(f"slice step must be positive, got {step}")
    d = wrap_dim(dim, len(x._a.shape))
    first, stop, _ = slice(start, end).indices(x._a.shape[d])
    return (*[slice(None)] * d, slice(first, max(first, stop), step))


@public(method=False, out=True)
def slice_copy(input: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:
    """Positions start, start + step, ... before `end` of a dim, in memory of their own."""
    return index_view_op(input, index=_slice_key(input, dim, start, end, step)).clone()  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------------------- scatters


def _written(name: str, view_op: Any, x: Tensor, src: Tensor, have: Any, params: dict[str, Any]) -> Tensor:
    """`x` with `src` in the place of a view of shape `have`."""
    if not isinstance(src, Tensor):
        raise TypeError(f"{name}(): argument 'src' must be Tensor, not {type(src).__name__}")
    if tuple(src._a.shape) != tuple(have):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src._a.shape)}, "
            f"slice size = {list(have)} ({name})"
        )
    return in_order_of(view_op.put(x, convert(src, dtype_of(x)), **params), x)


@public(out=True, grad_name="SelectScatterBackward0")
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` at one position of a dim.

    Raises: RuntimeError when the sizes differ, IndexError out of range.
    """
    s = tuple(input._a.shape)
    d = wrap_dim(dim, len(s))
    i = index.__index__()
    if not s or not -s[d] <= i < s[d]:
        raise IndexError(f"select(): index {i} out of range for tensor of size {list(s)} at dimension {d}")
    key = (*[slice(None)] * d, i % s[d])
    return _written("select_scatter", index_view_op, input, src, (*s[:d], *s[d + 1 :]), {"index": key})


@public(out=True, grad_name="SliceScatterBackward0")
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """A copy of `input` with `src` at positions start, start + step, ... before `end` of a dim."""
    key = _slice_key(input, dim, start, end, step)
    have = index_view_op(input, index=key)._a.shape
    return _written("slice_scatter", index_view_op, input, src, have, {"index": key})


@public(out=True, grad_name="DiagonalScatterBackward0")
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of `input` with `src` on a diagonal of two dims."""
    have = diagonal(input, offset, dim1, dim2)._a.shape
    nd = len(input._a.shape)
    params = {"offset": int(offset), "dim1": wrap_dim(dim1, nd), "dim2": wrap_dim(dim2, nd)}
    return _written("diagonal_scatter", diagonal_op, input, src, have, params)


@public(out=True, grad_name="AsStridedScatterBackward0")
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy of `input` (with the same strides) with `src` in the place of a strided view of its memory.

    `storage_offset` counts from the beginning of the memory that `input` lies in, of which `input` may be a part; what
    is written beside it is lost.  Raises: RuntimeError when the view would reach outside the memory.
    """
    shape, strides = int_tuple(size, "as_strided_scatter"), int_tuple(stride, "as_strided_scatter")
    as_strided(input, shape, strides, storage_offset)  # raises when it would reach outside the memory
    start = input.storage_offset()
    offset = start if storage_offset is None else int(storage_offset)
    begin = min(start, offset)
    params = {"size": shape, "stride": strides, "offset": offset - begin}
    own_size, own_stride = tuple(input._a.shape), input.stride()
    need, there = (
        at - begin + 1 + sum([(n - 1) * s for n, s in zip(sizes, steps)])
        for at, sizes, steps in ((start, own_size, own_stride), (offset, shape, strides))
    )
    if input.is_contiguous() and begin == start and there <= need:
        whole = base.reshape(input, own_size)
        return _written("as_strided_scatter", as_strided_op, whole, src, shape, params)
    own = {"size": own_size, "stride": own_stride, "offset": start - begin}
    memory = as_strided_op.put(base.full((max(need, there, 0),), 0, input._a.dtype), input, **own)
    memory = _written("as_strided_scatter", as_strided_op, memory, src, shape, params)
    return as_strided_op(memory, **own)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------------- splitting


def _unsafe(name: str, of: Callable[..., Any]) -> None:
    def fn(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        return of(input, *args, **kwargs)

    fn.__doc__ = (
        f"``{name[7:]}``; PyTorch leaves the aliasing of the parts unchecked, here it is always tracked."
    )
    public(
        name=name,
        grad_name="UnsafeSplitWithSizesBackward0" if name.endswith("sizes") else "UnsafeSplitBackward0",
    )(fn)


for _view in ("chunk", "split", "split_with_sizes"):
    _unsafe(f"unsafe_{_view}", FUNCTIONS[_view])
