"""Views and rearrangements of shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from ..core import families
from ..core.grad_names import rename
from ..core.layout import channels_last
from ..core.op import bind
from ..core.promotion import convert, result_type
from ..core.public import public
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims import base, indexing
from ..prims.base import expand_op, index_view_op, permute_op, reshape_op
from ..prims.memory_kernels import copied
from ..runtime import types
from .args import as_dtype, int_tuple, numel, sizes, wrap_dim, wrap_dims
from .layouts import like_images


def infer_size(shape: Sequence[int], n: int) -> tuple[int, ...]:
    """A shape with its -1 filled in for `n` elements.

    Raises: RuntimeError when the sizes do not fit.
    """
    product, at = 1, -1
    for i, s in enumerate(shape):
        if s == -1 and at < 0:
            at = i
        elif s < 0:
            break
        else:
            product *= s
    else:  # nothing is wrong, nearly always
        if at < 0 and product == n:
            return tuple(shape)
        if at >= 0 and product and n % product == 0:
            return (*shape[:at], n // product, *shape[at + 1 :])
    raise _size_error(list(shape), n)


def _size_error(shape: list[int], n: int) -> RuntimeError:
    lowest = -1 if -1 in shape else 0
    for i, s in enumerate(shape):
        if s < lowest:
            return RuntimeError(f"invalid shape dimension {s} at index {i} of shape {shape}")
    if shape.count(-1) > 1:
        return RuntimeError("only one dimension can be inferred")
    if not n and -1 in shape:
        return RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {shape} because the unspecified dimension size -1 can be "
            "any value and is ambiguous"
        )
    return RuntimeError(f"shape '{shape}' is invalid for input of size {n}")


def expand_to(x: Tensor, shape: tuple[int, ...], name: str = "expand") -> Tensor:
    """`x` broadcast to `shape` without a copy.

    Raises: RuntimeError when it does not broadcast.
    """
    have = tuple(x._a.shape)
    if have == shape:
        return x
    if len(have) > len(shape):
        raise RuntimeError(
            f"{name}: the number of sizes provided ({len(shape)}) must be greater or equal to the number of dimensions in the "
            f"tensor ({len(have)}); tensor shape {list(have)}, target {list(shape)}"
        )
    lead = len(shape) - len(have)
    for i, n in enumerate(have):
        if n != 1 and n != shape[i + lead]:
            raise RuntimeError(
                f"The expanded size of the tensor ({shape[i + lead]}) must match the existing size ({n}) at non-singleton "
                f"dimension {i + lead}.  Target sizes: {list(shape)}.  Tensor sizes: {list(have)}"
            )
    return expand_op(x, shape=shape)  # type: ignore[no-any-return]


@public(out=False)
def reshape(input: Tensor, *shape: Any, **kw: Any) -> Tensor:
    """The same elements in another shape: a view where memory allows, else a copy.

    Raises: RuntimeError when the number of elements differs.

    >>> import flambeau as torch
    >>> torch.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    if "shape" in kw:
        shape = (kw.pop("shape"),)
    return base.reshape(input, infer_size(sizes(shape, "reshape"), numel(input)))


@public(function=False)
def view(self: Tensor, *size: Any, **kw: Any) -> Tensor:
    """The same memory in another shape, or with another dtype.

    Raises: RuntimeError when the strides do not allow it without a copy.
    """
    if "size" in kw:
        size = (kw["size"],)
    if "dtype" in kw or len(size) == 1 and (type(size[0]).__name__ == "dtype" or isinstance(size[0], type)):
        return view_dtype(self, kw.get("dtype", size[0] if size else None))
    shape = infer_size(sizes(size, "view"), numel(self))
    a = self._a
    if type(a) is np.ndarray and a.flags.c_contiguous:
        return reshape_op(self, shape=shape)  # type: ignore[no-any-return]
    a = base.innermost(self)
    if not base.view_possible(
        a, shape if a.ndim == len(self._a.shape) else (*a.shape[: a.ndim - len(self._a.shape)], *shape)
    ):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            f"contiguous subspaces). Use .reshape(...) instead. (shape {list(self._a.shape)}, asked {list(shape)})"
        )
    return base.reshape_op(self, shape=shape)  # type: ignore[no-any-return]


def _view_bits(x: Any, *, dtype: Any) -> Any:
    if dtype.itemsize == x.dtype.itemsize:
        return x.view(dtype)
    return x.view(dtype)


_view_dtype_op = families.view_op(
    _view_bits, adjoint=lambda g, x_meta, dtype: g.view_bits(x_meta.dtype), name="view_dtype"
)


def view_dtype(x: Tensor, d: Any) -> Tensor:
    """The same memory read as another dtype.

    Raises: RuntimeError when sizes or strides do not fit.
    """
    d = as_dtype(d)
    if d.numpy == x._a.dtype:
        return x.view(x.shape)  # type: ignore[no-any-return]
    old, new = x._a.dtype.itemsize, d.itemsize
    if old != new:
        if not x._a.shape:
            raise RuntimeError(f"self.dim() cannot be 0 to view {x.dtype} as {d} (different element sizes)")
        a = base.innermost(x)
        if a.strides and a.strides[-1] != old and a.shape[-1] > 1:
            raise RuntimeError(
                f"self.stride(-1) must be 1 to view {x.dtype} as {d} (different element sizes), but got {a.strides[-1] // old}"
            )
        if new > old and (x._a.shape[-1] * old) % new:
            raise RuntimeError(
                f"self.size(-1) must be divisible by {new // old} to view {x.dtype} as {d} (different element sizes), "
                f"but got {x._a.shape[-1]}"
            )
    return bind(  # type: ignore[no-any-return]
        _view_dtype_op,
        (x.detach() if tls.stack == [] and x.requires_grad and d.category < 2 else x,),
        {"dtype": d.numpy},
    )


@public(function=False)
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """``view(other.size())``."""
    return self.view(other.shape)  # type: ignore[no-any-return]


@public(function=False)
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """``reshape(other.shape)``."""
    return reshape(self, other.shape)


@public()
def permute(input: Tensor, *dims: Any, **kw: Any) -> Tensor:
    """The dims in another order, as a view.

    Raises: RuntimeError for repeated or missing dims.
    """
    if "dims" in kw:
        dims = (kw["dims"],)
    order = sizes(dims, "permute")
    n = len(input._a.shape)
    if len(order) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of "
            f"dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(order)}"
        )
    found = tuple([wrap_dim(d, n) for d in order])
    if len(set(found)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return permute_op(input, dims=found)  # type: ignore[no-any-return]


def swap(x: Tensor, a: int, b: int) -> Tensor:
    n = len(x._a.shape)
    if n == 2:
        return permute_op(x, dims=(0, 1) if a == b else (1, 0))  # type: ignore[no-any-return]
    order = list(range(n))
    order[a], order[b] = order[b], order[a]
    return permute_op(x, dims=tuple(order))  # type: ignore[no-any-return]


@public(aliases=("swapdims",), grad_name="TransposeBackward0")
def transpose(input: Tensor, dim0: Any, dim1: int | None = None) -> Tensor:
    """Two dims exchanged, as a view; ``transpose(x, dims)`` with all dims is NumPy's form (`permute`), for opt_einsum."""
    n = len(input._a.shape)
    if dim1 is None:
        if not isinstance(dim0, (tuple, list)):
            raise TypeError('transpose() missing 1 required positional arguments: "dim1"')
        return permute(input, tuple(dim0))
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    return swap(input, a, b) if n else index_view_op(input, index=())


@public(grad_name="TransposeBackward0")
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two dims exchanged, as a view: `transpose` by NumPy's name."""
    return transpose(input, axis0, axis1)


@public(grad_name="TBackward0")
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars are returned as views.

    Raises: RuntimeError for more than two dims.
    """
    n = len(input._a.shape)
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {n}D")
    return swap(input, 0, 1) if n == 2 else index_view_op(input, index=())


def _exchanged(x: Tensor, a: int, b: int) -> Tensor:
    y = swap(x, a, b)
    return y if tls.stack else rename(y, "TransposeBackward0")


def _T(self: Tensor) -> Tensor:
    """The dims in reverse order, as a view.

    Shapes: the sizes in reverse order.
    Dtypes: every dtype; the result has the tensor's.
    Raises: nothing.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3, 4).T.shape
    torch.Size([4, 3, 2])
    """
    return permute_op(self, dims=tuple(range(len(self._a.shape)))[::-1])  # type: ignore[no-any-return]


def _mT(self: Tensor) -> Tensor:
    """The last two dims exchanged, as a view.

    Shapes: (*, n, m) to (*, m, n).
    Dtypes: every dtype; the result has the tensor's.
    Raises: RuntimeError below two dims.

    >>> import flambeau as torch
    >>> torch.tensor([[1, 2], [3, 4]]).mT
    tensor([[1, 3],
            [2, 4]])
    """
    n = len(self._a.shape)
    if n < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {n}-D tensor."
        )
    return _exchanged(self, n - 2, n - 1)


def _H(self: Tensor) -> Tensor:
    """The conjugate transpose of a matrix.

    Shapes: (n, m) to (m, n); a scalar stays one.
    Dtypes: every dtype; the result has the tensor's.
    Raises: RuntimeError for other than two (or zero) dims.

    >>> import flambeau as torch
    >>> torch.tensor([[1j, 2.0]]).H.shape
    torch.Size([2, 1])
    """
    n = len(self._a.shape)
    if n not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {n}-D tensor.")
    return self.conj() if n == 0 else _exchanged(self, 0, 1).conj()  # type: ignore[no-any-return]


def _mH(self: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims.

    Shapes: (*, n, m) to (*, m, n).
    Dtypes: every dtype; the result has the tensor's.
    Raises: RuntimeError below two dims.

    >>> import flambeau as torch
    >>> torch.zeros(5, 2, 3).mH.shape
    torch.Size([5, 3, 2])
    """
    n = len(self._a.shape)
    if n < 2:
        raise RuntimeError(
            f"tensor.mH is only supported on matrices or batches of matrices. Got {n}-D tensor."
        )
    return _exchanged(self, n - 2, n - 1).conj()  # type: ignore[no-any-return]


for _name, _fn in (("T", _T), ("mT", _mT), ("H", _H), ("mH", _mH)):
    setattr(Tensor, _name, property(_fn, doc=_fn.__doc__))


@public()
def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims."""
    n = len(input._a.shape)
    if n < 2:
        raise RuntimeError(
            f"tensor.adjoint() is only supported on matrices or batches of matrices. Got {n}-D tensor."
        )
    return _mH(input)


def _as_view(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return base.reshape(x, shape)


@public(grad_name="UnsqueezeBackward0")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dim of size 1 inserted."""
    n = len(input._a.shape)
    d = wrap_dim(dim, n + 1)
    s = input._a.shape
    return reshape_op(input, shape=(*s[:d], 1, *s[d:]))  # type: ignore[no-any-return]


def _squeeze_name(args: Any, kwargs: Any) -> str:
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if dim is None:
        return "SqueezeBackward0"
    return "SqueezeBackward1" if hasattr(dim, "__index__") else "SqueezeBackward2"


@public(grad_name=_squeeze_name)
def squeeze(input: Tensor, dim: Any = None, *dims: int) -> Tensor:
    """A view without dims of size 1: all, or those given."""
    s = input._a.shape
    if dims:
        dim = (dim, *dims)
    n = len(s)
    if dim is None:
        return reshape_op(input, shape=tuple([k for k in s if k != 1]) if 1 in s else s)  # type: ignore[no-any-return]
    which = set(wrap_dims(dim, n, empty_means_all=False))
    kept = tuple([k for d, k in enumerate(s) if not (d in which and k == 1)])
    return reshape_op(input, shape=kept)  # type: ignore[no-any-return]


@public()
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dims start_dim..end_dim merged into one."""
    s = input._a.shape
    n = len(s)
    if n > 1 and start_dim == 0 and end_dim == -1:
        return base.reshape(input, (math.prod(s),))
    a, b = wrap_dim(start_dim, n), wrap_dim(end_dim, n)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if n == 0:
        return base.reshape(input, (1,))
    if a == b:
        return input
    return base.reshape(input, (*s[:a], math.prod(s[a : b + 1]), *s[b + 1 :]))


@public()
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dim split into several; one size may be -1."""
    s = tuple(input._a.shape)
    d = wrap_dim(dim, len(s))
    if not s:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions (unflatten)")
    shape = int_tuple(sizes, "unflatten")
    if not shape:
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        shape = infer_size(shape, s[d])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(shape)} don't multiply up to the size of dim {d} ({s[d]}) in the input tensor"
        ) from None
    return base.reshape(input, (*s[:d], *shape, *s[d + 1 :]))


@public()
def ravel(input: Tensor) -> Tensor:
    """All elements in one dim, as a view where memory allows."""
    return base.reshape(contiguous(input), (numel(input),))


@public(function=False, grad_name="ExpandBackward0")
def expand(self: Tensor, *size: Any, implicit: bool = False, **kw: Any) -> Tensor:
    """A view with dims of size 1 repeated; -1 keeps a size.

    Raises: RuntimeError when a dim of another size would have to change.
    """
    if "size" in kw:
        size = (kw["size"],)
    shape = list(sizes(size, "expand"))
    have = tuple(self._a.shape)
    lead = len(shape) - len(have)
    if lead < 0:
        raise RuntimeError(
            f"expand(torch.FloatTensor{{{list(have)}}}, size={shape}): the number of sizes provided ({len(shape)}) must be greater or "
            f"equal to the number of dimensions in the tensor ({len(have)})"
        )
    for i, n in enumerate(shape):
        if n == -1:
            if i < lead:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}"
                )
            shape[i] = have[i - lead]
        elif n < -1:
            raise RuntimeError(f"The expanded size of the tensor ({n}) isn't allowed at dimension {i}")
    if tuple(shape) == have:
        again: Tensor = (
            index_view_op(self, index=()) if have else self.view(())
        )  # a fresh view, as PyTorch returns
        return again
    return expand_to(self, tuple(shape))


@public(function=False, grad_name="ExpandBackward0")
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """``expand(other.size())``."""
    return expand(self, other.shape)


@public(grad_name="ExpandBackward0")
def broadcast_to(input: Tensor, size: Any, *sizes: int) -> Tensor:
    """``input.expand(size)``."""
    return expand(input, (size, *sizes) if sizes else size)


@public(method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape, as views."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tuple(tensors[0])
    shape = broadcast_shapes(*[tuple(x._a.shape) for x in tensors])
    return tuple([expand_to(x, tuple(shape)) for x in tensors])


@public(method=False)
def broadcast_shapes(*shapes: Any) -> types.Size:
    """The shape to which the given shapes broadcast.

    Raises: RuntimeError when they do not.
    """
    found = [(s,) if hasattr(s, "__index__") else tuple(s) for s in shapes]
    n = max((len(s) for s in found), default=0)
    result = [1] * n
    for s in found:
        for i in range(1, len(s) + 1):
            k = s[-i]
            if k < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension ({k}): ({k})")
            if k != 1:
                if result[-i] not in (1, k):
                    raise RuntimeError(
                        "Shape mismatch: objects cannot be broadcast to a single shape: "
                        + ", ".join(map(str, found))
                    )
                result[-i] = k
    return types.Size(result)


@public()
def contiguous(self: Tensor, memory_format: Any = types.contiguous_format) -> Tensor:
    """The tensor itself if its memory is in order, else a copy that is."""
    a = base.innermost(self)
    if self.is_contiguous(memory_format=memory_format) or memory_format is types.preserve_format:
        return self
    if memory_format in (types.channels_last, types.channels_last_3d):
        want = 4 if memory_format is types.channels_last else 5
        if a.ndim != want:
            raise RuntimeError(f"required rank {want} tensor to use {memory_format.name} format")
        order = (0, *range(2, want), 1)
        back = (0, want - 1, *range(1, want - 1))
        return permute_op(clone_op(permute_op(self, dims=order)), dims=back)  # type: ignore[no-any-return]
    return clone_op(self)  # type: ignore[no-any-return]


def _clone(x: Any) -> Any:
    y = copied(x)
    return np.array(x, order="C") if y is None else y


clone_op = families.linear_op(_clone, lambda g: g, name="clone", grad_name="CloneBackward0")


def _clone_keep(x: Any) -> Any:
    return x.copy(order="K")


clone_keep_op = families.linear_op(_clone_keep, lambda g: g, name="clone_keep", grad_name="CloneBackward0")


@public()
def clone(input: Tensor, *, memory_format: Any = types.preserve_format) -> Tensor:
    """A copy with its own memory, recorded for gradients."""
    if memory_format is types.preserve_format:
        a = base.innermost(input)
        return (clone_op if 0 in a.strides and a.size > 1 else clone_keep_op)(input)  # type: ignore[no-any-return]
    if memory_format is types.contiguous_format:
        return clone_op(input)  # type: ignore[no-any-return]
    return contiguous(clone_op(input), memory_format=memory_format)


# ------------------------------------------------------------------------------------------------- slices


@public(grad_name="SelectBackward0")
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The view at one position of a dim.

    Raises: IndexError out of range.
    """
    s = input._a.shape
    if not s:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, len(s))
    i = index.__index__()
    if not -s[d] <= i < s[d]:
        raise IndexError(f"select(): index {i} out of range for tensor of size {list(s)} at dimension {d}")
    return index_view_op(input, index=(*[slice(None)] * d, i + s[d] if i < 0 else i))  # type: ignore[no-any-return]


def slice_dim(x: Tensor, d: int, start: int, stop: int, step: int = 1) -> Tensor:
    return index_view_op(x, index=(*[slice(None)] * d, slice(start, stop, step)))  # type: ignore[no-any-return]


@public()
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """The view of positions start .. start + length - 1 of a dim.

    Raises: IndexError or RuntimeError when they are outside the tensor.
    """
    s = input._a.shape
    if not s:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, Tensor) and (start._a.shape or start._a.dtype.kind not in "ui"):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    d = wrap_dim(dim, len(s))
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    i = int(start)
    if not -s[d] <= i <= s[d]:
        raise IndexError(f"start out of range (expected to be in range of [{-s[d]}, {s[d]}], but got {i})")
    i = i + s[d] if i < 0 else i
    if i + length > s[d]:
        raise RuntimeError(f"start ({i}) + length ({length}) exceeds dimension size ({s[d]}).")
    return slice_dim(input, d, i, i + length)


def _split_name(args: Any, kwargs: Any) -> str:
    sizes = args[1] if len(args) > 1 else kwargs.get("split_size_or_sections", kwargs.get("split_size", 0))
    return "SplitBackward0" if hasattr(sizes, "__index__") else "SplitWithSizesBackward0"


@public(grad_name=_split_name)
def split(
    tensor: Tensor, split_size_or_sections: Any = None, dim: int = 0, *, split_size: Any = None
) -> tuple[Tensor, ...]:
    """Views of consecutive parts: of one size (the last may be smaller), or of the sizes listed.

    `split_size` is what the method's parameter is called.

    Raises: RuntimeError when sizes are negative or do not add up.
    """
    if split_size is not None and split_size_or_sections is None:
        split_size_or_sections = split_size
    s = tensor._a.shape
    if not s:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, len(s))
    if hasattr(split_size_or_sections, "__index__"):
        k = split_size_or_sections.__index__()
        if k < 0:
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={k}")
        if k == 0 and s[d]:
            raise RuntimeError(
                f"split_size can only be 0 if dimension size is 0, but got dimension size of {s[d]}"
            )
        n = max(1, -(-s[d] // k)) if k else 1
        parts = [k] * (n - 1) + [s[d] - k * (n - 1)]
    else:
        parts = list(int_tuple(split_size_or_sections, "split"))
        if any(p < 0 for p in parts):
            raise RuntimeError(
                f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={parts}"
            )
        if sum(parts) != s[d]:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {s[d]} (input tensor's size at dimension {d}), but got "
                f"split_sizes={parts}"
            )
    out = []
    start = 0
    for p in parts:
        out.append(slice_dim(tensor, d, start, start + p))
        start += p
    return tuple(out)


@public(grad_name="SplitWithSizesBackward0")
def split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """``split`` into parts of the sizes listed."""
    return split(input, int_tuple(split_sizes, "split_with_sizes"), dim)


@public(grad_name="SplitBackward0")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal size (the last may be smaller)."""
    s = input._a.shape
    if not s:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = wrap_dim(dim, len(s))
    k = -(-s[d] // chunks)
    if k == 0:
        return tuple([slice_dim(input, d, 0, 0) for _ in range(chunks)])
    return split(input, k, d)


@public(grad_name="UnbindBackward0")
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """A tuple of the views at each position of a dim."""
    s = input._a.shape
    if not s:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim(dim, len(s))
    return tuple([index_view_op(input, index=(*[slice(None)] * d, i)) for i in range(s[d])])


# ------------------------------------------------------------------------------------------------- joining


def same_dtype(tensors: Sequence[Tensor]) -> list[Tensor]:
    d = result_type(*tensors)
    return [convert(x, d) for x in tensors]


@public(method=False, out=True, aliases=("concat", "concatenate"))
def cat(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors joined along an existing dim.  Empty 1-d tensors are skipped, as in PyTorch.

    Raises: RuntimeError when the other sizes differ or a tensor is 0-d, TypeError for other objects.

    >>> import flambeau as torch
    >>> torch.cat([torch.ones(1, 2), torch.zeros(1, 2)])
    tensor([[1., 1.],
            [0., 0.]])
    """
    if isinstance(tensors, Tensor):
        raise TypeError("cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    xs = list(tensors)
    if not xs:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}")
        if not x._a.shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    first = xs[0]._a
    if type(first) is np.ndarray and len(first.shape) > 1 and type(dim) is int:
        d = dim if dim >= 0 else dim + len(first.shape)
        key = (first.dtype, *first.shape[:d], *first.shape[d + 1 :])
        if 0 <= d < len(first.shape) and all(
            [(x._a.dtype, *x._a.shape[:d], *x._a.shape[d + 1 :]) == key for x in xs]
        ):
            return indexing.cat_op(*xs, dim=d)  # type: ignore[no-any-return]
    d0 = result_type(*xs)
    full = [x for x in xs if tuple(x._a.shape) != (0,)]
    if not full:
        return rename(convert(clone(xs[0]), d0), "CatBackward0")  # type: ignore[no-any-return]
    nd = len(full[0]._a.shape)
    d = wrap_dim(dim, nd)
    want = tuple(full[0]._a.shape)
    for i, x in enumerate(full):
        s = tuple(x._a.shape)
        if len(s) != nd:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {nd} and {len(s)}")
        for k in range(nd):
            if k != d and s[k] != want[k]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {want[k]} but got size {s[k]} for "
                    f"tensor number {i} in the list."
                )
    return indexing.cat_op(*[convert(x, d0) for x in full], dim=d)  # type: ignore[no-any-return]


def _joins_blocks(xs: list[Tensor]) -> bool:
    """Whether `stack` joins first and names the new dim then: always in eager mode, and where the layout shows it."""
    if all([type(x._a) is np.ndarray for x in xs]):
        return True
    return all([channels_last(x._a) for x in xs])


@public(method=False, out=True, grad_name="StackBackward0")
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dim.

    Raises: RuntimeError for an empty list or different shapes.
    """
    xs = list(tensors)
    if not xs:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tuple(xs[0]._a.shape)
    for i, x in enumerate(xs):
        if tuple(x._a.shape) != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(x._a.shape)} at entry {i}"
            )
    d = wrap_dim(dim, len(first) + 1)
    if d < len(first) and not tls.stack and not any([x._node is not None for x in xs]) and _joins_blocks(xs):
        joined = indexing.cat_op(*same_dtype(xs), dim=d)  # whole blocks: the new dim only has to be named
        return base.reshape_new(joined, (*first[:d], len(xs), *first[d:]))
    key = (*[slice(None)] * d, None)
    return indexing.cat_op(*[index_view_op(x, index=key) for x in same_dtype(xs)], dim=d)  # type: ignore[no-any-return]


@public()
def flip(input: Tensor, *dims: Any, **kw: Any) -> Tensor:
    """A copy with the order along the given dims reversed."""
    if "dims" in kw:
        dims = (kw["dims"],)
    which = wrap_dims(sizes(dims, "flip"), len(input._a.shape), empty_means_all=False)
    return indexing.flip_op(input, dims=which)  # type: ignore[no-any-return]


@public(grad_name="RollBackward0")
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """A copy with elements moved cyclically along dims (over the flattened tensor if none are given)."""
    amounts = int_tuple(shifts, "roll")
    if not amounts:
        raise RuntimeError("`shifts` required")
    if dims is None or dims == () or dims == []:
        if len(amounts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(amounts)}, dims:0")
        flat = base.reshape(contiguous(input), (numel(input),))
        return base.reshape_new(indexing.roll_op(flat, shifts=amounts, dims=(0,)), tuple(input._a.shape))
    which = int_tuple(dims, "roll")
    if len(which) != len(amounts):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(amounts)}, dims:{len(which)}")
    which = tuple([wrap_dim(d, len(input._a.shape)) for d in which])
    if not input._a.shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return like_images(indexing.roll_op(input, shifts=amounts, dims=which), input)


_ = Optional
