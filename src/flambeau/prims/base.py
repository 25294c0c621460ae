"""The primitives that the families and the tape themselves rest on: conversion, factories, views of shape, sum."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axes, Index, Perm, Shape
from ..core.layout import channels_last
from ..core.meta import payload
from ..core.op import REGISTRY, Op, bind, meta_of
from ..core.pending import NO_DATA, Pending
from ..core.state import everyone, tls
from ..core.tape import helpers
from ..core.tensor import Tensor, wrap
from ..runtime import dtypes
from .memory_kernels import SLOW, converted, copied, filled
from .row_kernels import WORTH, in_order, reduced

# --------------------------------------------------------------------------------------------------------- conversion


FLOAT8_E4M3FN = dtypes.float8_e4m3fn.numpy


def astype(x: Any, dtype: Any) -> Any:
    """Values of `x` in another dtype with PyTorch's rules: complex to real keeps the real part."""
    if x.nbytes >= SLOW:
        y = converted(x, dtype)
        if y is not None:
            return y
        if fam.is_half(x) and dtype.kind in "ui":
            wide = converted(x, np.dtype(np.float32))
            x = x if wide is None else wide
    if x.dtype.kind == "c" and dtype.kind != "c":
        if dtype.kind == "b":
            return x != 0
        x = x.real
    if dtype.kind in "ui" and x.dtype.kind == "f" and dtype.itemsize < 8:
        return x.astype(np.int64).astype(dtype)  # out of range wraps, as the C conversion through int64 does
    if dtype == FLOAT8_E4M3FN and x.dtype != dtype:
        wide = x.astype(np.float32)  # a format without infinity: what is too large becomes the largest number
        return np.clip(wide, -448, 448, out=wide).astype(dtype)
    if dtype == HALF and x.dtype.itemsize == 8 and x.dtype.kind == "f":
        x = x.astype(np.float32)  # rounded twice, as PyTorch's conversion is
    return x.astype(dtype)


HALF = np.dtype(np.float16)


def _convert(x: Any, *, dtype: Any) -> Any:
    if not x.flags.forc and x.ndim > 1 and not _has_no_gaps(x) and x.dtype != dtype:
        x = x if channels_last(x) else np.ascontiguousarray(x)  # as what is expanded or has gaps is copied
    return astype(x, dtype)


def _convert_vjp(g: Tensor, x_meta: Any) -> Tensor:
    return convert_to(g, x_meta.dtype)


_convert_op = fam.linear_op(_convert, _convert_vjp, name="convert", grad_name="ToCopyBackward0")
_cast = fam.opaque_op(_convert, None, name="cast", differentiable=False)


def convert_to(x: Tensor, dtype: Any) -> Tensor:
    """`x` in NumPy dtype `dtype`; conversions to integers and bool carry no gradient."""
    if x._a.dtype == dtype:
        return x
    op = _convert_op if dtype.kind in "fcV" else _cast
    return op(x, dtype=dtype)  # type: ignore[no-any-return]


class _ConvertEntry:
    """REGISTRY['convert'] as the promotion code calls it."""

    op = _convert_op

    def __call__(self, x: Tensor, *, dtype: Any) -> Tensor:
        return convert_to(x, dtype)


REGISTRY["convert"] = _ConvertEntry()  # type: ignore[assignment]
helpers["convert"] = convert_to
helpers["meta_of"] = meta_of

# ---------------------------------------------------------------------------------------------------------- factories


def _full(*, shape: Any, value: Any, dtype: Any) -> Any:
    size = dtype.itemsize
    if dtype == HALF and type(value) is float:
        value = np.asarray(value).astype(np.float32)[()]  # rounded twice, as PyTorch's conversion is
    for n in shape:
        size *= n
    if size < fam.HEAVY and type(value) is int and not value:
        return np.zeros(shape, dtype)
    if size >= fam.HEAVY:
        return filled(shape, value, dtype)
    a = np.empty(shape, dtype)
    a[...] = value
    return a


full_op = fam.constant_op("full", _full)


def _array(*, value: Any) -> Any:
    return value


array_op = fam.constant_op("array", _array)


def full(shape: tuple[int, ...], value: Any, dtype: Any) -> Tensor:
    """A constant tensor of a NumPy dtype."""
    return bind(full_op, (), {"shape": tuple(shape), "value": value, "dtype": dtype})  # type: ignore[no-any-return]


def from_value(value: Any) -> Tensor:
    """A tensor over an existing array, owned by the current interpreter."""
    return bind(array_op, (), {"value": value})  # type: ignore[no-any-return]


helpers["zeros"] = lambda meta: full(meta[0], 0, meta[1])
helpers["scalar"] = lambda value, d: from_value(np.array(value, d.numpy))

# -------------------------------------------------------------------------------------------------------------- views


def _reshape(x: Any, *, shape: Shape) -> Any:
    return x.reshape(shape)


NO_COPY = tuple(map(int, np.__version__.split(".")[:2])) >= (2, 1)  # whether reshape can be asked not to copy


def view_possible(x: Any, shape: tuple[int, ...]) -> bool:
    """Whether `x` can be seen in this shape without a copy."""
    if x.flags.c_contiguous:
        return True
    try:
        if NO_COPY:
            x.reshape(shape, copy=False)
        else:
            x.view().shape = shape
    except (AttributeError, ValueError):
        return False
    return True


def _reshape_copy(x: Any, *, shape: Shape) -> Any:
    y = copied(x)
    return x.reshape(shape) if y is None else y.reshape(shape)


reshape_op = fam.view_op(
    _reshape,
    inverse=lambda g, x_meta, shape: reshape(g, tuple(x_meta.shape)),
    name="reshape",
    grad_name="ViewBackward0",
)
# A reshape that had to copy does not alias its input: it must not be registered as a view of it.
copy_reshape_op = fam.linear_op(
    _reshape_copy,
    lambda g, x_meta: reshape(g, tuple(x_meta.shape)),
    name="reshape_copy",
    grad_name="UnsafeViewBackward0",
)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` with its elements in another shape: a view where the memory allows one, else a copy."""
    a = x._a
    if type(a) is np.ndarray and a.flags.c_contiguous:
        return reshape_op(x, shape=shape)  # type: ignore[no-any-return]
    a = innermost(x)
    if a is None or a.ndim != len(x._a.shape):
        return reshape_op(x, shape=shape)  # type: ignore[no-any-return]
    op = reshape_op if view_possible(a, shape) else copy_reshape_op
    return op(x, shape=shape)  # type: ignore[no-any-return]


def reshape_new(y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`reshape` for the result of an operation that nobody else has seen yet, and whose memory is its own.

    Without history to keep, the handle itself gets the shape; nor is it a view of something that nobody holds.
    """
    a = y._a
    if a.shape == shape:
        return y
    if type(a) is np.ndarray and y._node is None and y._base is None and a.flags.c_contiguous:
        y._a = a.reshape(shape)
        if everyone.listener is not None:
            everyone.listener(_NEW_SHAPE, (y,), {"shape": shape}, y)
        return y
    return reshape(y, shape)


# What `reshape_new` does to a handle, as an operation for those who want to know (core/remembered.py).
_NEW_SHAPE = types.SimpleNamespace(impl=_reshape, n_out=1, is_view=False, family="view", name="reshape_new")


def innermost(x: Tensor) -> Any:
    """The array at the bottom of a tensor's payloads, to be asked for its layout; `seen` is for its elements."""
    a = x._a
    while type(a) is not np.ndarray:
        if type(a) is Pending:
            return a.stand_in()
        a = a.inner._a
    return a


class _ReshapeEntry:
    """REGISTRY['reshape'] as the families call it: chooses between view and copy."""

    op = reshape_op

    def __call__(self, x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
        return reshape(x, shape)


REGISTRY["view"] = REGISTRY["reshape"]
REGISTRY["reshape"] = _ReshapeEntry()  # type: ignore[assignment]


def broadcast_strides(x: Any, shape: tuple[int, ...]) -> Any:
    """`np.broadcast_to` that keeps the array writable and costs a fraction of the time."""
    lead = len(shape) - x.ndim
    strides = [0] * lead
    for n, m, s in zip(x.shape, shape[lead:], x.strides):
        strides.append(s if n == m else 0)
    if x.dtype.isbuiltin != 1:  # NumPy finds some of the others only by their integers
        bits = np.lib.stride_tricks.as_strided(x.view(f"u{x.itemsize}"), shape, strides)
        return bits.view(x.dtype)
    if x.flags.c_contiguous and x.size:
        return np.ndarray(shape, x.dtype, x, 0, strides)
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def _expand(x: Any, *, shape: Shape) -> Any:
    return broadcast_strides(x, shape)


def _expand_batch(size: int, batched: Any, args: Any, params: Any) -> Any:
    x, shape = args[0], params["shape"]
    s = x._a.shape[1:]
    x = reshape(x, (size, *(1,) * (len(shape) - len(s)), *s))
    return expand_op(x, shape=(size, *shape)), True


expand_op = fam.view_op(
    _expand,
    adjoint=lambda g, x_meta, shape: fam.unbroadcast(g, tuple(x_meta.shape)),
    name="expand",
    grad_name="ExpandBackward0",
)
expand_op.batch = _expand_batch
expand_op.repeats = True


# The same memory without history, under a transform, as a view: what is written through one of the two is seen through
# the other. The values are then those written, and the history stays what it was: `detach_put` has the values of one
# input and the derivative of the other.
detach_op: Any = Op(
    "detach_view", "view", lambda x: x, ["x"], differentiable=False,
    batch=lambda size, batched, args, params: (bind(detach_op, tuple(args), params), True),
)  # fmt: skip
detach_op.is_view = True
detach_op.put = Op(
    "detach_put", "linear", lambda base, v: v.copy(), ["base", "v"],
    vjp=(lambda g: g, None), jvp=lambda ts, xs, y, params: ts[0],
    batch=lambda size, batched, args, params: (
        bind(detach_op.put, tuple(fam.batch_to_front(args, batched, size)), params), True
    ),
)  # fmt: skip


def _permute(x: Any, *, dims: Perm) -> Any:
    return x.transpose(dims)


def inverse_perm(dims: tuple[int, ...]) -> tuple[int, ...]:
    out = [0] * len(dims)
    for i, d in enumerate(dims):
        out[d] = i
    return tuple(out)


permute_op: Any = fam.view_op(
    _permute,
    inverse=lambda g, x_meta, dims: permute_op(g, dims=inverse_perm(dims)),
    name="permute",
    grad_name="PermuteBackward0",
)


def _basic_index(x: Any, *, index: Index) -> Any:
    return x[tuple(index) + (...,)]


index_view_op = fam.view_op(_basic_index, name="slice", grad_name="SliceBackward0")


def _sum(x: Any, *, dims: Axes) -> Any:
    if x.dtype.itemsize == 2 and x.dtype.kind in "fV":  # half types accumulate in float32, as PyTorch does
        return in_order(x.astype(np.float32).sum(axis=dims).astype(x.dtype))
    y = reduced(x, dims, "sum") if x.nbytes >= WORTH else None
    return in_order(np.add.reduce(x, axis=dims, dtype=x.dtype)) if y is None else y


sum_op: Op = fam.reduction_op(_sum, name="sum")

# -------------------------------------------------------------------------------------------------- the tape's helpers


def own(g: Tensor, create_graph: bool, leaf: Tensor) -> Tensor:
    """The tensor to keep as ``leaf.grad``: the cotangent itself when nobody else can see its memory, else a copy.

    It has the leaf's layout where that has no gaps and shows no element twice, and is contiguous otherwise.
    """
    a = g._a
    if type(leaf._a) is Pending and leaf._a.owner is NO_DATA and type(a) is np.ndarray:
        return wrap(payload(a.shape, a.dtype))  # from rules that read nothing of the leaf
    if type(a) is Pending and not create_graph:
        if a.owner is NO_DATA:
            return wrap(a)
        if tls.capture is None:
            a = a.force()
        elif tls.capture.sole(a):
            if sys.getrefcount(g) > _SOLE_HANDLE:
                return wrap(a)
            g._node = None
            return g
        else:
            return bind(REGISTRY["clone"], (g,), {})  # type: ignore[no-any-return]
    if create_graph or type(a) is not np.ndarray:
        return g
    b = leaf._a
    if type(b) is np.ndarray and not b.flags.c_contiguous and _has_no_gaps(b):
        kept = np.empty_like(b)  # in the order of its memory
        np.copyto(kept, a)
        return wrap(kept)
    sole = sys.getrefcount(a) <= _SOLE and not isinstance(a.base, np.ndarray) and a.flags.c_contiguous
    if sole and sys.getrefcount(g) <= _SOLE_HANDLE:
        g._node = None
        return g
    return wrap(a.copy())


def _has_no_gaps(a: Any) -> bool:
    """Whether the elements fill one piece of memory, each once."""
    expected = a.itemsize
    for step, n in sorted(zip(a.strides, a.shape)):
        if n != 1:
            if step != expected:
                return False
            expected *= n
    return True


def _sole_counts() -> tuple[int, int]:
    """What getrefcount says of an array and of its handle in `own` when nobody else holds them.

    The engine's call is made for show, because how many references a call holds depends on the version of Python.
    """

    def owner(g: Tensor, create_graph: bool, leaf: Any) -> tuple[int, int]:
        a = g._a
        return sys.getrefcount(a), sys.getrefcount(g)

    def accumulate(node: Any, g: Tensor, create_graph: bool) -> tuple[int, int]:
        return owner(g, create_graph, node)

    def engine(pending: dict[int, Tensor]) -> tuple[int, int]:
        g = pending.pop(0)
        return accumulate(None, g, False)

    return engine({0: wrap(np.zeros(()))})


_SOLE, _SOLE_HANDLE = _sole_counts()
helpers["own"] = own
