"""Matrix products with sparse factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..prims.base import from_value
from ..prims.sparse_products import places_times, times_at_places
from ..runtime import types
from .arithmetic import add, mul
from .conversion import like, rearranged
from .shapes import t
from .tensors import CompressedTensor, CooTensor, SparseTensor, coo, handles, refuse

__all__ = ["addmm", "dsmm", "hsmm", "hspmm", "mm", "sampled_addmm", "saddmm", "smm", "spmm", "sspaddmm"]


def _check(name: str, a: Any, b: Any) -> None:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        wrong = a if not isinstance(a, Tensor) else b
        raise TypeError(f"{name}(): both factors must be Tensor, not {type(wrong).__name__}")
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"{name}: expected both factors to have the same dtype, but got {a.dtype} and {b.dtype}"
        )
    for x in (a, b):
        if isinstance(x, SparseTensor) and x._vals.ndim != 1:
            raise RuntimeError(
                f"{name}: a sparse factor must have no dense dims, but it has {x._vals.ndim - 1}"
            )


def _matrices(name: str, a: Any, b: Any) -> None:
    _check(name, a, b)
    if a.ndim != 2 or b.ndim != 2:
        raise RuntimeError(
            f"{name}: Expected both factors to be matrices, but got {a.ndim}-D and {b.ndim}-D tensors"
        )
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"{name}: mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]})"
        )


def product(name: str, a: Any, b: Any) -> Any:
    """a @ b for two matrices of which one is sparse at least."""
    _matrices(name, a, b)
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        y = _sparse_times_sparse(a._coo(), b._coo())
        return y if isinstance(a, CooTensor) and isinstance(b, CooTensor) else like(y, types.sparse_csr)
    if isinstance(a, SparseTensor):
        return places_times(a._vals, b, places=a._places())
    if isinstance(b, SparseTensor):
        return places_times(b._vals, a.t(), places=b._places().turned()).t()
    return FUNCTIONS["mm"](a, b)


def _sparse_times_sparse(a: CooTensor, b: CooTensor) -> CooTensor:
    """All pairs of an entry of `a` and one of `b` that meet: their products, added up by place."""
    begins, cols, order = b._places().by_rows()
    rows_a, meets = a._array()
    lengths = begins[meets + 1] - begins[meets]
    left = np.repeat(np.arange(meets.size), lengths)
    within = np.arange(left.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    right = begins[meets][left] + within
    values_b = b._vals if order is None else b._vals.index_select(0, from_value(order))
    values = a._vals.index_select(0, from_value(left)) * values_b.index_select(
        0, from_value(right.astype(np.int64))
    )
    places = np.stack((rows_a[left], cols[right].astype(np.int64)))
    sizes = (a._sizes[0], b._sizes[1])
    return rearranged(places, values, sizes, sizes)


@handles("mm", "spmm", "dsmm")
def dense_mm(input: Any, mat2: Any) -> Any:
    return product("mm", input, mat2)


@handles("mv")
def mv(input: Any, vec: Any) -> Any:
    _check("mv", input, vec)
    if input.ndim != 2 or vec.ndim != 1 or input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"mv: a matrix and a vector of its width are needed, but the shapes are {list(input.shape)} and {list(vec.shape)}"
        )
    if isinstance(vec, SparseTensor):
        refuse("mv", vec)
    return product("mv", input, vec.unsqueeze(1)).squeeze(1)


@handles("bmm")
def bmm(input: Any, mat2: Any) -> Any:
    _check("bmm", input, mat2)
    a, b = input.shape, mat2.shape
    if len(a) != 3 or len(b) != 3 or a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            f"bmm: batches of matrices that fit are needed, but the shapes are {list(a)} and {list(b)}"
        )
    if isinstance(mat2, SparseTensor) or not isinstance(input, CooTensor):
        refuse("bmm", mat2 if isinstance(mat2, SparseTensor) else input)
    which, rows, cols = input._array()
    sizes = (a[0] * a[1], a[0] * a[2])
    block = coo(from_value(np.stack((which * a[1] + rows, which * a[2] + cols))), input._vals, sizes, False)
    return product("bmm", block, mat2.reshape(a[0] * a[2], b[2])).reshape(a[0], a[1], b[2])


@handles("matmul")
def matmul(input: Any, other: Any) -> Any:
    _check("matmul", input, other)
    n, m = input.ndim, other.ndim
    if n == 2 and m == 2:
        return product("matmul", input, other)
    if n == 2 and m == 1:
        return mv(input, other)
    if n == 1 and m == 2 and isinstance(other, SparseTensor):
        return mv(t(other), input)
    if n == 3 and m == 3:
        return bmm(input, other)
    if n > 2 and m == 2 and not isinstance(input, SparseTensor):  # one product with more rows
        flat = product("matmul", input.reshape(-1, input.shape[-1]), other)
        return flat.reshape(*input.shape[:-1], other.shape[1])
    raise RuntimeError(
        f"matmul: no product of a {input.layout} tensor of shape {list(input.shape)} and a {other.layout} tensor of "
        f"shape {list(other.shape)}; convert with .to_dense() first"
    )


@handles("linear")
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    y = matmul(input, t(weight) if isinstance(weight, SparseTensor) else weight.t())
    return y if bias is None else y + bias


def _plus(name: str, input: Any, y: Any, beta: Any, alpha: Any) -> Any:
    """beta * input + alpha * y; a `beta` of zero leaves out what `input` holds."""
    y = y if alpha == 1 else y * alpha
    if beta == 0:
        if isinstance(y, SparseTensor):
            return y
        shape = FUNCTIONS["broadcast_shapes"](tuple(input.shape), tuple(y.shape))
        return y.expand(shape)
    return (
        add(input if beta == 1 else input * beta, y)
        if isinstance(y, SparseTensor)
        else ((input if beta == 1 else input * beta) + y)
    )


@handles("addmm")
def dense_addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    y = product("addmm", mat1, mat2)
    if isinstance(input, SparseTensor) and not isinstance(y, SparseTensor):
        raise RuntimeError(
            f"addmm: a tensor of layout {input.layout} cannot be added to a dense product; convert it with .to_dense() first"
        )
    if input.dtype != mat1.dtype:
        raise RuntimeError(
            f"addmm: expected input and factors to have the same dtype, but got {input.dtype} and {mat1.dtype}"
        )
    return _plus("addmm", input, y, beta, alpha)


@handles("addmv")
def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    return _plus("addmv", input, mv(mat, vec), beta, alpha)


# ------------------------------------------------------------------------------------------- functions of torch.sparse


def mm(sparse: Tensor, dense: Tensor, reduce: str = "sum") -> Tensor:
    """The product of two matrices, (n, k) and (k, m), one of which is sparse at least; sparse if both are.

    Gradients reach the values of sparse factors, and dense ones.  With `reduce` "mean", "amax" or "amin" a CSR factor's
    products along a row are averaged, or the largest or least is taken, of its entries alone; 0 where it has none.

    Raises: RuntimeError for shapes or dtypes that do not fit, NotImplementedError for such a reduction in another layout.

    >>> import flambeau as torch
    >>> a = torch.eye(2).to_sparse()
    >>> torch.sparse.mm(a, torch.ones(2, 3))
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    if reduce == "sum":
        return product("mm", sparse, dense)  # type: ignore[no-any-return]
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"sparse_mm_reduce: reduce type of {reduce} has not been enabled.")
    if (
        not isinstance(sparse, CompressedTensor)
        or not sparse.is_sparse_csr
        or isinstance(dense, SparseTensor)
    ):
        refuse("_sparse_mm_reduce_impl", sparse, dense)
    _matrices("mm", sparse, dense)
    places = sparse._places()
    products = sparse._vals.unsqueeze(1) * dense.index_select(0, from_value(places.cols))
    rows = from_value(places.rows).unsqueeze(1).expand(products.shape)
    start = products.new_zeros((sparse._sizes[0], dense.shape[1]))
    return start.scatter_reduce(0, rows, products, _REDUCTIONS[reduce], include_self=False)  # type: ignore[no-any-return]


_REDUCTIONS = {"mean": "mean", "amax": "amax", "max": "amax", "amin": "amin", "min": "amin"}


def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """``beta * mat + alpha * mat1 @ mat2`` for a sparse `mat1`, shapes (n, m), (n, k) and (k, m).

    Raises: as `mm`.

    >>> import flambeau as torch
    >>> torch.sparse.addmm(torch.ones(2, 2), torch.eye(2).to_sparse(), torch.ones(2, 2), alpha=2)
    tensor([[3., 3.],
            [3., 3.]])
    """
    return dense_addmm(mat, mat1, mat2, beta=beta, alpha=alpha)  # type: ignore[no-any-return]


def sampled_addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0, out: Any = None
) -> Tensor:
    """``alpha * (mat1 @ mat2)`` at the places of the CSR matrix `input`, plus ``beta * input``.

    Only these elements of the product are computed.

    Raises: RuntimeError for other layouts, and for shapes or dtypes that do not fit.

    >>> import flambeau as torch
    >>> s = torch.eye(2).to_sparse_csr()
    >>> torch.sparse.sampled_addmm(s, torch.ones(2, 3), torch.ones(3, 2)).values()
    tensor([4., 4.])
    """
    if out is not None:
        raise NotImplementedError("sampled_addmm: out= is not defined here; assign the result")
    if not isinstance(input, CompressedTensor) or input._layout is not types.sparse_csr:
        raise RuntimeError(
            f"sampled_addmm: Expected input to be a CSR matrix, but it has layout {input.layout}"
        )
    if isinstance(mat1, SparseTensor) or isinstance(mat2, SparseTensor):
        raise RuntimeError("sampled_addmm: Expected mat1 and mat2 to be strided")
    _matrices("sampled_addmm", mat1, mat2)
    if (mat1.shape[0], mat2.shape[1]) != input._sizes:
        raise RuntimeError(
            f"sampled_addmm: the product has shape {[mat1.shape[0], mat2.shape[1]]}, but input {list(input._sizes)}"
        )
    values = times_at_places(mat1, mat2.t(), places=input._places())
    values = values if alpha == 1 else values * alpha
    return input._with(values if beta == 0 else values + beta * input._vals)


def spmm(input: Tensor, mat2: Tensor) -> Tensor:
    """``torch.mm`` under its old name.

    >>> import flambeau as torch
    >>> torch.spmm(torch.eye(2).to_sparse(), torch.ones(2, 1))
    tensor([[1.],
            [1.]])
    """
    return product("spmm", input, mat2)  # type: ignore[no-any-return]


dsmm = hsmm = spmm


def smm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of a sparse and a dense matrix, as a sparse one.

    Raises: as `mm`.

    >>> import flambeau as torch
    >>> torch.smm(torch.eye(2).to_sparse(), torch.ones(2, 2)).to_dense()
    tensor([[1., 1.],
            [1., 1.]])
    """
    return sspaddmm(_nothing("smm", input, mat2), input, mat2)


def _stored(y: CooTensor, out: Any, name: str) -> Tensor:
    """A result, in the sparse tensor given as ``out=`` if there is one."""
    if out is None:
        return y
    if not isinstance(out, CooTensor) or out.dtype is not y.dtype or out.requires_grad:
        raise RuntimeError(
            f"{name}: out must be a sparse COO tensor of dtype {y.dtype} that requires no grad"
        )
    out._take(y.detach())
    return out


def _nothing(name: str, a: Any, b: Any) -> CooTensor:
    from .conversion import zeros

    _matrices(name, a, b)
    return zeros((a.shape[0], b.shape[1]), a.dtype, 2, 0)


def hspmm(mat1: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of a sparse and a dense matrix, as a sparse one whose entries are the rows that are not all zero.

    Raises: as `mm`.

    >>> import flambeau as torch
    >>> torch.hspmm(torch.eye(2).to_sparse(), torch.ones(2, 2)).sparse_dim()
    1
    """
    y: Any = product("hspmm", mat1, mat2)
    a: Any = mat1
    rows = np.unique(a._coo()._array()[0])
    values = y.index_select(0, from_value(rows))
    return _stored(coo(from_value(rows[None]), values, tuple(y.shape), False), out, "hspmm")


def sspaddmm(
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2`` as a sparse matrix, for sparse `input` and `mat1` and a dense `mat2`.

    Raises: as `mm`; RuntimeError where `input` is not sparse.

    >>> import flambeau as torch
    >>> s = torch.eye(2).to_sparse()
    >>> torch.sspaddmm(s, s, torch.ones(2, 2)).to_dense()
    tensor([[2., 1.],
            [1., 2.]])
    """
    if not isinstance(input, CooTensor) or not isinstance(mat1, CooTensor) or isinstance(mat2, SparseTensor):
        raise RuntimeError(
            "sspaddmm: expected sparse COO tensors for input and mat1 and a strided one for mat2"
        )
    y: Any = product("sspaddmm", mat1, mat2)
    if input._sizes != tuple(y.shape):
        raise RuntimeError(f"sspaddmm: input has shape {list(input._sizes)}, but the product {list(y.shape)}")
    rows = np.unique(mat1._array()[0])
    cols = np.arange(y.shape[1])
    places = np.stack((np.repeat(rows, cols.size), np.tile(cols, rows.size)))
    part = y.index_select(0, from_value(rows)).reshape(-1)
    left = input if beta == 1 else mul(input, beta)
    both = np.concatenate((left._array(), places), axis=1)
    values = FUNCTIONS["cat"]((left._vals, part if alpha == 1 else part * alpha))
    return _stored(coo(from_value(both), values, input._sizes, False), out, "sspaddmm")


saddmm = sspaddmm
for _name, _fn in (("smm", smm), ("hspmm", hspmm), ("sspaddmm", sspaddmm)):
    handles(_name)(_fn)
