"""Cumulative operations and orderings along a dim."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis
from ..core.op import REGISTRY, bind
from ..core.pending import Pending
from ..core.public import FUNCTIONS
from ..core.state import tls
from ..core.tensor import Tensor, wrap
from .base import convert_to, full
from .indexing import along, flip_op, gather_op, scatter_op
from .pointwise import conj, exp, log, where_op
from .row_kernels import WORTH, in_order, scanned


def _accumulate(ufunc: Any, x: Any, dim: int) -> Any:
    if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
        return in_order(ufunc.accumulate(x.astype(np.float32), axis=dim).astype(x.dtype))
    y = scanned(x, dim, "sum" if ufunc is np.add else "prod") if x.nbytes >= WORTH else None
    if y is not None:
        return y
    if x.dtype == np.float32:  # running sums lose digits: accumulate wide, as PyTorch's kernels do
        return in_order(ufunc.accumulate(x.astype(np.float64), axis=dim).astype(x.dtype))
    return in_order(ufunc.accumulate(x, axis=dim, dtype=x.dtype))


def _cumsum(x: Any, *, dim: Axis) -> Any:
    return _accumulate(np.add, x, dim)


cumsum_op = fam.linear_op(_cumsum, lambda g, dim: reverse_cumsum(g, dim), name="cumsum")


def reverse_cumsum(g: Tensor, dim: int) -> Tensor:
    return flip_op(cumsum_op(flip_op(g, dims=(dim,)), dim=dim), dims=(dim,))  # type: ignore[no-any-return]


def _cumprod(x: Any, *, dim: Axis) -> Any:
    return _accumulate(np.multiply, x, dim)


def _prefix_jacobian(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """J[..., i, j] = dy_i/dx_j along the last dim: the product of x_k, k <= i, k != j.

    Exact with zeros: for each j, a cumulative product of x with x_j replaced by one, masked to i >= j.
    """
    n = x._a.shape[-1]
    eye = full((n, n), 0, np.dtype(bool))
    eye = from_eye(n)
    rows = fam.expand(fam.reshape(x, (*x._a.shape[:-1], 1, n)), (*x._a.shape[:-1], n, n))  # [..., j, k]
    without = where_op(eye, 1, rows)
    products = cumprod_op(without, dim=len(without._a.shape) - 1)  # [..., j, i]
    return where_op(from_triu(n), products, 0)  # type: ignore[no-any-return]


def from_eye(n: int) -> Tensor:
    from .base import from_value

    return from_value(np.eye(n, dtype=bool))


def from_triu(n: int) -> Tensor:
    from .base import from_value

    return from_value(np.triu(np.ones((n, n), dtype=bool)))


def _last(x: Tensor, dim: int) -> Tensor:
    from .base import permute_op

    nd = len(x._a.shape)
    if dim == nd - 1:
        return x
    order = [d for d in range(nd) if d != dim] + [dim]
    return permute_op(x, dims=tuple(order))  # type: ignore[no-any-return]


def _unlast(x: Tensor, dim: int) -> Tensor:
    from .base import permute_op

    nd = len(x._a.shape)
    if dim == nd - 1:
        return x
    order = list(range(nd - 1))
    order.insert(dim, nd - 1)
    return permute_op(x, dims=tuple(order))  # type: ignore[no-any-return]


def _cumprod_grad(g: Any, x: Any, y: Any, dim: int) -> Any:
    """The gradient where there are zeros, in linear time: elements behind the first zero of a row have none."""
    zero = x == 0
    count = np.add.accumulate(zero, axis=dim, dtype=np.int64)
    back = (*(slice(None),) * dim, slice(None, None, -1))
    with np.errstate(all="ignore"):
        plain = _accumulate(np.add, (y * g)[back], dim)[back] / x
    one = count == 1
    first = one & zero
    between = _accumulate(np.multiply, np.where(one & ~zero, x, x.dtype.type(1)), dim)
    terms = between * np.where(one, g, g.dtype.type(0))
    total = np.add.reduce(fam.wide(terms), axis=dim, keepdims=True).astype(x.dtype)
    before = np.roll(y, 1, dim)
    before[(*(slice(None),) * dim, slice(0, 1))] = 1
    return np.where(first, total * before, np.where(count == 0, plain, x.dtype.type(0)))


def _half_cumprod_grad(g: Tensor, x: Tensor, dim: int) -> Tensor:
    """The 16-bit gradient where there are zeros and derivatives may follow: in PyTorch's steps, element by element."""
    n = x._a.shape[dim]
    narrow, cat = FUNCTIONS["narrow"], FUNCTIONS["cat"]
    parts = []
    for k in range(n):
        before = FUNCTIONS["prod"](narrow(x, dim, 0, k), dim, True) if k else None
        others = None
        if k < n - 1:
            after = cumprod_op(narrow(x, dim, k + 1, n - k - 1), dim=dim)
            first = full(tuple(narrow(x, dim, 0, 1)._a.shape), 1, x._a.dtype) if before is None else before
            others = cat([first, after if before is None else before * after], dim)
        else:
            others = before
        parts.append((narrow(g, dim, k, n - k) * others).sum(dim))
    return FUNCTIONS["stack"](parts, dim)  # type: ignore[no-any-return]


def _cumprod_vjp(g: Tensor, x: Tensor, y: Tensor, dim: int) -> Tensor:
    from .contract import matmul_op

    if type(x._a) is np.ndarray and x._a.all():
        return reverse_cumsum(g * conj(y), dim) / conj(x)  # type: ignore[no-any-return]
    values = g._a, x._a, y._a
    if not tls.grad and x._a.shape and all(type(a) is np.ndarray and a.dtype.kind in "fV" for a in values):
        return wrap(_cumprod_grad(values[0], values[1], values[2], dim))
    if x._a.dtype.itemsize == 2 and x._a.shape and x._a.shape[dim] > 1:
        return _half_cumprod_grad(g, x, dim)
    xl, gl = _last(x, dim), _last(g, dim)
    if xl._a.shape[-1] == 0:
        return g
    jac = conj(_prefix_jacobian(xl, y, dim))  # [..., j, i]
    col = fam.reshape(gl, (*gl._a.shape, 1))
    r = _unlast(fam.reshape(matmul_op(jac, col), tuple(gl._a.shape)), dim)
    # in order, as where it is computed at once
    return fam.contiguous(r) if type(r._a) in (np.ndarray, Pending) and not r._a.flags.c_contiguous else r


def _cumprod_jvp(ts: Any, xs: Any, y: Any, p: Any) -> Any:
    from .base import permute_op
    from .contract import matmul_op

    dim = p["dim"]
    if type(xs[0]._a) is np.ndarray and xs[0]._a.all():
        return cumsum_op(ts[0] / xs[0], dim=dim) * y
    xl, tl = _last(xs[0], dim), _last(ts[0], dim)
    if xl._a.shape[-1] == 0:
        return ts[0]
    jac = _prefix_jacobian(xl, y, dim)
    nd = len(jac._a.shape)
    jac = permute_op(jac, dims=(*range(nd - 2), nd - 1, nd - 2))
    r = matmul_op(jac, fam.reshape(tl, (*tl._a.shape, 1)))
    return _unlast(fam.reshape(r, tuple(tl._a.shape)), dim)


cumprod_op = fam.opaque_op(_cumprod, (_cumprod_vjp,), name="cumprod", jvp=_cumprod_jvp)


def _argsort(x: Any, *, dim: Axis, descending: bool) -> Any:
    """Stable order; NaN counts as the largest value, in both directions, as in PyTorch."""
    if x.ndim == 0:
        return np.zeros((), np.int64)
    if not descending:
        return x.argsort(dim, kind="stable")
    n = x.shape[dim]
    back = (*(slice(None),) * dim, slice(None, None, -1))
    return (n - 1) - x[back].argsort(dim, kind="stable")[back]


def _argtop(x: Any, *, dim: Axis, k: int, largest: bool) -> Any:
    """Where the first k of the order of `_argsort` are; of equal elements any may be taken."""
    n = x.shape[dim]
    if n < 64 or k > n // 4:
        return in_order(_argsort(x, dim=dim, descending=largest)[(*(slice(None),) * dim, slice(k))])
    at = n - k if largest else k - 1
    part = np.argpartition(x, at, axis=dim).take(range(n - k, n) if largest else range(k), axis=dim)
    order = _argsort(x[along(part, dim)], dim=dim, descending=largest)
    return part[along(order, dim)]


def _argmedian(x: Any, *, dim: Axis, skip_nan: bool) -> Any:
    """Where the median of a dim is (the lower of two), with the dim kept; of equal elements any may be taken.

    NaN come last; unless they are to be skipped, the first of them is the median of its row.
    """
    n = x.shape[dim]
    at = (n - 1) // 2
    nans = np.isnan(x) if x.dtype.kind in "fV" else None
    if nans is None or not nans.any():
        return in_order(x.argpartition(at, dim)[(*(slice(None),) * dim, slice(at, at + 1))])
    count = np.add.reduce(nans, axis=dim, keepdims=True, dtype=np.int64)
    place = np.maximum(n - count - 1, 0) // 2 if skip_nan else np.where(count > 0, n - count, at)
    return _argsort(x, dim=dim, descending=False)[along(place, dim)]


argmedian_op = fam.opaque_op(_argmedian, None, name="argmedian", differentiable=False)


argtop_op = fam.opaque_op(_argtop, None, name="argtop", differentiable=False)
argsort_op = fam.opaque_op(_argsort, None, name="argsort", differentiable=False)


def _argcum(x: Any, *, dim: Axis, largest: bool) -> Any:
    """Index of the running extreme; a later equal element takes over, and NaN wins for good."""
    n = x.shape[dim]
    ufunc = np.maximum if largest else np.minimum
    best = ufunc.accumulate(x, axis=dim)
    shape = [1] * x.ndim
    shape[dim] = n
    hit = (x == best) | (np.isnan(x) if x.dtype.kind in "fV" else False)
    at = np.where(hit, np.arange(n).reshape(shape), 0)
    return np.maximum.accumulate(at, axis=dim)


argcum_op = fam.opaque_op(_argcum, None, name="argcum", differentiable=False)


def _complex_logcumsumexp(x: Any, dim: int) -> Any:
    """Each step adds the smaller term to the larger: log(e^a + e^b) = a + log(1 + e^(b - a))."""
    out = np.empty_like(x)
    total = np.full(x.shape[1:], -np.inf, x.dtype)
    with np.errstate(all="ignore"):
        for i, term in enumerate(x):
            swap = term.real > total.real
            high, low = np.where(swap, term, total), np.where(swap, total, term)
            nothing = np.isneginf(low.real)  # its argument means nothing
            total = high + np.where(nothing, 0, np.log1p(np.where(nothing, 0, np.exp(low - high))))
            out[i] = total
    return np.moveaxis(out, 0, dim)


def _logcumsumexp(x: Any, *, dim: Axis) -> Any:
    if x.dtype.itemsize == 2:
        return np.logaddexp.accumulate(x.astype(np.float32), axis=dim).astype(x.dtype)
    if x.dtype.kind == "c":
        return _complex_logcumsumexp(np.moveaxis(x, dim, 0), dim)
    return np.logaddexp.accumulate(x, axis=dim)


def _log_or_nothing(t: Tensor) -> Tensor:
    """The log, and for zeros one so low that it counts for nothing, finite so that its derivatives are zeros."""
    live = t != 0
    return where_op(live, log(where_op(live, t, 1)), -1e30)  # type: ignore[no-any-return]


def _logcumsumexp_vjp(g: Tensor, x: Tensor, y: Tensor, dim: int) -> Tensor:
    # sum_{i >= j} g_i exp(x_j - y_i); split by sign so that each part stays in log space
    if g._a.dtype.kind == "c":
        terms = flip_op(_log_or_nothing(conj(g)) - y, dims=(dim,))
        return conj(exp(flip_op(logcumsumexp_op(terms, dim=dim), dims=(dim,)) + x))

    def part(positive: Tensor) -> Tensor:
        logs = _log_or_nothing(positive) - y
        total = flip_op(logcumsumexp_op(flip_op(logs, dims=(dim,)), dim=dim), dims=(dim,))
        return exp(total + x)  # type: ignore[no-any-return]

    zero = g * 0
    return part(where_op(g > 0, g, zero)) - part(where_op(g < 0, -g, zero))  # type: ignore[no-any-return]


def _logcumsumexp_jvp(ts: Any, xs: Any, y: Any, p: Any) -> Any:
    (x,), (t,) = xs, ts
    dim = p["dim"]
    if x._a.dtype.kind == "c":
        return exp(logcumsumexp_op(_log_or_nothing(t) + x, dim=dim) - y)

    def part(positive: Tensor) -> Tensor:
        logs = _log_or_nothing(positive) + x
        return exp(logcumsumexp_op(logs, dim=dim) - y)  # type: ignore[no-any-return]

    # the weighted mean of the tangents; in log space only where the weights, relative to the largest, vanish
    top = fam.keepdims(REGISTRY["amax"](x, dims=(dim,)), len(x._a.shape), (dim,))
    weights = exp(x - top)
    total = cumsum_op(weights, dim=dim)
    info = np.finfo(x._a.dtype)
    plain = total > float(info.tiny / info.eps)
    zero = t * 0
    tiny = part(where_op(t > 0, t, zero)) - part(where_op(t < 0, -t, zero))
    return where_op(plain, cumsum_op(t * weights, dim=dim) / where_op(plain, total, 1), tiny)


logcumsumexp_op = fam.opaque_op(
    _logcumsumexp, (_logcumsumexp_vjp,), name="logcumsumexp", jvp=_logcumsumexp_jvp
)
_ = (bind, convert_to, gather_op, scatter_op)
