"""Changing dtype, device and memory format; conjugation and complex parts."""

from __future__ import annotations

import builtins
from typing import Any

from numpy import ndarray

from ..core.grad_names import rename
from ..core.meta import COPY_OUT, is_meta
from ..core.promotion import convert
from ..core.public import FUNCTIONS, METHODS, public
from ..core.state import defaults
from ..core.tensor import Tensor
from ..prims import pointwise as pw
from ..runtime import dtypes, types
from ..runtime.dtypes import dtype
from ..runtime.types import check_device
from .args import as_dtype, dtype_of
from .layouts import is_images
from .meta_device import CPU, META, move, wants_meta


@public(function=False)
def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor in another dtype, on another device, or like another tensor; itself when nothing changes.

    Raises: AssertionError for CUDA where there is none, TypeError for other arguments.
    """
    target: Any = kwargs.pop("dtype", None)
    dev: Any = kwargs.pop("device", None)
    copy = kwargs.pop("copy", False)
    fmt = kwargs.pop("memory_format", types.preserve_format)
    kwargs.pop("non_blocking", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
    elif rest and (isinstance(rest[0], dtype) or rest[0] in (float, int, bool, builtins.complex)):
        target = rest.pop(0)
    elif rest and (isinstance(rest[0], (str, types.device, int)) or rest[0] is None):
        dev = rest.pop(0)
        if rest and (isinstance(rest[0], (dtype, builtins.type)) or rest[0] is None):
            target = rest.pop(0)
    elif rest:
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({', '.join(a.__class__.__name__ for a in args)})"
        )
    if rest and isinstance(rest[0], bool):
        rest.pop(0)
        if rest and isinstance(rest[0], bool):
            copy = rest.pop(0)
    if rest:
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({', '.join(a.__class__.__name__ for a in args)})"
        )
    if other is not None:
        target = dtype_of(other)
        dev = META if is_meta(other) else CPU
    result = self
    if dev is not None:
        if wants_meta(dev):
            result = move(self)
            copy = copy and result is self
        elif builtins.type(self._a) is not ndarray and is_meta(self):
            raise NotImplementedError(COPY_OUT)
    if target is not None:
        d = as_dtype(target)
        if d is not dtype_of(result):
            result = convert(result, d)
            copy = False
    if fmt is types.contiguous_format and result is self and not copy and not is_images(self):
        return self  # what has no format of its own counts as contiguous, as in PyTorch
    if fmt is not types.preserve_format and not result.is_contiguous(memory_format=fmt):
        result = rename(result.contiguous(memory_format=fmt), "ToCopyBackward0")
        copy = False
    return result.clone() if copy else result


def _named_cast(name: str, d: dtype) -> None:
    def cast(self: Tensor, memory_format: Any = types.preserve_format) -> Tensor:
        if memory_format is types.preserve_format:
            return convert(self, d)
        return to(self, d, memory_format=memory_format)

    cast.__doc__ = f"``self.to(flambeau.{d.name})``."
    public(function=False, name=name)(cast)


for _name, _d in (
    *(
        ("float", dtypes.float32),
        ("double", dtypes.float64),
        ("half", dtypes.float16),
        ("bfloat16", dtypes.bfloat16),
    ),
    *(("long", dtypes.int64), ("int", dtypes.int32), ("short", dtypes.int16), ("char", dtypes.int8)),
    *(
        ("byte", dtypes.uint8),
        ("bool", dtypes.bool_),
        ("cfloat", dtypes.complex64),
        ("cdouble", dtypes.complex128),
    ),
):
    _named_cast(_name, _d)


_TYPE_NAMES = {
    **{
        "float32": "FloatTensor",
        "float64": "DoubleTensor",
        "float16": "HalfTensor",
        "bfloat16": "BFloat16Tensor",
    },
    **{
        "int64": "LongTensor",
        "int32": "IntTensor",
        "int16": "ShortTensor",
        "int8": "CharTensor",
        "uint8": "ByteTensor",
    },
    **{"bool": "BoolTensor", "complex64": "ComplexFloatTensor", "complex128": "ComplexDoubleTensor"},
    **{f"uint{n}": f"UInt{n}Tensor" for n in (16, 32, 64)},
    **{f"float8_{k}": f"Float8_{k}Tensor" for k in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")},
}


@public(function=False)
def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The type's name (``torch.FloatTensor``), or the tensor as another type."""
    if dtype is None:
        d = dtype_of(self)
        return f"torch.{_TYPE_NAMES.get(d.name, d.name)}"
    if isinstance(dtype, str):
        bare = dtype.removeprefix("torch.")
        for name, tensor_type in _TYPE_NAMES.items():
            if tensor_type == bare:
                return convert(self, dtypes.BY_NAME[name])
        raise ValueError(f"invalid type: '{dtype}'")
    if hasattr(dtype, "_legacy_dtype"):
        return convert(self, dtype._legacy_dtype)
    if dtype is Tensor:
        return convert(self, defaults.dtype)
    return convert(self, as_dtype(dtype))


@public(function=False)
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """``self.type(other.type())``."""
    return convert(self, dtype_of(other))


@public(function=False)
def cpu(self: Tensor, memory_format: Any = types.preserve_format) -> Tensor:
    """The tensor on the CPU: itself.

    Raises: NotImplementedError for meta tensors, which have no data.
    """
    if builtins.type(self._a) is not ndarray and is_meta(self):
        raise NotImplementedError(COPY_OUT)
    return self


@public(function=False)
def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """The tensor on a CUDA device.

    Raises: AssertionError where there is none.
    """
    check_device("cuda" if device is None else device)
    return self


@public(grad_name="ConjBackward0")
def conj(input: Tensor) -> Tensor:
    """The complex conjugate (computed at once); real tensors are returned as they are."""
    return pw.conj(input)


@public(out=True, grad_name="ConjPhysicalBackward0")
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate, computed at once; real tensors are returned as they are."""
    return pw.conj(input)


def _conj_physical_(self: Tensor) -> Tensor:
    """Conjugate in place."""
    if self._a.dtype.kind == "c":
        self.copy_(pw.conj(self))
    return rename(self, "ConjPhysicalBackward1")  # type: ignore[no-any-return]


setattr(Tensor, "conj_physical_", _conj_physical_)
METHODS["conj_physical_"] = _conj_physical_


@public()
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugation is never postponed."""
    return input


@public()
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: negation is never postponed."""
    return input


def real(input: Tensor) -> Tensor:
    """The real part, as a view."""
    return pw.real(input)


def imag(input: Tensor) -> Tensor:
    """The imaginary part, as a view.

    Raises: RuntimeError for real tensors.
    """
    if input._a.dtype.kind != "c":
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return pw.imag(input)


FUNCTIONS["real"], FUNCTIONS["imag"] = real, imag


def _set_real(self: Tensor, value: Any) -> None:
    real(self).copy_(value if isinstance(value, Tensor) else self.real.new_tensor(value))


def _set_imag(self: Tensor, value: Any) -> None:
    imag(self).copy_(value if isinstance(value, Tensor) else self.real.new_tensor(value))


setattr(Tensor, "real", property(real, _set_real, doc=real.__doc__))
setattr(Tensor, "imag", property(imag, _set_imag, doc=imag.__doc__))


@public(method=False, out=True)
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """The complex tensor with these parts.

    Raises: RuntimeError unless both have one floating dtype.
    """
    for x in (real, imag):
        if x._a.dtype.itemsize == 2:
            raise RuntimeError(
                "complex: the dtype complex32 does not exist here; convert the float16 parts with .float()"
            )
        if dtype_of(x) not in (dtypes.float16, dtypes.float32, dtypes.float64):
            raise RuntimeError(
                f"Expected both inputs to be Half, Float or Double tensors but got {dtype_of(real)} and {dtype_of(imag)}"
            )
    if real._a.dtype != imag._a.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {dtype_of(real)} but got scalar type {dtype_of(imag)} for second argument"
        )
    return pw.complex_op(real, imag)  # type: ignore[no-any-return]


@public(method=False, out=True, grad_name="PolarBackward0")
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """The complex tensor with these absolute values and angles (radians)."""
    if abs._a.dtype != angle._a.dtype or abs._a.dtype.kind != "f":
        raise RuntimeError(
            f"Expected both inputs to be Float or Double tensors of one dtype but got {dtype_of(abs)} and {dtype_of(angle)}"
        )
    return pw.complex_op(abs * pw.cos(angle), abs * pw.sin(angle))  # type: ignore[no-any-return]
