"""Element types: the `dtype` objects a user sees, the NumPy types under them, and the promotion table."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["ALL", "dtype", "finfo", "from_numpy_dtype", "iinfo", "promote_types"]

# Categories in the order in which promotion climbs them.
BOOL, INTEGRAL, FLOATING, COMPLEX = range(4)


class dtype:
    """An element type such as ``flambeau.float32``; instances are singletons and compare by identity.

    >>> import flambeau as torch
    >>> torch.float64.itemsize, torch.int8.is_floating_point, torch.complex64.is_complex
    (8, False, True)
    """

    __slots__ = ("name", "numpy", "itemsize", "category", "is_floating_point", "is_complex", "is_signed")

    def __init__(self, name: str, numpy: Any, category: int) -> None:
        self.name = name
        self.numpy = np.dtype(numpy)
        self.itemsize = self.numpy.itemsize
        self.category = category
        self.is_floating_point = category == FLOATING
        self.is_complex = category == COMPLEX
        self.is_signed = category >= FLOATING or self.numpy.kind == "i"

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _by_name, (self.name,)

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: Any) -> dtype:
        return self

    def to_real(self) -> dtype:
        """The floating dtype of the real and imaginary parts (itself when not complex)."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    def to_complex(self) -> dtype:
        """The complex dtype whose parts have this dtype's precision.

        Raises: RuntimeError for dtypes that have none.
        """
        wide = {"float64": complex128, "complex128": complex128, "float32": complex64, "complex64": complex64}
        if self.name not in wide and self.name not in ("float16", "bfloat16"):
            raise RuntimeError(f"{self} has no complex counterpart")
        return wide.get(self.name, complex64)


def _by_name(name: str) -> dtype:
    return BY_NAME[name]


bool_ = dtype("bool", np.bool_, BOOL)
uint8 = dtype("uint8", np.uint8, INTEGRAL)
int8 = dtype("int8", np.int8, INTEGRAL)
int16 = dtype("int16", np.int16, INTEGRAL)
int32 = dtype("int32", np.int32, INTEGRAL)
int64 = dtype("int64", np.int64, INTEGRAL)
uint16 = dtype("uint16", np.uint16, INTEGRAL)
uint32 = dtype("uint32", np.uint32, INTEGRAL)
uint64 = dtype("uint64", np.uint64, INTEGRAL)
float16 = dtype("float16", np.float16, FLOATING)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, FLOATING)
float32 = dtype("float32", np.float32, FLOATING)
float64 = dtype("float64", np.float64, FLOATING)
complex64 = dtype("complex64", np.complex64, COMPLEX)
complex128 = dtype("complex128", np.complex128, COMPLEX)
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, FLOATING)
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, FLOATING)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, FLOATING)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, FLOATING)

ALL = (
    *(bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64),
    *(float16, bfloat16, float32, float64, complex64, complex128),
    *(float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz),
)
BY_NAME = {d.name: d for d in ALL}
OF_NUMPY: dict[Any, dtype] = {d.numpy: d for d in ALL}
# The C names that PyTorch also offers.
ALIASES = {
    **{"half": float16, "float": float32, "double": float64, "short": int16, "int": int32, "long": int64},
    **{"cfloat": complex64, "cdouble": complex128},
}
_BITS_ONLY = {uint16, uint32, uint64}  # PyTorch's "barebones" unsigned types: no promotion among integers
_RANK = {float16: 0, bfloat16: 0, float32: 1, float64: 2, complex64: 1, complex128: 2}


def from_numpy_dtype(d: Any) -> dtype:
    """The dtype for a NumPy dtype.

    Raises: TypeError for types that tensors cannot hold (strings, objects, dates, long double).
    """
    d = np.dtype(d)
    found = OF_NUMPY.get(d) or OF_NUMPY.get(d.newbyteorder("="))
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type {d}. The only supported types are: float64, float32, float16, "
            "complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
        )
    return found


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    if "float8" in a.name or "float8" in b.name:
        raise RuntimeError(
            f"Promotion for Float8 Types is not supported, attempted to promote {a.name} and {b.name}; "
            "convert one of them first with .to()"
        )
    low, high = (a, b) if a.category <= b.category else (b, a)
    if low.category != high.category:
        if high is complex64 and low is float64:
            return complex128
        return high
    if high.category >= FLOATING:
        if _RANK[a] == _RANK[b]:  # float16 with bfloat16: neither holds the other
            return float32
        return a if _RANK[a] > _RANK[b] else b
    if a in _BITS_ONLY or b in _BITS_ONLY:
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a.name} and {b.name}; "
            "convert one of them first with .to()"
        )
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if a.itemsize > b.itemsize else b


_TABLE: dict[tuple[dtype, dtype], dtype] = {}


def _python(kind: Any) -> Any:
    """The dtype that a Python type of numbers stands for, other things as they are."""
    return {float: float64, int: int64, bool: bool_, complex: complex128}.get(kind, kind)


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype to which both dtypes convert by PyTorch's promotion rules.

    Raises: RuntimeError for uint16/32/64 with another integer dtype, and for float8, as PyTorch does.

    >>> import flambeau as torch
    >>> torch.promote_types(torch.int64, torch.float16)
    torch.float16
    """
    found = _TABLE.get((type1, type2)) if isinstance(type1, dtype) and isinstance(type2, dtype) else None
    if found is None:
        if isinstance(type1, type) or isinstance(type2, type):
            return promote_types(_python(type1), _python(type2))
        for name, given in (("type1", type1), ("type2", type2)):
            if not isinstance(given, dtype):
                raise TypeError(
                    f"promote_types(): argument '{name}' must be torch.dtype, not {type(given).__name__}"
                )
        found = _TABLE[type1, type2] = _promote(type1, type2)
    return found


class finfo:
    """Limits of a floating (or the parts of a complex) dtype.

    Raises: TypeError for other dtypes.

    >>> import flambeau as torch
    >>> torch.finfo(torch.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: dtype | None = None) -> None:
        d = float32 if type is None else _python(type)
        if not isinstance(d, dtype):
            raise TypeError(f"finfo(): argument 'type' must be torch.dtype, not {d!r}")
        d = d.to_real()
        if not d.is_floating_point:
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{type}'"
            )
        info: Any = ml_dtypes.finfo(d.numpy)  # type: ignore[no-untyped-call]
        self.dtype = d.name
        self.bits = d.itemsize * 8
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = 10.0 ** -int(
            -math.log10(float(info.eps))
        )  # one in the last digit that is always kept

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype.

    Raises: TypeError for other dtypes.

    >>> import flambeau as torch
    >>> torch.iinfo(torch.int16).max
    32767
    """

    def __init__(self, type: dtype) -> None:
        if type.category != INTEGRAL:
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'"
            )
        info = np.iinfo(type.numpy)
        self.dtype = type.name
        self.bits = type.itemsize * 8
        self.max = int(info.max)
        self.min = int(info.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
