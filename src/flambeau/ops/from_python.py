"""Arrays from numbers and nested lists, with PyTorch's inference of the dtype and its errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.promotion import check_size, default_for, scalar_category
from ..core.tensor import Tensor
from ..prims import base
from ..runtime import dlpack, dtypes
from ..runtime.dtypes import dtype
from .args import dtype_of


def checked_scalar(value: Any, d: dtype) -> Any:
    """A scalar that fits dtype `d`.

    Raises: RuntimeError when it does not, in PyTorch's words; OverflowError for integers of more than 64 bits.
    """
    if isinstance(value, complex) and not d.is_complex:
        if value.imag:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {value}")
        value = value.real
    if type(value) is int:
        check_size(value)
    if d.category == dtypes.INTEGRAL:
        if isinstance(value, float) and not math.isfinite(value):
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {value}")
        n = int(value)
        info = np.iinfo(d.numpy)
        if not info.min <= n <= info.max:
            if d.numpy.kind == "u" and n < 0 and n >= -(info.max + 1) // 2:
                return n % (info.max + 1)
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {n}")
        return n
    if d.category == dtypes.BOOL:
        return bool(value)
    if (
        d.is_floating_point
        and isinstance(value, (int, float))
        and d.name in ("float16", "bfloat16", "float32")
    ):
        if math.isfinite(value) and abs(value) > 65504 and abs(value) > dtypes.finfo(d).max:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {value}")
    return value


def _shape_of_nested(data: Any) -> tuple[int, ...]:
    """The shape of nested sequences.

    Raises: ValueError for ragged ones, naming the place.
    """
    if isinstance(data, Tensor):
        return tuple(data._a.shape)
    if isinstance(data, np.ndarray):
        return data.shape  # type: ignore[no-any-return]
    if not isinstance(data, (list, tuple, range)) and not (
        hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, (str, bytes, dict))
    ):
        return ()
    n = len(data)
    if not n:
        return (0,)
    first = _shape_of_nested(data[0])
    for i, item in enumerate(data):
        shape = _shape_of_nested(item)
        if shape != first:
            if len(shape) == len(first) == 1 or shape and first:
                raise ValueError(
                    f"expected sequence of length {first[0]} at dim 1 (got {shape[0]}) at index {i}"
                )
            raise TypeError(
                f"not a sequence: the nested lists are ragged, item {i} has shape {list(shape)} "
                f"where item 0 has {list(first)}"
            )
    return (n, *first)


def _category_of(data: Any) -> int:
    if isinstance(data, Tensor):
        return dtype_of(data).category
    if isinstance(data, (list, tuple, range)):
        found = -1
        for item in data:
            found = max(found, _category_of(item))
            if found == dtypes.COMPLEX:
                break
        return found if data else dtypes.FLOATING
    if isinstance(data, np.ndarray):
        return dtypes.from_numpy_dtype(data.dtype).category
    return scalar_category(data)


def _to_python(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, (list, tuple)):
        return [_to_python(x) for x in data]
    return data


def _exact_integers(a: Any, py: Any, d: dtype) -> Any:
    """Nested Python numbers, for which NumPy chose `a`, without the detour through floats that it takes above int64.

    Raises: RuntimeError for numbers beyond the dtype, and for NaN and infinity where integers are asked for.
    """
    kind = a.dtype.kind
    if not a.size or kind not in "fO":
        return a
    if kind == "f":
        if d.category == dtypes.INTEGRAL and not np.isfinite(a).all():
            raise RuntimeError(
                f"value cannot be converted to type {d.name} without overflow: NaN or infinity"
            )
        if -(2.0**63) <= a.min() and a.max() < 2.0**63:
            return a
    exact = np.array(py, object)
    if all(type(v) is int for v in exact.flat):
        if d.category == dtypes.BOOL:
            return exact != 0
        info = np.iinfo(d.numpy)
        for v in exact.flat:
            if not info.min <= v <= info.max:
                raise _beyond(v, d)
        return np.array(py, d.numpy)
    if kind == "f" and d is dtypes.int64:
        raise RuntimeError(f"value cannot be converted to type int64 without overflow: {a.max()}")
    return a


_TOO_BIG = ("Overflow when unpacking long long", "int too big to convert")


def _beyond(value: int, d: dtype) -> Exception:
    """The error for an integer that `d` does not hold: PyTorch reads those for other dtypes than uint64 as int64 first."""
    if d is dtypes.uint64:
        return OverflowError(f"int too big to convert: {value} does not fit uint64")
    if not -(1 << 63) <= value < 1 << 63:
        return ValueError(f"Overflow when unpacking long long: {value} does not fit int64")
    return RuntimeError(f"value cannot be converted to type {d.name} without overflow: {value}")


def array_of(data: Any, d: dtype | None) -> Any:
    """A fresh NumPy array holding `data`, with PyTorch's inference of the dtype."""
    if isinstance(data, Tensor):
        from ..core.eager import raw

        a = raw(data)
        return (
            base.astype(a, d.numpy).copy() if d is not None and d.numpy != a.dtype else np.array(a, order="C")
        )
    if isinstance(data, np.ndarray) or isinstance(data, np.generic):
        a = np.asarray(data)
        found = dtypes.from_numpy_dtype(a.dtype)
        target = d or found
        if not a.dtype.isnative:
            raise ValueError(
                "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
                "currently not supported. Use a.astype(a.dtype.newbyteorder('='))."
            )
        return base.astype(a, target.numpy).copy() if target is not found else np.array(a, order="C")
    if isinstance(data, (str, bytes, dict, set)) or data is None:
        raise _no_dtype(data)
    if not isinstance(data, (list, tuple, range, int, float, complex, np.generic)):
        if hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
            return array_of(np.asarray(data), d)
        if hasattr(data, "__dlpack__"):
            return array_of(dlpack.from_dlpack(data), d)
        if not hasattr(data, "__len__"):
            if hasattr(data, "__index__"):
                data = data.__index__()
            elif hasattr(data, "__float__"):
                data = float(data)
            else:
                raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
        else:
            data = list(data)
    if isinstance(data, (list, tuple)) and data and all(isinstance(x, np.ndarray) for x in data):
        _shape_of_nested(data)
        return array_of(np.stack(data), d)
    if d is None:
        try:
            category = _category_of(data)
        except TypeError:
            raise _no_dtype(data) from None
        d = default_for(category)
        kinds = _tensor_dtypes(data)
        if kinds:
            d = kinds
    py = _to_python(data)
    if d.category == dtypes.INTEGRAL and isinstance(py, int):
        if np.iinfo(d.numpy).min <= py <= np.iinfo(d.numpy).max:
            return np.array(py, d.numpy)
        if d is dtypes.uint64 or not -(1 << 63) <= py < 1 << 63:
            raise _beyond(py, d)
        return np.array(checked_scalar(py, d), d.numpy)
    try:
        if d.category <= dtypes.INTEGRAL:
            a = _exact_integers(np.array(py), py, d)
            if a.dtype.kind in "fc":
                return base.astype(a, d.numpy)
            if a.dtype.kind == "O" or a.dtype.kind in "US":
                raise ValueError("ragged or not numeric")
            if d.category == dtypes.INTEGRAL and a.size:
                info = np.iinfo(d.numpy)
                low, high = int(a.min()), int(a.max())
                # PyTorch lets unsigned types below 64 bits wrap around once
                lowest = -info.max if d.numpy.kind == "u" and d.itemsize < 8 else info.min
                if low < lowest or high > info.max:
                    bad = low if low < lowest else high
                    raise _beyond(bad, d)
            return a.astype(d.numpy) if a.size or a.shape else a.astype(d.numpy)
        if d.numpy == base.HALF:
            return np.asarray(base.astype(np.array(py, np.float64), d.numpy))
        return np.array(py, d.numpy)
    except (ValueError, TypeError, OverflowError) as e:
        if str(e).startswith(_TOO_BIG):
            raise
        if isinstance(e, OverflowError):
            raise RuntimeError(f"Overflow when unpacking long: {e}") from None
        _shape_of_nested(py)  # names the ragged place, if that is what is wrong
        leaf = next(_no_numbers(py), py)
        if isinstance(leaf, (str, bytes)):
            raise _no_dtype(py) from None
        raise TypeError(f"cannot make a {d.name} tensor from {type(leaf).__name__}: {e}") from None


def _no_numbers(data: Any) -> Iterator[Any]:
    """What is neither a number nor a list of them, in order."""
    if isinstance(data, (list, tuple)):
        for x in data:
            yield from _no_numbers(x)
    elif not isinstance(data, (int, float, complex, range, Tensor, np.generic)):
        yield data


def _no_dtype(data: Any) -> Exception:
    """The error for nested lists with something in them that is not a number: PyTorch's, which depends on where."""
    bad = next(_no_numbers(data), data)
    if not isinstance(bad, (str, bytes)):
        return RuntimeError(f"Could not infer dtype of {type(bad).__name__}")
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(bad, str) and first is bad and data is not bad:
        return ValueError("too many dimensions 'str'")
    return TypeError(f"new(): invalid data type '{type(bad).__name__}'")


def _tensor_dtypes(data: Any) -> dtype | None:
    """The promoted dtype of 0-d tensors and NumPy scalars inside nested lists, if there are any."""
    found: dtype | None = None
    todo = [data]
    while todo:
        x = todo.pop()
        if isinstance(x, (list, tuple)):
            todo.extend(x)
            continue
        if isinstance(x, Tensor):
            d = dtype_of(x)
        elif isinstance(x, (np.generic, np.ndarray)):
            d = dtypes.from_numpy_dtype(x.dtype)
        else:
            continue
        found = d if found is None else dtypes.promote_types(found, d)
    return found
