"""Linear maps, embeddings, one-hot codes."""

from __future__ import annotations

import math
from typing import Any, Optional

import numpy as np

from ...core.public import FUNCTIONS, convert
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...prims import base
from ...prims.contract import linear_op
from ...prims.indexing import index_get_op, index_put_op
from ...prims.pointwise import where_op
from ...runtime import dtypes


def linear(input: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """``x @ weight.T + bias``: input (*, in), weight (out, in), bias (out).

    Raises: RuntimeError when sizes do not fit.

    >>> import flambeau as torch
    >>> torch.nn.functional.linear(torch.ones(1, 2), torch.ones(3, 2), torch.zeros(3))
    tensor([[2., 2., 2.]])
    """
    s, w = input._a.shape, weight._a.shape
    if not s:
        raise RuntimeError("both arguments to linear need to be at least 1D, but they are 0D")
    if len(w) > 2:
        raise RuntimeError(f"linear: weight must be a vector or a matrix, got {len(w)}-D")
    if len(w) == 1:
        y = FUNCTIONS["matmul"](input, weight)
        return y if bias is None else y + bias  # type: ignore[no-any-return]
    if s[-1] != w[1]:
        rows = math.prod(s[:-1])
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{s[-1]} and {w[1]}x{w[0]})")
    if input._a.dtype != weight._a.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {dtype_of(input)} and {dtype_of(weight)}")
    x = input if len(s) == 2 else base.reshape(input, (math.prod(s[:-1]), s[-1]))
    if bias is None:
        y = linear_op(x, weight)
    elif bias._a.dtype == weight._a.dtype and tuple(bias._a.shape) == (w[0],):
        y = linear_op(x, weight, bias)
    else:
        y = linear_op(x, weight) + bias
    return y if len(s) == 2 else base.reshape(y, (*s[:-1], w[0]))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """``x1 W_k x2 + b_k`` for each k: inputs (*, in1) and (*, in2), weight (out, in1, in2)."""
    a, b, w = input1._a.shape, input2._a.shape, weight._a.shape
    if a[:-1] != b[:-1]:
        raise RuntimeError(f"bilinear(): input batch dimensions do not match: {list(a)} and {list(b)}")
    if a[-1] != w[1]:
        raise RuntimeError(f"bilinear(): input1 size does not match weight size: got {a[-1]} but expected {w[1]}")
    if b[-1] != w[2]:
        raise RuntimeError(f"bilinear(): input2 size does not match weight size: got {b[-1]} but expected {w[2]}")
    y = FUNCTIONS["einsum"]("...i,kij,...j->...k", input1, weight, input2)
    return y if bias is None else y + bias  # type: ignore[no-any-return]


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: Optional[int] = None,
    max_norm: Optional[float] = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` (num, dim) at the integer positions `input` (*): shape (*, dim).

    The row `padding_idx` gets no gradient.  `max_norm` rescales the rows used, in place.

    Raises: IndexError for positions out of range, RuntimeError for other dtypes.
    """
    if input._a.dtype not in (np.int64, np.int32):
        raise RuntimeError(
            f"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got {dtype_of(input)} instead"
        )
    if len(weight._a.shape) != 2:
        raise RuntimeError("'weight' must be 2-D")
    n = weight._a.shape[0]
    if padding_idx is not None:
        if not -n <= padding_idx < n:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= n
    if max_norm is not None:
        _renorm_rows(weight, input, max_norm, norm_type)
    index = convert(input, dtypes.int64)
    if type(index._a) is np.ndarray and index._a.size and (int(index._a.min()) < 0 or int(index._a.max()) >= n):
        raise IndexError("index out of range in self: embedding positions must be in " f"[0, {n - 1}], got [{int(index._a.min())}, {int(index._a.max())}]")
    y = index_get_op(weight, index, spec=(True,))
    if padding_idx is not None and y.requires_grad:
        pad = (index == padding_idx).unsqueeze(-1)
        y = where_op(pad, y.detach(), y)
    if scale_grad_by_freq and y.requires_grad:
        one = base.full((), 1, y._a.dtype)
        zero = base.full((n,), 0, y._a.dtype)
        counts = index_put_op(zero, one, index, spec=(True,), accumulate=True)
        share = 1 / index_get_op(counts, index, spec=(True,)).unsqueeze(-1)
        y = y.detach() * (1 - share) + y * share
    return y  # type: ignore[no-any-return]


def _renorm_rows(weight: Tensor, input: Tensor, max_norm: float, p: float) -> None:
    from ...autograd import no_grad

    with no_grad():
        rows = FUNCTIONS["unique"](input.reshape(-1))
        chosen = weight.index_select(0, convert(rows, dtypes.int64))
        norm = chosen.norm(p, 1, keepdim=True)
        scaled = where_op(norm > max_norm, chosen * (max_norm / (norm + 1e-7)), chosen)
        weight.detach().index_copy_(0, convert(rows, dtypes.int64), scaled)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (*) as one-hot rows (*, num_classes) of int64.

    Raises: RuntimeError for values outside the classes or other dtypes.
    """
    if tensor._a.dtype != np.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {dtype_of(tensor)}.")
    size = tensor.numel()
    if num_classes == -1:
        if not size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(tensor.max()) + 1
    elif num_classes < 1 and not (num_classes == 0 and not size):
        raise RuntimeError("num_classes should be positive" if not size else "Class values must be smaller than num_classes.")
    if size and type(tensor._a) is np.ndarray:
        if int(tensor.min()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        if int(tensor.max()) >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    classes = FUNCTIONS["arange"](num_classes)
    return convert(tensor.unsqueeze(-1) == classes, dtypes.int64)


_ = Any
