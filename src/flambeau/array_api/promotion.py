"""Dtypes as the standard combines them: every array counts in full, and unsigned integers promote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.promotion import convert
from ..core.public import FUNCTIONS
from ..core.state import defaults
from ..core.tensor import Tensor
from ..runtime import dtypes
from ..runtime.dtypes import BOOL, COMPLEX, FLOATING, INTEGRAL

__all__ = ["can_cast", "finfo", "iinfo", "isdtype", "result_type"]

dtype = dtypes.dtype
_SIGNED = {1: dtypes.int8, 2: dtypes.int16, 4: dtypes.int32, 8: dtypes.int64}
_SCALARS = (bool, int, float, complex)
KINDS: dict[str, Callable[[dtype], bool]] = {
    "bool": lambda d: d.category == BOOL,
    "signed integer": lambda d: d.category == INTEGRAL and d.is_signed,
    "unsigned integer": lambda d: d.category == INTEGRAL and not d.is_signed,
    "integral": lambda d: d.category == INTEGRAL,
    "real floating": lambda d: d.category == FLOATING,
    "complex floating": lambda d: d.category == COMPLEX,
    "numeric": lambda d: d.category != BOOL,
}


def promote(a: dtype, b: dtype) -> dtype:
    """The common dtype of two arrays.

    Where the standard leaves the result open (integers with floats, bool with numbers), PyTorch's rule holds.

    Raises: TypeError for uint64 with a signed integer: no integer dtype holds both.
    """
    if a.category == b.category == INTEGRAL and a is not b:
        if a.is_signed == b.is_signed:
            return a if a.itemsize >= b.itemsize else b
        signed, unsigned = (a, b) if a.is_signed else (b, a)
        wanted = max(signed.itemsize, 2 * unsigned.itemsize)
        if wanted not in _SIGNED:
            raise TypeError(
                f"{a.name} and {b.name} have no common integer dtype; convert one with astype() first"
            )
        return _SIGNED[wanted]
    return dtypes.promote_types(a, b)


def with_scalar(d: dtype, kind: type) -> dtype:
    """The dtype of an array of dtype `d` combined with a Python scalar: the array's, unless its kind is too low."""
    category = (BOOL, INTEGRAL, FLOATING, COMPLEX)[_SCALARS.index(kind)]
    if category <= d.category:
        return d
    if category == COMPLEX:
        return d.to_complex() if d.category == FLOATING else defaults.dtype.to_complex()
    return defaults.dtype if category == FLOATING else dtypes.int64


def scalar_kind(x: Any) -> type:
    """Which of Python's number types `x` is.

    Raises: TypeError for anything else.
    """
    for kind in _SCALARS:
        if isinstance(x, kind):
            return kind
    raise TypeError(f"an array or a Python number was expected, not {type(x).__name__}")


def result_type(*arrays_and_dtypes: Any) -> dtype:
    """The dtype that arrays, dtypes and Python scalars combine to.

    Raises: TypeError where no dtype holds all, ValueError without any array or dtype.

    >>> import flambeau.array_api as xp
    >>> xp.result_type(xp.uint16, xp.int8), xp.result_type(xp.asarray(1.0, dtype=xp.float64), xp.float32)
    (torch.int32, torch.float64)
    """
    found: dtype | None = None
    scalars: list[type] = []
    for x in arrays_and_dtypes:
        if isinstance(x, (Tensor, dtype)):
            d = x if isinstance(x, dtype) else x.dtype
            found = d if found is None else promote(found, d)
        else:
            scalars.append(scalar_kind(x))
    if found is None:
        raise ValueError("result_type needs at least one array or dtype")
    for kind in scalars:
        found = with_scalar(found, kind)
    return found


def tensor_of(x: Any, name: str) -> Tensor:
    """Raises: TypeError unless `x` is a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): an array was expected, not {type(x).__name__}")
    return x


def together(name: str, *values: Any) -> list[Tensor]:
    """The operands of a function as tensors of their common dtype; Python scalars become 0-d tensors.

    Raises: TypeError when none is an array, or for values that are neither.
    """
    if not any(isinstance(x, Tensor) for x in values):
        raise TypeError(
            f"{name}(): at least one argument must be an array, got {[type(x).__name__ for x in values]}"
        )
    d = result_type(*values)
    return [
        convert(x, d) if isinstance(x, Tensor) else FUNCTIONS["scalar_tensor"](x, dtype=d) for x in values
    ]


def isdtype(dtype: dtype, kind: Any) -> bool:
    """Whether `dtype` is `kind`: a dtype, the name of a kind, or a tuple of those (any of them).

    The names: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric".

    Raises: TypeError unless `dtype` is a dtype; ValueError for another name.

    >>> import flambeau.array_api as xp
    >>> xp.isdtype(xp.uint8, "integral"), xp.isdtype(xp.bool, ("numeric", xp.bool))
    (True, True)
    """
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"isdtype(): a dtype was expected, not {dtype!r}")
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, dtypes.dtype):
        return dtype is kind
    if kind not in KINDS:
        raise ValueError(f"isdtype(): unknown kind {kind!r}; choose from {', '.join(map(repr, KINDS))}")
    return KINDS[kind](dtype)


def can_cast(from_: Any, to: dtype, /) -> bool:
    """Whether promotion alone takes `from_` (a dtype or an array) to `to`.

    >>> import flambeau.array_api as xp
    >>> xp.can_cast(xp.uint8, xp.int16), xp.can_cast(xp.float64, xp.float32)
    (True, False)
    """
    own = from_.dtype if isinstance(from_, Tensor) else from_
    if not isinstance(own, dtype) or not isinstance(to, dtype):
        raise TypeError(f"can_cast(): dtypes were expected, got {from_!r} and {to!r}")
    try:
        return promote(own, to) is to
    except (TypeError, RuntimeError):
        return False


class finfo:
    """Limits of a floating dtype (or of the parts of a complex one), given as dtype or array.

    Raises: TypeError for other dtypes.

    >>> import flambeau.array_api as xp
    >>> xp.finfo(xp.float32).eps, xp.finfo(xp.complex64).dtype
    (1.1920928955078125e-07, torch.float32)
    """

    __slots__ = ("bits", "eps", "max", "min", "smallest_normal", "dtype")

    def __init__(self, type: Any, /) -> None:
        d = type.dtype if isinstance(type, Tensor) else type
        info = dtypes.finfo(d)
        self.dtype: dtype = d.to_real()
        self.bits, self.eps, self.max, self.min = info.bits, info.eps, info.max, info.min
        self.smallest_normal = info.smallest_normal

    def __repr__(self) -> str:
        return f"finfo(bits={self.bits}, eps={self.eps}, max={self.max}, min={self.min}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype, given as dtype or array.

    Raises: TypeError for other dtypes.

    >>> import flambeau.array_api as xp
    >>> xp.iinfo(xp.uint8).max
    255
    """

    __slots__ = ("bits", "max", "min", "dtype")

    def __init__(self, type: Any, /) -> None:
        d = type.dtype if isinstance(type, Tensor) else type
        info = dtypes.iinfo(d)
        self.dtype: dtype = d
        self.bits, self.max, self.min = info.bits, info.max, info.min

    def __repr__(self) -> str:
        return f"iinfo(bits={self.bits}, max={self.max}, min={self.min}, dtype={self.dtype})"
