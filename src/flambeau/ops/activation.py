"""The activations that are also functions of `flambeau` and methods of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.elementwise import unary
from ..core.promotion import SAME, convert
from ..core.public import public
from ..core.tensor import Tensor
from ..prims.pointwise import where_op
from ..prims.softmax import log_softmax_op, softmax_op
from .args import as_dtype, dtype_of, wrap_dim

relu = unary(
    "relu",
    lambda k, x: k.max(x, 0),
    (lambda t, y: where_op(y <= 0, 0, t),),  # NaN is let through
    kind=SAME,
    impl=lambda x: np.maximum(x, x.dtype.type(0)),
    reject="cb",
)


@public(name="prelu", grad_name="PreluKernelBackward0")
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, ``weight * x`` elsewhere; one weight, or one for each channel (dim 1).

    Raises: RuntimeError for weights that fit neither.
    """
    if not isinstance(weight, Tensor):
        raise TypeError(f"prelu(): argument 'weight' must be Tensor, not {type(weight).__name__}")
    if weight._a.dtype != input._a.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {dtype_of(input)} and {dtype_of(weight)}"
        )
    s = tuple(input._a.shape)
    n = weight.numel()
    if n != 1:
        if not s:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = s[1] if len(s) > 1 else 1
        if channels != n:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {n} and channel size = {channels}."
            )
    if len(weight._a.shape) > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {len(weight._a.shape)}"
        )
    shape = (1,) * len(s) if n == 1 else (1, n, *(1,) * (len(s) - 2))
    return where_op(input > 0, input, input * weight.reshape(shape))  # type: ignore[no-any-return]


def _over(op: Any, x: Tensor, dim: Any, dtype: Any, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    if dtype is not None:
        x = convert(x, as_dtype(dtype))
    if x._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"{name}_kernel_impl" not implemented for {dtype_of(x)}')
    d = wrap_dim(dim, len(x._a.shape))
    if not x._a.shape:
        return op(x.reshape(1), dim=0).reshape(())  # type: ignore[no-any-return]
    return op(x, dim=d)  # type: ignore[no-any-return]


@public(out=True, name="softmax", grad_name="SoftmaxBackward0")
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` over a dim, computed around the maximum."""
    return _over(softmax_op, input, dim, dtype, "softmax_lastdim")


@public(out=True, name="log_softmax", grad_name="LogSoftmaxBackward0")
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """``log(softmax(x))``, without overflow."""
    return _over(log_softmax_op, input, dim, dtype, "log_softmax_lastdim")
