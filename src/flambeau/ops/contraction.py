"""einsum, tensordot, kron, inner, and the norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core.grad_names import rename
from ..core.promotion import convert
from ..core.public import public
from ..core.tensor import Tensor
from ..prims import base
from ..prims import reductions as red
from ..prims.base import permute_op, sum_op
from ..prims.contract import matmul_op
from ..prims.pointwise import abs as _abs
from ..prims.pointwise import isnan, power, sign, sqrt, where_op
from ..runtime import dtypes
from .args import as_dtype, dtype_of, int_tuple, numel, wrap_dim, wrap_dims
from .layouts import in_own_order
from .rearrange import diagonal
from .reduce import count, keep
from .shape import expand_to


def _contract(a: Tensor, la: list[int], b: Tensor, lb: list[int], out: list[int]) -> tuple[Tensor, list[int]]:
    """Contract two labelled tensors; labels not in `out` and in both are summed.  Returns (result, its labels)."""
    shared = [x for x in la if x in lb]
    batch = [x for x in shared if x in out]
    summed = [x for x in shared if x not in out]
    only_a = [x for x in la if x not in lb]
    only_b = [x for x in lb if x not in la]
    sa, sb = dict(zip(la, a._a.shape)), dict(zip(lb, b._a.shape))
    # a label of size 1 on one side broadcasts: sum the other side first
    for x in list(summed):
        if sa[x] != sb[x]:
            big, labels = (a, la) if sa[x] != 1 else (b, lb)
            small, small_labels = (b, lb) if sa[x] != 1 else (a, la)
            big = sum_op(big, dims=(labels.index(x),))
            small = base.reshape(small, tuple([n for k, n in zip(small_labels, small._a.shape) if k != x]))
            nb, ns = [k for k in labels if k != x], [k for k in small_labels if k != x]
            return _contract(big, nb, small, ns, out) if sa[x] != 1 else _contract(small, ns, big, nb, out)
    size = {x: sb.get(x, 1) if sa.get(x, 1) == 1 else sa[x] for x in (*la, *lb)}

    def prod(labels: Sequence[int], sizes: dict[int, int]) -> int:
        return math.prod([sizes[x] for x in labels])

    if not summed and not (only_a and only_b):  # elementwise: no need for a product of matrices
        order = batch + only_a + only_b
        pa = permute_op(a, dims=tuple([la.index(x) for x in order if x in la]))
        pb = permute_op(b, dims=tuple([lb.index(x) for x in order if x in lb]))
        pa = base.reshape(pa, tuple([sa.get(x, 1) for x in order]))
        pb = base.reshape(pb, tuple([sb.get(x, 1) for x in order]))
        return pa * pb, order
    pa = permute_op(a, dims=tuple([la.index(x) for x in (*batch, *only_a, *summed)]))
    pb = permute_op(b, dims=tuple([lb.index(x) for x in (*batch, *summed, *only_b)]))
    full_batch = tuple([size[x] for x in batch])
    pa = expand_to(pa, (*full_batch, *[sa[x] for x in (*only_a, *summed)]))
    pb = expand_to(pb, (*full_batch, *[sb[x] for x in (*summed, *only_b)]))
    count_ = prod(batch, size)
    pa = base.reshape(
        pa, (count_, prod(only_a, sa), prod(summed, sa)) if batch else (prod(only_a, sa), prod(summed, sa))
    )
    pb = base.reshape(
        pb, (count_, prod(summed, sb), prod(only_b, sb)) if batch else (prod(summed, sb), prod(only_b, sb))
    )
    y = matmul_op(pa, pb)
    labels = [*batch, *only_a, *only_b]
    return base.reshape(y, tuple([size[x] for x in labels])), labels


def _parse(equation: str, xs: Sequence[Tensor]) -> tuple[list[list[int]], list[int]]:
    """Labels of each operand and of the result; dims of an ellipsis get negative labels, aligned at the right."""
    eq = equation.replace(" ", "")
    left, arrow, right = eq.partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        more = "fewer" if len(terms) > len(xs) else "more"
        raise RuntimeError(
            f"einsum(): {more} operands were provided than specified in the equation ({len(xs)} for {len(terms)} terms)"
        )
    for c in left + right:
        if not (c.isalpha() and c.isascii() or c in ".,"):
            raise RuntimeError(
                f"einsum(): invalid subscript given in the equation '{equation}': {c!r}; subscripts must be in [a-zA-Z]"
            )
    found = []
    widest = 0
    for i, (term, x) in enumerate(zip(terms, xs)):
        nd = len(x._a.shape)
        head, dots, tail = term.partition("...")
        if "." in head or "." in tail:
            raise RuntimeError(f"einsum(): found '.' for operand {i} that is not part of any ellipsis")
        extra = nd - len(head) - len(tail)
        if extra < 0 or extra and not dots:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(head) + len(tail)}) {'is more than' if extra < 0 else 'does not match'} the number of "
                f"dimensions ({nd}) for operand {i}{'' if dots or extra < 0 else ' and no ellipsis was given'}"
            )
        widest = max(widest, extra if dots else 0)
        found.append([*map(ord, head), *range(-extra, 0), *map(ord, tail)] if dots else [*map(ord, term)])
    ellipsis = list(range(-widest, 0))
    if arrow:
        head, dots, tail = right.partition("...")
        if "." in head or "." in tail:
            raise RuntimeError(
                "einsum(): found '.' for output but an ellipsis (...) was already found or is not complete"
            )
        out = [*map(ord, head), *(ellipsis if dots else []), *map(ord, tail)]
        used = {k for f in found for k in f}
        for k in out:
            if k > 0 and out.count(k) > 1:
                raise RuntimeError(
                    f"einsum(): output subscript {chr(k)} appears more than once in the output"
                )
            if k > 0 and k not in used:
                raise RuntimeError(
                    f"einsum(): output subscript {chr(k)} does not appear in the equation for any input operand"
                )
    else:
        letters = [k for f in found for k in f if k > 0]
        out = ellipsis + sorted(k for k in set(letters) if letters.count(k) == 1)
    return found, out


@public(method=False)
def einsum(*args: Any) -> Tensor:
    """Sums of products named by an equation: ``einsum("ij,jk->ik", a, b)``; also the sublist form.

    Pairs are contracted from left to right, each as one (batched) matrix product.

    Raises: RuntimeError for equations that do not fit the operands.

    >>> import flambeau as torch
    >>> torch.einsum("i,i->", torch.ones(3), torch.ones(3))
    tensor(3.)
    """
    if not args:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list"
        )
    if isinstance(args[0], Tensor):  # einsum(op1, [0, 1], op2, [1, 2], ..., [out])

        def text(labels: Any) -> str:
            return "".join(
                "..." if k is Ellipsis else chr(ord("A") + k) if k < 26 else chr(ord("a") + k - 26)
                for k in labels
            )

        n = len(args) // 2
        xs = list(args[0 : 2 * n : 2])
        equation = ",".join(text(args[2 * i + 1]) for i in range(n))
        if len(args) % 2:
            equation += "->" + text(args[-1])
    else:
        equation, xs = args[0], list(args[1:])
        if not isinstance(equation, str):
            raise TypeError(
                f"einsum(): argument 'equation' (position 1) must be str, not {type(equation).__name__}"
            )
        if len(xs) == 1 and isinstance(xs[0], (list, tuple)):
            xs = list(xs[0])
    if not xs:
        raise RuntimeError("einsum(): must provide at least one operand")
    labels, out = _parse(equation, xs)
    size: dict[int, int] = {}
    operands = []
    for i, (x, ls) in enumerate(zip(xs, labels)):
        for k in sorted(set(ls), key=ls.index):  # repeated subscripts take the diagonal
            while ls.count(k) > 1:
                a = ls.index(k)
                b = ls.index(k, a + 1)
                if x._a.shape[a] != x._a.shape[b]:
                    raise RuntimeError(
                        f"einsum(): subscript {chr(k)} is repeated for operand {i} but the sizes don't match, {x._a.shape[b]} != {x._a.shape[a]}"
                    )
                x = diagonal(x, 0, a, b)
                ls = [v for j, v in enumerate(ls) if j not in (a, b)] + [k]
        for k, n in zip(ls, x._a.shape):
            if size.get(k, 1) not in (1, n) and n != 1:
                raise RuntimeError(
                    f"einsum(): operands do not broadcast with remapped shapes [original->remapped]: subscript {chr(k) if k > 0 else '...'} has size {n} for operand {i}, {size[k]} before"
                )
            size[k] = max(size.get(k, 1), n) if n else n
        operands.append((x, ls))
    d = dtype_of(operands[0][0])
    for x, _ in operands[1:]:
        d = dtypes.promote_types(d, dtype_of(x))
    operands = [(convert(x, d), ls) for x, ls in operands]
    acc, acc_labels = operands[0]
    sums = not {*acc_labels} <= {*out}
    for i, (x, ls) in enumerate(operands[1:], 1):
        later = {k for _, rest in operands[i + 1 :] for k in rest}
        sums = not {*acc_labels, *ls} <= {*out, *later}
        acc, acc_labels = _sum_out(acc, acc_labels, {*out, *later, *ls})
        x, ls = _sum_out(x, ls, {*out, *later, *acc_labels})
        d = dtypes.promote_types(dtype_of(acc), dtype_of(x))
        acc, x = convert(acc, d), convert(x, d)
        wanted = [k for k in (*acc_labels, *ls) if k in out or k in later]
        acc, acc_labels = _contract(acc, acc_labels, x, ls, wanted)
    acc, acc_labels = _sum_out(acc, acc_labels, set(out))
    missing = [k for k in out if k not in acc_labels]
    acc = base.reshape(acc, (*acc._a.shape, *(1,) * len(missing)))
    acc_labels = acc_labels + missing
    y = permute_op(acc, dims=tuple([acc_labels.index(k) for k in out]))
    if len(operands) > 1:
        return rename(y, "ViewBackward0" if sums else "MulBackward0")  # type: ignore[no-any-return]
    return rename(y, "SumBackward1") if sums else y  # type: ignore[no-any-return]


def _sum_out(x: Tensor, labels: list[int], wanted: set[int]) -> tuple[Tensor, list[int]]:
    dims = tuple([i for i, k in enumerate(labels) if k not in wanted])
    if dims and x._a.dtype.kind in "bui":
        x = convert(x, dtypes.int64)  # as sums do
    return (sum_op(x, dims=dims), [k for k in labels if k in wanted]) if dims else (x, labels)


@public(method=False, out=True, grad_name="ViewBackward0")
def tensordot(a: Tensor, b: Tensor, dims: Any = 2, *, axes: Any = None) -> Tensor:
    """Contraction over pairs of dims: the last `dims` of a with the first of b, or two lists of dims.

    `axes` is NumPy's name for `dims`, by which opt_einsum calls.

    Raises: RuntimeError when sizes differ.
    """
    na, nb = len(a._a.shape), len(b._a.shape)
    dims = dims if axes is None else axes
    if isinstance(dims, Tensor):
        dims = dims.tolist() if dims._a.shape else int(dims)
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(na, nb):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        da, db = tuple(range(na - dims, na)), tuple(range(dims))
    else:
        da, db = (
            tuple([wrap_dim(d, n) for d in int_tuple(ds, "tensordot")]) for ds, n in zip(dims, (na, nb))
        )
        if len(da) != len(db):
            raise RuntimeError(f"both dimension lists should have same length, got {len(da)} and {len(db)}")
    for i, j in zip(da, db):
        if a._a.shape[i] != b._a.shape[j] and 1 not in (a._a.shape[i], b._a.shape[j]):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a._a.shape[i]} in dim {i} and second has size {b._a.shape[j]} in dim {j}"
            )
    if a._a.dtype != b._a.dtype:
        raise RuntimeError(f"both inputs should have same dtype, but got {dtype_of(a)} and {dtype_of(b)}")
    la, lb = list(range(na)), list(range(na, na + nb))
    for i, j in zip(da, db):
        lb[j] = la[i]
    out = [k for d, k in enumerate(la) if d not in da] + [k for d, k in enumerate(lb) if d not in db]
    y, labels = _contract(a, la, b, lb, out)
    return permute_op(y, dims=tuple([labels.index(k) for k in out]))  # type: ignore[no-any-return]


@public(out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products over the last dims of both tensors."""
    if not input._a.shape or not other._a.shape:
        return input * other  # type: ignore[no-any-return]
    if input._a.shape[-1] != other._a.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input._a.shape)} and {list(other._a.shape)}"
        )
    return tensordot(input, other, [[-1], [-1]])


@public(out=True, grad_name="UnsafeViewBackward0")
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product."""
    a, b = input, other
    n = max(len(a._a.shape), len(b._a.shape))
    sa, sb = ((1,) * (n - len(x._a.shape)) + tuple(x._a.shape) for x in (a, b))
    pa = base.reshape(a, tuple([v for s in sa for v in (s, 1)]))
    pb = base.reshape(b, tuple([v for s in sb for v in (1, s)]))
    return base.reshape(pa * pb, tuple([x * y for x, y in zip(sa, sb)]))


# ------------------------------------------------------------------------------------------------- norms


def vector_norm(x: Tensor, ord: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The p-norm over dims, with a subgradient of zero where the norm is zero."""
    half = x._a.dtype.itemsize == 2
    if ord == 2 and (x._a.dtype.kind == "f" or half):
        return keep(red.norm2_op(x, dims=dims), x, dims, keepdim)
    if half and abs(ord) != math.inf:
        return keep(red.half_norm_op(x, dims=dims, p=float(ord)), x, dims, keepdim)
    a = _abs(x)
    if ord == 0:
        nonzero = where_op(isnan(a), 1, sign(a))  # `sign`: with a derivative, of zero
        return keep(sum_op(nonzero, dims=dims), x, dims, keepdim)
    if ord in (math.inf, -math.inf):
        if count(x, dims) == 0 and numel(x) == 0 and all(x._a.shape[d] == 0 for d in dims[:1]):
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the operation does not have an identity"
            )
        return keep((red.amax_op if ord > 0 else red.amin_op)(a, dims=dims), x, dims, keepdim)
    if ord == 1:
        return keep(sum_op(a, dims=dims), x, dims, keepdim)
    if ord == 2:
        return keep(_root(sum_op(a * a, dims=dims), 0.5), x, dims, keepdim)
    return keep(_root(sum_op(_safe_power(a, ord), dims=dims), 1 / ord), x, dims, keepdim)


def _safe_power(a: Tensor, p: float) -> Tensor:
    if p >= 1:
        return power(a, p)  # type: ignore[no-any-return]
    zero = a == 0
    return where_op(zero, 0.0 if p > 0 else math.inf, power(where_op(zero, 1, a), p))  # type: ignore[no-any-return]


def _root(total: Tensor, p: float) -> Tensor:
    """total ** p, whose gradient at zero is zero and not NaN (the subgradient that PyTorch takes)."""
    zero = total == 0
    safe = where_op(zero, 1, total)
    r = sqrt(safe) if p == 0.5 else power(safe, p)
    return where_op(zero, 0.0 if p > 0 else math.inf if p < 0 else 0.0, r)  # type: ignore[no-any-return]


def _norm_name(args: Any, kwargs: Any) -> str | None:
    p = args[1] if len(args) > 1 else kwargs.get("p", "fro")
    return None if p == "nuc" else "LinalgVectorNormBackward0"


@public(grad_name=_norm_name)
def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Tensor | None = None,
    dtype: Any = None,
) -> Tensor:
    """A vector norm over dims (or a matrix norm for p = "nuc" and "fro" over two dims)."""
    from ..core.public import store_out

    x = input if dtype is None else convert(input, as_dtype(dtype))
    if x._a.dtype.kind in "bui":
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {dtype_of(x).name}"
        )
    p = 2.0 if p is None else p
    if p == "nuc":
        from ..core.public import FUNCTIONS

        y = FUNCTIONS["linalg_matrix_norm"](x, "nuc", dim if dim is not None else (-2, -1), keepdim)
    else:
        if isinstance(p, str) and p != "fro":
            raise RuntimeError(f"linalg.matrix_norm: Order {p} not supported.")
        ord = 2.0 if p == "fro" else float(p)
        y = vector_norm(x, ord, wrap_dims(dim, len(x._a.shape)), keepdim)
    return store_out(out, y, "norm") if out is not None else y  # type: ignore[no-any-return]


@public(grad_name="DistBackward0")
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    dtype = input._a.dtype
    if dtype.itemsize == 2 and dtype.kind in "fV" and dtype == other._a.dtype and p != math.inf:
        n = max(len(input._a.shape), len(other._a.shape))
        a, b = (base.reshape(t, (1,) * (n - len(t._a.shape)) + tuple(t._a.shape)) for t in (input, other))
        return red.half_dist_op(a, b, dims=tuple(range(n)), p=float(p))  # type: ignore[no-any-return]
    x = input - other
    return vector_norm(x, float(p), tuple(range(len(x._a.shape))), False)


@public(inplace=True, out=True, half=True, grad_name="RenormBackward0")
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along `dim` scaled down so that their p-norm is at most maxnorm."""
    nd = len(input._a.shape)
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if nd < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {nd} dimensions")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    d = wrap_dim(dim, nd)
    n = vector_norm(input, float(p), tuple([k for k in range(nd) if k != d]), True)
    return in_own_order(input * where_op(n > maxnorm, maxnorm / (n + 1e-7), 1.0))
