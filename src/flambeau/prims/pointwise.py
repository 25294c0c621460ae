"""Elementwise operations.  Each is one statement: body over a dialect `k`, and the tangent map of each input."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..core import inplace
from ..core.elementwise import OPERANDS, binary, unary
from ..core.families import is_half, pointwise_op
from ..core.op import REGISTRY, dtype_of
from ..core.pending import NO_DATA
from ..core.promotion import COMPARE, FLOAT, SAME, convert
from ..core.state import tls
from ..core.tape import helpers
from ..core.tensor import Tensor, snapshot
from . import base
from .division_kernels import divided

_base = base  # defines the primitives that the derivative rules below use

# ------------------------------------------------------------------------------------------------ arithmetic

add = binary("add", lambda k, a, b: a + b, (lambda t: t, lambda t: t), dunder="__add__", commutes=True)
sub = binary(
    "sub",
    lambda k, a, b: a - b,
    (lambda t: t, lambda t: -t),
    dunder="__sub__",
    reflected_name=("RsubBackward1", "RsubBackward0"),
    reject="B",
    aliases=("subtract",),
)
mul = binary(
    "mul",
    lambda k, a, b: a * b,
    (lambda t, b: t * b, lambda t, a: t * a),
    dunder="__mul__",
    commutes=True,
    aliases=("multiply",),
)
div = binary(
    "div",
    lambda k, a, b: a / b,
    (lambda t, b: t / b, lambda t, a, b: -t * (a / b / b)),  # from a, not y: the result may be written to
    jvp=lambda ts, xs, y: (ts[0] if ts[1] is None else _less(ts[0], ts[1] * y)) / xs[1],
    kind=FLOAT,
    dunder="__truediv__",
    aliases=("true_divide", "divide"),
)


def _less(a: Tensor | None, b: Tensor) -> Tensor:
    """``a - b``, where no `a` is zero."""
    return -b if a is None else a - b  # type: ignore[no-any-return]


neg = unary("neg", lambda k, x: -x, (lambda t: -t,), kind=SAME, aliases=("negative",), reject="b")
setattr(Tensor, "__neg__", neg)
helpers["add"] = lambda a, b: a + b


def _add_in_place(a: Tensor, b: Tensor) -> None:
    """Accumulate a gradient without recording, as AccumulateGrad does."""
    x, y = a._a, b._a
    if x.shape != y.shape or x.dtype != y.dtype or not x.flags.writeable:
        raise RuntimeError(
            f"cannot accumulate a gradient of shape {list(y.shape)} into .grad of shape {list(x.shape)}; "
            "set .grad to None (zero_grad()) when a parameter changes its shape"
        )
    if tls.capture is not None:
        alone = tls.capture.alone(a)
        inplace.write(a, add(snapshot(a), b), "add_", alone)
        return
    if type(x) is np.ndarray or x.owner is not NO_DATA:  # a meta tensor has nothing to add to
        np.add(x, y, out=x)
    if a._st is not None:
        a._st.version += 1


helpers["add_"] = _add_in_place

reciprocal = unary("reciprocal", lambda k, x: 1 / x, (lambda t, y: -t * (y * y),))


def _divided_into(self: Tensor, other: Any) -> Any:
    """``other / self``: a multiple of the reciprocal, rounded twice as in PyTorch.

    Shapes: tensors, or one and a number, which broadcast; the result has the common shape.
    Dtypes: every dtype; operands are promoted to one, integers and bool becoming the default dtype.
    Raises: TypeError for what is neither tensor nor number, RuntimeError for shapes that do not broadcast.

    >>> import flambeau as torch
    >>> 1 / torch.tensor([2, 4])
    tensor([0.5000, 0.2500])
    """
    return mul(self.reciprocal(), other) if isinstance(other, OPERANDS) else NotImplemented


setattr(Tensor, "__rtruediv__", _divided_into)
sqrt = unary("sqrt", lambda k, x: k.sqrt(x), (lambda t, y: t / (2 * y),))


def _inverse_root(x: Any) -> Any:
    return np.reciprocal(np.sqrt(x))


_inverse_root.rest_in_steps = True  # type: ignore[attr-defined]
rsqrt = unary("rsqrt", lambda k, x: k.rsqrt(x), (lambda t, y: -0.5 * t * power(y, 3),), impl=_inverse_root)
square = unary(
    "square", lambda k, x: x * x, (lambda t, x: 2 * t * x,), kind=SAME, grad_name="PowBackward0",
    impl=lambda x: np.multiply(x, x) if x.dtype.kind != "b" else x.astype(np.int64),
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ comparisons

eq = binary("eq", lambda k, a, b: a == b, kind=COMPARE, dunder="__eq__")
ne = binary("ne", lambda k, a, b: a != b, kind=COMPARE, dunder="__ne__", aliases=("not_equal",))
lt = binary("lt", lambda k, a, b: a < b, kind=COMPARE, dunder="__lt__", reject="c", aliases=("less",))
le = binary("le", lambda k, a, b: a <= b, kind=COMPARE, dunder="__le__", reject="c", aliases=("less_equal",))
gt = binary("gt", lambda k, a, b: a > b, kind=COMPARE, dunder="__gt__", reject="c", aliases=("greater",))
ge = binary(
    "ge", lambda k, a, b: a >= b, kind=COMPARE, dunder="__ge__", reject="c", aliases=("greater_equal",)
)

# ------------------------------------------------------------------------------------------------ selection

where_op: Any = pointwise_op(
    "where",
    lambda k, c, a, b: k.select(c, a, b),
    # select, never multiply by a mask: 0 * inf would put NaN into the branch that was not taken
    (None, lambda t, c: where_op(c, t, 0), lambda t, c: where_op(c, 0, t)),
    impl=lambda c, a, b: _select(c, a, b),
    order=(2, 1, 0),
)


_BITS: dict[Any, Any] = {np.dtype(np.float32): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.int64)}


@functools.lru_cache(maxsize=256)
def _zero_of(dtype: Any) -> Any:
    return np.zeros((), dtype)


def _constant(value: Any, dtype: Any) -> Any:
    """A number as an array without dims."""
    return _zero_of(dtype) if type(value) is int and value == 0 else np.asarray(value, dtype)


def _select(c: Any, a: Any, b: Any) -> Any:
    """`np.where` with Python scalars taking the arrays' dtype."""
    if c.size < 1000:
        dtype = a.dtype if isinstance(a, np.ndarray) else b.dtype
        return np.where(
            c,
            a if isinstance(a, np.ndarray) else _constant(a, dtype),
            b if isinstance(b, np.ndarray) else _constant(b, dtype),
        )
    if not isinstance(b, np.ndarray) and isinstance(a, np.ndarray) and a.shape == c.shape and a.shape:
        bits = _BITS.get(a.dtype)
        if bits is not None and type(b) is int and b == 0 and c.flags.c_contiguous:
            # and-ing with all ones or none selects without a branch: many times faster than np.where on mixed masks
            mask = np.negative(c.view(np.int8).astype(bits))
            a = np.ascontiguousarray(a)  # an expanded cotangent, as a sum sends back, has no steps
            return np.bitwise_and(a.view(bits), mask, out=mask).view(a.dtype)
    dtype = a.dtype if isinstance(a, (np.ndarray, np.generic)) else b.dtype
    return np.where(c, np.asarray(a, dtype), np.asarray(b, dtype))


def masked(t: Tensor, c: Tensor) -> Tensor:
    """`t` where `c` holds, else exactly zero."""
    return where_op(c, t, 0)  # type: ignore[no-any-return]


def tie_share(t: Tensor, loses: Tensor, ties: Tensor) -> Tensor:
    """The loser gets no gradient; equals take half each; beside a NaN both get all of it."""
    return where_op(loses, 0, where_op(ties, t * 0.5, t))  # type: ignore[no-any-return]


def _chosen_tangent(ts: Any, xs: Any, first: Tensor, ties: Tensor | None = None) -> Tensor:
    """The tangent of a choice between two, ``tb + weight * (ta - tb)``: rounded as in PyTorch."""
    weight = convert(first, dtype_of(xs[0]))
    if ties is not None:
        weight = where_op(ties, 0.5, weight)
    ta, tb = ts
    if tb is None:
        return weight * ta  # type: ignore[no-any-return]
    return tb + weight * (-tb if ta is None else ta - tb)  # type: ignore[no-any-return]


maximum = binary(
    "maximum",
    lambda k, a, b: k.max(a, b),
    (lambda t, a, b: tie_share(t, a < b, a == b), lambda t, a, b: tie_share(t, b < a, a == b)),
    jvp=lambda ts, xs, y: _chosen_tangent(ts, xs, xs[0] > xs[1], xs[0] == xs[1]),
    reject="c",
    inplace=False,
    numbers="none",
)
minimum = binary(
    "minimum",
    lambda k, a, b: k.min(a, b),
    (lambda t, a, b: tie_share(t, a > b, a == b), lambda t, a, b: tie_share(t, b > a, a == b)),
    jvp=lambda ts, xs, y: _chosen_tangent(ts, xs, xs[0] < xs[1], xs[0] == xs[1]),
    reject="c",
    inplace=False,
    numbers="none",
)
fmax = binary(
    "fmax",
    lambda k, a, b: k.fmax(a, b),
    (lambda t, a, b: masked(t, (a >= b) | isnan(b)), lambda t, a, b: masked(t, ~((a >= b) | isnan(b)))),
    jvp=lambda ts, xs, y: _chosen_tangent(ts, xs, (xs[0] > xs[1]) | isnan(xs[1])),
    reject="c",
    inplace=False,
    numbers="none",
)
fmin = binary(
    "fmin",
    lambda k, a, b: k.fmin(a, b),
    (lambda t, a, b: masked(t, (a <= b) | isnan(b)), lambda t, a, b: masked(t, ~((a <= b) | isnan(b)))),
    jvp=lambda ts, xs, y: _chosen_tangent(ts, xs, (xs[0] <= xs[1]) | isnan(xs[1])),
    reject="c",
    inplace=False,
    numbers="none",
)

# ------------------------------------------------------------------------------------------------ exponentials

exp = unary("exp", lambda k, x: k.exp(x), (lambda t, y: t * y,))
exp2 = unary("exp2", lambda k, x: k.exp2(x), (lambda t, y: t * y * math.log(2),), aliases=("special_exp2",))
expm1 = unary("expm1", lambda k, x: k.expm1(x), (lambda t, y: t * (y + 1),), aliases=("special_expm1",))
log = unary("log", lambda k, x: k.log(x), (lambda t, x: t / x,))
log2 = unary("log2", lambda k, x: k.log2(x), (lambda t, x: t / (x * math.log(2)),))
log10 = unary("log10", lambda k, x: k.log10(x), (lambda t, x: t / (x * math.log(10)),))
log1p = unary("log1p", lambda k, x: k.log1p(x), (lambda t, x: t / (x + 1),), aliases=("special_log1p",), grad_name="Log1PBackward0")  # fmt: skip


def _pow_exponent_tangent(t: Tensor, a: Any, b: Any, y: Tensor) -> Tensor:
    """d(a**b)/db = a**b log a, with 0**b (b >= 0) contributing nothing."""
    if isinstance(a, Tensor):
        zero = (
            (a == 0) & (b.real >= 0 if b._a.dtype.kind == "c" else b >= 0)
            if isinstance(b, Tensor)
            else a == 0
        )
        return where_op(zero, 0, t * (y * log(where_op(zero, 1, a))))  # type: ignore[no-any-return]
    if a == 0:
        return masked(-t * y, b < 0)
    if isinstance(a, complex) or a < 0 and y._a.dtype.kind == "c":
        return t * (y * complex(np.log(complex(a))))  # type: ignore[no-any-return]
    return t * (y * (math.log(a) if a > 0 else math.nan))  # type: ignore[no-any-return]


def _pow_base_tangent(t: Tensor, a: Any, b: Any) -> Tensor:
    if not isinstance(b, Tensor):
        if b == 0:
            return _zeros(t)
        if b == 2:
            return t * (a * 2)  # type: ignore[no-any-return]
        return t * (b * power(a, b - 1))  # type: ignore[no-any-return]
    return where_op(b == 0, 0, t * (b * power(a, b - 1)))  # type: ignore[no-any-return]


def _pow(a: Any, b: Any) -> Any:
    """Powers with the small exponents as multiplications, as PyTorch computes them.

    Raises: RuntimeError for integers to a negative number.
    """
    if isinstance(b, np.ndarray) and not isinstance(a, (np.ndarray, np.generic)):
        a = np.asarray(a, b.dtype)  # a number takes the tensor's dtype
    if not isinstance(b, np.ndarray) or b.ndim == 0 and b.dtype.kind in "fiu":
        e = b.item() if isinstance(b, (np.ndarray, np.generic)) else b
        kind = a.dtype.kind if isinstance(a, (np.ndarray, np.generic)) else ""
        if kind == "b" and type(b) is bool:
            return a.copy() if b else np.ones_like(a)
        if kind in "biu" and kind and type(b) is int and b < 0:
            raise RuntimeError(
                f"Integers to negative integer powers are not allowed: {a.dtype} ** {b}. Convert to floating point first."
            )
        if e == 2:
            return np.multiply(a, a)
        if e == 3:
            return a * a * a
        if kind in "fcV" and kind:
            if e == 0.5:
                return np.sqrt(a)
            if e == 1:
                return +a
            if e == -1:
                return np.reciprocal(a)
            if e == -2:
                return np.reciprocal(a * a)
            if e == -0.5:
                return np.reciprocal(np.sqrt(a))
    if getattr(b, "dtype", np.dtype(float)).kind in "iu" or isinstance(b, int):
        if getattr(a, "dtype", np.dtype(int)).kind in "iu":
            return _integer_pow(np.asarray(a), np.asarray(b))
    return np.power(a, b)


def _pow_halves(a: Any, b: Any) -> Any:
    """`_pow`, where 16-bit floats are rounded once; bfloat16 at each step of a cube or inverse square, as PyTorch."""
    if is_half(a) or is_half(b):
        if is_half(a) and a.dtype.kind == "V" and (not isinstance(b, np.ndarray) or not b.ndim):
            if b == 3:
                return a * a * a
            if b == -2:
                return np.reciprocal(a * a)
        dtype = a.dtype if is_half(a) else b.dtype
        r = np.asarray(_pow(*[x.astype(np.float32) if is_half(x) else x for x in (a, b)]))
        return r.astype(dtype) if r.dtype.kind == "f" else r
    return _pow(a, b)


_pow_halves.knows_halves = True  # type: ignore[attr-defined]


def _integer_pow(a: Any, b: Any) -> Any:
    """Integer powers; a negative exponent gives 1 for 1, +-1 for -1 and 0 otherwise, as PyTorch does."""
    dtype = np.result_type(a, b)
    negative = b < 0
    r = np.power(a.astype(dtype), np.where(negative, 0, b).astype(dtype))
    if negative.any():
        unit = np.where(a == 1, 1, np.where(a == -1, np.where(b % 2 == 0, 1, -1), 0))
        r = np.where(negative, unit, r)
    return r.astype(dtype)


_pow_binary = binary(
    "pow",
    lambda k, a, b: k.pow(a, b),
    (_pow_base_tangent, _pow_exponent_tangent),
    impl=_pow_halves,
    dunder="__pow__",
    tensor_name="PowBackward1",
    reflected_name=("PowBackward2", "PowBackward1"),
    second="exponent",
)
power: Any = _pow_binary

# ------------------------------------------------------------------------------------------------ trigonometric

sin = unary("sin", lambda k, x: k.sin(x), (lambda t, x: t * cos(x),))
cos: Any = unary("cos", lambda k, x: k.cos(x), (lambda t, x: -t * sin(x),))
tan = unary("tan", lambda k, x: k.tan(x), (lambda t, y: t * (power(y, 2) + 1),))
asin = unary("asin", lambda k, x: k.arcsin(x), (lambda t, x: t * rsqrt(-x * x + 1),), aliases=("arcsin",))
acos = unary("acos", lambda k, x: k.arccos(x), (lambda t, x: t * -rsqrt(-x * x + 1),), aliases=("arccos",))
atan = unary("atan", lambda k, x: k.arctan(x), (lambda t, x: t / (x * x + 1),), aliases=("arctan",))
sinh = unary("sinh", lambda k, x: k.sinh(x), (lambda t, x: t * cosh(x),))
cosh: Any = unary("cosh", lambda k, x: k.cosh(x), (lambda t, x: t * sinh(x),))
tanh_slope: Any = pointwise_op(
    "tanh_slope",
    lambda k, t, y: t * (1 - y * y),
    (lambda s, y: tanh_slope(s, y), lambda s, t, y: s * (-2 * y * t)),
    grad_name="TanhBackwardBackward0",
)
tanh = unary("tanh", lambda k, x: k.tanh(x), (lambda t, y: tanh_slope(t, y),))
asinh = unary(
    "asinh", lambda k, x: k.arcsinh(x), (lambda t, x: t * rsqrt(power(x, 2) + 1),), aliases=("arcsinh",)
)


def _acosh_tangent(t: Tensor, x: Tensor) -> Tensor:
    if x._a.dtype.kind == "c":  # sqrt(x * y) is not sqrt(x) * sqrt(y) there
        return t * (rsqrt(x + 1) * rsqrt(x - 1))  # type: ignore[no-any-return]
    return t * rsqrt(x * x - 1)  # type: ignore[no-any-return]


acosh = unary("acosh", lambda k, x: k.arccosh(x), (_acosh_tangent,), aliases=("arccosh",))
atanh = unary("atanh", lambda k, x: k.arctanh(x), (lambda t, x: t / (1 - power(x, 2)),), aliases=("arctanh",))


def _turned(ta: Tensor | None, tb: Tensor | None, a: Tensor, b: Tensor) -> Any:
    """``b ta - a tb``."""
    parts = [x for x in (None if tb is None else -a * tb, None if ta is None else b * ta) if x is not None]
    return functools.reduce(helpers["add"], parts)


def _squared_radius(a: Tensor, b: Tensor) -> Tensor:
    """``a**2 + b**2``, and 1 at the origin, where the derivatives of the angle are taken as 0."""
    r = a * a + b * b
    return where_op(r == 0, 1, r)  # type: ignore[no-any-return]


atan2 = binary(
    "atan2",
    lambda k, a, b: k.arctan2(a, b),
    (
        lambda t, a, b: t * b * reciprocal(_squared_radius(a, b)),
        lambda t, a, b: t * -a * reciprocal(_squared_radius(a, b)),
    ),
    jvp=lambda ts, xs, y: _turned(*ts, *xs) / (power(xs[0], 2) + power(xs[1], 2)),
    ordered=False,
    kind=FLOAT,
    reject="c",
    aliases=("arctan2",),
    numbers="none",
)
hypot = binary(
    "hypot",
    lambda k, a, b: k.hypot(a, b),
    (lambda t, a, y: t * a / y, lambda t, b, y: t * b / y),
    reject="c",
    numbers="none",
)
sigmoid_slope: Any = pointwise_op(
    "sigmoid_slope",
    lambda k, t, y: t * (1 - y) * y,
    (lambda s, y: sigmoid_slope(s, y), lambda s, t, y: s * t * (-2 * y + 1)),
    grad_name="SigmoidBackwardBackward0",
)
sigmoid = unary(
    "sigmoid",
    lambda k, x: 1 / (1 + k.exp(-x)),
    (lambda t, y: sigmoid_slope(t, y),),
    aliases=("special_expit",),
)

# ------------------------------------------------------------------------------------------------ rounding and signs

_zero = (lambda t: _zeros(t),)


def _round_kind(name: str) -> Any:
    """floor, ceil, trunc and rint leave integers as they are."""
    ufunc = getattr(np, name)
    return lambda x: x.copy() if x.dtype.kind in "bui" else ufunc(x)


floor = unary("floor", lambda k, x: k.floor(x), _zero, kind=SAME, impl=_round_kind("floor"), reject="cb")
ceil = unary("ceil", lambda k, x: k.ceil(x), _zero, kind=SAME, impl=_round_kind("ceil"), reject="cb")
trunc = unary(
    "trunc",
    lambda k, x: k.trunc(x),
    _zero,
    kind=SAME,
    impl=_round_kind("trunc"),
    reject="cb",
    aliases=("fix",),
)
rint = unary("rint", lambda k, x: k.round(x), _zero, kind=SAME, impl=_round_kind("rint"), reject="cb", method=False, function=False, grad_name="RoundBackward0")  # fmt: skip
frac = unary("frac", lambda k, x: x - k.trunc(x), (lambda t: t,), kind=SAME, reject="cbui")


def _sign(x: Any) -> Any:
    if x.dtype.kind == "b":
        return x.copy()
    y = np.sign(x)
    return (
        np.where(x == x, y, x.dtype.type(0)) if x.dtype.kind in "fV" else y
    )  # NaN has sign 0, as in PyTorch


sign = unary("sign", lambda k, x: k.sign(x), _zero, kind=SAME, impl=_sign, reject="c")  # fmt: skip
signbit = unary("signbit", lambda k, x: k.signbit(x), kind=COMPARE, impl=lambda x: x < 0 if x.dtype.kind in "bui" else np.signbit(x), reject="c", inplace=False)  # fmt: skip


def _abs_tangent(t: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if x._a.dtype.kind == "c":
        return real(conj(sgn(x)) * t)
    return t * sgn(x)  # type: ignore[no-any-return]


def _abs_vjp(g: Tensor, x: Tensor) -> Tensor:
    return g * sgn(x)  # type: ignore[no-any-return]


abs = unary(
    "abs",
    lambda k, x: k.abs(x),
    (_abs_tangent,),
    vjp=(_abs_vjp,),
    kind=SAME,
    aliases=("absolute",),
    reject="b",
)
setattr(Tensor, "__abs__", abs)


def _sgn(x: Any) -> Any:
    if x.dtype.kind != "c":
        return _sign(x)
    size = np.abs(x)
    return np.where(size == 0, 0, x / np.where(size == 0, 1, size)).astype(x.dtype)


def _sgn_tangent(t: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if x._a.dtype.kind != "c":
        return _zeros(t)
    size = abs(x)
    safe = where_op(size == 0, 1, size)
    # d sgn = (t - sgn * Re(conj(sgn) t)) / |x|
    return where_op(size == 0, 0, (t - y * real(conj(y) * t)) / safe)  # type: ignore[no-any-return]


sgn = unary("sgn", lambda k, x: k.sgn(x), (_sgn_tangent,), vjp=(_sgn_tangent,), impl=_sgn, kind=SAME)

# ------------------------------------------------------------------------------------------------ complex

conj_op: Any = pointwise_op(
    "conj", lambda k, x: k.conj(x), (lambda t: conj_op(t),), vjp=(lambda g: conj_op(g),), impl=np.conjugate
)


def conj(x: Tensor) -> Tensor:
    """The complex conjugate; real tensors are returned as they are."""
    return conj_op(x) if x._a.dtype.kind == "c" else x


def _complex(a: Any, b: Any) -> Any:
    out = np.empty(np.broadcast_shapes(np.shape(a), np.shape(b)), np.result_type(a, np.complex64))
    out.real = a
    out.imag = b
    return out


complex_op: Any = pointwise_op(
    "complex",
    lambda k, a, b: k.complex(a, b),
    (lambda t: complex_op(t, _zeros(t)), lambda t: complex_op(_zeros(t), t)),
    vjp=(lambda g: real(g), lambda g: imag(g)),
    impl=_complex,
)


def _part(name: str) -> Any:
    def impl(x: Any) -> Any:
        return getattr(x, name)

    return impl


def _zeros(x: Tensor) -> Tensor:
    return base.full(tuple(x._a.shape), 0, x._a.dtype)


def _real_inverse(g: Tensor, x_meta: Any) -> Tensor:
    return complex_op(g, _zeros(g)) if x_meta.dtype.kind == "c" else g


def _imag_inverse(g: Tensor, x_meta: Any) -> Tensor:
    return complex_op(_zeros(g), g)  # type: ignore[no-any-return]


from ..core.families import view_op  # noqa: E402

real_op = view_op(_part("real"), adjoint=_real_inverse, name="real", grad_name="SelectBackward0")
imag_op = view_op(_part("imag"), adjoint=_imag_inverse, name="imag", grad_name="SelectBackward0")


def real(x: Tensor) -> Tensor:
    """The real part, as a view; real tensors are returned as they are."""
    return real_op(x) if x._a.dtype.kind == "c" else x


def imag(x: Tensor) -> Tensor:
    """The imaginary part, as a view."""
    return imag_op(x)  # type: ignore[no-any-return]


def _angle_tangent(t: Tensor, x: Tensor) -> Tensor:
    if x._a.dtype.kind != "c":
        return _zeros(t)
    return imag(t * conj(x)) / (real(x) * real(x) + imag(x) * imag(x))  # type: ignore[no-any-return]


def _angle_vjp(g: Tensor, x: Tensor) -> Tensor:
    if x._a.dtype.kind != "c":
        return where_op(isnan(x), x, g * 0)  # type: ignore[no-any-return]
    size = real(x) * real(x) + imag(x) * imag(x)
    w = x / size
    return g * complex_op(-imag(w), real(w))  # type: ignore[no-any-return]


angle = unary(
    "angle",
    lambda k, x: k.angle(x),
    (_angle_tangent,),
    vjp=(_angle_vjp,),
    impl=lambda x: np.where(np.isnan(x), x, np.where(x < 0, np.pi, 0).astype(x.dtype)) if x.dtype.kind != "c" else np.angle(x).astype(x.real.dtype),
    inplace=False,
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ tests of a value

isnan: Any = unary("isnan", lambda k, x: k.isnan(x), kind=COMPARE, impl=lambda x: np.isnan(x) if x.dtype.kind in "fcV" else np.zeros(x.shape, bool), inplace=False)  # fmt: skip
isinf = unary("isinf", lambda k, x: k.isinf(x), kind=COMPARE, impl=lambda x: np.isinf(x) if x.dtype.kind in "fcV" else np.zeros(x.shape, bool), inplace=False)  # fmt: skip
isfinite = unary("isfinite", lambda k, x: k.isfinite(x), kind=COMPARE, impl=lambda x: np.isfinite(x) if x.dtype.kind in "fcV" else np.ones(x.shape, bool), inplace=False)  # fmt: skip
isposinf = unary("isposinf", lambda k, x: k.isposinf(x), kind=COMPARE, impl=lambda x: x == np.inf, inplace=False, reject="c")  # fmt: skip
isneginf = unary("isneginf", lambda k, x: k.isneginf(x), kind=COMPARE, impl=lambda x: x == -np.inf, inplace=False, reject="c")  # fmt: skip

# ------------------------------------------------------------------------------------------------ logic and bits

logical_not = unary("logical_not", lambda k, x: k.not_(x), kind=COMPARE)
logical_and = binary("logical_and", lambda k, a, b: k.logical_and(a, b), kind=COMPARE, numbers="none")
logical_or = binary("logical_or", lambda k, a, b: k.logical_or(a, b), kind=COMPARE, numbers="none")
logical_xor = binary("logical_xor", lambda k, a, b: k.logical_xor(a, b), kind=COMPARE, numbers="none")
bitwise_and = binary("bitwise_and", lambda k, a, b: a & b, dunder="__and__", commutes=True, reject="fcV")
bitwise_or = binary("bitwise_or", lambda k, a, b: a | b, dunder="__or__", commutes=True, reject="fcV")
bitwise_xor = binary("bitwise_xor", lambda k, a, b: a ^ b, dunder="__xor__", commutes=True, reject="fcV")
bitwise_not = unary("bitwise_not", lambda k, x: ~x, kind=SAME, reject="fcV")
setattr(Tensor, "__invert__", bitwise_not)


def _shift(left: bool) -> Any:
    """Shifts by less than 0 or at least the width give 0 (or the sign), where C leaves them undefined."""

    def impl(a: Any, b: Any) -> Any:
        dtype = np.result_type(a, b)  # before they are arrays: a Python number takes the other's dtype
        a, b = np.asarray(a), np.asarray(b)
        bits = dtype.itemsize * 8
        bad = (b < 0) | (b >= bits)
        safe = np.where(bad, 0, b).astype(dtype)
        if left:
            return np.where(bad, 0, np.left_shift(a.astype(dtype), safe)).astype(dtype)
        return np.where(bad, np.where(a < 0, -1, 0), np.right_shift(a.astype(dtype), safe)).astype(dtype)

    return impl


bitwise_left_shift = binary("bitwise_left_shift", lambda k, a, b: k.left_shift(a, b), impl=_shift(True), dunder="__lshift__", reject="bfcV")  # fmt: skip
bitwise_right_shift = binary("bitwise_right_shift", lambda k, a, b: k.right_shift(a, b), impl=_shift(False), dunder="__rshift__", reject="bfcV")  # fmt: skip

# ------------------------------------------------------------------------------------------------ remainders


def _integer_divisor(b: Any) -> None:
    if (
        getattr(b, "dtype", None) is not None
        and b.dtype.kind in "bui"
        and not np.all(b)
        or type(b) is int
        and b == 0
    ):
        raise RuntimeError("ZeroDivisionError: integer division or modulo by zero")


def _remainder(a: Any, b: Any) -> Any:
    if getattr(a, "dtype", b if not isinstance(b, int) else np.dtype(int)) is not None:
        x = a if isinstance(a, np.ndarray) else b
        if x.dtype.kind in "bui":
            _integer_divisor(b)
    y = divided("remainder", a, b)
    return np.remainder(a, b) if y is None else y


def _fmod(a: Any, b: Any) -> Any:
    x = a if isinstance(a, np.ndarray) else b
    if x.dtype.kind in "bui":
        _integer_divisor(b)
    return np.fmod(a, b)


def _floor_divide(a: Any, b: Any) -> Any:
    x = a if isinstance(a, np.ndarray) else b
    if x.dtype.kind in "bui":
        _integer_divisor(b)
    y = divided("floor_divide", a, b)
    return np.floor_divide(a, b) if y is None else y


def _trunc_divide(a: Any, b: Any) -> Any:
    if is_half(a) or is_half(b):  # PyTorch rounds the quotient first
        half = a.dtype if is_half(a) else b.dtype
        wide = [v.astype(np.float32) if is_half(v) else v for v in (a, b)]
        if not isinstance(b, np.ndarray):
            return np.trunc(np.true_divide(*wide)).astype(half)  # but not by a number
        return np.trunc(np.asarray(np.true_divide(*wide), np.float32).astype(half).astype(np.float32)).astype(
            half
        )
    x = a if isinstance(a, np.ndarray) else b
    if x.dtype.kind not in "bui":
        return np.trunc(np.true_divide(a, b))
    _integer_divisor(b)
    q = np.floor_divide(a, b)
    return q + ((np.remainder(a, b) != 0) & (q < 0)).astype(q.dtype)


_trunc_divide.knows_halves = True  # type: ignore[attr-defined]
remainder = binary(
    "remainder",
    lambda k, a, b: k.remainder(a, b),
    (lambda t: t, lambda t, a, b: -t * div_floor(a, b)),
    impl=_remainder,
    dunder="__mod__",
    reject="c",
    tensor_name="RemainderBackward1",
)
fmod = binary(
    "fmod",
    lambda k, a, b: k.fmod(a, b),
    (lambda t: t, lambda t, a, b: -t * div_trunc(a, b)),
    impl=_fmod,
    reject="c",
    numbers="other",
    tensor_name="FmodBackward1",
)
div_floor: Any = binary("div_floor", lambda k, a, b: k.floor_divide(a, b), (lambda t: _zeros(t), lambda t: _zeros(t)), impl=_floor_divide, reject="c", method=False, function=False, inplace=False)  # fmt: skip
div_trunc: Any = binary("div_trunc", lambda k, a, b: k.trunc_divide(a, b), (lambda t: _zeros(t), lambda t: _zeros(t)), impl=_trunc_divide, reject="c", method=False, function=False, inplace=False)  # fmt: skip

# ------------------------------------------------------------------------------------------------ other

copysign = binary(
    "copysign",
    lambda k, a, b: k.copysign(a, b),
    (lambda t, a, y: t * where_op(a == 0, 0, y / where_op(a == 0, 1, a)), lambda t: _zeros(t)),
    kind=FLOAT,
    reject="c",
    numbers="other",
    grad_name="CopysignBackward1",
    tensor_name="CopysignBackward0",
)
nextafter = binary(
    "nextafter",
    lambda k, a, b: k.nextafter(a, b),
    (lambda t, a, b: where_op(a != b, t, 0), lambda t: _zeros(t)),
    reject="c",
    numbers="none",
)
gcd = binary("gcd", lambda k, a, b: k.gcd(a, b), reject="fcbV", numbers="none")
lcm = binary("lcm", lambda k, a, b: k.lcm(a, b), reject="fcbV", numbers="none")
heaviside = binary(
    "heaviside",
    lambda k, a, b: k.heaviside(a, b),
    impl=lambda a, b: np.where(a == 0, b, (a > 0).astype(getattr(b, "dtype", np.dtype(float)))),
    reject="c",
    numbers="none",
    second="values",
)

# One operation and not a composite: at p = 0 and 1, where a logarithm is infinite and clamped, the product of the steps'
# derivatives would be 0/0.  Their sum is (p - t) / (p (1 - p)), which PyTorch keeps finite by a smallest denominator.
binary_entropy_op: Any = pointwise_op(
    "binary_entropy",
    lambda k, p, t: (t - 1) * k.max(k.log1p(-p), -100.0) - t * k.max(k.log(p), -100.0),
    (
        lambda g, p, t: g * ((p - t) / _at_least(p * (1 - p), 1e-12)),
        lambda g, p: g * (_at_least(log1p(-p), -100.0) - _at_least(log(p), -100.0)),
    ),
)


def _at_least(x: Tensor, smallest: float) -> Any:
    return where_op(x > smallest, x, smallest)


def _new_values(a: Any, b: Any) -> Any:
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    return b if np.shape(b) == shape else np.broadcast_to(b, shape)  # the latter cannot be written to


# Writing over a tensor: the old values get no gradient, the new ones all of it.
overwrite_op = pointwise_op(
    "overwrite",
    lambda k, a, b: b,
    (lambda t: _zeros(t), lambda t: t),
    impl=_new_values,
    grad_name="torch::autograd::CopyBackwards",
)
helpers["overwrite"] = lambda old, new: overwrite_op(old, new)
REGISTRY["where"] = where_op
