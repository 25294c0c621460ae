"""Products: matmul and the family around it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.acceleration import FLOATS, HEAVY
from ..core.grad_names import rename
from ..core.public import public
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims import base
from ..prims.base import sum_op
from ..prims.contract import dot_op, matmul_op
from ..prims.pointwise import conj
from .args import dtype_of
from .half_products import half_product, wanted
from .layouts import in_own_order
from .shape import broadcast_shapes, expand_to


def _check(a: Any, b: Any, name: str) -> None:
    for x, what in ((a, "input"), (b, "other")):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(x).__name__}")
    if a._a.dtype != b._a.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {dtype_of(a)} != {dtype_of(b)} ({name})"
        )


def _mismatch(a: Tensor, b: Tensor) -> RuntimeError:
    sa, sb = a._a.shape, b._a.shape
    return RuntimeError(
        f"mat1 and mat2 shapes cannot be multiplied ({sa[-2] if len(sa) > 1 else 1}x{sa[-1]} and {sb[-2] if len(sb) > 1 else sb[-1]}x{sb[-1] if len(sb) > 1 else 1})"
    )


def _matmul_name(args: Any, kwargs: Any) -> str | None:
    """PyTorch folds, batches or drops dims around a product: the name of its last step."""
    a, b = (*args, *(kwargs[k] for k in ("input", "other") if k in kwargs))[:2]
    na, nb = len(a._a.shape), len(b._a.shape)
    if na == 1 and nb <= 2:
        return "DotBackward0" if nb == 1 else "SqueezeBackward4"
    if na == 2 and nb <= 2:
        return "MvBackward0" if nb == 1 else "MmBackward0"
    if na == 2 and a.requires_grad:  # folded into (matrices, rows) @ a^T, and transposed back
        rows, cols = a._a.shape[0], b._a.shape[-1]
        alike = 0 in b._a.shape or rows * cols == 0 or rows == 1 or cols == 1
        return "TransposeBackward0" if alike else "CloneBackward0"
    return "UnsafeViewBackward0"


@public(out=True, grad_name=_matmul_name)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; vectors are rows or columns, leading dims broadcast.

    Raises: RuntimeError for 0-d inputs, different dtypes, or sizes that do not fit.

    >>> import flambeau as torch
    >>> torch.ones(2, 3) @ torch.ones(3)
    tensor([3., 3.])
    """
    a, b = input, other
    _check(a, b, "matmul")
    sa, sb = a._a.shape, b._a.shape
    na, nb = len(sa), len(sb)
    if not na or not nb:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {na}D and {nb}D")
    inner = sb[-2] if nb > 1 else sb[0]
    if sa[-1] != inner:
        if na == 1 and nb == 1:
            raise RuntimeError(
                f"inconsistent tensor size, expected tensor {list(sa)} and src {list(sb)} to have the same number of elements, but got {sa[0]} and {sb[0]} elements respectively"
            )
        raise _mismatch(a, b)
    if nb > 2 and na >= nb and b._a.dtype.itemsize == 2 and math.prod(sb[:-2]) == 1:
        b = base.reshape(b, sb[-2:])  # one product, whose gradient sums over the batch before it is rounded
        sb, nb = b._a.shape, 2
    if na == 1:
        a = base.reshape(a, (1, sa[0]))
    if nb == 1:
        b = base.reshape(b, (sb[0], 1))
    if na > 2 and nb <= 2:  # one large product
        y = matmul_op(base.reshape(a, (math.prod(sa[:-1]), sa[-1])), b)
        return base.reshape_new(y, (*sa[:-1], *(() if nb == 1 else (sb[-1],))))
    if na > 2 or nb > 2:
        broadcast_shapes(tuple(a._a.shape[:-2]), tuple(b._a.shape[:-2]))
    if na == 2 and nb > 2 and a._a.dtype.itemsize == 2 and a._node is not None:
        return _folded(a, b)
    y = matmul_op(a, b)
    if na == 1 or nb == 1:
        s = tuple(y._a.shape)
        y = base.reshape_new(y, (*s[:-2], *(() if na == 1 else s[-2:-1]), *(() if nb == 1 else s[-1:])))
    return in_own_order(y) if na > 3 or nb > 3 else y


def _folded(a: Tensor, b: Tensor) -> Tensor:
    """A matrix times a batch as one product: its gradient sums over the batch before it is rounded, as in PyTorch."""
    s = tuple(b._a.shape)
    rows, cols = a._a.shape[0], s[-1]
    flat = base.reshape(_mT(b), (math.prod(s[:-2]) * cols, s[-2]))
    y = base.reshape(matmul_op(flat, _mT(a)), (*s[:-2], cols, rows))
    return fam.contiguous(_mT(y))


def _mT(x: Tensor) -> Tensor:
    n = len(x._a.shape)
    return base.permute_op(x, dims=(*range(n - 2), n - 1, n - 2))  # type: ignore[no-any-return]


def _operator(self: Tensor, other: Any) -> Any:
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


_operator.__name__ = "matmul"
setattr(Tensor, "__matmul__", _operator)


def _reflected(self: Tensor, other: Any) -> Any:
    """``other @ self``: ``matmul(other, self)``.

    Shapes: (*, n, m) and (*, m, p), whose leading dims broadcast: (*, n, p); of a vector, the dim of its size disappears.
    Dtypes: integer, floating and complex; operands have one dtype, which the result has.
    Raises: TypeError for what is no tensor, RuntimeError for 0-d inputs, different dtypes, or sizes that do not fit.

    >>> import flambeau as torch
    >>> torch.eye(2).__rmatmul__(torch.ones(2, 2))
    tensor([[1., 1.],
            [1., 1.]])
    """
    return matmul(other, self) if isinstance(other, Tensor) else NotImplemented


_reflected.__name__ = "__rmatmul__"
setattr(Tensor, "__rmatmul__", _reflected)
setattr(Tensor, "__imatmul__", lambda self, other: self.copy_(matmul(self, other)))


def _dims(x: Tensor, n: int, name: str, which: str) -> None:
    if len(x._a.shape) != n:
        raise RuntimeError(
            f"{name}: {which} must be {'a matrix' if n == 2 else f'a {n}D tensor'}, got {len(x._a.shape)}-D tensor"
        )


@public(out=True, grad_name="MmBackward0")
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    _check(input, mat2, "mm")
    if len(input._a.shape) != 2:
        raise RuntimeError("self must be a matrix")
    if len(mat2._a.shape) != 2:
        raise RuntimeError("mat2 must be a matrix")
    if input._a.shape[1] != mat2._a.shape[0]:
        raise _mismatch(input, mat2)
    return matmul_op(input, mat2)  # type: ignore[no-any-return]


@public(out=True, grad_name="BmmBackward0")
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices."""
    _check(input, mat2, "bmm")
    for x, name in ((input, "batch1"), (mat2, "batch2")):
        if len(x._a.shape) != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    sa, sb = input._a.shape, mat2._a.shape
    if sa[0] != sb[0] or sa[2] != sb[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{sa[0]}, {sa[2]}] but got: [{sb[0]}, {sb[1]}]."
        )
    return matmul_op(input, mat2)  # type: ignore[no-any-return]


@public(out=True, grad_name="MvBackward0")
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    _check(input, vec, "mv")
    if len(input._a.shape) != 2 or len(vec._a.shape) != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {len(input._a.shape)}, {len(vec._a.shape)}"
        )
    if input._a.shape[1] != vec._a.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input._a.shape[0]}), mat ({input._a.shape[0]}x{input._a.shape[1]}), vec ({vec._a.shape[0]})"
        )
    return matmul(input, vec)


def _dot(a: Tensor, b: Tensor, name: str) -> Tensor:
    if a._a.dtype != b._a.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {dtype_of(a).name.title()} and {dtype_of(b).name.title()}"
        )
    if len(a._a.shape) != 1 or len(b._a.shape) != 1:
        raise RuntimeError(f"1D tensors expected, but got {len(a._a.shape)}D and {len(b._a.shape)}D tensors")
    if a._a.shape != b._a.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor {list(a._a.shape)} and src {list(b._a.shape)} to have the same number of "
            f"elements, but got {a._a.shape[0]} and {b._a.shape[0]} elements respectively"
        )
    return dot_op(a, b)  # type: ignore[no-any-return]


@public(out=True, grad_name="DotBackward0")
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors (no conjugation)."""
    return _dot(input, tensor, "dot")


@public(out=True, grad_name="VdotBackward0")
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors, the first conjugated."""
    return _dot(conj(input), other, "vdot")


def _scaled(x: Tensor, k: Any) -> Tensor:
    return x if type(k) in (int, float) and k == 1 else x * k


def _integer_scalars(x: Tensor, *ks: Any) -> None:
    if x._a.dtype.kind in "bui" and any(isinstance(k, float) for k in ks):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")


def _combine(input: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    if product._a.dtype.kind in "bui":  # scalars are cut to integers, as PyTorch does
        beta, alpha = int(beta), int(alpha)
    bias = expand_to(input, tuple(product._a.shape), "addmm")
    product = _scaled(product, alpha)
    if beta == 0:  # NaN in an input that does not count must not spread
        return product
    return in_own_order(_scaled(bias, beta) + product)


@public(out=True, inplace=True, grad_name="AddmmBackward0")
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    for x, n in ((mat1, 1), (mat2, 2)):
        if len(x._a.shape) != 2:
            raise RuntimeError(f"mat{n} must be a matrix, got {len(x._a.shape)}-D tensor")
    if input._a.dtype != mat1._a.dtype:
        raise RuntimeError(
            f"self and mat2 must have the same dtype, but got {dtype_of(input)} and {dtype_of(mat2)}"
        )
    if wanted(input, mat1, mat2, "mm"):
        return half_product(input, mat1, mat2, "mm", beta, alpha)
    return _combine(input, mm(mat1, mat2), beta, alpha)


@public(out=True, inplace=True, grad_name="AddmvBackward0")
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat @ vec``."""
    if wanted(input, mat, vec, "mv"):
        return half_product(input, mat, vec, "mv", beta, alpha)
    return _combine(input, mv(mat, vec), beta, alpha)


@public(out=True, inplace=True, grad_name="BaddbmmBackward0")
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * bmm(batch1, batch2)``."""
    if wanted(input, batch1, batch2, "bmm"):
        return half_product(input, batch1, batch2, "bmm", beta, alpha)
    return _combine(input, bmm(batch1, batch2), beta, alpha)


@public(out=True, inplace=True, grad_name="AddbmmBackward0")
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * sum over the batch of batch1 @ batch2``."""
    if wanted(input, batch1, batch2, "addbmm"):
        return half_product(input, batch1, batch2, "addbmm", beta, alpha)
    return _combine(input, sum_op(bmm(batch1, batch2), dims=(0,)), beta, alpha)


@public(out=True, aliases=("ger",))
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors."""
    for x in (input, vec2):
        if len(x._a.shape) != 1:
            raise RuntimeError(f"outer: Expected 1-D argument, but got {len(x._a.shape)}-D")
    a, b = input._a, vec2._a
    column = base.reshape(input, (a.shape[0], 1))
    plain = type(a) is np.ndarray and type(b) is np.ndarray and tls.capture is None
    if plain and a.dtype in FLOATS and a.dtype == b.dtype and a.size * b.nbytes >= HEAVY:
        product: Tensor = matmul_op(column, base.reshape(vec2, (1, b.shape[0])))  # by a kernel
        return rename(product, "MulBackward0")  # type: ignore[no-any-return]
    return column * vec2  # type: ignore[no-any-return]


@public(out=True, inplace=True, grad_name="AddrBackward0")
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    if wanted(input, vec1, vec2, "outer"):
        return half_product(input, vec1, vec2, "outer", beta, alpha)
    product = outer(vec1, vec2)
    if isinstance(input, Tensor) and product._a.dtype.kind in "bui" and input._a.dtype.kind in "bui":
        _integer_scalars(product, beta, alpha)
    if product._a.dtype.kind == "b" and input._a.dtype.kind == "b":
        result = product if alpha else product & False
        return result if not beta else expand_to(input, tuple(product._a.shape)) | result
    product = _scaled(product, alpha)
    expand_to(input, tuple(product._a.shape), "addr")
    return product if beta == 0 else _scaled(input, beta) + product
