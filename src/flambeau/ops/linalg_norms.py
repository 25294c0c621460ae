"""Linear algebra: norms and condition numbers."""

from __future__ import annotations

import math
from typing import Any

from ..core.grad_names import rename
from ..core.promotion import convert
from ..core.public import public
from ..core.tensor import Tensor
from ..prims import base
from ..prims import linalg as prim
from ..prims import linalg_decompositions as dec
from ..prims.base import permute_op
from ..prims.linalg import real_dtype
from ..prims.pointwise import where_op
from ..runtime import dtypes
from .args import as_dtype, dtype_of, wrap_dim, wrap_dims
from .contraction import vector_norm as norm_over
from .linalg import check_floating, check_matrix, check_square


def _check(x: Any, dtype: Any, name: str) -> Tensor:
    """The input in the dtype asked for.

    Raises: RuntimeError for dtypes that are not floating or would lose the imaginary part.
    """
    check_floating(x, name, low_precision=True)
    if dtype is None:
        return x  # type: ignore[no-any-return]
    d = as_dtype(dtype)
    if d.numpy.kind not in "fcV":
        raise RuntimeError(f"{name}: dtype should be floating point or complex. Got {d}")
    own = dtype_of(x)
    if own.is_complex != d.is_complex:
        raise RuntimeError(
            f"{name}: dtype should be {'complex' if own.is_complex else 'real'} for {'complex' if own.is_complex else 'real'} inputs, but got {d}"
        )
    if dtypes.promote_types(own, d) is not d:
        raise RuntimeError(
            f"{name}: the dtype of the input ({own}) should be convertible without narrowing to the specified dtype ({d})"
        )
    return convert(x, d)


def _order(ord: Any, name: str) -> float:
    if isinstance(ord, bool) or not isinstance(ord, (int, float)):
        raise TypeError(f"{name}(): argument 'ord' must be Number, not {type(ord).__name__}")
    return float(ord)


@public(name="linalg_vector_norm", method=False, out=True, grad_name="LinalgVectorNormBackward0")
def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The p-norm of the elements over `dim` (all by default): (sum |x|^p)^(1/p), max |x| for inf, a count for 0.

    Raises: RuntimeError for an integer input, or an empty one whose norm has no identity.

    >>> import flambeau as torch
    >>> torch.linalg.vector_norm(torch.tensor([3., 4.]))
    tensor(5.)
    """
    name = "linalg.vector_norm"
    x = _check(x, dtype, name)
    p = _order(ord, name)
    nd = len(x._a.shape)
    dims = wrap_dims(dim, nd)
    if (p < 0 or p == math.inf) and 0 in x._a.shape:
        if dim is None or not wrap_dims(dim, nd, empty_means_all=False):
            raise RuntimeError(
                f"{name} cannot compute the {ord} norm on an empty tensor because the operation does not have an identity"
            )
        for d in dims:
            if x._a.shape[d] == 0:
                raise RuntimeError(
                    f"{name} cannot compute the {ord} norm on the dimension {d} because this dimension is empty and the operation does not have an identity"
                )
    return norm_over(x, p, dims, bool(keepdim))


def _last_two(x: Tensor, dims: tuple[int, int]) -> Tensor:
    rest = [d for d in range(len(x._a.shape)) if d not in dims]
    return permute_op(x, dims=(*rest, *dims))  # type: ignore[no-any-return]


def _put_back(y: Tensor, dims: tuple[int, int], nd: int, keepdim: bool) -> Tensor:
    if not keepdim:
        return y
    sizes = iter(y._a.shape)
    whole = base.reshape(y, tuple([1 if d in dims else next(sizes) for d in range(nd)]))
    return rename(whole, "PermuteBackward0")  # type: ignore[no-any-return]


@public(name="linalg_matrix_norm", method=False, out=True)
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A norm of the matrices in two dims: "fro", "nuc", inf, -inf, 1, -1, 2 or -2.

    Raises: RuntimeError for other orders, or dims that are not two different ones.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_norm(torch.tensor([[1., -2.], [3., 4.]]), 1)
    tensor(6.)
    """
    name = "linalg.matrix_norm"
    check_floating(A, name, low_precision=True)
    nd = len(A._a.shape)
    if nd < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {', '.join(map(str, dims))}")
    row, col = wrap_dim(dims[0], nd), wrap_dim(dims[1], nd)
    if row == col:
        raise RuntimeError(f"{name}: dims must be different. Got ({dims[0]}, {dims[1]})")
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise RuntimeError(f"{name}: Order {ord} not supported.")
    else:
        ord = _order(ord, name)
        if abs(ord) not in (1, 2, math.inf):
            raise RuntimeError(f"{name}: Order {ord:g} not supported.")
    if ord == "fro":
        return vector_norm(A, 2, (row, col), keepdim, dtype=dtype)
    x = _check(A, dtype, name)
    if ord == "nuc" or abs(ord) == 2:
        check_floating(x, name)
        s = dec.svdvals_op(_last_two(x, (row, col)))
        y = (
            s.sum(-1)
            if ord == "nuc" or not s._a.shape[-1] and ord > 0
            else s.amax(-1)
            if ord > 0
            else s.amin(-1)
        )
        return _put_back(y, (row, col), nd, bool(keepdim))
    first, second = (row, col) if abs(ord) == 1 else (col, row)
    sums = vector_norm(x, 1, (first,), True)
    if ord > 0:  # the norm of an empty matrix is zero
        y = sums.amax(second, True) if sums._a.shape[second] else sums.sum(second, True)
    else:
        y = sums.amin(second, True)
    if keepdim:
        return y  # type: ignore[no-any-return]
    y = base.reshape(y, tuple([n for d, n in enumerate(y._a.shape) if d not in (row, col)]))
    return rename(y, "AmaxBackward0" if ord > 0 else "AminBackward0")  # type: ignore[no-any-return]


@public(name="linalg_norm", method=False, out=True)
def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A vector norm, or for two dims and a given `ord` a matrix norm.

    Raises: RuntimeError when `ord` is given without `dim` for more than two dims.

    >>> import flambeau as torch
    >>> torch.linalg.norm(torch.tensor([[3., 0.], [0., 4.]])), torch.linalg.norm(torch.tensor([[3., 0.], [0., 4.]]), 2)
    (tensor(5.), tensor(4.))
    """
    check_floating(A, "linalg.norm", low_precision=True)
    nd = len(A._a.shape)
    if dim is not None:
        dim = (dim,) if hasattr(dim, "__index__") else tuple(dim)
        if ord is not None and len(dim) not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}"
            )
    elif ord is not None and nd not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {nd}D."
        )
    if isinstance(ord, str):
        if dim is None and nd != 2 or dim is not None and len(dim) != 2:
            raise RuntimeError(
                f"linalg.norm: ord={ord!r} is a norm of matrices and needs two dims, got dim={dim} for a {nd}D tensor"
            )
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    if ord is not None and (dim is None and nd == 2 or dim is not None and len(dim) == 2):
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@public(name="linalg_cond", method=False, out=True)
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number ||A|| ||A^-1|| in the norm `p` (2 by default); infinite for singular matrices.

    Raises: RuntimeError for an unknown norm, or, unless p is None, 2 or -2, matrices that are not square.
    """
    name = "linalg.cond"
    check_matrix(A, name)
    if p is None or p in (2, -2):
        if 0 in A._a.shape:
            return base.full(tuple(A._a.shape[:-2]), 0, real_dtype(A._a.dtype))
        s = dec.svdvals_op(A)
        big, small = s.select(-1, 0), s.select(-1, s._a.shape[-1] - 1)
        return rename(small / big if p == -2 else big / small, "SqueezeBackward1")  # type: ignore[no-any-return]
    if isinstance(p, str):
        if p not in ("fro", "nuc"):
            raise RuntimeError(f"{name} got an invalid norm type: {p}")
    elif abs(_order(p, name)) not in (1, math.inf):
        raise RuntimeError(f"{name} got an invalid norm type: {p}")
    check_square(A, name)
    if 0 in A._a.shape:
        return base.full(tuple(A._a.shape[:-2]), 0, real_dtype(A._a.dtype))
    singular = prim.lu_info_op(A) != 0
    inverse = where_op(singular.unsqueeze(-1).unsqueeze(-1), 0, prim.inv_op(A, check=""))
    product = matrix_norm(A, p) * matrix_norm(inverse, p)
    y = where_op(singular, math.inf, product)
    return rename(y, "MulBackward0" if p == "nuc" else "NanToNumBackward0")  # type: ignore[no-any-return]
