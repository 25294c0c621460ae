"""More ways to rearrange: repeat, tile, diagonals, triangles, meshes, moving and splitting dims."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.families import contiguous
from ..core.grad_names import rename
from ..core.interpreters import Value
from ..core.pending import known
from ..core.promotion import convert, result_type
from ..core.public import FUNCTIONS, public
from ..core.tensor import Tensor
from ..prims import base, indexing
from ..prims import rearrange as moves
from ..prims.base import from_value, full, index_view_op
from ..runtime import dtypes
from .args import as_dtype, dtype_of, int_tuple, numel, sizes, wrap_dim
from .layouts import in_own_order
from .meta_device import made, wants_meta
from .shape import cat, expand_to, permute, reshape, stack, unsqueeze

GRID = 2**20  # choices that 16-bit `combinations` are taken from a grid of, as in PyTorch


@public(function=False, grad_name="RepeatBackward0")
def repeat(self: Tensor, *repeats: Any, **kw: Any) -> Tensor:
    """A copy laid out `repeats` times along each dim (missing dims are added in front)."""
    if "repeats" in kw:
        repeats = (kw["repeats"],)
    times = sizes(repeats, "repeat")
    s = tuple(self._a.shape)
    if len(times) < len(s):
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
        )
    if any(t < 0 for t in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(times)}: {list(times)}")
    lead, times = times[: len(times) - len(s)], times[len(times) - len(s) :]
    inner = tuple([v for n in s for v in (1, n)])
    outer = tuple([v for t, n in zip(times, s) for v in (t, n)])
    result = self
    if any(t != 1 for t in times):
        result = base.reshape(
            expand_to(base.reshape(self, inner), outer), tuple([t * n for t, n in zip(times, s)])
        )
    for t in reversed(lead):  # the gradient is summed over one new dim after the other, as in PyTorch
        result = expand_to(result, (t, *result._a.shape))
    if result is self:
        return contiguous(self)
    return contiguous(result) if result._base is not None else result  # a single repeated dim is still a view


@public()
def tile(input: Tensor, *dims: Any, **kw: Any) -> Tensor:
    """``repeat`` with missing leading counts of 1."""
    if "dims" in kw:
        dims = (kw["dims"],)
    times = sizes(dims, "tile")
    return repeat(input, (1,) * (len(input._a.shape) - len(times)) + times)


def _hidden_positions(counts: Tensor, n: int, output_size: int | None) -> Tensor:
    """Positions 0 .. n-1, each repeated `counts` times, where a transform hides the counts."""
    seen = counts
    while isinstance(seen._a, Value):
        seen = seen._a.inner
    array = known(seen)
    each = len(counts._a.shape)
    if each > 1 or array.dtype.kind not in "iu":
        raise RuntimeError(
            f"repeats must be a 0-dim or 1-dim tensor of integers, got {list(counts._a.shape)}, {dtype_of(counts)}"
        )
    if (array < 0).any():
        raise RuntimeError("repeats can not be negative")
    if each == 0 or counts._a.shape[0] == 1:
        counts = expand_to(base.reshape(counts, (1,)), (n,))
        totals = array.reshape(-1) * n
    elif counts._a.shape[0] != n:
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts._a.shape[0]} and input size {n}"
        )
    else:
        totals = array.sum(-1).reshape(-1)
    total = int(totals[0]) if output_size is None and totals.size else int(output_size or 0)
    if (totals != total).any():
        raise RuntimeError(
            f"vmap: repeat_interleave would have results of {sorted(set(totals.tolist()))} elements for different examples"
            f"{'' if output_size is None else f', not output_size={output_size}'}, and no dense batch of them"
        )
    ends = FUNCTIONS["cumsum"](counts, 0)
    return FUNCTIONS["searchsorted"](ends, from_value(np.arange(total, dtype=array.dtype)), right=True)  # type: ignore[no-any-return]


@public()
def repeat_interleave(
    input: Any = None, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element (or slice of a dim) repeated in place; with one argument, positions repeated by those counts."""
    if input is None:
        input, repeats = repeats, None
    from ..core.eager import raw

    if repeats is None:
        if isinstance(input._a, Value):
            return convert(_hidden_positions(input, int(input._a.shape[0]), output_size), dtype_of(input))
        counts = raw(input)
        if counts.ndim != 1 or counts.dtype.kind not in "iu":
            raise RuntimeError("repeat_interleave only accepts 1D vectors of integers as repeat")
        return from_value(np.repeat(np.arange(counts.shape[0]), counts).astype(counts.dtype))
    if dim is None:
        input, dim = base.reshape(input, (numel(input),)), 0
    d = wrap_dim(dim, len(input._a.shape))
    n = input._a.shape[d] if input._a.shape else 1
    x = input if input._a.shape else base.reshape(input, (1,))
    if isinstance(repeats, Tensor) and isinstance(repeats._a, Value):
        return FUNCTIONS["index_select"](x, d, _hidden_positions(repeats, n, output_size))  # type: ignore[no-any-return]
    counts = repeats if isinstance(repeats, int) else raw(repeats)
    if isinstance(counts, np.ndarray):
        if counts.dtype.kind not in "iu":
            raise RuntimeError("repeats has to be Long or Int tensor")
        if counts.ndim > 1:
            raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
        if counts.ndim == 1 and counts.size not in (1, n):
            raise RuntimeError(
                f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.size} and input.size({d}) = {n}"
            )
        if (counts < 0).any():
            raise RuntimeError("repeats can not be negative")
        if counts.ndim == 1 and counts.size == 1:
            counts = counts[0]
    elif counts < 0:
        raise RuntimeError("Repeats must be non-negative")
    total = n * counts if isinstance(counts, int) else int(np.repeat(np.arange(n), counts).size)
    if output_size is not None and output_size != total:
        raise RuntimeError(
            f"allocated size does not match required size: output_size {output_size}, needed {total}"
        )
    if isinstance(counts, int) and 0 < counts <= moves.MANY:
        x = input if input._a.shape else base.reshape(input, (1,))
        return rename(moves.repeat_each_op(x, dim=d, times=counts), "ViewBackward0")  # type: ignore[no-any-return]
    index = from_value(np.repeat(np.arange(n), counts))
    y = FUNCTIONS["index_select"](x, d, index)
    return rename(y, "ViewBackward0") if isinstance(repeats, int) else y  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------ diagonals, triangles


@public(grad_name="DiagonalBackward0")
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dims, as a view, in a new last dim.

    Raises: RuntimeError when the dims are the same.
    """
    nd = len(input._a.shape)
    a, b = wrap_dim(dim1, nd), wrap_dim(dim2, nd)
    if nd < 2:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-max(nd, 1)}, {max(nd, 1) - 1}], but got {dim2})"
        )
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return indexing.diagonal_op(input, offset=int(offset), dim1=a, dim2=b)  # type: ignore[no-any-return]


@public(grad_name="DiagEmbedBackward0")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices (in dims dim1, dim2) with the last dim of the input on a diagonal."""
    nd = len(input._a.shape) + 1
    a, b = wrap_dim(dim1, nd), wrap_dim(dim2, nd)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    s = tuple(input._a.shape)
    n = s[-1] + abs(offset)
    zero = full((*s[:-1], n, n), 0, input._a.dtype)
    y = indexing.diagonal_op.put(zero, input, offset=int(offset), dim1=nd - 2, dim2=nd - 1)
    order = [d for d in range(nd - 2)]
    if a < b:
        order.insert(a, nd - 2)
        order.insert(b, nd - 1)
    else:
        order.insert(b, nd - 1)
        order.insert(a, nd - 2)
    return in_own_order(permute(y, order))


def _diag_name(args: Any, kwargs: Any) -> str:
    x = args[0] if args else kwargs["input"]
    return "DiagEmbedBackward0" if len(x._a.shape) == 1 else "DiagonalBackward0_copy"


@public(out=True, grad_name=_diag_name)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    nd = len(input._a.shape)
    if nd == 1:
        return diag_embed(input, diagonal)
    if nd == 2:
        return indexing.diagonal_op(input, offset=int(diagonal), dim1=0, dim2=1).clone()  # type: ignore[no-any-return]
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {nd}D")


@public(grad_name="DiagEmbedBackward0")
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all elements of the input on a diagonal."""
    return diag_embed(reshape(input, (numel(input),)), offset)


def _triangle(name: str, upper: bool) -> Any:
    def fn(input: Tensor, diagonal: int = 0) -> Tensor:
        s = tuple(input._a.shape)
        if len(s) < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return moves.triangle_op(input, diagonal=int(diagonal), upper=upper)  # type: ignore[no-any-return]

    fn.__doc__ = (
        f"The {'upper' if upper else 'lower'} triangle of matrices (from `diagonal` on), zeros elsewhere."
    )
    return public(inplace=True, out=True, name=name, grad_name=f"{name.capitalize()}Backward0")(fn)


triu = _triangle("triu", True)
tril = _triangle("tril", False)


def _above(row: int, col: int, offset: int) -> int:
    """The number of positions of a matrix on its diagonal `offset`, and above."""
    return sum([min(max(col - i - offset, 0), col) for i in range(row)])


def _triangle_indices(name: str, upper: bool) -> Any:
    def fn(
        row: int,
        col: int,
        offset: int = 0,
        *,
        dtype: Any = None,
        device: Any = None,
        layout: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
    ) -> Tensor:
        if requires_grad:
            raise RuntimeError(f"{name}: only tensors of floating dtypes can require gradients")
        if row < 0 or col < 0:
            raise RuntimeError(f"{name}: row and col must be non-negative, got {row} and {col}")
        if device is not None and wants_meta(device):
            count = _above(row, col, offset) if upper else row * col - _above(row, col, offset + 1)
            return made((2, count), as_dtype(dtype, dtypes.int64).numpy)
        i, j = np.ogrid[:row, :col]
        mask = (j - i >= offset if upper else j - i <= offset) & np.ones((row, col), bool)
        return from_value(np.stack(np.nonzero(mask)).astype(as_dtype(dtype, dtypes.int64).numpy))

    fn.__doc__ = (
        f"Row and column positions of the {'upper' if upper else 'lower'} triangle, as a (2, n) tensor."
    )
    return public(method=False, name=name)(fn)


triu_indices = _triangle_indices("triu_indices", True)
tril_indices = _triangle_indices("tril_indices", False)


@public(out=True, grad_name="TraceBackward0")
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if len(input._a.shape) != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {len(input._a.shape)}")
    return diagonal(input).sum()  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------ dims


@public(aliases=("moveaxis",))
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dims moved to other positions, as a view."""
    nd = len(input._a.shape)
    if not nd:
        for d in (*int_tuple(source, "movedim"), *int_tuple(destination, "movedim")):
            wrap_dim(d, nd)
        return permute(input, ())
    src = [wrap_dim(d, nd) for d in int_tuple(source, "movedim")]
    dst = [wrap_dim(d, nd) for d in int_tuple(destination, "movedim")]
    if len(src) != len(dst):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({src} dims) should contain the same number of dims as destination ({dst} dims)"
        )
    for which, found in (("source", src), ("destination", dst)):
        if len(set(found)) != len(found):
            raise RuntimeError(f"movedim: repeated dim in `{which}` ({found})")
    order: list[Any] = [None] * nd
    for a, b in zip(src, dst):
        order[b] = a
    rest = iter([d for d in range(nd) if d not in src])
    return permute(input, [next(rest) if o is None else o for o in order])


@public(method=False, grad_name="ExpandBackward0")
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinate grids of vectors; `indexing` "ij" (the default) or "xy"."""
    xs = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)
    if not xs:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in xs:
        if len(x._a.shape) > 1:
            raise RuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {len(x._a.shape)}-D"
            )
        if x._a.dtype != xs[0]._a.dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(xs) >= 2
    if swap:
        xs[0], xs[1] = xs[1], xs[0]
    shape = tuple([x._a.shape[0] if x._a.shape else 1 for x in xs])
    grids = [
        expand_to(base.reshape(x, tuple([n if k == i else 1 for k, n in enumerate(shape)])), shape)
        for i, x in enumerate(xs)
    ]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@public(method=False)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of elements of vectors, one in each row."""
    for t in tensors:
        if len(t._a.shape) != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t._a.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(*tensors, indexing="ij")
    return stack([reshape(g, (numel(g),)) for g in grids], 1)


def _from_grid(x: Tensor, index: Any, k: int) -> Tensor:
    """Column `k` of the combinations, taken from a grid of all choices, as many dims as there are columns."""
    n, r = int(x._a.shape[0]), index.shape[1]
    grid = base.reshape(expand_to(base.reshape(x, (n,) + (1,) * (r - 1 - k)), (n,) * r), (n**r,))
    at = np.ravel_multi_index(tuple(index.T), (n,) * r) if len(index) else np.zeros(0, np.int64)
    return indexing.index_get_op(grid, from_value(at), spec=(True,))  # type: ignore[no-any-return]


@public(grad_name="StackBackward0")
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of r elements of a vector, one in each row."""
    import itertools

    if len(input._a.shape) != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input._a.shape)}")
    if r < 0:
        raise RuntimeError("Expect a non-negative number, but got " + str(r))
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    if r == 0:
        return full((0,), 0, input._a.dtype)
    index = np.array(list(pick(range(input._a.shape[0]), r)), np.int64).reshape(-1, r)
    # Column by column, as PyTorch: so the 16-bit gradients of the columns are rounded before they are added.
    if input._a.dtype.itemsize == 2 and input._a.dtype.kind in "fV" and input._a.shape[0] ** r <= GRID:
        # the gradient of a column is a sum over a grid of all choices, rounded once
        columns = [_from_grid(input, index, k) for k in range(r)]
    else:
        columns = [indexing.index_get_op(input, from_value(i.copy()), spec=(True,)) for i in index.T]
    return FUNCTIONS["stack"](columns, 1)  # type: ignore[no-any-return]


def _at_least(n: int) -> Any:
    def one(x: Tensor) -> Tensor:
        s = tuple(x._a.shape)
        if len(s) >= n:
            return x
        shapes = {
            1: (1,),
            2: (1, 1) if not s else (1, *s),
            3: (1, 1, 1) if not s else (1, s[0], 1) if len(s) == 1 else (*s, 1),
        }
        return rename(base.reshape(x, shapes[n]), "UnsqueezeBackward0" if s else "ViewBackward0")  # type: ignore[no-any-return]

    def fn(*tensors: Any) -> Any:
        if len(tensors) == 1:
            x = tensors[0]
            return one(x) if isinstance(x, Tensor) else tuple([one(v) for v in x])
        return tuple([one(v) for v in tensors])

    fn.__doc__ = f"Tensors as views with at least {n} dims."
    return public(name=f"atleast_{n}d", method=False)(fn)


atleast_1d, atleast_2d, atleast_3d = _at_least(1), _at_least(2), _at_least(3)


@public(method=False, out=True)
def hstack(tensors: Any) -> Tensor:
    """Tensors joined along the second dim (vectors: the first)."""
    xs = atleast_1d(tuple(tensors))
    if not xs:
        raise RuntimeError("hstack expects a non-empty TensorList")
    return cat(xs, 0 if len(xs[0]._a.shape) == 1 else 1)


@public(method=False, out=True, aliases=("row_stack",))
def vstack(tensors: Any) -> Tensor:
    """Tensors joined along the first dim (vectors become rows)."""
    xs = atleast_2d(tuple(tensors))
    if not xs:
        raise RuntimeError("vstack expects a non-empty TensorList")
    return cat(xs, 0)


@public(method=False, out=True)
def dstack(tensors: Any) -> Tensor:
    """Tensors joined along the third dim."""
    xs = atleast_3d(tuple(tensors))
    if not xs:
        raise RuntimeError("dstack expects a non-empty TensorList")
    return cat(xs, 2)


@public(method=False, out=True)
def column_stack(tensors: Any) -> Tensor:
    """Tensors joined as columns."""
    xs = [base.reshape(x, (numel(x), 1)) if len(x._a.shape) <= 1 else x for x in tensors]
    if not xs:
        raise RuntimeError("column_stack expects a non-empty TensorList")
    return hstack(xs)


@public(method=False, grad_name="BlockDiagBackward0")
def block_diag(*tensors: Tensor) -> Tensor:
    """The matrix with these matrices along its diagonal."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tuple(tensors[0])
    xs = []
    for i, x in enumerate(tensors):
        if len(x._a.shape) > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {len(x._a.shape)} dimensions"
            )
        xs.append(atleast_2d(x))
    d = result_type(*tensors)
    width = builtin_sum(x._a.shape[1] for x in xs)
    rows = []
    left = 0
    for x in xs:
        h, w = x._a.shape
        parts = [full((h, left), 0, d.numpy), convert(x, d), full((h, width - left - w), 0, d.numpy)]
        rows.append(cat(parts, 1))
        left += w
    return cat(rows, 0)


builtin_sum = __builtins__["sum"] if isinstance(__builtins__, dict) else __builtins__.sum


def _the_one_given(name: str, *values: Any) -> Any:
    found = [v for v in values if v is not None]
    if len(found) != 1:
        raise TypeError(f"{name}() takes either indices or sections, got {len(found)} of them")
    return found[0]


@public()
def tensor_split(
    input: Tensor,
    indices_or_sections: Any = None,
    dim: int = 0,
    *,
    indices: Any = None,
    sections: Any = None,
    tensor_indices_or_sections: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Views of nearly equal parts, or of the parts between indices."""
    which = _the_one_given("tensor_split", indices_or_sections, indices, sections, tensor_indices_or_sections)
    s = input._a.shape
    if not s:
        raise RuntimeError(
            f"tensor_split expected at least a 1-dimensional tensor, but got a tensor with {len(s)} dims"
        )
    d = wrap_dim(dim, len(s))
    if isinstance(which, Tensor):
        if which._a.dtype != np.int64 or len(which._a.shape) > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional LongTensor"
            )
        which = which.tolist()
    n = s[d]
    if isinstance(which, int):
        if which <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {which}")
        if which > 1 << 31:
            raise RuntimeError(f"tensor_split: not enough memory for {which} tensors")
        cuts = [0]
        for k in range(which):
            cuts.append(cuts[-1] + n // which + (1 if k < n % which else 0))
        pairs = list(zip(cuts[:-1], cuts[1:]))
    else:
        edges = [0, *[slice(None, int(i)).indices(n)[1] for i in which], n]
        pairs = list(zip(edges[:-1], edges[1:]))
    return tuple([index_view_op(input, index=(*[slice(None)] * d, slice(a, max(a, b)))) for a, b in pairs])


def _named_split(name: str, need: int, dim: int) -> Any:
    def fn(
        input: Tensor, indices_or_sections: Any = None, *more: int, indices: Any = None, sections: Any = None
    ) -> tuple[Tensor, ...]:
        if more:
            indices_or_sections = (indices_or_sections, *more)
        which = _the_one_given(name, indices_or_sections, indices, sections)
        nd = len(input._a.shape)
        if nd < need:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {need} dimension, but got a tensor with {nd} dimensions!"
            )
        d = 0 if name == "hsplit" and nd == 1 else dim
        if isinstance(which, str) or not (hasattr(which, "__index__") or hasattr(which, "__iter__")):
            raise TypeError(f"{name}(): sections must be int or a tuple of ints, not {type(which).__name__}")
        if isinstance(which, int) and (which <= 0 or input._a.shape[d] % which):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {d}, but the size of the dimension {input._a.shape[d]} is not divisible by the split_size {which}!"
            )
        return tensor_split(input, which, d)

    fn.__doc__ = f"``tensor_split`` along dim {dim}."
    return public(name=name)(fn)


hsplit, vsplit, dsplit = (
    _named_split("hsplit", 1, 1),
    _named_split("vsplit", 2, 0),
    _named_split("dsplit", 3, 2),
)


@public()
def fliplr(input: Tensor) -> Tensor:
    """The order of dim 1 reversed."""
    if len(input._a.shape) < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return input.flip(1)  # type: ignore[no-any-return]


@public()
def flipud(input: Tensor) -> Tensor:
    """The order of dim 0 reversed."""
    if len(input._a.shape) < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return input.flip(0)  # type: ignore[no-any-return]


@public(grad_name="Rot90Backward0")
def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Rotated by 90 degrees k times in the plane of two dims."""
    pair = int_tuple(dims, "rot90")
    nd = len(input._a.shape)
    if len(pair) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(pair)}")
    if nd < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {nd}")
    a, b = (wrap_dim(d, nd) for d in pair)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {pair[0]} and dim1 = {pair[1]}"
        )
    k = k % 4
    if k == 0:
        return input.clone()  # type: ignore[no-any-return]
    if k == 2:
        return input.flip(a, b)  # type: ignore[no-any-return]
    return input.flip(b if k == 1 else a).transpose(a, b)  # type: ignore[no-any-return]


@public(function=False, grad_name="UnfoldBackward0")
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of a dim in a new last dim, as a view."""
    s = self._a.shape
    d = wrap_dim(dimension, len(s))
    n = s[d] if s else 1
    if size < 0 or size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not s:
        return index_view_op(base.reshape(self, (1,)), index=(slice(0, size),))  # type: ignore[no-any-return]
    return indexing.window_op(self, dim=d, size=int(size), step=int(step))  # type: ignore[no-any-return]


@public()
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The Vandermonde matrix of a vector."""
    if len(x._a.shape) != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, got {len(x._a.shape)}-D")
    n = x._a.shape[0] if N is None else N
    powers = from_value(np.arange(n) if increasing else np.arange(n)[::-1].copy())
    if x._a.dtype.kind in "fc":
        powers = convert(powers, dtype_of(x))
    name = "torch::autograd::CopySlices" if increasing else "FlipBackward0"
    return rename(unsqueeze(x, 1) ** powers, name)  # type: ignore[no-any-return]
