"""``beta * input + alpha * product`` of 16-bit tensors as one operation.

For other dtypes the sum is composed (`ops.matmul`).  Here it is rounded where PyTorch rounds it; the derivatives are products of
16-bit tensors, each rounded and then scaled, in PyTorch's order.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ..core import families as fam
from ..core.op import Op
from ..core.tape import helpers
from ..core.tensor import Tensor
from ..prims import products
from ..prims.base import reshape, sum_op
from ..prims.contract import adjoint, matmul_op

# How the factors of each kind become matrices: the dim to add behind, or None.
_FORMS: dict[str, tuple[int | None, int | None]] = {
    "mm": (None, None),
    "bmm": (None, None),
    "addbmm": (None, None),
    "mv": (None, -1),
    "outer": (-1, -2),
}
_RANKS = {"mm": (2, 2), "bmm": (3, 3), "addbmm": (3, 3), "mv": (2, 1), "outer": (1, 1)}
_ORDER = {"mm": (1, 2, 0), "bmm": (1, 2, 0), "addbmm": (1, 2, 0), "mv": (1, 0, 2), "outer": (0, 1, 2)}


def _with(shape: Sequence[int], at: int | None) -> tuple[int, ...]:
    s = tuple(shape)
    return s if at is None else (*s, 1) if at == -1 else (*s[:-1], 1, s[-1])


def _values(x: Any, a: Any, b: Any, *, kind: str, beta: Any, alpha: Any) -> Any:
    half = a.dtype
    if kind == "outer":  # PyTorch's kernel rounds each number and each step
        y = (a[..., :, None] * half.type(alpha)) * b[..., None, :]
        return y if beta == 0 else x * half.type(beta) + y
    x, a, b = (fam.wide(v) for v in (x, a, b))
    alpha, beta = a.dtype.type(alpha), a.dtype.type(beta)
    y = products.matmul(a, b if kind != "mv" else b[..., None]) * alpha
    if kind == "mv":
        y = y[..., 0]
    elif kind == "addbmm":  # added one by one, each sum rounded
        total = y[..., 0, :, :] if beta == 0 else x * beta + y[..., 0, :, :]
        for i in range(1, y.shape[-3]):
            total = total.astype(half).astype(a.dtype) + y[..., i, :, :]
        return total.astype(half)
    return (y if beta == 0 else x * beta + y).astype(half)


def _scaled(t: Tensor, k: Any) -> Tensor:
    return t if k == 1 else t * k


def _product(a: Tensor, b: Tensor, kind: str) -> Tensor:
    """The product alone, rounded."""
    da, db = _FORMS[kind]
    y = matmul_op(reshape(a, _with(a._a.shape, da)), reshape(b, _with(b._a.shape, db)))
    s = tuple(y._a.shape)
    if kind == "mv":
        return reshape(y, s[:-1])
    return sum_op(y, dims=(len(s) - 3,)) if kind == "addbmm" else y  # type: ignore[no-any-return]


def _vjp(g: Tensor, inputs: Any, metas: Any, needs: Any, kind: str, beta: Any, alpha: Any) -> list[Any]:
    _, a, b = inputs
    found: list[Any] = [None, None, None]
    da, db = _FORMS[kind]

    def full() -> Tensor:
        """The cotangent as matrices; anew for each factor, so that derivatives meet in PyTorch's order."""
        if kind == "addbmm":
            s = tuple(g._a.shape)
            return fam.expand(reshape(g, (1, *s)), (a._a.shape[0], *s))
        return reshape(g, (*g._a.shape, 1)) if kind == "mv" else g

    ma, mb = reshape(a, _with(a._a.shape, da)), reshape(b, _with(b._a.shape, db))
    for i in _ORDER[kind]:
        if not needs[i]:
            continue
        if i == 0:
            found[0] = fam.unbroadcast(_scaled(g, beta), tuple(metas[0].shape))
        elif i == 1:
            outer = kind == "mv"  # a product of numbers, which second derivatives sum after rounding
            found[1] = _scaled(
                reshape(g, (*g._a.shape, 1)) * b.unsqueeze(-2)
                if outer
                else reshape(matmul_op(full(), adjoint(mb)), tuple(a._a.shape)),
                alpha,
            )
        else:
            found[2] = _scaled(reshape(matmul_op(adjoint(ma), full()), tuple(b._a.shape)), alpha)
    return found


def _jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    (tx, ta, tb), (_, a, b) = ts, xs
    kind, beta, alpha = params["kind"], params["beta"], params["alpha"]
    parts = []
    if tx is not None:
        parts.append(fam.expand(_scaled(tx, beta), tuple(y._a.shape)))
    if ta is not None:
        parts.append(_scaled(_product(ta, b, kind), alpha))
    if tb is not None:
        parts.append(_scaled(_product(a, tb, kind), alpha))
    return functools.reduce(helpers["add"], parts)


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    x, a, b = fam.batch_to_front(args, batched, size)
    nd = len(x._a.shape) - 1
    rank = 1 if params["kind"] == "mv" else 3 if params["kind"] == "bmm" else 2
    x = reshape(x, (size, *(1,) * (rank - nd), *x._a.shape[1:]))
    return half_product_op(x, a, b, **params), True


half_product_op = Op(
    "half_product",
    "opaque",
    _values,
    ("x", "a", "b"),
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    grad_name="AddmmBackward0",
)


def wanted(input: Any, a: Any, b: Any, kind: str) -> bool:
    """Whether three tensors are what the operation takes: of one 16-bit dtype and the ranks of the product."""
    if not all(isinstance(t, Tensor) for t in (input, a, b)):
        return False
    dtype = a._a.dtype
    ranks = (len(a._a.shape), len(b._a.shape)) == _RANKS[kind]
    return (
        ranks
        and dtype.itemsize == 2
        and dtype.kind in "fV"
        and input._a.dtype == dtype == b._a.dtype
        and _fits(tuple(input._a.shape), tuple(a._a.shape), tuple(b._a.shape), kind)
    )


def _fits(x: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...], kind: str) -> bool:
    if kind == "addbmm" and not a[0]:
        return False
    if kind == "outer":
        out: tuple[int, ...] = (a[0], b[0])
    elif kind == "mv":
        if a[1] != b[0]:
            return False
        out = (a[0],)
    else:
        if a[-1] != b[-2] or a[:-2] != b[:-2]:
            return False
        out = (*(a[:-2] if kind == "bmm" else ()), a[-2], b[-1])
    return len(x) <= len(out) and all(m in (1, n) for m, n in zip(x[::-1], out[::-1]))


def half_product(input: Tensor, a: Tensor, b: Tensor, kind: str, beta: Any, alpha: Any) -> Tensor:
    """``beta * input + alpha * product``, shapes and dtypes being those that `wanted` asks for."""
    return half_product_op(input, a, b, kind=kind, beta=beta, alpha=alpha)  # type: ignore[no-any-return]
