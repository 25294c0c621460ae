"""Making tensors: from data, filled, ranges, and like another tensor."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ..core.meta import is_meta
from ..core.op import bind
from ..core.pending import Pending, known
from ..core.promotion import adapt, convert, default_for, result_type, scalar_category
from ..core.public import (
    FUNCTIONS,
    METHODS,
    OVERRIDES,
    dtype_of_out,
    overridable,
    overridden,
    public,
    seen_by_modes,
    store_out,
)
from ..core.state import defaults, everyone, tls
from ..core.tape import AccumulateGrad
from ..core.tensor import Tensor, constructors, new_object, storage, wrap
from ..prims import base
from ..prims.base import from_value
from ..prims.memory_kernels import fill
from ..runtime import dlpack, dtypes, pool, types
from ..runtime.dtypes import dtype
from ..runtime.memory import root as memory_root
from ..runtime.types import check_device
from . import ranges
from .args import as_dtype, check_sizes, dtype_of, numel, sizes
from .from_python import array_of, checked_scalar
from .layouts import memory_like, order_of
from .meta_device import destination, made, move, wants_meta


def finish(t: Tensor, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Common end of every factory: the device is checked, the leaf marked."""
    if device is not None and wants_meta(device):
        t = move(t)
    if tls.inference:
        storage(t).inference = True
    if requires_grad:
        mark_leaf(t)
    return t


def mark_leaf(t: Tensor) -> None:
    """Make `t` a leaf that requires grad.

    Raises: RuntimeError for dtypes that have no gradients.
    """
    if t._a.dtype.kind not in "fcV":
        raise RuntimeError(
            f"only Tensors of floating point and complex dtype can require gradients, not {dtype_of(t)}"
        )
    t._node = AccumulateGrad(t)


def _fill(shape: tuple[int, ...], value: Any, d: dtype) -> Tensor:
    if tls.stack:
        return base.full(shape, value, d.numpy)
    return _made(base._full(shape=shape, value=value, dtype=d.numpy))


def _factory(name: str, value: Any) -> Any:
    def make(
        *size: Any,
        out: Tensor | None = None,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        memory_format: Any = None,
        names: Any = None,
        **kw: Any,
    ) -> Tensor:
        if "size" in kw:
            size = (kw.pop("size"),)
        if kw:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(kw))}'")
        shape = sizes(size, name)
        d = as_dtype(dtype) if out is None else dtype_of_out(out, dtype, name)
        check_sizes(shape, name, d.itemsize)
        if device is not None and wants_meta(device):
            t = made(shape, d.numpy)
        else:
            t = _fill(shape, value, d)
        if out is not None:
            return store_out(out, t, name)  # type: ignore[no-any-return]
        return finish(t, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"A tensor of shape ``size`` filled with {value}; dtype defaults to the default dtype."
    FUNCTIONS[name] = seen = seen_by_modes(make)
    return seen


zeros = _factory("zeros", 0)
ones = _factory("ones", 1)


def empty_array(shape: tuple[int, ...], d: Any) -> Any:
    """Uninitialised memory.

    Raises: RuntimeError when there is not enough.
    """
    size = math.prod(shape) * d.itemsize
    if size >= 1 << 20:
        return pool.empty(shape, d)
    return np.empty(shape, d)


@public(method=False)
def empty(
    *size: Any,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
    **kw: Any,
) -> Tensor:
    """An uninitialised tensor of shape ``size``."""
    if "size" in kw:
        size = (kw.pop("size"),)
    if kw:
        raise TypeError(f"empty() got an unexpected keyword argument '{next(iter(kw))}'")
    shape = sizes(size, "empty")
    d = as_dtype(dtype) if out is None else dtype_of_out(out, dtype, "empty")
    check_sizes(shape, "empty", d.itemsize)
    on_meta = device is not None and wants_meta(device)
    t = made(shape, d.numpy) if on_meta else from_value(empty_array(shape, d.numpy))
    if out is not None:
        return store_out(out, t, "empty")  # type: ignore[no-any-return]
    if (memory_format, len(shape)) in ((types.channels_last, 4), (types.channels_last_3d, 5)):
        t = t.contiguous(memory_format=memory_format)
    return finish(t, requires_grad)


@public(method=False)
def full(
    size: Any,
    fill_value: Any,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Tensor:
    """A tensor of shape ``size`` filled with ``fill_value``, whose type decides the dtype if none is given.

    >>> import flambeau as torch
    >>> torch.full((2,), 3)
    tensor([3, 3])
    """
    shape = sizes((size,), "full")
    if out is not None:
        dtype = dtype_of_out(out, dtype, "full")
    if isinstance(fill_value, Tensor):
        d = as_dtype(dtype, dtype_of(fill_value))
        fill_value = 0 if is_meta(fill_value) else fill_value.item()
    else:
        d = as_dtype(dtype, default_for(scalar_category(fill_value)))
    check_sizes(shape, "full", d.itemsize)
    if device is not None and wants_meta(device):
        t = made(shape, d.numpy)
    else:
        t = _fill(shape, checked_scalar(fill_value, d), d)
    return store_out(out, t, "full") if out is not None else finish(t, requires_grad)


# -------------------------------------------------------------------------------------------------------- from data


@seen_by_modes
def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested sequences, NumPy arrays.

    Raises: ValueError for ragged lists, TypeError or RuntimeError for what is not a number.

    >>> import flambeau as torch
    >>> torch.tensor([[1, 2], [3, 4.5]])
    tensor([[1.0000, 2.0000],
            [3.0000, 4.5000]])
    """
    if OVERRIDES and isinstance(data, Tensor):
        found = overridden(tensor, (data,), {"dtype": dtype})
        if found is not None:
            return found[0]  # type: ignore[no-any-return]
    on_meta = device is not None and wants_meta(device)
    d = as_dtype(dtype) if dtype is not None else None
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        if tls.stack or is_meta(data):
            t = data.detach().clone() if d is None else data.detach().to(d, copy=True)
            return finish(t if device is None else t.to(device), requires_grad)
    if tls.stack and isinstance(data, (list, tuple)) and _has_payload(data):
        t = _stack_nested(data)
        return t if d is None else t.to(d)
    if hasattr(type(data), "untyped"):  # the elements of a storage
        kept = d if d is not None else getattr(data, "dtype", None) or as_dtype(None)
        return finish(data._tensor(kept.numpy).clone(), requires_grad)
    a = array_of(data, d)
    t = from_value(a if type(a) is np.ndarray else np.asarray(a))
    return finish(move(t) if on_meta else t, requires_grad)


def _has_payload(data: Any) -> bool:
    if isinstance(data, Tensor):
        return type(data._a) is not np.ndarray and type(data._a) is not Pending
    return isinstance(data, (list, tuple)) and any(_has_payload(x) for x in data)


def _stack_nested(data: Any) -> Tensor:
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (list, tuple)):
        return FUNCTIONS["stack"]([_stack_nested(x) for x in data])  # type: ignore[no-any-return]
    return tensor(data)


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor over the memory of a NumPy array: a change of either is seen by both.

    Raises: TypeError for other objects and unsupported element types, ValueError for foreign byte order or negative strides.

    >>> import flambeau as torch, numpy as np
    >>> a = np.zeros(2); t = torch.from_numpy(a); t[0] = 1
    >>> a
    array([1., 0.])
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtypes.from_numpy_dtype(ndarray.dtype)
    if not ndarray.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
            "currently not supported."
        )
    if any(s < 0 for s in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently "
            "supported. (You can probably work around this by making a copy of your array  with array.copy().)"
        )
    if not ndarray.flags.writeable:
        import warnings

        warnings.warn(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. Writing to this tensor "
            "raises an error here; copy the array (array.copy()) to get a writable tensor.",
            UserWarning,
            stacklevel=2,
        )
    a = ndarray.view(np.ndarray) if type(ndarray) is not np.ndarray else ndarray
    if a.dtype not in dtypes.OF_NUMPY or dtypes.OF_NUMPY[a.dtype].numpy is not a.dtype:
        a = a.view(dtypes.from_numpy_dtype(a.dtype).numpy)
    if a.base is not None and a.size:
        whole = memory_root(a)
        if whole.__array_interface__["data"][0] != a.__array_interface__["data"][0]:
            a = np.asarray(_Part(a)).view(a.dtype)
    return finish(from_value(a))


class _Part:
    """A part of an array as memory of its own, through NumPy's array interface: a storage that begins with it."""

    def __init__(self, array: Any) -> None:
        self.owner = array
        self.__array_interface__ = {
            **{"version": 3, "typestr": f"|V{array.dtype.itemsize}", "shape": array.shape},
            "strides": array.strides,
            "data": (array.__array_interface__["data"][0], not array.flags.writeable),
        }


@seen_by_modes
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory with tensors and NumPy arrays when dtype and device allow.

    >>> import flambeau as torch
    >>> torch.as_tensor([1, 2])
    tensor([1, 2])
    """
    if isinstance(data, Tensor):
        data = data if device is None else data.to(device)
        return data if dtype is None else data.to(as_dtype(dtype))  # type: ignore[no-any-return]
    if device is not None and wants_meta(device):
        return move(as_tensor(data, dtype))
    if isinstance(data, np.ndarray) and data.dtype.isnative and not any(s < 0 for s in data.strides):
        t = from_numpy(data)
        return t if dtype is None else t.to(as_dtype(dtype))
    return tensor(data, dtype=dtype)


@seen_by_modes
def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`obj` as a tensor; `copy` True always copies, False never, None when needed.

    Raises: ValueError when copy=False and a copy is needed.
    """
    if device is not None and wants_meta(device):
        return finish(move(asarray(obj, dtype=dtype)), requires_grad)
    d = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, Tensor):
        if device is not None:
            obj = obj.to(device)
        if copy is False and d is not None and d is not dtype_of(obj):
            raise ValueError(f"can't alias tensor with dtype {dtype_of(obj)} into dtype {d}.")
        t = obj.to(d or dtype_of(obj), copy=bool(copy))
        return t if not requires_grad or t.requires_grad else t.detach().requires_grad_()  # type: ignore[no-any-return]
    if isinstance(obj, (np.ndarray, np.generic)):
        t = from_numpy(np.asarray(obj)) if isinstance(obj, np.ndarray) else tensor(obj)
        if copy is False and d is not None and d is not dtype_of(t):
            raise ValueError(f"can't alias array with dtype {dtype_of(t)} into dtype {d}.")
        t = t.to(d or dtype_of(t), copy=bool(copy))
    elif hasattr(obj, "__dlpack__"):
        t = from_dlpack(obj)
        t = t.to(d or dtype_of(t), copy=bool(copy))
    else:
        if copy is False:
            raise ValueError(f"can't alias arbitrary sequence into a tensor ({type(obj).__name__}).")
        t = tensor(obj, dtype=d)
    return finish(t, requires_grad)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array (an object with ``__dlpack__``, or a capsule).

    `copy` True asks for memory of its own, False for none.  Memory marked as read-only can be read, and writing raises.

    Raises: BufferError for tensors that require grad, memory of other devices, and types without a dtype here;
    RuntimeError for a capsule that was used before.

    >>> import numpy as np, flambeau as torch
    >>> a = np.zeros(2)
    >>> torch.from_dlpack(a).add_(1) is not None, a
    (True, array([1., 1.]))
    """
    if device is not None:
        check_device(device)
    array = dlpack.from_dlpack(ext_tensor, copy)
    dtypes.from_numpy_dtype(array.dtype)
    return finish(from_value(array))


def frombuffer(
    buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor over the memory of an object with the buffer protocol.

    Raises: ValueError when offset, count and dtype do not fit the buffer.
    """
    view = memoryview(buffer)
    if view.nbytes == 0 or count == 0:
        raise ValueError(f"both buffer length ({view.nbytes}) and count ({count}) must not be 0")
    if not 0 <= offset < view.nbytes:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({view.nbytes} bytes) minus 1"
        )
    if count < 0 and (view.nbytes - offset) % dtype.itemsize:
        raise ValueError(
            f"buffer length ({view.nbytes - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({dtype.itemsize})"
        )
    if count > 0 and offset + count * dtype.itemsize > view.nbytes:
        raise ValueError(
            f"requested buffer length ({count} * {dtype.itemsize} bytes) after offset ({offset} bytes) must not be greater than actual buffer length ({view.nbytes} bytes)"
        )
    return finish(from_value(np.frombuffer(buffer, dtype.numpy, count, offset)), requires_grad)


# ----------------------------------------------------------------------------------------------------------- ranges


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, (Tensor, np.generic)) else x


def _steps(steps: Any, name: str) -> int:
    """Raises: TypeError unless an integer, RuntimeError when negative."""
    try:
        n = steps.__index__()
    except (AttributeError, TypeError):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}") from None
    if n < 0:
        raise RuntimeError("number of steps must be non-negative")
    return n  # type: ignore[no-any-return]


def _mapped(*ends: Any) -> bool:
    """Whether an end is a tensor whose value differs between the examples of a transform."""
    return any(isinstance(x, Tensor) and known(x) is None for x in ends)


def _line(start: Any, end: Any, steps: int, d: dtype) -> Tensor:
    """`linspace` made of operations, for ends that have no single value."""
    work = d if d.category > dtypes.INTEGRAL and d.itemsize > 2 else dtypes.float64
    a, b = (convert(x, work) if isinstance(x, Tensor) else base.full((), x, work.numpy) for x in (start, end))
    if d.category == dtypes.INTEGRAL:
        a, b = FUNCTIONS["trunc"](a), FUNCTIONS["trunc"](b)
    i = np.arange(steps).astype(work.numpy)
    step = (b - a) / max(steps - 1, 1)
    low, high = a + step * from_value(i), b - step * from_value((steps - 1 - i).astype(work.numpy))
    return FUNCTIONS["where"](from_value(np.arange(steps) < max(steps // 2, 1)), low, high)  # type: ignore[no-any-return]


@public(method=False, out=True)
def arange(
    *args: Any,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **kw: Any,
) -> Tensor:
    """``arange([start=0,] end[, step=1])``: the values of [start, end) at distance step.

    Raises: RuntimeError for a zero or wrongly signed step, or infinite bounds.

    >>> import flambeau as torch
    >>> torch.arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    given = [_number(a) for a in args]
    start, end, step = kw.pop("start", None), kw.pop("end", None), kw.pop("step", None)
    if kw:
        raise TypeError(f"arange() got an unexpected keyword argument '{next(iter(kw))}'")
    if len(given) == 1 and end is None:
        end = given[0]
    elif len(given) == 1:
        start = given[0]
    elif len(given) >= 2:
        start, end = given[:2]
        if len(given) == 3:
            step = given[2]
    start = 0 if start is None else _number(start)
    end, step = _number(end), 1 if step is None else _number(step)
    if end is None:
        raise TypeError("arange() missing 1 required positional arguments: 'end'")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    integral = all(isinstance(x, (int, np.integer)) for x in (start, end, step))
    d = as_dtype(dtype, dtypes.int64 if integral else None)
    if d is dtypes.int64 and not integral:  # int64 counts in integers, to be exact
        if not int(step):
            raise ValueError(f"step must be nonzero (step {step} as int64)")
        start, end, step, integral = int(start), int(end), int(step), True
    n = -(-(end - start) // step) if integral else math.ceil((end - start) / step)
    check_sizes((int(n),), "arange", d.itemsize)
    if device is not None and wants_meta(device):
        return made((int(n),), d.numpy, requires_grad)
    if d.category <= dtypes.INTEGRAL:
        values = ranges.integers(int(start), int(step), int(n)).astype(d.numpy, copy=False)
    else:
        values = ranges.counting(start, step, int(n), d)
    return finish(from_value(values), requires_grad, device)


@public(method=False, out=True)
def linspace(
    start: Any,
    end: Any,
    steps: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` values from start to end, both included, evenly spaced.

    Raises: RuntimeError for negative steps.

    >>> import flambeau as torch
    >>> torch.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    steps = _steps(steps, "linspace")
    if _mapped(start, end):
        d = as_dtype(dtype)
        return finish(convert(_line(start, end, steps, d), d), requires_grad, device)
    complex_in = any(isinstance(_number(x), complex) for x in (start, end))
    for x in (start, end):
        if isinstance(x, Tensor) and x._a.shape:
            raise RuntimeError(
                f"linspace only supports 0-dimensional start and end tensors, but got start or end with {x.ndim} dimension(s)."
            )
    d = as_dtype(dtype, defaults.dtype.to_complex() if complex_in else None)
    if device is not None and wants_meta(device):
        return made((steps,), d.numpy, requires_grad)
    start, end = _number(start), _number(end)
    a = ranges.spaced(start, end, steps, d)
    return finish(from_value(a), requires_grad, device)


@public(method=False, out=True)
def logspace(
    start: Any,
    end: Any,
    steps: Any,
    base: float = 10.0,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """``base ** linspace(start, end, steps)``."""
    steps = _steps(steps, "logspace")
    d = as_dtype(dtype)
    if device is not None and wants_meta(device):
        return made((steps,), d.numpy, requires_grad)
    if _mapped(start, end):
        line = _line(start, end, steps, d)
        return finish(convert(FUNCTIONS["pow"](base, convert(line, _widest(d))), d), requires_grad, device)
    start, end = _number(start), _number(end)
    if d.is_complex:
        a = np.power(base, ranges.spaced(start, end, steps, dtypes.complex128)).astype(d.numpy)
        return finish(from_value(a), requires_grad, device)
    a = ranges.powers(start, end, steps, base, d)
    if d.category <= dtypes.INTEGRAL:
        a = np.trunc(a)
    elif d.itemsize == 2:
        a = a.astype(np.float32)
    return finish(from_value(a.astype(d.numpy)), requires_grad, device)


def _widest(d: dtype) -> dtype:
    return dtypes.complex128 if d.is_complex else dtypes.float64


@public(method=False, out=True)
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The n x m matrix (square by default) with ones on the diagonal.

    >>> import flambeau as torch
    >>> torch.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    n, m = operator.index(n), operator.index(n if m is None else m)
    if n < 0 or m < 0:
        raise RuntimeError(f"n must be greater or equal to 0, got {min(n, m)}")
    if device is not None and wants_meta(device):
        return made((n, m), as_dtype(dtype).numpy, requires_grad)
    return finish(from_value(_identity(n, m, as_dtype(dtype).numpy)), requires_grad, device)


def _identity(n: int, m: int, d: Any) -> Any:
    a = base._full(shape=(n, m), value=0, dtype=d)
    side = min(n, m)
    a.reshape(-1)[: side * m : m + 1] = 1
    return a


# ------------------------------------------------------------------------------------------------------- like another


def _made(a: Any) -> Tensor:
    """A tensor over a new array; a compiled function is told that it is a constant."""
    return base.from_value(a) if everyone.captures else wrap(a)


def meta_like(x: Tensor, d: dtype, memory_format: Any, requires_grad: bool) -> Tensor:
    """A meta tensor of the shape of `x`, whose dims lie in memory in the same order unless another format is asked for."""
    order = order_of(x) if memory_format is types.preserve_format or memory_format is None else None
    if memory_format is types.channels_last and len(x._a.shape) == 4:
        order = [0, 2, 3, 1]
    if memory_format is types.channels_last_3d and len(x._a.shape) == 5:
        order = [0, 2, 3, 4, 1]
    strides, step = [0] * len(x._a.shape), d.itemsize
    for i in reversed(order or range(len(strides))):
        strides[i] = step
        step *= max(x._a.shape[i], 1)
    return made(x._a.shape, d.numpy, requires_grad, tuple(strides))


def _like(name: str, value: Any) -> Any:
    def make(
        input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
        pin_memory: bool = False, memory_format: Any = types.preserve_format,
    ) -> Tensor:  # fmt: skip
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
            )
        d = as_dtype(dtype, dtype_of(input))
        if (
            type(input._a) is not np.ndarray
            and destination(device, input)
            or device is not None
            and wants_meta(device)
        ):
            return meta_like(input, d, memory_format, requires_grad)
        if tls.stack:
            return finish(
                base.full(tuple(input._a.shape), 0 if value is None else value, d.numpy),
                requires_grad,
                device,
            )
        a = (
            memory_like(input, d)
            if memory_format is types.preserve_format
            else empty_array(tuple(input._a.shape), d.numpy)
        )
        if value is not None:
            fill(a, value)
        t = _made(a)
        if memory_format is types.channels_last:
            t = t.contiguous(memory_format=memory_format)
        return finish(t, requires_grad, device)

    make.__doc__ = f"Like :func:`flambeau.{name[:-5]}`, with the shape, dtype and memory order of ``input``."
    return public(method=False, name=name)(make)


zeros_like = _like("zeros_like", 0)
ones_like = _like("ones_like", 1)
empty_like = _like("empty_like", None)


@public(method=False)
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = types.preserve_format,
) -> Tensor:
    """A tensor of input's shape, dtype and memory order, filled with ``fill_value``."""
    d = as_dtype(dtype, dtype_of(input))
    if (
        type(input._a) is not np.ndarray
        and destination(device, input)
        or device is not None
        and wants_meta(device)
    ):
        return meta_like(input, d, memory_format, requires_grad)
    value = checked_scalar(_number(fill_value), d)
    if tls.stack:
        return finish(base.full(tuple(input._a.shape), value, d.numpy), requires_grad, device)
    a = memory_like(input, d)
    fill(a, value)
    return finish(_made(a), requires_grad, device)


def _new(name: str, fn: Any) -> Any:
    def method(self: Tensor, *args: Any, dtype: Any = None, **kw: Any) -> Tensor:
        kw.pop("layout", None)
        if type(self._a) is not np.ndarray and kw.get("device") is None and is_meta(self):
            kw["device"] = "meta"
        return fn(*args, dtype=dtype if dtype is not None else dtype_of(self), **kw)  # type: ignore[no-any-return]

    method.__doc__ = (
        f"Like :func:`flambeau.{name[4:]}`, with the dtype of this tensor unless another is given."
    )
    METHODS[name] = method
    method.__name__ = name
    setattr(Tensor, name, method)
    return method


new_zeros = _new("new_zeros", zeros)
new_ones = _new("new_ones", ones)
new_empty = _new("new_empty", empty)
new_full = _new("new_full", full)
new_tensor = _new("new_tensor", tensor)


@public(method=False)
def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A 0-d tensor holding the number `s`, in the default dtype unless another is given."""
    return full((), _number(s), dtype=as_dtype(dtype), device=device, requires_grad=requires_grad)


# ------------------------------------------------------------------------------------------------- Tensor(...) itself


def legacy(cls: type, *args: Any, dtype: Any = None, device: Any = None, **kw: Any) -> Tensor:
    """``Tensor(...)``: sizes make an uninitialised tensor, a sequence or tensor its data, in the class's dtype."""
    d = getattr(cls, "_legacy_dtype", None) or defaults.dtype
    if device is not None:
        check_device(device)
    if "data" in kw:
        args = (kw.pop("data"),)
    if not args:
        a = np.empty((0,), d.numpy)
    elif len(args) == 1 and isinstance(args[0], Tensor):
        src = args[0]
        t = new_object(cls) if issubclass(cls, Tensor) else new_object(Tensor)
        t._a, t._node, t._base = src._a, None, None
        t._st = storage(src)
        return t
    elif len(args) == 1 and (isinstance(args[0], np.ndarray) or not hasattr(args[0], "__index__")):
        a = array_of(args[0], None if isinstance(args[0], np.ndarray) else d)
        a = a if isinstance(args[0], types.Size) is False else np.empty(tuple(args[0]), d.numpy)
        if a.dtype != d.numpy and not isinstance(args[0], types.Size):
            a = base.astype(a, d.numpy)
    else:
        shape = sizes(args, "Tensor")
        check_sizes(shape, "Tensor", d.itemsize)
        a = empty_array(shape, d.numpy)
    t = new_object(cls) if issubclass(cls, Tensor) else new_object(Tensor)
    t._a, t._node, t._st, t._base = a, None, None, None
    return t


constructors["legacy"] = legacy
for _name, _fn in (("tensor", tensor), ("from_numpy", from_numpy), ("as_tensor", as_tensor), ("asarray", asarray), ("from_dlpack", from_dlpack), ("frombuffer", frombuffer), ("result_type", overridable(result_type))):  # fmt: skip
    FUNCTIONS[_name] = _fn
_ = (adapt, bind, numel)
