"""Linear and bilinear maps."""

from __future__ import annotations

import math

from ...core.grad_names import rename
from ...core.promotion import convert
from ...core.public import FUNCTIONS, OVERRIDES, overridable, overridden, store_out
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...prims import base
from ...prims.contract import linear_op
from ...prims.half_trilinear import half_trilinear_op


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: input (*, in), weight (out, in), bias (out).

    Raises: RuntimeError when sizes do not fit.

    >>> import flambeau as torch
    >>> torch.nn.functional.linear(torch.ones(1, 2), torch.ones(3, 2), torch.zeros(3))
    tensor([[2., 2., 2.]])
    """
    if OVERRIDES:
        taken = overridden(linear, (input, weight, bias), {} if out is None else {"out": out})
        if taken is not None:
            return taken[0]  # type: ignore[no-any-return]
    s, w = input._a.shape, weight._a.shape
    if not s:
        raise RuntimeError("both arguments to linear need to be at least 1D, but they are 0D")
    if len(w) > 2:
        raise RuntimeError(f"linear: weight must be a vector or a matrix, got {len(w)}-D")
    if len(w) == 1:
        y = FUNCTIONS["matmul"](input, weight)
        y = y if bias is None else y + bias
        return y if out is None else store_out(out, y, "linear")  # type: ignore[no-any-return]
    if s[-1] != w[1]:
        rows = math.prod(s[:-1])
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{s[-1]} and {w[1]}x{w[0]})")
    if input._a.dtype != weight._a.dtype:
        raise RuntimeError(
            f"mat1 and mat2 must have the same dtype, but got {dtype_of(input)} and {dtype_of(weight)}"
        )
    x = input if len(s) == 2 else base.reshape(input, (math.prod(s[:-1]), s[-1]))
    if bias is None:
        y = linear_op(x, weight)
    elif bias._a.dtype == weight._a.dtype and tuple(bias._a.shape) == (w[0],):
        y = linear_op(x, weight, bias)
    else:
        y = linear_op(x, weight) + bias
    if len(s) != 2:
        y = base.reshape_new(y, (*s[:-1], w[0]))
    if bias is None and not tls.stack:
        rename(
            y, "MmBackward0" if len(s) == 2 else "SqueezeBackward4" if len(s) == 1 else "UnsafeViewBackward0"
        )
    return y if out is None else store_out(out, y, "linear")  # type: ignore[no-any-return]


@overridable
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x1 W_k x2 + b_k`` for each k: inputs (*, in1) and (*, in2), weight (out, in1, in2)."""
    a, b, w = input1._a.shape, input2._a.shape, weight._a.shape
    if a[:-1] != b[:-1]:
        raise RuntimeError(f"bilinear(): input batch dimensions do not match: {list(a)} and {list(b)}")
    if a[-1] != w[1]:
        raise RuntimeError(
            f"bilinear(): input1 size does not match weight size: got {a[-1]} but expected {w[1]}"
        )
    if b[-1] != w[2]:
        raise RuntimeError(
            f"bilinear(): input2 size does not match weight size: got {b[-1]} but expected {w[2]}"
        )
    given = [input1, input2, weight, *([] if bias is None else [bias])]
    if len({t._a.dtype for t in given}) > 1:
        raise RuntimeError(
            f"All tensors must have the same dtype, got {', '.join(str(dtype_of(t)) for t in given)}"
        )
    if 0 in a[:-1]:  # no pair to combine, and nothing to divide the sizes by
        y = (input1.sum(-1) * input2.sum(-1)).unsqueeze(-1) * weight.sum((1, 2))
        y = convert(y, dtype_of(input1))
    else:
        if input1._a.dtype.itemsize == 2:
            x1, x2 = input1.reshape(-1, 1, a[-1], 1), input2.reshape(-1, 1, 1, b[-1])
            y = half_trilinear_op(x1, weight.unsqueeze(0), x2, sums=(2, 3), unroll=1).reshape(*a[:-1], w[0])
        else:
            y = FUNCTIONS["einsum"]("...i,kij,...j->...k", input1, weight, input2)
    rename(y, "ViewBackward0")
    return y if bias is None else y + bias  # type: ignore[no-any-return]
