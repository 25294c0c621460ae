"""Elementwise composites: the forms with alpha, rounding modes, clamping, selection, and fused multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.elementwise import OPERANDS, check_broadcast, refuse_bool
from ..core.families import BIG
from ..core.fusion import fused
from ..core.grad_names import by_dim, by_tensor
from ..core.pending import known
from ..core.promotion import FLOAT, SAME, adapt, convert, promote, result_type
from ..core.public import FUNCTIONS, check_tensor, public
from ..core.tape import helpers
from ..core.tensor import Tensor
from ..prims import pointwise as pw
from ..prims import ternary
from ..prims.base import full
from ..prims.limits import at_least_op, at_most_op
from ..prims.pointwise import where_op
from ..runtime import dtypes
from .args import as_dtype, dtype_of, is_number
from .from_python import checked_scalar
from .layouts import in_layout_of, in_own_order

_add, _sub, _div = pw.add, pw.sub, pw.div


def _check_alpha(x: Any, other: Any, alpha: Any) -> None:
    d = result_type(*[v for v in (x, other) if v is not None])
    if isinstance(alpha, float) and d.category <= dtypes.INTEGRAL:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if isinstance(alpha, bool) and d.category != dtypes.BOOL:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, complex) and not d.is_complex:
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")


def _halves(x: Any, other: Any, alpha: Any) -> bool:
    """Whether the product with alpha is not to be rounded before it is added: between 16-bit floats of one dtype."""
    if (
        type(alpha) not in (int, float)
        or alpha == 1
        or not (isinstance(x, Tensor) and isinstance(other, Tensor))
    ):
        return False
    d = x._a.dtype
    if d.itemsize != 2 or d.kind not in "fV" or other._a.dtype != d:
        return False
    check_broadcast([x, other])
    return True


def _scaled(other: Any, alpha: Any, x: Any) -> Any:
    if type(alpha) is int and alpha == 1:
        return other
    _check_alpha(x, other, alpha)
    if isinstance(other, Tensor) and other._a.dtype.kind == "b":
        return other if alpha else other & False
    if isinstance(other, Tensor) and other._a.dtype.itemsize == 2 and type(alpha) is float:
        alpha = (
            float(other._a.dtype.type(alpha)) if other._a.dtype.kind in "fV" else alpha
        )  # as PyTorch rounds it
    return other * alpha


@public(inplace=True, out=True, grad_name="AddBackward0")
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input + alpha * other``."""
    if _halves(input, other, alpha):
        return ternary.addcmul_op(input, other, 1.0, float(input._a.dtype.type(alpha)))  # type: ignore[no-any-return]
    return _add(input, _scaled(other, alpha, input))  # type: ignore[no-any-return]


@public(inplace=True, out=True, aliases=("subtract",), grad_name="SubBackward0")
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``.

    Raises: RuntimeError for bool tensors (use ``^`` or logical_xor).
    """
    refuse_bool(input, other)
    if _halves(input, other, alpha):
        return ternary.addcmul_op(input, other, 1.0, -float(input._a.dtype.type(alpha)))  # type: ignore[no-any-return]
    return _sub(input, _scaled(other, alpha, input))  # type: ignore[no-any-return]


@public(grad_name=by_tensor("RsubBackward0", "RsubBackward1", 1, "other"))
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``."""
    check_tensor(input, "rsub")
    return (
        sub(other, input, alpha=alpha)
        if isinstance(other, Tensor)
        else _sub(other, _scaled(input, alpha, other))
    )


@public(
    inplace=True,
    out=True,
    aliases=("divide",),
    grad_name=by_dim("DivBackward0", "DivBackward2", 2, "rounding_mode"),
)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, rounded if `rounding_mode` is "trunc" or "floor" (integers then stay integers).

    Raises: RuntimeError for other modes and for integer division by zero.
    """
    if rounding_mode is None:
        return _div(input, other)  # type: ignore[no-any-return]
    if rounding_mode == "floor":
        return pw.div_floor(input, other)  # type: ignore[no-any-return]
    if rounding_mode == "trunc":
        return pw.div_trunc(input, other)  # type: ignore[no-any-return]
    raise RuntimeError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
    )


@public(inplace=True, out=True)
def floor_divide(input: Any, other: Any) -> Tensor:
    """``floor(input / other)``."""
    return pw.div_floor(input, other)  # type: ignore[no-any-return]


def _own_chance(fn: Callable[[Tensor, Any], Any]) -> Callable[[Tensor, Any], Any]:
    """An operator: a foreign operand without a ``__torch_function__`` gets its own chance, by NotImplemented."""

    def operator(self: Tensor, other: Any) -> Any:
        if not isinstance(other, OPERANDS) and not hasattr(type(other), "__torch_function__"):
            return NotImplemented
        return fn(self, other)

    return operator


setattr(Tensor, "__floordiv__", _own_chance(lambda self, other: floor_divide(self, other)))
setattr(Tensor, "__rfloordiv__", _own_chance(lambda self, other: floor_divide(other, self)))
setattr(Tensor, "__ifloordiv__", _own_chance(lambda self, other: self.floor_divide_(other)))
setattr(Tensor, "__rdiv__", Tensor.__rtruediv__)
setattr(Tensor, "__div__", Tensor.__truediv__)
for _n in ("__rlshift__", "__rrshift__"):
    setattr(Tensor, _n, Tensor.__dict__[_n])


@public()
def positive(input: Tensor) -> Tensor:
    """The tensor itself.

    Raises: RuntimeError for bool tensors.
    """
    if input._a.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


setattr(Tensor, "__pos__", positive)


@public(inplace=True, out=True)
def float_power(input: Any, exponent: Any) -> Tensor:
    """``input ** exponent`` in double precision."""
    d = dtypes.complex128 if result_type(input, exponent).is_complex else dtypes.float64
    a, b = (convert(x, d) if isinstance(x, Tensor) else x for x in (input, exponent))
    return pw.power(a, b)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------ selection


@public(out=True)
def where(condition: Tensor, input: Any = None, other: Any = None, **kw: Any) -> Any:
    """Elements of `input` where the condition holds, of `other` elsewhere; alone: the indices where it holds.

    The gradient of the branch not taken is exactly zero, also where its derivative is infinite.

    Raises: RuntimeError for conditions that are not bool, TypeError when only one value is given.

    >>> import flambeau as torch
    >>> torch.where(torch.tensor([True, False]), 1.0, torch.zeros(2))
    tensor([1., 0.])
    """
    if input is None and other is None:
        return FUNCTIONS["nonzero"](condition, as_tuple=True)
    if input is None or other is None:
        raise TypeError("where() takes a condition alone, or a condition and two values (input, other)")
    if condition._a.dtype.kind != "b":
        if condition._a.dtype != np.uint8:
            raise RuntimeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype {dtype_of(condition)}"
            )
        condition = convert(condition, dtypes.bool_)
    d = result_type(input, other)
    a, b = adapt(input, d), adapt(other, d)
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = helpers["scalar"](a, d)
    check_broadcast([condition, a, b])
    return where_op(condition, a, b)


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """``flambeau.where(condition, self, other)``."""
    return where(condition, self, other)  # type: ignore[no-any-return]


_where_method.__name__ = "where"
setattr(Tensor, "where", _where_method)


@public(inplace=True, grad_name=by_tensor("MaskedFillBackward1", "MaskedFillBackward0", 2, "value"))
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`input` with `value` where the mask holds.

    Raises: RuntimeError for masks that are not bool and values that are not scalars.
    """
    if mask._a.dtype.kind != "b":
        raise RuntimeError(
            f"masked_fill only supports boolean masks, but got mask with dtype {dtype_of(mask)}"
        )
    d = dtype_of(input)
    if isinstance(value, Tensor):
        if value._a.shape:
            raise RuntimeError(
                f"masked_fill only supports a 0-dimensional value tensor, but got tensor with {len(value._a.shape)} dimension(s)."
            )
        if value._a.dtype.kind == "c" and not d.is_complex:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        value = convert(value, d)
    else:
        if isinstance(value, complex) and not d.is_complex:
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        value = (
            checked_scalar(value, d)
            if not (isinstance(value, float) and not math.isfinite(value) and d.category > 1)
            else value
        )
    check_broadcast([input, mask])
    y: Tensor = where_op(mask, value, input)
    return in_own_order(y)


_PLAIN = (float, int, type(None))


def _bound(x: Tensor, low: Any, high: Any) -> tuple[Tensor, Any, Any]:
    if x._a.dtype.kind == "f" and type(low) in _PLAIN and type(high) in _PLAIN:
        return x, low, high
    given = [v for v in (low, high) if v is not None]
    d = result_type(x, *given)
    return convert(x, d), *[None if v is None else adapt(v, d) for v in (low, high)]  # type: ignore[return-value]


def _clamp_name(args: Any, kwargs: Any) -> str:
    bounds = (*args[1:], kwargs.get("min"), kwargs.get("max"))
    return "ClampBackward0" if any(isinstance(v, Tensor) for v in bounds) else "ClampBackward1"


@public(
    inplace=True,
    out=True,
    aliases=("clip",),
    grad_name=_clamp_name,
)
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Elements limited to [min, max]; the gradient passes where they are inside, ends included.

    Raises: RuntimeError when neither bound is given or the tensor is complex.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if input._a.dtype.kind == "c":
        raise NotImplementedError("clamp is not supported for complex types")
    x, low, high = _bound(input, min, max)
    check_broadcast([v for v in (x, low, high) if isinstance(v, Tensor)])
    if isinstance(low, float) and math.isnan(low) or isinstance(high, float) and math.isnan(high):
        return where_op(x == x, math.nan, at_least_op(x, math.inf))  # type: ignore[no-any-return]
    return _clamped(x, low, high)


@fused
def _clamped(x: Tensor, low: Any, high: Any) -> Tensor:
    y = x if low is None else at_least_op(x, low)
    return y if high is None else at_most_op(y, high)


@public(inplace=True, out=True, grad_name=by_tensor("ClampMinBackward1", "ClampMinBackward0", 1, "min"))
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """``clamp(input, min=min)``."""
    return clamp(input, min)


@public(inplace=True, out=True, grad_name=by_tensor("ClampMaxBackward1", "ClampMaxBackward0", 1, "max"))
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """``clamp(input, max=max)``."""
    return clamp(input, None, max)


@public(inplace=True, out=True, grad_name="NanToNumBackward0")
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN, +inf and -inf replaced (by default: 0 and the extreme finite values)."""
    x = input
    for name, value in (("nan", nan), ("posinf", posinf), ("neginf", neginf)):
        if value is not None and not isinstance(value, (int, float, np.generic)):
            raise TypeError(f"nan_to_num(): argument '{name}' must be float, not {type(value).__name__}")
    if x._a.dtype.kind in "bui":
        return x.clone()  # type: ignore[no-any-return]
    if x._a.dtype.kind == "c":
        return FUNCTIONS["complex"](  # type: ignore[no-any-return]
            nan_to_num(x.real, nan, posinf, neginf), nan_to_num(x.imag, nan, posinf, neginf)
        )
    info = dtypes.finfo(dtype_of(x))
    return _replaced(
        x,
        0.0 if nan is None else nan,
        info.max if posinf is None else posinf,
        info.min if neginf is None else neginf,
    )


@fused
def _replaced(x: Tensor, nan: float, above: float, below: float) -> Tensor:
    y = where_op(x != x, nan, x)
    y = where_op(x == math.inf, above, y)
    return where_op(x == -math.inf, below, y)  # type: ignore[no-any-return]


@public(inplace=True, out=True, grad_name=by_dim("RoundBackward0", "RoundBackward1", 1, "decimals"))
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Rounded to the nearest integer, halves to even; `decimals` shifts the decimal point."""
    if input._a.dtype.kind == "c":
        raise NotImplementedError('"round_cpu" not implemented for complex dtypes')
    if decimals == 0:
        return pw.rint(input)  # type: ignore[no-any-return]
    if input._a.dtype.kind in "bui":
        raise NotImplementedError('"round_cpu" not implemented for integers with decimals')
    scale = 10.0 ** abs(decimals)
    return pw.rint(input * scale) / scale if decimals > 0 else pw.rint(input / scale) * scale  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------ multiply-adds


def _value_checks(value: Any, *xs: Any) -> None:
    if isinstance(value, float) and all(x._a.dtype.kind in "bui" for x in xs):
        raise RuntimeError("For integral input tensors, argument value must not be a floating point number.")


@public(inplace=True, out=True, grad_name="AddcmulBackward0")
def addcmul(input: Tensor, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    _value_checks(value, *[x for x in (input, tensor1, tensor2) if isinstance(x, Tensor)])
    return ternary.addcmul_op(*promote([input, tensor1, tensor2], SAME), value)  # type: ignore[no-any-return]


@public(inplace=True, out=True, grad_name="AddcdivBackward0")
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``.

    Raises: RuntimeError for integer division.
    """
    if tensor1._a.dtype.kind in "bui" and tensor2._a.dtype.kind in "bui":
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future release addcdiv will perform a true division of "
            "tensor1 and tensor2. Convert them with .float() first."
        )
    return ternary.addcdiv_op(*promote([input, tensor1, tensor2], FLOAT), value)  # type: ignore[no-any-return]


@public(inplace=True, out=True, grad_name=by_tensor("LerpBackward1", "LerpBackward0", 2, "weight"))
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """``input + weight * (end - input)``, computed from the nearer end."""
    if input._a.dtype != end._a.dtype:
        raise RuntimeError(f"expected dtype {dtype_of(input)} for `end` but got dtype {dtype_of(end)}")
    if isinstance(weight, Tensor):
        if weight._a.dtype != input._a.dtype:
            raise RuntimeError(
                f"expected dtype {dtype_of(input)} for `weight` but got dtype {dtype_of(weight)}"
            )
        return ternary.lerp_op(input, end, weight)  # type: ignore[no-any-return]
    return ternary.lerp(input, end, weight)


builtin_abs = __builtins__["abs"] if isinstance(__builtins__, dict) else __builtins__.abs


@public()
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """``|input - other| <= atol + rtol * |other|`` elementwise; infinities must be equal.

    Raises: RuntimeError for different dtypes or negative tolerances.
    """
    if input._a.dtype != other._a.dtype:
        raise RuntimeError(f"{dtype_of(input).name.title()} did not match {dtype_of(other).name.title()}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(
            f"{'rtol' if rtol < 0 else 'atol'} must be greater than or equal to zero, but got {rtol if rtol < 0 else atol}"
        )
    close = input == other
    if input._a.dtype.kind in "bui":
        if rtol == 0 and atol == 0:
            return close  # type: ignore[no-any-return]
        input, other = (convert(x, dtypes.float64) for x in (input, other))
    return _close(input, other, rtol, atol, equal_nan)


@fused
def _close(a: Tensor, b: Tensor, rtol: float, atol: float, equal_nan: bool) -> Tensor:
    close = a == b
    if equal_nan:
        close = close | ((a != a) & (b != b))
    error = (a - b).abs()
    return close | (FUNCTIONS["isfinite"](error) & (error <= atol + (rtol * b).abs()))  # type: ignore[no-any-return]


@public()
def isreal(input: Tensor) -> Tensor:
    """Whether the imaginary part is zero; true for real tensors."""
    if input._a.dtype.kind != "c":
        return full(tuple(input._a.shape), True, np.dtype(bool))
    return input.imag == 0  # type: ignore[no-any-return]


@public()
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether all elements are close (see isclose)."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@public()
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both tensors have the same shape and elements."""
    if not isinstance(other, Tensor):
        raise TypeError(f"equal(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    if input._a.shape != other._a.shape:
        return False
    a, b = known(input), known(other)
    if a is None or b is None or a.dtype != b.dtype or a.nbytes >= BIG or a.dtype.kind == "V":
        return bool((input == other).all())
    return bool(np.logical_and.reduce(a == b, None))


@public(
    inplace=True,
    function=True,
    grad_name=by_tensor("FillBackward1", "FillBackward0", 1, "value"),
    inplace_name=by_tensor("FillBackward3", "FillBackward2", 1, "value"),
)
def fill(input: Tensor, value: Any) -> Tensor:
    """A copy with every element set to `value`."""
    d = dtype_of(input)
    if isinstance(value, Tensor):
        if value._a.shape:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {len(value._a.shape)} dimensions."
            )
        filled = pw.overwrite_op(input, convert(value, d))
    else:
        filled = pw.overwrite_op(input, full((), checked_scalar(value, d), input._a.dtype))
    return in_layout_of(filled, input)


@public(inplace=True, method=True, grad_name="ZeroBackward0")
def zero(input: Tensor) -> Tensor:
    """A copy with every element set to zero."""
    return fill(input, 0)


_ = (FLOAT, as_dtype, is_number, promote)
