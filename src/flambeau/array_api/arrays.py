"""The namespace's array class: a Tensor whose operators and attributes are those of the standard."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..runtime import dtypes
from ..runtime.types import Size
from .promotion import result_type

__all__ = ["Array"]

_SCALARS = (bool, int, float, complex)
F = TypeVar("F", bound=Callable[..., Any])


class ElementCount(int):
    """The number of elements; called, it is PyTorch's ``Tensor.size``."""

    sizes: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        if dim is None:
            return Size(self.sizes)
        n = len(self.sizes)
        if not -n <= dim < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], got {dim})"
            )
        return self.sizes[dim]

    def __reduce__(self) -> Any:
        return int, (int(self),)


def _operand(other: Any) -> Any:
    """What an operator computes with, or NotImplemented: NumPy's scalars count as Python's, its arrays as ours."""
    if isinstance(other, (Tensor, *_SCALARS)):
        return other
    if isinstance(other, np.generic):
        return other.item()
    return FUNCTIONS["from_numpy"](other) if isinstance(other, np.ndarray) else NotImplemented


def _operator(symbol: str, fn: str, reflected: bool = False) -> Callable[..., Any]:
    def method(self: Array, other: Any, /) -> Any:
        other = _operand(other)
        if other is NotImplemented:
            return other
        call = elementwise_functions()[fn]
        return call(other, self) if reflected else call(self, other)

    method.__name__ = method.__qualname__ = f"__{'r' if reflected else ''}{symbol}__"
    return method


def _in_place(symbol: str) -> Callable[..., Any]:
    base = getattr(Tensor, f"__i{symbol}__")
    name = f"__i{symbol}__"
    through = {"floordiv": "floor_divide"}.get(symbol)  # PyTorch's own has other values at infinity

    def method(self: Array, other: Any, /) -> Any:
        other = _operand(other)
        if other is NotImplemented:
            return other
        wanted = result_type(self, other)
        if wanted is not self.dtype:
            raise TypeError(
                f"{name}: the result of {self.dtype} with {getattr(other, 'dtype', type(other).__name__)} is {wanted}, "
                "which an array cannot become in place"
            )
        other = (
            other.to(wanted) if isinstance(other, Tensor) else FUNCTIONS["scalar_tensor"](other, dtype=wanted)
        )
        if through is not None:
            return self.copy_(elementwise_functions()[through](self, other))
        return base(self, other)

    method.__name__ = method.__qualname__ = name
    return method


@functools.cache
def elementwise_functions() -> dict[str, Callable[..., Any]]:
    from . import elementwise, linear_algebra

    return {**vars(elementwise), "matmul": linear_algebra.matmul}


class Array(Tensor):
    """What the functions of `flambeau.array_api` return: a `Tensor` (memory, gradients, transforms and all of its
    methods included) that behaves as the Python array API standard 2024.12 asks.

    The differences from a plain Tensor: operators promote 0-d arrays like any others, and unsigned integers too;
    ``size`` is the number of elements (and can still be called, as PyTorch's method); slices may have negative
    steps (the result is then a copy).  PyTorch's own functions and methods return plain Tensors.

    >>> import flambeau.array_api as xp
    >>> x = xp.ones((2, 3), dtype=xp.float32)
    >>> x.size, (x + xp.asarray(1.0, dtype=xp.float64)).dtype
    (6, torch.float64)
    """

    __slots__ = ()
    _plain_results = True  # PyTorch's functions on arrays give plain tensors
    _plain_when_kept = True  # and so do files and parameters

    def __new__(cls, *args: Any, **kwargs: Any) -> Array:
        raise TypeError("arrays are made by flambeau.array_api.asarray and its kin, not by calling Array")

    @property
    def size(self) -> Any:
        """The number of elements, as an int; when called, the shape or the size of one dimension."""
        count = ElementCount(self.numel())
        count.sizes = tuple(self.shape)
        return count

    @property
    def T(self) -> Any:
        """The transpose of a matrix.

        Raises: ValueError unless the array has two dimensions.
        """
        if self.ndim != 2:
            raise ValueError(f"T is for arrays of two dimensions, not {self.ndim}; use mT or permute_dims()")
        return own(self.transpose(0, 1))

    @property
    def mT(self) -> Any:
        """The transpose of each matrix of a stack.

        Raises: ValueError below two dimensions.
        """
        if self.ndim < 2:
            raise ValueError(f"mT is for arrays of at least two dimensions, not {self.ndim}")
        return own(self.transpose(-2, -1))

    def __getitem__(self, key: Any, /) -> Any:
        if _empty_mask(self, key):
            return own(self.new_empty((0, *self.shape[key.ndim :])))
        key, flips = _forward_slices(self, key)
        found = Tensor.__getitem__(self, key)
        return own(found.flip(flips) if flips else found, self)

    def __setitem__(self, key: Any, value: Any, /) -> None:
        if isinstance(value, Tensor):
            value = value.to(self.dtype)
        if _empty_mask(self, key):
            return
        key, flips = _forward_slices(self, key)
        if flips:
            value = FUNCTIONS["as_tensor"](value, dtype=self.dtype)
            region = Tensor.__getitem__(self, key)
            value = value.expand(region.shape).flip(flips)
        Tensor.__setitem__(self, key, value)

    def __iter__(self) -> Any:
        return (own(x) for x in Tensor.__iter__(self))

    def __neg__(self, /) -> Any:
        return own(_unsigned_negative(self) if _is_unsigned(self) else FUNCTIONS["neg"](self))

    def __pos__(self, /) -> Any:
        return own(self.clone())

    def __abs__(self, /) -> Any:
        return own(FUNCTIONS["abs"](self))

    def __invert__(self, /) -> Any:
        return own(FUNCTIONS["bitwise_not"](self))

    for _symbol, _fn in (
        *(("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide")),
        *(("floordiv", "floor_divide"), ("mod", "remainder"), ("pow", "pow"), ("matmul", "matmul")),
        *(("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor")),
        *(("lshift", "bitwise_left_shift"), ("rshift", "bitwise_right_shift")),
    ):
        locals()[f"__{_symbol}__"] = _operator(_symbol, _fn)
        locals()[f"__r{_symbol}__"] = _operator(_symbol, _fn, reflected=True)
        if _symbol != "matmul":
            locals()[f"__i{_symbol}__"] = _in_place(_symbol)
    for _symbol, _fn in (
        *(("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal")),
        *(("eq", "equal"), ("ne", "not_equal")),
    ):
        locals()[f"__{_symbol}__"] = _operator(_symbol, _fn)
    del _symbol, _fn
    __hash__ = object.__hash__


def _empty_mask(x: Tensor, key: Any) -> bool:
    """Whether the index is a mask without elements, which need not fit the shape where its sizes are zero."""
    return (
        isinstance(key, Tensor)
        and key.dtype is dtypes.bool_
        and 0 in key.shape
        and key.ndim <= x.ndim
        and all(k in (n, 0) for k, n in zip(key.shape, x.shape))
    )


def _is_unsigned(x: Tensor) -> bool:
    d = x.dtype
    return not d.is_signed and d.itemsize > 1


def _unsigned_negative(x: Tensor) -> Any:
    return FUNCTIONS["sub"](FUNCTIONS["zeros_like"](x), x)


def _forward_slices(x: Tensor, key: Any) -> tuple[Any, list[int]]:
    """The index with negative steps turned around, and the dims of the result to flip afterwards.

    Raises: IndexError when negative steps meet index arrays (whose dims move), ValueError for a step of zero.
    """
    items = key if type(key) is tuple else (key,)
    if not any(type(i) is slice and i.step is not None and i.step < 0 for i in items):
        return key, []
    if any(isinstance(i, (Tensor, list, np.ndarray)) and getattr(i, "ndim", 1) for i in items):
        raise IndexError("a negative step beside an index array: slice first, then index with the array")
    taken = sum(i is not None and i is not Ellipsis for i in items)
    out: list[Any] = []
    flips: list[int] = []
    at = dim = 0  # in x, in the result
    for i in items:
        if i is None:
            dim += 1
        elif i is Ellipsis:
            skipped = x.ndim - taken
            at += skipped
            dim += skipped
        elif isinstance(i, slice):
            if i.step is not None and i.step < 0:
                if at >= x.ndim:
                    raise IndexError(f"too many indices for an array of {x.ndim} dimensions")
                chosen = range(*i.indices(x.shape[at]))
                i = slice(chosen[-1], chosen[0] + 1, -i.step) if len(chosen) else slice(0, 0)
                flips.append(dim)
            at += 1
            dim += 1
        else:
            at += 1
        out.append(i)
    return tuple(out), flips


def own(result: Any, *arguments: Any) -> Any:
    """A fresh result as the namespace's array.

    A result that is one of the arguments is left alone when it is an Array, and seen through a new handle otherwise:
    the class of the user's tensor does not change.
    """
    if type(result) is Array:
        return result
    if isinstance(result, Tensor):
        if type(result) is not Tensor or any(result is a for a in arguments):
            result = result.view_as(result)
        if type(result) is Tensor:
            result.__class__ = Array
        return result
    if isinstance(result, tuple):
        values = [own(r, *arguments) for r in result]
        return type(result)(*values) if hasattr(result, "_fields") else tuple(values)
    if isinstance(result, list):
        return [own(r, *arguments) for r in result]
    return result


def standard(fn: F) -> F:
    """Have a function of the namespace return Arrays."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = [y for x in args for y in (x if isinstance(x, (tuple, list)) else (x,))]
        return own(fn(*args, **kwargs), *given, *kwargs.values())

    return wrapper  # type: ignore[return-value]
