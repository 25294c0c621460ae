"""Elementwise functions of the standard."""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import Any

from ..core.promotion import convert
from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..runtime.dtypes import COMPLEX, FLOATING, INTEGRAL, bool_
from .arrays import Array, own, standard
from .promotion import iinfo, isdtype, promote, scalar_kind, tensor_of, together, with_scalar

__all__: list[str] = []


def _expose(name: str, call: Any, doc: str) -> None:
    call.__name__ = call.__qualname__ = name
    call.__module__ = __name__
    call.__doc__ = doc
    globals()[name] = call
    __all__.append(name)


def _refuse(name: str, x: Tensor, kinds: Any) -> None:
    """Raises: TypeError when the dtype is not of these kinds."""
    if kinds and not isdtype(x.dtype, kinds):
        wanted = " or ".join(kinds) if isinstance(kinds, tuple) else kinds
        raise TypeError(f"{name}(): a {wanted} dtype is needed, got {x.dtype}")


def _unary(name: str, fn: Callable[[Any], Any], doc: str, kinds: Any = "numeric") -> None:
    def call(x: Tensor, /) -> Array:
        _refuse(name, tensor_of(x, name), kinds)
        return own(fn(x), x)  # type: ignore[no-any-return]

    _expose(name, call, f"{doc}, for each element of `x`.\n\nRaises: TypeError unless `x` is an array of a {kinds} dtype.")  # fmt: skip


def _binary(name: str, fn: Callable[[Any, Any], Any], doc: str, kinds: Any = "numeric") -> None:
    def call(x1: Any, x2: Any, /) -> Array:
        a, b = together(name, x1, x2)
        _refuse(name, a, kinds)
        return own(fn(a, b))  # type: ignore[no-any-return]

    _expose(name, call, f"{doc}, elementwise with broadcasting; one of the operands may be a Python scalar.\n\nRaises: TypeError unless their common dtype is {kinds or 'defined'}; RuntimeError for shapes that do not broadcast.")  # fmt: skip


# ------------------------------------------------------------------------------------------- one operand

_FLOATING = ("real floating", "complex floating")
_REAL = ("integral", "real floating")

for _name, _doc in (
    *(
        ("acos", "The inverse cosine"),
        ("acosh", "The inverse hyperbolic cosine"),
        ("asin", "The inverse sine"),
    ),
    *(("asinh", "The inverse hyperbolic sine"), ("atan", "The inverse tangent")),
    *(("atanh", "The inverse hyperbolic tangent"), ("cos", "The cosine"), ("cosh", "The hyperbolic cosine")),
    *(("exp", "The exponential"), ("log", "The natural logarithm")),
    *(("log1p", "log(1 + x), exact near zero"), ("log2", "The logarithm to base 2")),
    *(("log10", "The logarithm to base 10"), ("reciprocal", "1 / x"), ("sin", "The sine")),
    *(("sinh", "The hyperbolic sine"), ("sqrt", "The square root"), ("tan", "The tangent")),
):
    _unary(_name, FUNCTIONS[_name], _doc)


def _whole(name: str) -> Callable[[Any], Any]:
    """Rounding: integers are whole already."""
    fn = FUNCTIONS[name]
    return lambda x: x.clone() if x.dtype.category <= INTEGRAL else fn(x)


def _round(x: Any) -> Any:
    if x.dtype.category == COMPLEX:
        return FUNCTIONS["complex"](FUNCTIONS["round"](x.real), FUNCTIONS["round"](x.imag))
    return _whole("round")(x)


def _sign(x: Any) -> Any:
    if x.dtype.category == COMPLEX:
        return FUNCTIONS["sgn"](x)
    found = FUNCTIONS["sign"](x)  # zero for NaN, where the standard wants NaN
    return FUNCTIONS["where"](x != x, x, found) if x.dtype.category == FLOATING else found


def _finite(name: str, of_integers: bool) -> Callable[[Any], Any]:
    fn = FUNCTIONS[name]
    return lambda x: (
        FUNCTIONS["full_like"](x, of_integers, dtype=bool_) if x.dtype.category <= INTEGRAL else fn(x)
    )


def _expm1(x: Any) -> Any:
    found = FUNCTIONS["expm1"](x)
    if x.dtype.category != COMPLEX:
        return found
    # At infinity and NaN, the values of C's cexp: an infinite or vanishing size does not ask for the angle.
    where, a, b = FUNCTIONS["where"], x.real, x.imag
    lost = ~FUNCTIONS["isfinite"](b)
    real = where(
        (a == -_math.inf) & lost, -1.0, where((a == _math.inf) & (lost | (b == 0)), _math.inf, found.real)
    )
    imag = where(b == 0, b, where((a == -_math.inf) & lost, 0.0, found.imag))
    return FUNCTIONS["complex"](where((a == 0) & (b == 0), 0.0, real), imag)


def _tanh(x: Any) -> Any:
    found = FUNCTIONS["tanh"](x)
    if x.dtype.category != COMPLEX:
        return found
    # Far out, the imaginary part is a zero that keeps the sign of the argument's, whatever its angle.
    where, a, b = FUNCTIONS["where"], x.real, x.imag
    zero = FUNCTIONS["copysign"](FUNCTIONS["zeros_like"](b), b)
    far = FUNCTIONS["isinf"](a) & FUNCTIONS["isfinite"](b)
    return FUNCTIONS["complex"](found.real, where(far, zero, found.imag))


def _floor_divide(a: Any, b: Any) -> Any:
    found = FUNCTIONS["floor_divide"](a, b)
    if a.dtype.category != FLOATING:
        return found
    # A quotient of or by infinity is what division gives, as if the limit had been taken after it.
    infinite = FUNCTIONS["isinf"](a) | FUNCTIONS["isinf"](b)
    return FUNCTIONS["where"](infinite, FUNCTIONS["true_divide"](a, b), found)


def _imag(x: Any) -> Any:
    return x.imag if x.dtype.category == COMPLEX else FUNCTIONS["zeros_like"](x)


_unary("abs", FUNCTIONS["abs"], "The absolute value")
_unary("tanh", _tanh, "The hyperbolic tangent")
_unary("expm1", _expm1, "exp(x) - 1, exact near zero")
_binary("floor_divide", _floor_divide, "floor(x1 / x2)", _REAL)
for _name, _doc in (
    *(("ceil", "The smallest whole number that is not less"), ("floor", "The largest that is not greater")),
    ("trunc", "The whole part"),
):
    _unary(_name, _whole(_name), _doc, _REAL)
_unary("round", _round, "The nearest whole number, the even one of two (real and imaginary parts each)")
_unary("sign", _sign, "-1, 0 or 1 by sign (x / abs(x) for complex numbers; NaN for NaN)")
_unary("square", lambda x: FUNCTIONS["mul"](x, x), "x * x")
_unary("negative", lambda x: -own(x, x), "-x")
_unary("positive", lambda x: x.clone(), "x")
_unary("conj", lambda x: FUNCTIONS["conj"](x) if x.dtype.category == COMPLEX else x.clone(), "The complex conjugate")  # fmt: skip
_unary("real", lambda x: x.real.clone() if x.dtype.category == COMPLEX else x.clone(), "The real part")
_unary("imag", _imag, "The imaginary part")
_unary("signbit", FUNCTIONS["signbit"], "Whether the sign bit is set", "real floating")
_unary("isfinite", _finite("isfinite", True), "Whether the element is neither infinite nor NaN")
_unary("isinf", _finite("isinf", False), "Whether the element is infinite")
_unary("isnan", _finite("isnan", False), "Whether the element is NaN")
_unary("logical_not", FUNCTIONS["logical_not"], "not x", "bool")
_unary("bitwise_invert", FUNCTIONS["bitwise_not"], "~x", ("bool", "integral"))

# ------------------------------------------------------------------------------------------ two operands


def _shift(name: str) -> Callable[[Any, Any], Any]:
    """Shifts past the width give what shifting bit by bit would: 0, or the sign."""
    fn = FUNCTIONS[name]
    left = name == "bitwise_left_shift"

    def call(a: Any, b: Any) -> Any:
        width = 8 * a.dtype.itemsize
        far = b >= width
        found = fn(a, FUNCTIONS["where"](far, FUNCTIONS["full_like"](b, width - 1), b))
        return FUNCTIONS["where"](far, FUNCTIONS["zeros_like"](found), found) if left or not a.dtype.is_signed else found  # fmt: skip

    return call


for _name, _fn, _doc in (
    ("add", "add", "x1 + x2"),
    ("subtract", "sub", "x1 - x2"),
    ("multiply", "mul", "x1 * x2"),
    ("divide", "true_divide", "x1 / x2"),
    ("pow", "pow", "x1 ** x2"),
):
    _binary(_name, FUNCTIONS[_fn], _doc)
for _name, _doc in (
    ("remainder", "x1 % x2, with the sign of x2"),
    *(("maximum", "The greater (NaN if either is)"), ("minimum", "The smaller (NaN if either is)")),
    *(("less", "x1 < x2"), ("less_equal", "x1 <= x2"), ("greater", "x1 > x2")),
    ("greater_equal", "x1 >= x2"),
):
    _binary(_name, FUNCTIONS[_name], _doc, _REAL)
for _name, _doc in (
    *(("atan2", "The angle of the point (x2, x1)"), ("copysign", "x1 with the sign of x2")),
    *(("hypot", "sqrt(x1**2 + x2**2) without overflow"), ("nextafter", "The number after x1 towards x2")),
    ("logaddexp", "log(exp(x1) + exp(x2)) without overflow"),
):
    _binary(_name, FUNCTIONS[_name], _doc, _REAL)
_binary("equal", FUNCTIONS["eq"], "x1 == x2", ())
_binary("not_equal", FUNCTIONS["ne"], "x1 != x2", ())
for _name in ("and", "or", "xor"):
    _binary(f"logical_{_name}", FUNCTIONS[f"logical_{_name}"], f"x1 {_name} x2", "bool")
    _binary(f"bitwise_{_name}", FUNCTIONS[f"bitwise_{_name}"], f"x1 {_name} x2, bit by bit", ("bool", "integral"))  # fmt: skip
for _name, _doc in (("left", "x1 << x2"), ("right", "x1 >> x2")):
    _binary(f"bitwise_{_name}_shift", _shift(f"bitwise_{_name}_shift"), _doc, "integral")


@standard
def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Any:
    """`x` limited to between `min` and `max` (arrays that broadcast with it, numbers, or None); NaN stays.

    The bounds are converted to the dtype of `x`, so that the result has it.

    Raises: TypeError for dtypes that have no order.

    >>> import flambeau.array_api as xp
    >>> xp.clip(xp.asarray([1, 5, 9]), 2, 7)
    Array([2, 5, 7])
    """
    _refuse("clip", tensor_of(x, "clip"), _REAL)
    found = x
    for bound, choose in ((min, FUNCTIONS["maximum"]), (max, FUNCTIONS["minimum"])):
        if bound is not None:
            found = choose(found, _bound(bound, x))
    return found.clone() if found is x else found


def _bound(bound: Any, x: Tensor) -> Any:
    if not isinstance(bound, Tensor):
        if with_scalar(x.dtype, scalar_kind(bound)) is not x.dtype:
            raise TypeError(f"clip(): a bound of type {type(bound).__name__} for an array of {x.dtype}")
        if x.dtype.category == INTEGRAL:  # beyond the dtype's limits, the limit does the same
            limits = iinfo(x.dtype)
            bound = limits.min if bound < limits.min else limits.max if bound > limits.max else bound
        return FUNCTIONS["scalar_tensor"](bound, dtype=x.dtype)
    promote(x.dtype, bound.dtype)
    return convert(bound, x.dtype)


__all__ += ["clip"]
del _name, _doc, _fn
