"""Gathering and scattering: indices are data, so these are not views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis, Index, Shape
from ..core.layout import channels_last
from ..core.op import REGISTRY, Op, bind
from ..core.tape import helpers
from ..core.tensor import Tensor
from ..runtime import pool
from .base import expand_op, from_value, full, index_view_op, permute_op, reshape
from .index_kernels import LARGE as INDEXED
from .index_kernels import added, gathered, scattered, taken
from .memory_kernels import LARGE, copied, copy_into
from .row_kernels import in_order

INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)

# ------------------------------------------------------------------------------------------- advanced indexing


def _key(indices: Sequence[Any], spec: Sequence[bool]) -> tuple[Any, ...]:
    found = iter(indices)
    return tuple([next(found) if s else slice(None) for s in spec])


def _check_range(x: Any, indices: Sequence[Any], spec: Sequence[bool]) -> None:
    found = iter(indices)
    for d, s in enumerate(spec):
        if s:
            i = next(found)
            if i.dtype.kind != "b" and i.size:
                low, high = i.min(), i.max()
                n = x.shape[d]
                if low < -n or high >= n:
                    bad = int(low) if low < -n else int(high)
                    raise IndexError(f"index {bad} is out of bounds for dimension {d} with size {n}")


def _index_get(x: Any, *indices: Any, spec: Any) -> Any:
    if len(indices) == 1 and spec[0] and x.nbytes >= INDEXED:
        y = taken(x, indices[0])
        if y is not None:
            return y
    try:
        if (
            len(indices) == 1 and not spec[0] and indices[0].dtype.kind != "b"
        ):  # contiguous, which a subscript is not
            return x.take(indices[0], spec.index(True))
        return x[_key(indices, spec)]
    except IndexError:
        _check_range(x, indices, spec)
        shapes = ", ".join(str(list(i.shape)) for i in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None


def _index_put(x: Any, v: Any, *indices: Any, spec: Any, accumulate: bool) -> Any:
    out = x.copy() if x.nbytes < LARGE else copied(x)
    key = _key(indices, spec)
    try:
        if not accumulate:
            out[key] = v
        elif sum(spec) == 1 and spec[0] and out.ndim and out.dtype.kind in "fc":
            _add_rows(out, key[0], v)
        else:
            np.add.at(out, key, v)
    except IndexError:
        _check_range(x, indices, spec)
        raise
    return out


FEW = 1024  # numbers that NumPy adds one by one sooner than it sorts


def _add_rows(out: Any, index: Any, v: Any) -> None:
    """out[index] += v with repeated indices: sorted segments, many times faster than np.add.at on rows."""
    rows = index.reshape(-1)
    if not rows.size:
        return
    if v.size <= FEW:
        np.add.at(out, index, v)
        return
    if v.nbytes >= INDEXED and added(out, index, np.broadcast_to(v, index.shape + out.shape[1:])):
        return
    rows = np.where(rows < 0, rows + out.shape[0], rows)
    values = np.broadcast_to(v, index.shape + out.shape[1:]).reshape(rows.size, *out.shape[1:])
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    out[ordered[starts]] += np.add.reduceat(values[order], starts, axis=0)


def _front(spec: Sequence[bool]) -> tuple[tuple[int, ...], int]:
    """(order of dims with the indexed ones first, where the index dims go in the result)."""
    chosen = [i for i, s in enumerate(spec) if s]
    rest = [i for i, s in enumerate(spec) if not s]
    adjacent = chosen == list(range(chosen[0], chosen[-1] + 1))
    return (*chosen, *rest), chosen[0] if adjacent else 0


def _batched_indices(size: int, batched: Sequence[bool], indices: Sequence[Any]) -> list[Any]:
    """Indices with the batch in front of equally many dims, after an index that picks the example."""
    aligned = fam.align(indices, batched, size)
    nd = max(len(i._a.shape) - b for i, b in zip(indices, batched))
    rows = from_value(np.arange(size).reshape((size,) + (1,) * nd))
    return [rows, *aligned]


def _get_batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    x, *indices = args
    spec = params["spec"]
    if not any(batched[1:]):
        y = bind(index_get_op, tuple(args), {"spec": (False, *spec)})
        if not _adjacent(spec):  # index dims lead the result, so the batch comes after them
            k = max(len(i._a.shape) for i in indices)
            y = permute_op(y, dims=(k, *range(k), *range(k + 1, len(y._a.shape))))
        return y, True
    (x,) = fam.batch_to_front([x], batched[:1], size)
    nd = len(x._a.shape) - 1
    spec = (*spec, *(False,) * (nd - len(spec)))
    order, at = _front(spec)
    x = permute_op(x, dims=(0, *[d + 1 for d in order]))
    k = sum(spec)
    full_indices = _batched_indices(size, batched[1:], indices)
    y = bind(index_get_op, (x, *full_indices), {"spec": (True,) * (k + 1)})
    return _index_dims_to(y, len(full_indices[0]._a.shape) - 1, at), True


def _index_dims_to(y: Tensor, n_index: int, at: int) -> Tensor:
    """Move the index dims (just after the batch dim) behind `at` of the other dims."""
    if at == 0:
        return y
    nd = len(y._a.shape)
    idx = list(range(1, 1 + n_index))
    rest = list(range(1 + n_index, nd))
    return permute_op(y, dims=(0, *rest[:at], *idx, *rest[at:]))  # type: ignore[no-any-return]


def _index_dims_from(v: Tensor, n_index: int, at: int) -> Tensor:
    if at == 0:
        return v
    nd = len(v._a.shape)
    idx = list(range(1 + at, 1 + at + n_index))
    rest = [d for d in range(1, nd) if d not in idx]
    return permute_op(v, dims=(0, *idx, *rest))  # type: ignore[no-any-return]


def _put_batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    x, v, *indices = args
    spec, accumulate = params["spec"], params["accumulate"]
    x, v = fam.batch_to_front([x, v], batched[:2], size)
    nd = len(x._a.shape) - 1
    spec = (*spec, *(False,) * (nd - len(spec)))
    n_index = max(len(i._a.shape) - b for i, b in zip(indices, batched[2:]))
    # values broadcast to the shape of the indexed region: give them all its dims first
    want = nd - sum(spec) + n_index
    s = v._a.shape
    v = reshape(v, (size, *(1,) * (want - len(s) + 1), *s[1:]))
    if not any(batched[2:]):
        order, at = _front(spec)
        if at == 0 and not spec[0]:
            pass
        shifted = {"spec": (False, *spec), "accumulate": accumulate}
        if at == 0 and not _adjacent(spec):  # index dims lead the result, so the batch comes after them there
            v = permute_op(v, dims=(*range(1, 1 + n_index), 0, *range(1 + n_index, len(v._a.shape))))
        return bind(index_put_op, (x, v, *indices), shifted), True
    order, at = _front(spec)
    xp = permute_op(x, dims=(0, *[d + 1 for d in order]))
    full_indices = _batched_indices(size, batched[2:], indices)
    vp = _index_dims_from(v, n_index, at)
    y = bind(
        index_put_op, (xp, vp, *full_indices), {"spec": (True,) * (sum(spec) + 1), "accumulate": accumulate}
    )
    back = [0] * (nd + 1)
    for i, d in enumerate((0, *[d + 1 for d in order])):
        back[d] = i
    return permute_op(y, dims=tuple(back)), True


def _adjacent(spec: Sequence[bool]) -> bool:
    chosen = [i for i, s in enumerate(spec) if s]
    return chosen == list(range(chosen[0], chosen[-1] + 1))


def _zeros(shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Zeros to write a gradient into; large ones take memory only when they are copied for that."""
    if math.prod(shape) * dtype.itemsize < LARGE:
        return full(shape, 0, dtype)
    return expand_op(full((), 0, dtype), shape=shape)  # type: ignore[no-any-return]


def _get_vjp(g: Tensor, inputs: Any, metas: Any, spec: Any) -> Any:
    zero = _zeros(tuple(metas[0].shape), g._a.dtype)
    return [index_put_op(zero, g, *inputs[1:], spec=spec, accumulate=True), *[None] * (len(inputs) - 1)]


def _get_jvp(ts: Any, xs: Any, y: Any, params: Any) -> Any:
    return None if ts[0] is None else bind(index_get_op, (ts[0], *xs[1:]), params)


def _put_vjp(g: Tensor, inputs: Any, metas: Any, needs: Any, spec: Any, accumulate: bool) -> Any:
    indices = inputs[2:]
    gx = gv = None
    if needs[0]:
        zero = full((), 0, g._a.dtype)
        gx = g if accumulate else index_put_op(g, zero, *indices, spec=spec, accumulate=False)
    if needs[1]:
        gv = fam.unbroadcast(index_get_op(g, *indices, spec=spec), tuple(metas[1].shape))
    return [gx, gv, *[None] * len(indices)]


def _put_jvp(ts: Any, xs: Any, y: Any, params: Any) -> Any:
    t = [fam.zeros_like(x) if a is None else a for a, x in zip(ts[:2], xs[:2])]
    return bind(index_put_op, (*t, *xs[2:]), params)


index_get_op = Op(
    "index",
    "gather",
    _index_get,
    ("x",),
    vjp=_get_vjp,
    jvp=_get_jvp,
    batch=_get_batch,
    grad_name="IndexBackward0",
)
index_put_op = Op(
    "index_put", "gather", _index_put, ("x", "v"), vjp=_put_vjp, jvp=_put_jvp, batch=_put_batch,
    grad_name="IndexPutBackward0",
)  # fmt: skip

index_get_op.info["save_from"] = 1
index_put_op.info["save_from"] = 2

# ------------------------------------------------------------------------------------------- gather and scatter


def _narrowed(x: Any, index: Any, dim: int) -> Any:
    key = tuple([slice(None) if d == dim else slice(0, n) for d, n in enumerate(index.shape)])
    return x[key]


def largest_unsigned(index: Any) -> Any:
    """The largest of int64 numbers read as unsigned ones: negative ones are huge then, which saves a pass."""
    a = index.view(UINT64)
    return a.item(a.argmax()) if a.size < SHORT * SHORT else np.maximum.reduce(a, None)


def check_bounds(index: Any, n: int, dim: int) -> None:
    if index.size:
        if index.dtype == INT64 and largest_unsigned(index) < n:
            return
        low, high = index.min(), index.max()
        if low < 0 or high >= n:
            bad = int(low) if low < 0 else int(high)
            raise RuntimeError(f"index {bad} is out of bounds for dimension {dim} with size {n}")


def positions(shape: tuple[int, ...], d: int) -> Any:
    """0, 1, 2 ... along dim `d`, broadcasting against arrays of this shape."""
    n, rest = shape[d], len(shape) - d - 1
    if n > SHORT:
        return np.arange(n).reshape(n, *(1,) * rest)
    found = _counting.get((n, rest))
    if found is None:
        found = _counting[n, rest] = np.arange(n).reshape(n, *(1,) * rest)
        found.flags.writeable = False
    return found


SHORT = 64
_counting: dict[tuple[int, int], Any] = {}


def along(index: Any, dim: int) -> tuple[Any, ...]:
    """The key under which an array of `index`'s shape, but for `dim`, has what ``take_along_axis`` takes."""
    return tuple([index if d == dim else positions(index.shape, d) for d in range(index.ndim)])


def _gather(x: Any, index: Any, *, dim: Axis, sure: bool = False, each: bool = False) -> Any:
    """``take_along_axis``; `sure`: the indices are those of elements; `each` is for the gradient (`_scatter`)."""
    if sure and index.size and index.nbytes < INDEXED:
        return in_order(x[along(index, dim)])
    if index.nbytes >= INDEXED and x.ndim:
        y = gathered(_narrowed(x, index, dim), index, dim)
        if y is not None:
            return y
    check_bounds(index, x.shape[dim], dim)
    if not index.size:
        return np.empty(index.shape, x.dtype)
    return in_order(x[along(index, dim)])


def _scatter(x: Any, src: Any, index: Any, *, dim: Axis, reduce: str) -> Any:
    """`reduce` is "set", "add" (16-bit sums are rounded once), "add each" (after every term), "mul", "amax" or "amin"."""
    each = reduce == "add each"
    reduce = "add" if each else reduce
    if isinstance(src, np.ndarray) and src.shape != index.shape:
        src = src[tuple([slice(0, n) for n in index.shape])]
    if index.nbytes >= INDEXED and reduce in ("set", "add") and x.ndim:
        out = x.copy() if x.nbytes < LARGE else copied(x)
        if scattered(out, index, src, dim, reduce == "add"):
            return out
    check_bounds(index, x.shape[dim], dim)
    out = x.copy()
    key = along(index, dim)
    if reduce == "set":
        out[key] = src
    elif reduce == "add" and not each and fam.is_half(x):
        wide = fam.wide(x)
        np.add.at(wide, key, fam.wide(src))
        return wide.astype(x.dtype)
    else:
        {"add": np.add, "mul": np.multiply, "amax": np.maximum, "amin": np.minimum}[reduce].at(out, key, src)
    return out


def _gather_vjp(g: Tensor, index: Tensor, x_meta: Any, dim: int, each: Any) -> Tensor:
    reduce = "add each" if each else "add"
    return scatter_op(_zeros(tuple(x_meta.shape), g._a.dtype), g, index, dim=dim, reduce=reduce)  # type: ignore[no-any-return]


gather_op: Any = fam.opaque_op(
    _gather,
    (_gather_vjp, None),
    name="gather",
    jvp=lambda ts, xs, y, p: bind(gather_op, (ts[0], xs[1]), p),
)


def _scatter_vjp_x(g: Tensor, index: Tensor, dim: int, reduce: str) -> Tensor:
    if reduce in ("add", "add each"):
        return g
    zero = full(tuple(index._a.shape), 0, g._a.dtype)
    return scatter_op(g, zero, index, dim=dim, reduce="set")  # type: ignore[no-any-return]


def _scatter_vjp_src(g: Tensor, index: Tensor, src_meta: Any, dim: int) -> Tensor:
    part = gather_op(g, index, dim=dim)
    if part._a.shape == tuple(src_meta.shape):
        return part  # type: ignore[no-any-return]
    key = tuple([slice(0, n) for n in part._a.shape])
    zero = full(tuple(src_meta.shape), 0, g._a.dtype)
    return index_view_op.put(zero, part, index=key)  # type: ignore[no-any-return]


def _scatter_jvp(ts: Any, xs: Any, y: Any, params: Any) -> Any:
    t = [fam.zeros_like(x) if a is None else a for a, x in zip(ts[:2], xs[:2])]
    return bind(scatter_op, (t[0], t[1], xs[2]), params)


# Differentiable for reduce="set" and "add"; the other reductions are used on values only.
scatter_op = fam.opaque_op(
    _scatter, (_scatter_vjp_x, _scatter_vjp_src, None), name="scatter", jvp=_scatter_jvp
)

# ------------------------------------------------------------------------------------------- data-dependent shapes


def _no_batch(what: str) -> Any:
    def batch(*_: Any) -> Any:
        raise RuntimeError(
            f"vmap: {what} has a result whose shape depends on the data, so there is no dense batched answer. "
            "Use where(condition, x, y) or a mask of fixed shape instead."
        )

    return batch


def _nonzero(x: Any) -> Any:
    return np.argwhere(x) if x.ndim else np.zeros((int(bool(x)), 0), np.int64)


nonzero_op = fam.opaque_op(_nonzero, None, name="nonzero", batch=_no_batch("nonzero (or a boolean mask as an index)"), differentiable=False)  # fmt: skip

# ------------------------------------------------------------------------------------------- joining, flipping, padding


def _cat(*xs: Any, dim: Axis) -> Any:
    first = xs[0]
    size = sum([x.nbytes for x in xs])
    if size < LARGE or any(x.dtype != first.dtype or not x.flags.c_contiguous for x in xs):
        y = np.concatenate(xs, axis=dim)
        if y.ndim in (4, 5) and all([channels_last(x) for x in xs]):
            return np.moveaxis(in_order(np.moveaxis(y, 1, -1)), -1, 1)
        return in_order(y)
    shape = list(first.shape)
    shape[dim] = sum([x.shape[dim] for x in xs])
    if any(x.ndim != first.ndim for x in xs):
        return np.concatenate(xs, axis=dim)  # which says what is wrong
    out = pool.empty(tuple(shape), first.dtype)
    start, lead = 0, (slice(None),) * dim
    for x in xs:
        n = x.shape[dim]
        part = out[(*lead, slice(start, start + n))]
        if part.shape != x.shape:
            return np.concatenate(xs, axis=dim)
        copy_into(part, x)
        start += n
    return out


def _cat_vjp(g: Tensor, metas: Any, needs: Any, dim: int) -> Any:
    grads: list[Any] = []
    start = 0
    for m, need in zip(metas, needs):
        n = m.shape[dim]
        key = (*[slice(None)] * dim, slice(start, start + n))
        grads.append(index_view_op(g, index=key) if need else None)
        start += n
    return grads


cat_op: Any = Op(
    "cat",
    "linear",
    _cat,
    (),
    vjp=_cat_vjp,
    jvp=lambda ts, xs, y, p: bind(
        cat_op, tuple([fam.zeros_like(x) if t is None else t for t, x in zip(ts, xs)]), p
    ),
    batch=lambda size, batched, args, p: (
        bind(cat_op, tuple(fam.batch_to_front(args, batched, size)), {"dim": p["dim"] + 1}),
        True,
    ),
)


def _flip(x: Any, *, dims: fam.Axes) -> Any:
    back = slice(None, None, -1)
    key = [back if d in dims else slice(None) for d in range(x.ndim)]
    return x[(*key, ...)].copy("K")


flip_op: Any = fam.linear_op(_flip, lambda g, dims: flip_op(g, dims=dims), name="flip")


def _roll(x: Any, *, shifts: Any, dims: fam.Axes) -> Any:
    y = x
    for shift, d in zip(shifts, dims):
        n = y.shape[d]
        if n and shift % n:
            at, lead = n - shift % n, (slice(None),) * d
            y = _cat(y[(*lead, slice(at, None))], y[(*lead, slice(at))], dim=d)
    return x.copy() if y is x else in_order(y)


roll_op: Any = fam.linear_op(
    _roll, lambda g, shifts, dims: roll_op(g, shifts=tuple([-s for s in shifts]), dims=dims), name="roll"
)


def _window(x: Any, *, dim: Axis, size: int, step: int) -> Any:
    """Overlapping windows along a dim, as a new last dim (Tensor.unfold)."""
    n = (x.shape[dim] - size) // step + 1
    shape = (*x.shape[:dim], n, *x.shape[dim + 1 :], size)
    strides = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :], x.strides[dim])
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def _window_adjoint(g: Any, *, base_shape: Shape, dim: Axis, size: int, step: int) -> Any:
    out = np.zeros(base_shape, g.dtype)
    windows = _window(out, dim=dim, size=size, step=step)
    for k in range(size):  # windows overlap, but equal offsets of different windows never do
        windows[..., k] += g[..., k]
    return out


window_adjoint_op = fam.linear_op(
    _window_adjoint,
    lambda g, dim, size, step: window_op(g, dim=dim, size=size, step=step),
    name="unfold_adjoint",
)
window_op: Any = fam.view_op(
    _window,
    adjoint=lambda g, x_meta, dim, size, step: window_adjoint_op(
        g, base_shape=tuple(x_meta.shape), dim=dim, size=size, step=step
    ),
    name="unfold",
    grad_name="UnfoldBackward0",
)


def _diagonal(x: Any, *, offset: int, dim1: Axis, dim2: Axis) -> Any:
    n1, n2 = x.shape[dim1], x.shape[dim2]
    if -n1 < offset < n2:
        y = x.diagonal(offset, dim1, dim2)
        if x.flags.writeable:
            y.flags.writeable = True
        return y
    n = max(0, min(n1, n2 - offset) if offset >= 0 else min(n1 + offset, n2))
    shape = [s for d, s in enumerate(x.shape) if d not in (dim1, dim2)]
    strides = [s for d, s in enumerate(x.strides) if d not in (dim1, dim2)]
    start = [slice(None)] * x.ndim
    if n:
        start[dim2 if offset >= 0 else dim1] = slice(offset if offset >= 0 else -offset, None)
    part = x[tuple(start)]
    return np.lib.stride_tricks.as_strided(part, (*shape, n), (*strides, x.strides[dim1] + x.strides[dim2]))


def _as_strided(x: Any, *, size: Any, stride: Any, offset: int) -> Any:
    """Any strided view of the memory of `x`, which is contiguous."""
    flat = x.reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, size, [s * x.itemsize for s in stride])


def _positions(size: Any, stride: Any, offset: int) -> Any:
    at = np.array(offset)
    for n, s in zip(size, stride):
        at = at[..., None] + np.arange(n) * s
    return at


def _as_strided_adjoint(g: Any, *, base_shape: Any, size: Any, stride: Any, offset: int) -> Any:
    out = np.zeros(base_shape, g.dtype)
    np.add.at(out.reshape(-1), _positions(size, stride, offset), g)
    return out


def _strided_batch(op_name: str) -> Any:
    """Each example's memory follows the other's: one more size and stride in front."""

    def batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
        args = fam.batch_to_front(args, batched, size)
        if op_name == "as_strided_adjoint":
            shape = params["base_shape"]
        else:
            args[0] = fam.contiguous(args[0])
            shape = args[0]._a.shape[1:]
        each = int(np.prod(shape))
        moved = {**params, "size": (size, *params["size"]), "stride": (each, *params["stride"])}
        if op_name == "as_strided_adjoint":
            moved["base_shape"] = (size, *shape)
        return bind(REGISTRY[op_name], tuple(args), moved), True

    return batch


as_strided_adjoint_op = fam.linear_op(
    _as_strided_adjoint,
    lambda g, size, stride, offset: as_strided_op(g, size=size, stride=stride, offset=offset),
    name="as_strided_adjoint",
    batch=_strided_batch("as_strided_adjoint"),
)
as_strided_op: Any = fam.view_op(
    _as_strided,
    adjoint=lambda g, x_meta, size, stride, offset: as_strided_adjoint_op(
        g, base_shape=tuple(x_meta.shape), size=size, stride=stride, offset=offset
    ),
    name="as_strided",
    grad_name="AsStridedBackward0",
)
as_strided_op.repeats = window_op.repeats = True
as_strided_op.batch = _strided_batch("as_strided")
as_strided_op.put.batch = _strided_batch("as_strided_put")
diagonal_op = fam.view_op(_diagonal, name="diagonal", grad_name="DiagonalBackward0")


def _put_flat(base: Tensor, places: Any, y: Tensor) -> Tensor:
    """`base` with the elements of `y` at these places, counted in the order of reading."""
    flat = reshape(base, (math.prod(base._a.shape),))
    new = scatter_op(flat, reshape(y, (places.size,)), from_value(places), dim=0, reduce="set")
    return reshape(new, tuple(base._a.shape))


helpers["index_types"] = Index
helpers["put_flat"] = _put_flat
