"""``x[...]`` and ``x[...] = v``: every form of index, read and write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import inplace
from ..core.eager import raw
from ..core.op import bind
from ..core.pending import known, settle
from ..core.promotion import convert
from ..core.public import OVERRIDES, overridden, public
from ..core.state import everyone, tls
from ..core.tape import Node
from ..core.tensor import Tensor, make_view, snapshot, storage, wrap
from ..core.where import describe, user_place
from ..ops.args import dtype_of
from ..ops.from_python import checked_scalar
from ..ops.layouts import in_memory_order, in_order_of
from ..prims.base import from_value, full, index_view_op
from ..prims.indexing import _check_range, _key, index_get_op, index_put_op, nonzero_op
from ..runtime import dtypes


def _is_sequence_index(x: Any) -> bool:
    return isinstance(x, (list, tuple, range, np.ndarray))


def _is_list_of_indices(key: Any) -> bool:
    """Whether a list stands for a tuple: x[[i, j]] for x[i, j], as in PyTorch where one of them is no number."""
    if type(key) is not list or len(key) >= 32:
        return False
    kinds = (slice, Tensor, list, tuple, range, np.ndarray)
    return any(isinstance(v, kinds) or v is None or v is Ellipsis for v in key)


def _as_tensor_index(x: Any) -> Tensor:
    a = np.asarray(x)
    if a.dtype.kind == "O":  # a list that holds tensors
        a = np.asarray([v.tolist() if isinstance(v, Tensor) else v for v in x])
    if a.size == 0:
        a = a.astype(np.int64)
    if a.dtype.kind not in "bui":
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, not {a.dtype}")
    return from_value(a)


def _split(x: Tensor, key: Any) -> tuple[tuple[Any, ...], list[tuple[int, Tensor]]]:
    """An index as (basic part, one entry for each dim of x or new dim; [(dim of the basic result, index tensor)]).

    Raises: IndexError for too many or out-of-range indices, TypeError for other objects.
    """
    shape = x._a.shape
    items = list(key) if type(key) is tuple or _is_list_of_indices(key) else [key]
    used = 0
    for item in items:
        if item is None or item is Ellipsis or isinstance(item, (bool, np.bool_)):
            continue
        if isinstance(item, Tensor) and (item._a.dtype.kind == "b" or item._a.dtype == np.uint8):
            used += len(item._a.shape)
        elif isinstance(item, np.ndarray) and item.dtype.kind == "b":
            used += item.ndim
        elif (
            isinstance(item, list)
            and np.asarray(item if not _holds_tensor(item) else 0).dtype.kind == "b"
            and item
        ):
            used += np.asarray(item).ndim
        else:
            used += 1
    if used > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    basic: list[Any] = []
    tensors: list[tuple[int, Tensor]] = []
    out_dim = 0  # position in the result of the basic part
    d = 0  # position in x
    seen_ellipsis = False
    for item in items:
        if item is Ellipsis:
            if seen_ellipsis:
                continue
            seen_ellipsis = True
            skip = len(shape) - used
            basic += [slice(None)] * skip
            d += skip
            out_dim += skip
        elif item is None:
            basic.append(None)
            out_dim += 1
        elif isinstance(item, slice):
            basic.append(_slice(item, shape[d]))
            d += 1
            out_dim += 1
        elif isinstance(item, (bool, np.bool_)):
            basic.append(None)
            tensors.append((out_dim, from_value(np.zeros(1 if item else 0, np.int64))))
            out_dim += 1
        elif isinstance(item, Tensor):
            kind = item._a.dtype.kind
            if kind == "b" or item._a.dtype == np.uint8:
                mask = item if kind == "b" else convert(item, _bool())
                k = len(mask._a.shape)
                if k == 0:
                    basic.append(None)
                    found = bind(nonzero_op, (mask.reshape(1),), {})
                    tensors.append((out_dim, found.select(1, 0)))
                    out_dim += 1
                    continue
                _check_mask(mask, shape, d)
                found = bind(nonzero_op, (mask,), {})
                for j in range(k):
                    basic.append(slice(None))
                    tensors.append((out_dim, found.select(1, j)))
                    d += 1
                    out_dim += 1
            elif kind in "iu":
                if not item._a.shape and known(item) is not None:
                    basic.append(_position(int(item._a), shape[d], d))
                    d += 1
                else:
                    basic.append(slice(None))
                    tensors.append((out_dim, item))
                    d += 1
                    out_dim += 1
            else:
                raise IndexError(
                    f"tensors used as indices must be long, int, byte or bool tensors, not {item.dtype}"
                )
        elif _is_sequence_index(item):
            index = _as_tensor_index(item)
            if index._a.dtype.kind == "b":
                _check_mask(index, shape, d)
                for column in np.nonzero(index._a):
                    basic.append(slice(None))
                    tensors.append((out_dim, from_value(column)))
                    d += 1
                    out_dim += 1
            else:
                basic.append(slice(None))
                tensors.append((out_dim, index))
                d += 1
                out_dim += 1
        elif hasattr(item, "__index__"):
            basic.append(_position(item.__index__(), shape[d], d))
            d += 1
        else:
            raise (IndexError if isinstance(item, float) else TypeError)(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                f"(got {type(item).__name__})"
            )
    return tuple(basic), tensors


def _holds_tensor(x: Any) -> bool:
    return isinstance(x, Tensor) or isinstance(x, (list, tuple)) and any(_holds_tensor(v) for v in x)


def _bool() -> Any:
    return dtypes.bool_


def _check_mask(mask: Tensor, shape: tuple[int, ...], d: int) -> None:
    for j, n in enumerate(mask._a.shape):
        if n != shape[d + j]:
            raise IndexError(
                f"The shape of the mask {list(mask._a.shape)} at index {j} does not match the shape of the indexed tensor "
                f"{list(shape)} at index {d + j}"
            )


def _position(i: int, n: int, d: int) -> int:
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for dimension {d} with size {n}")
    return i + n if i < 0 else i


def _slice(s: slice, n: int) -> slice:
    step = 1 if s.step is None else _int(s.step)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, step = slice(_int(s.start), _int(s.stop), step).indices(n)
    if start == 0 and stop == n and step == 1:
        return slice(None)
    return slice(start, max(start, stop), step)


def _int(v: Any) -> Any:
    if v is None:
        return v
    if not hasattr(v, "__index__"):
        raise TypeError(
            f"slice indices must be integers or None or have an __index__ method, not {type(v).__name__}"
        )
    return v.__index__()


def _basic(x: Tensor, basic: tuple[Any, ...]) -> Tensor:
    while basic and type(basic[-1]) is slice and basic[-1] == slice(None):
        basic = basic[:-1]
    y = index_view_op(x, index=basic)
    node = y._node
    if node is not None and basic and isinstance(node, Node):
        last = basic[-1]
        if last is None:
            node.show_as("UnsqueezeBackward0")
        elif type(last) is not slice:
            node.show_as("SelectBackward0")
    return y  # type: ignore[no-any-return]


def _spec(y: Tensor, tensors: list[tuple[int, Tensor]]) -> tuple[tuple[bool, ...], list[Tensor]]:
    at = dict(tensors)
    spec = tuple([d in at for d in range(max(at) + 1)])
    return spec, [_long(t) for _, t in tensors]


def _long(t: Tensor) -> Tensor:
    return convert(t, dtypes.int64) if t._a.dtype != np.int64 else t


def getitem(self: Tensor, key: Any) -> Tensor:
    """``self[key]``: a view for integers, slices, None and ``...``; a copy where tensors or lists index.

    Shapes: an integer takes its dim away, a slice shortens it, None adds one of size 1, ``...`` stands for all dims that
        are left; index tensors broadcast, and put their shape in the place of their dims (in front, if these are apart).
    Dtypes: every dtype; the result has the tensor's. Index tensors are integers, or bool for a mask.
    Raises: IndexError for positions out of range, too many indices, and other objects.

    >>> import flambeau as torch
    >>> x = torch.arange(6).reshape(2, 3)
    >>> x[1, ::2], x[x > 3]
    (tensor([3, 5]), tensor([4, 5]))
    """
    kind = type(key)
    if kind is int and not tls.stack and not OVERRIDES and not everyone.captures:
        a = self._a
        s = a.shape
        if s and type(a) is np.ndarray:
            n = s[0]
            if -n <= key < n:
                if self._node is None or not tls.grad:
                    return make_view(
                        wrap(a[key, ...]), self, index_view_op, {"index": (key + n if key < 0 else key,)}
                    )
            else:
                raise IndexError(f"index {key} is out of bounds for dimension 0 with size {n}")
    if OVERRIDES:
        found = overridden(getitem, (self, key), {})
        if found is not None:
            return found[0]  # type: ignore[no-any-return]
    if not self._a.shape and kind is int:
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim "
            "tensor to a number"
        )
    basic, tensors = _split(self, key)
    if not tensors:
        return _basic(self, basic)
    y = _basic(self, basic) if any(b is None or b != slice(None) for b in basic) else self
    spec, indices = _spec(y, tensors)
    picked: Tensor = index_get_op(y, *indices, spec=spec)
    if not tls.stack and not y._a.flags.c_contiguous and 0 not in picked._a.shape:
        return in_memory_order(picked, _strides(y, indices, spec, tuple(picked._a.shape)))
    return picked


def _strides(x: Tensor, indices: list[Tensor], spec: tuple[bool, ...], shape: tuple[int, ...]) -> Any:
    """The strides of ``x[indices]`` in `x`, and those in the indices: one or the other has no place for a dim."""
    k = max([len(i._a.shape) for i in indices])
    chosen = [d for d, s in enumerate(spec) if s]
    rest = [s for d, s in enumerate(x._a.strides) if d >= len(spec) or not spec[d]]
    at = chosen[0] if chosen == list(range(chosen[0], chosen[-1] + 1)) else 0
    sizes = shape[at : at + k]
    counted = [math.prod(sizes[i + 1 :]) for i in range(k)]
    return (*rest[:at], *[0] * k, *rest[at:]), (*[0] * at, *counted, *[0] * (len(shape) - at - k))


def _value(self: Tensor, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value if value._a.dtype == self._a.dtype else convert(value, dtype_of(self))
    if isinstance(value, (int, float, bool, complex, np.generic)):
        return full(
            (),
            checked_scalar(value.item() if isinstance(value, np.generic) else value, dtype_of(self)),
            self._a.dtype,
        )
    if isinstance(value, (np.ndarray, list, tuple)):
        raise TypeError(
            f"can't assign a {type(value).__module__}.{type(value).__name__} to a {self.type()}; make it a tensor first"
        )
    raise TypeError(f"can't assign a {type(value).__name__} to a {self.type()}")


def setitem(self: Tensor, key: Any, value: Any) -> None:
    """``self[key] = value``: broadcasts the value to the indexed region and writes in place."""
    if OVERRIDES:
        found = overridden(setitem, (self, key, value), {})
        if found is not None:
            return
    basic, tensors = _split(self, key)
    target = _basic(self, basic) if basic else self
    if not tls.stack:
        inplace.check_writable(target, "__setitem__")
    v = _value(self, value)
    if not tensors:
        want = tuple(target._a.shape)
        have = tuple(v._a.shape)
        while len(have) > len(want) and have[0] == 1:
            have = have[1:]
            v = v.reshape(have)
        try:
            v = v.expand(want)
        except RuntimeError:
            raise RuntimeError(
                f"The expanded size of the tensor must match the existing size: cannot assign a value of shape {list(have)} to a "
                f"region of shape {list(want)} (at {describe(user_place())})"
            ) from None
        inplace.write(target, v, "copy_")
        return
    spec, indices = _spec(target, tensors)
    if isinstance(value, Tensor) and value._a.dtype != self._a.dtype and not _fills(key, value):
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {dtype_of(self)} for the destination and "
            f"{dtype_of(value)} for the source: convert the source with .to({dtype_of(self)})."
        )
    if not tls.stack and target._node is None and v._node is None and known(target) is not None:
        index_put_check(target, v, indices, spec)
        settle(tls.capture)
        arrays = [raw(i) for i in indices]
        try:
            target._a[_key(arrays, spec)] = raw(v)
        except IndexError:
            _check_range(target._a, arrays, spec)
            raise
        storage(target).written("index_put_", 3)
        return
    index_put_check(target, v, indices, spec)
    source = snapshot(target)
    new = index_put_op(source, v, *indices, spec=spec, accumulate=False)
    inplace.write(target, new, "index_put_")


def _fills(key: Any, value: Tensor) -> bool:
    """``x[mask] = one number``: PyTorch takes it for masked_fill_, which converts."""
    given = [
        k for k in (key if isinstance(key, tuple) else (key,)) if isinstance(k, (Tensor, np.ndarray, list))
    ]
    mask = given[0] if len(given) == 1 else None
    return isinstance(mask, Tensor) and mask._a.dtype.kind == "b" and math.prod(value._a.shape) == 1


def index_put_check(target: Tensor, v: Tensor, indices: list[Tensor], spec: tuple[bool, ...]) -> None:
    """Raises: RuntimeError when the values do not broadcast to the indexed region."""
    try:
        ishape = np.broadcast_shapes(*[tuple(i._a.shape) for i in indices])
    except ValueError:
        shapes = ", ".join(str(list(i._a.shape)) for i in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    rest = [n for d, n in enumerate(target._a.shape) if d >= len(spec) or not spec[d]]
    chosen = [d for d, s in enumerate(spec) if s]
    adjacent = chosen == list(range(chosen[0], chosen[-1] + 1))
    at = chosen[0] if adjacent else 0
    want = (*rest[:at], *ishape, *rest[at:])
    have = tuple(v._a.shape)
    while len(have) > len(want) and have[0] == 1:
        have = have[1:]
    ok = len(have) <= len(want) and all(h in (1, w) for h, w in zip(have[::-1], want[::-1]))
    if not ok:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(v._a.shape)} cannot be broadcast to indexing result of shape {list(want)}"
        )


@public(inplace=True, grad_name="IndexPutBackward0")
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """``input[indices] = values`` (or ``+=``) as a function; None among the indices means all of a dim."""
    key = tuple(slice(None) if i is None else i for i in indices)
    basic, tensors = _split(input, key)
    if values._a.dtype != input._a.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {dtype_of(input)} for the destination and {dtype_of(values)} for the source."
        )
    if not tensors:
        return values.expand(tuple(input._a.shape)).clone()  # type: ignore[no-any-return]
    spec, found = _spec(input, tensors)
    index_put_check(input, values, found, spec)
    return in_order_of(index_put_op(input, values, *found, spec=spec, accumulate=accumulate), input)


getitem.__name__, setitem.__name__ = "__getitem__", "__setitem__"
setattr(Tensor, "__getitem__", getitem)
setattr(Tensor, "__setitem__", setitem)


def _iter(self: Tensor) -> Any:
    if not self._a.shape:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


setattr(Tensor, "__iter__", _iter)
