"""Activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...core.elementwise import unary
from ...core.families import pointwise_op, random_op, wide
from ...core.fusion import fused
from ...core.grad_names import rename, shows
from ...core.promotion import SAME
from ...core.public import half_in_single, inplace_form, public, store_out
from ...core.state import tls
from ...core.tensor import Tensor
from ...core.where import warn
from ...ops.activation import log_softmax as _log_softmax
from ...ops.activation import relu as _relu
from ...ops.activation import softmax as _softmax
from ...ops.args import dtype_of, wrap_dim
from ...ops.layouts import in_own_order
from ...ops.random import default_generator, draw
from ...prims import pointwise as pw
from ...prims.limits import hard_sigmoid_op
from ...prims.logistic import logsigmoid_op
from ...prims.pointwise import exp, log1p, power, where_op
from ...runtime import distributions


def _refuse(x: Tensor, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")


def _floating(x: Tensor, name: str) -> None:
    _refuse(x, name)
    if x._a.dtype.kind in "bui":
        raise NotImplementedError(f'"{name}" not implemented for {dtype_of(x)}')


# What the nodes of an activation and of its form in place show.
SHOWN = {
    "hardtanh_": ("HardtanhBackward0", "HardtanhBackward0"),
    "leaky_relu_": ("LeakyReluBackward0", "LeakyReluBackward1"),
    "elu_": ("EluBackward0", "EluBackward1"),
    "selu_": ("EluBackward0", "EluBackward1"),
    "celu_": ("CeluBackward0", "CeluBackward1"),
    "hardsigmoid_": ("HardsigmoidBackward0", "HardsigmoidBackward0"),
    "hardswish_": ("HardswishBackward0", "HardswishBackward0"),
    "threshold_": ("ThresholdBackward0", "ThresholdBackward1"),
    "rrelu_": ("RreluWithNoiseBackward0", "RreluWithNoiseBackward1"),
}


def kept(x: Tensor, inplace: bool) -> Tensor:
    """`x`, or a copy for the gradients if it is about to be overwritten."""
    if not isinstance(x, Tensor):
        raise TypeError(f"argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    return x.clone() if inplace and x.requires_grad else x


def in_place(x: Tensor, y: Tensor, flag: bool, name: str) -> Tensor:
    """The result, written into the input if asked; its node is named after the function that `name` is a form of."""
    if y._node is not None and name in SHOWN and not tls.stack:
        rename(y, SHOWN[name][flag], (x,))
    if not flag:
        return y
    from ...core import inplace

    return inplace.write(x, y, name)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(x, 0)``.

    >>> import flambeau as torch
    >>> torch.nn.functional.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    if inplace and not isinstance(input, Tensor):
        raise TypeError(f"relu_(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return input.relu_() if inplace else _relu(input)  # type: ignore[no-any-return]


def relu_(input: Tensor) -> Tensor:
    """``relu`` in place."""
    return input.relu_()  # type: ignore[no-any-return]


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Limited to [min_val, max_val]; the gradient passes strictly inside.

    Raises: ValueError when min_val > max_val.
    """
    _refuse(input, "hardtanh")
    if isinstance(input, Tensor) and input._a.dtype.kind == "u" and min(min_val, max_val) < 0:
        raise RuntimeError(
            f"cannot do hardtanh on an unsigned type with negative limits ({min_val}, {max_val})"
        )
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if input._a.dtype.kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    return in_place(input, _hardtanh(kept(input, inplace), min_val, max_val), inplace, "hardtanh_")


@fused
def _hardtanh(x: Tensor, low: float, high: float) -> Tensor:
    return where_op(x <= low, low, where_op(x >= high, high, x))  # type: ignore[no-any-return]


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``hardtanh`` in place."""
    return hardtanh(input, min_val, max_val, True)


@fused
def _leaky(x: Tensor, slope: float) -> Tensor:
    return where_op(x > 0, x, x * slope)  # type: ignore[no-any-return]


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, ``negative_slope * x`` elsewhere."""
    _floating(input, "leaky_relu")
    return in_place(input, _leaky(kept(input, inplace), negative_slope), inplace, "leaky_relu_")


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``leaky_relu`` in place."""
    return leaky_relu(input, negative_slope, True)


# exp(x) - 1 with a derivative from x: that from the result, 1 + y, loses all digits where y is near -1
_expm1 = unary(
    "elu_expm1",
    lambda k, x: k.expm1(x),
    (lambda t, x: t * exp(x),),
    method=False,
    inplace=False,
    function=False,
    grad_name="EluBackward0",
)


@fused
@half_in_single
def _elu(x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    negative = x <= 0
    z = where_op(negative, x * input_scale, 0) if input_scale != 1 else where_op(negative, x, 0)
    low = _expm1(z) * (alpha * scale)
    return where_op(negative, low, x * scale if scale != 1 else x)  # type: ignore[no-any-return]


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, ``alpha * (exp(x) - 1)`` elsewhere."""
    _floating(input, "elu")
    return in_place(input, _elu(kept(input, inplace), alpha, 1.0, 1.0), inplace, "elu_")


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``elu`` in place."""
    return elu(input, alpha, True)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@public(inplace=True, grad_name="EluBackward0", inplace_name="EluBackward1")
def _selu(input: Tensor) -> Tensor:
    """``nn.functional.selu``, without `inplace`."""
    _floating(input, "selu")
    return _elu(input, SELU_ALPHA, SELU_SCALE, 1.0)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled ELU with the constants of self-normalising networks."""
    return in_place(input, _selu(kept(input, inplace)), inplace, "selu_")


def selu_(input: Tensor) -> Tensor:
    """``selu`` in place."""
    return selu(input, True)


@public(inplace=True, grad_name="CeluBackward0", inplace_name="CeluBackward1")
def _celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``nn.functional.celu``, without `inplace`."""
    _floating(input, "celu")
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, alpha, 1.0, 1.0 / alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Continuously differentiable ELU."""
    return in_place(input, _celu(kept(input, inplace), alpha), inplace, "celu_")


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``celu`` in place."""
    return celu(input, alpha, True)


SQRT_HALF, SQRT_2_OVER_PI = math.sqrt(0.5), math.sqrt(2 / math.pi)

PHI_0 = 1 / math.sqrt(2 * math.pi)  # the normal density at 0
CUBIC = 0.044715


def _gelu_slope_body(k: Any, x: Any) -> Any:
    return 0.5 * (1 + k.erf(x * SQRT_HALF)) + x * (k.exp(-0.5 * x * x) * PHI_0)


def _gelu_tanh_slope_body(k: Any, x: Any) -> Any:
    u = k.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))
    return 0.5 * (1 + u) + 0.5 * x * ((1 - u * u) * (SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)))


def _gelu_tanh_bend(x: Tensor) -> Tensor:
    """The second derivative."""
    u = pw.tanh((x + CUBIC * x * x * x) * SQRT_2_OVER_PI)
    d = SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)
    return (1 - u * u) * (d + 0.5 * x * (6 * CUBIC * SQRT_2_OVER_PI * x - 2 * u * d * d))  # type: ignore[no-any-return]


def _silu_slope_body(k: Any, x: Any) -> Any:
    s = 1 / (1 + k.exp(-x))
    return s * (1 + x * (1 - s))


def _silu_bend(x: Tensor) -> Tensor:
    """The second derivative."""
    s = pw.sigmoid(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))  # type: ignore[no-any-return]


def _slope(name: str, body: Any, tangent: Any, grad_name: str) -> Any:
    """A derivative as an elementwise operation: one pass where the formula has many."""
    return unary(
        name,
        body,
        (tangent,),
        kind=SAME,
        method=False,
        inplace=False,
        function=False,
        grad_name=grad_name,
    )


_gelu_slope = _slope(
    "gelu_erf_slope",
    _gelu_slope_body,
    lambda t, x: t * (exp(-0.5 * x * x) * (2 - x * x) * PHI_0),
    "GeluBackwardBackward0",
)
_gelu_tanh_slope = _slope(
    "gelu_tanh_slope",
    _gelu_tanh_slope_body,
    lambda t, x: t * _gelu_tanh_bend(x),
    "GeluBackwardBackward0",
)
_silu_slope = _slope("silu_slope", _silu_slope_body, lambda t, x: t * _silu_bend(x), "SiluBackwardBackward0")


def _half_gelu_bend(s: Tensor, g: Tensor, x: Tensor) -> Tensor:
    square = x * x
    density = PHI_0 * exp(-0.5 * square)
    return s * g * (2 * density - square * density)  # type: ignore[no-any-return]


def _half_gelu_tanh_bend(s: Tensor, g: Tensor, x: Tensor) -> Tensor:
    inner = SQRT_2_OVER_PI * (x + CUBIC * power(x, 3))
    u, sech = pw.tanh(inner), 1 / pw.cosh(inner)
    f, h = 0.5 * x, SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)
    of_tanh = 1 - u * u
    bent = f * h * ((2 * sech) * (-sech * u) * h)
    return s * g * (2 * (0.5 * of_tanh * h) + bent + f * of_tanh * (6 * CUBIC * x * SQRT_2_OVER_PI))  # type: ignore[no-any-return]


# The product with the cotangent is part of these: 16-bit gradients are rounded once.
_half_gelu_slope: Any = pointwise_op(
    "half_gelu_slope",
    lambda k, g, x: g * _gelu_slope_body(k, x),
    (lambda s, x: _half_gelu_slope(s, x), _half_gelu_bend),
    grad_name="GeluBackwardBackward0",
)
_half_gelu_tanh_slope: Any = pointwise_op(
    "half_gelu_tanh_slope",
    lambda k, g, x: g * _gelu_tanh_slope_body(k, x),
    (lambda s, x: _half_gelu_tanh_slope(s, x), _half_gelu_tanh_bend),
    grad_name="GeluBackwardBackward0",
)


def _gelu_tangent(t: Tensor, x: Tensor) -> Tensor:
    return _half_gelu_slope(t, x) if x._a.dtype.itemsize == 2 else t * _gelu_slope(x)  # type: ignore[no-any-return]


def _gelu_tanh_tangent(t: Tensor, x: Tensor) -> Tensor:
    return _half_gelu_tanh_slope(t, x) if x._a.dtype.itemsize == 2 else t * _gelu_tanh_slope(x)  # type: ignore[no-any-return]


_gelu_erf = unary(
    "gelu_erf",
    lambda k, x: 0.5 * x * (1 + k.erf(x * SQRT_HALF)),
    (lambda t, x: _gelu_tangent(t, x),),
    method=False,
    inplace=False,
    function=False,
    reject="cbui",
    grad_name="GeluBackward0",
)
_gelu_tanh = unary(
    "gelu_tanh",
    lambda k, x: 0.5 * x * (1 + k.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x))),
    (lambda t, x: _gelu_tanh_tangent(t, x),),
    method=False,
    inplace=False,
    function=False,
    reject="cbui",
    grad_name="GeluBackward0",
)


def _out(y: Tensor, out: Tensor | None, name: str) -> Tensor:
    return y if out is None else store_out(out, y, name)


def gelu(input: Tensor, approximate: str = "none", *, out: Tensor | None = None) -> Tensor:
    """``x * Phi(x)``, or its tanh approximation (Hendrycks and Gimpel, 2016).

    Raises: RuntimeError for other values of approximate.
    """
    _refuse(input, "gelu")
    if approximate == "none":
        return _out(_gelu_erf(input), out, "gelu")
    if approximate == "tanh":
        return _out(_gelu_tanh(input), out, "gelu")
    raise RuntimeError("approximate argument must be either none or tanh.")


def _silu_tangent(t: Tensor, x: Tensor) -> Tensor:
    if x._a.dtype.itemsize == 2 and tls.grad:  # where derivatives may follow, PyTorch takes these steps
        s = pw.sigmoid(x)
        return t * s * (1.0 + x * (1.0 - s))  # type: ignore[no-any-return]
    return t * _silu_slope(x)  # type: ignore[no-any-return]


_silu = unary(
    "silu",
    lambda k, x: x / (1 + k.exp(-x)),
    (lambda t, x: _silu_tangent(t, x),),
    kind=SAME,
    method=False,
    inplace=False,
    function=False,
    reject="bui",
)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * sigmoid(x)``."""
    return _silu_in_place(input) if inplace else _silu(input)  # type: ignore[no-any-return]


_silu_in_place = inplace_form(_silu, "silu_")  # keeps a copy of the old values when gradients need them


@fused
@half_in_single
def _mish(x: Tensor) -> Tensor:
    return x * pw.tanh(_softplus(x, 1.0, 20.0))  # type: ignore[no-any-return]


def _half_mish_body(k: Any, t: Any, x: Any) -> Any:
    e = k.exp(-x)
    u = k.tanh(k.select(x > 20, x, k.log1p(k.exp(x))))
    return t * (u + x / (1 + e) * (1 - u * u))


def _half_mish_tangent(t: Tensor, x: Tensor) -> Tensor:
    if not tls.grad:
        return _half_mish_slope(t, x)  # type: ignore[no-any-return]
    u = pw.tanh(log1p(exp(x)))  # PyTorch's steps, where derivatives may follow
    return t * (u + x * pw.sigmoid(x) * (1.0 - u * u))  # type: ignore[no-any-return]


_half_mish_slope: Any = pointwise_op(
    "half_mish_slope",
    _half_mish_body,
    (lambda s, x: _half_mish_slope(s, x), lambda s, t, x: s * t * _mish_bend(x)),
)


def _mish_bend(x: Tensor) -> Tensor:
    """The second derivative."""
    s, u = pw.sigmoid(x), pw.tanh(_softplus(x, 1.0, 20.0))
    d = s * (1 - u * u)
    return d * (2 + x * (1 - s - 2 * s * u))  # type: ignore[no-any-return]


_half_mish: Any = pointwise_op(
    "half_mish",
    lambda k, x: x * k.tanh(k.select(x > 20, x, k.log1p(k.exp(x)))),
    (lambda t, x: _half_mish_tangent(t, x),),
)


@shows("MishBackward0")
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * tanh(softplus(x))`` (Misra, 2019)."""
    _floating(input, "mish")
    if inplace:
        return _mish_in_place(input)  # type: ignore[no-any-return]
    if input._a.dtype.itemsize == 2:
        return _half_mish(input)  # type: ignore[no-any-return]
    return _mish(input)


_mish_in_place = inplace_form(mish, "mish_")


@fused
@half_in_single
def _softplus(x: Tensor, beta: float, threshold: float) -> Tensor:
    z = x * beta
    linear = z > threshold
    return where_op(linear, x, log1p(exp(where_op(linear, 0, z))) / beta)  # type: ignore[no-any-return]


@shows("SoftplusBackward0")
def softplus(
    input: Tensor, beta: float = 1.0, threshold: float = 20.0, *, out: Tensor | None = None
) -> Tensor:
    """``log(1 + exp(beta * x)) / beta``, and x itself where beta * x > threshold."""
    _floating(input, "softplus")
    return _out(_softplus(input, beta, threshold), out, "softplus")


def _half_logsigmoid_bend(s: Tensor, t: Tensor, x: Tensor) -> Tensor:
    z = pw.sigmoid(x)
    return s * t * (z - 1) * z  # type: ignore[no-any-return]


_half_logsigmoid_slope: Any = pointwise_op(
    "half_logsigmoid_slope",
    lambda k, t, x: t / (1 + k.exp(x)),
    (lambda s, x: _half_logsigmoid_slope(s, x), _half_logsigmoid_bend),
    grad_name="LogSigmoidBackwardBackward0",
)
_half_logsigmoid: Any = pointwise_op(
    "half_logsigmoid",
    lambda k, x: k.min(x, 0) - k.log1p(k.exp(-k.abs(x))),
    (lambda t, x: _half_logsigmoid_slope(t, x),),
    grad_name="LogSigmoidBackward0",
)


@shows("LogSigmoidBackward0")
def logsigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``log(sigmoid(x))``, without overflow."""
    _floating(input, "logsigmoid")
    return _out(in_own_order(logistic_log(input)), out, "log_sigmoid")


def logistic_log(x: Tensor) -> Tensor:
    """`logsigmoid` that lies in memory as `x`."""
    form = _half_logsigmoid if x._a.dtype.itemsize == 2 else logsigmoid_op
    return form(x)  # type: ignore[no-any-return]


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x + 3, 0), 6) / 6``."""
    _floating(input, "hardsigmoid")
    return in_place(input, hard_sigmoid_op(kept(input, inplace)), inplace, "hardsigmoid_")


@fused
@half_in_single
def _hardswish(x: Tensor) -> Tensor:
    outside = (x <= -3) | (x >= 3)
    near = where_op(outside, 0, x)  # no infinity meets the slope of the middle
    return where_op(outside, where_op(x >= 3, x, x * 0), near * (near + 3) / 6)  # type: ignore[no-any-return]


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * hardsigmoid(x)``."""
    _floating(input, "hardswish")
    return in_place(input, _hardswish(kept(input, inplace)), inplace, "hardswish_")


@public(out=True, grad_name="HardshrinkBackward0")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x outside [-lambd, lambd], zero inside."""
    _floating(input, "hardshrink")
    return where_op((input >= -lambd) & (input <= lambd), 0, input)  # type: ignore[no-any-return]


@shows("SoftshrinkBackward0")
def softshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """x moved towards zero by lambd, zero inside [-lambd, lambd].

    Raises: RuntimeError for negative lambd.
    """
    _floating(input, "softshrink")
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return _out(_softshrink(input, lambd), out, "softshrink")


@half_in_single
def _softshrink(x: Tensor, lambd: float) -> Tensor:
    inside = (x >= -lambd) & (x <= lambd)
    return where_op(inside, x * 0, where_op(x > lambd, x - lambd, x + lambd))  # type: ignore[no-any-return]


def tanhshrink(input: Tensor) -> Tensor:
    """``x - tanh(x)``."""
    return input - pw.tanh(input)  # type: ignore[no-any-return]


def softsign(input: Tensor) -> Tensor:
    """``x / (1 + |x|)``."""
    return input / (input.abs() + 1)  # type: ignore[no-any-return]


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where larger than the threshold, `value` elsewhere."""
    _refuse(input, "threshold")
    return in_place(input, where_op(input <= threshold, value, input), inplace, "threshold_")


_threshold = threshold  # the next function has a parameter of that name


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """``threshold`` in place."""
    return _threshold(input, threshold, value, True)


def _rrelu_noise(x: Any, *, generator: Any, lower: float, upper: float) -> Any:
    return distributions.rrelu_noise(generator, x, lower, upper)


_rrelu_noise_op = random_op("random_rrelu", _rrelu_noise)


@public(inplace=True, inplace_name="RreluWithNoiseBackward1")
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Leaky ReLU with slopes drawn from [lower, upper) in training, their mean otherwise."""
    _floating(input, "rrelu")
    if not lower <= upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    if not training:
        y = where_op(input > 0, input, input * ((lower + upper) / 2))
        return in_place(input, y, inplace, "rrelu_")
    noise = _rrelu_noise_op(
        input.detach(), generator=default_generator, lower=float(lower), upper=float(upper)
    )
    return in_place(input, input * noise, inplace, "rrelu_")


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """``rrelu`` in place."""
    return rrelu(input, lower, upper, training, True)


@shows("GluBackward0")
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of a dim times the sigmoid of the second.

    Raises: RuntimeError for dims of odd size and 0-d tensors.
    """
    _floating(input, "glu")
    if not input._a.shape:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    d = wrap_dim(dim, len(input._a.shape))
    n = input._a.shape[d]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {d} is size {n}")
    a, b = input.split(n // 2, d) if n else (input, input)
    return _half_gated(a, b) if a._a.dtype.itemsize == 2 else _gated(a, b)


@fused
def _gated(a: Tensor, b: Tensor) -> Tensor:
    return a * pw.sigmoid(b)  # type: ignore[no-any-return]


# For 16-bit floats: rounded once, and in the gradients where PyTorch rounds.
def _bell(b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sigmoid of `b`, 1 minus it, and their product."""
    s = pw.sigmoid(b)
    rest = 1 - s
    return s, rest, s * rest


def _half_gate_curve(t: Tensor, g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    s, rest, bell = _bell(b)
    return t * a * g * (bell * rest - s * bell)  # type: ignore[no-any-return]


def _half_gate_values(g: Any, a: Any, b: Any) -> Any:
    s = wide((1 / (1 + np.exp(-wide(b)))).astype(b.dtype))
    return ((1 - s) * s * wide(g) * wide(a)).astype(b.dtype)


_half_gate_values.knows_halves = True  # type: ignore[attr-defined]
_half_gate_slope: Any = pointwise_op(
    "half_gate_slope",
    lambda k, g, a, b: g * a * k.exp(-b) / ((1 + k.exp(-b)) * (1 + k.exp(-b))),
    (
        lambda t, a, b: t * _half_gate_slope(a * 0 + 1, a, b),
        lambda t, g, b: t * g * _bell(b)[2],
        _half_gate_curve,
    ),
    impl=_half_gate_values,
)
_half_open: Any = pointwise_op(
    "half_gate_open",
    lambda k, g, b: g / (1 + k.exp(-b)),
    (lambda t, b: t * pw.sigmoid(b), lambda t, g, b: t * g * _bell(b)[2]),
)
_half_gated: Any = pointwise_op(
    "half_gated",
    lambda k, a, b: a / (1 + k.exp(-b)),
    (lambda t, b: _half_open(t, b), lambda t, a, b: _half_gate_slope(t, a, b)),
)


def _dim(name: str, nd: int, dim: int | None) -> int:
    if dim is None:
        warn(
            f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        )
        dim = 0 if nd in (0, 1, 3) else 1
    return dim


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` over a dim."""
    return _softmax(input, _dim("softmax", len(input._a.shape), dim), dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``log(softmax(x))`` over a dim."""
    return _log_softmax(input, _dim("log_softmax", len(input._a.shape), dim), dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``softmax(-x)`` over a dim."""
    return _softmax(-input, _dim("softmin", len(input._a.shape), dim), dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample of the Gumbel-softmax distribution (Jang et al., 2017); `hard` gives one-hot values, softly differentiated."""
    gumbels = -draw("exponential", tuple(logits._a.shape), logits._a.dtype, 1.0, like=logits).log()
    y = softmax((logits + gumbels) / tau, dim)
    if not hard:
        return y
    index = y.max(dim, keepdim=True)[1]
    one_hot = ops.zeros_like(logits).scatter_(dim, index, 1.0)
    return one_hot - y.detach() + y  # type: ignore[no-any-return]


def tanh(input: Tensor) -> Tensor:
    """``tanh(x)``."""
    return pw.tanh(input)  # type: ignore[no-any-return]


def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-x))``."""
    return pw.sigmoid(input)  # type: ignore[no-any-return]
