"""Products of vectors and matrices: the contractions from which bmm, einsum and tensordot are composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axis, multilinear_op
from ..core.op import Op, bind
from ..core.tensor import Tensor
from . import products
from .base import permute_op, reshape, sum_op
from .pointwise import conj


def _matmul(a: Any, b: Any) -> Any:
    return products.matmul(a, b)


def adjoint(x: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims."""
    n = len(x._a.shape)
    return permute_op(conj(x), dims=(*range(n - 2), n - 1, n - 2))  # type: ignore[no-any-return]


def _vjp_a(g: Tensor, b: Tensor, a_meta: Any) -> Tensor:
    return fam.unbroadcast(matmul_op(g, adjoint(b)), tuple(a_meta.shape))


def _vjp_b(g: Tensor, a: Tensor, b_meta: Any) -> Tensor:
    return fam.unbroadcast(matmul_op(adjoint(a), g), tuple(b_meta.shape))


def _batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    a, b = args
    if batched[0] and not batched[1] and len(b._a.shape) == 2:  # one large product instead of many small ones
        s = a._a.shape
        y = bind(matmul_op, (reshape(a, (int(np.prod(s[:-1])), s[-1])), b), {})
        return reshape(y, (*s[:-1], b._a.shape[-1])), True
    return bind(matmul_op, tuple(fam.align(args, batched, size)), {}), True


matmul_op = multilinear_op("matmul", _matmul, (_vjp_a, _vjp_b), _batch, grad_name="MmBackward0")
matmul_op.info["order"] = (1, 0)


def _dot(a: Any, b: Any) -> Any:
    if a.dtype.itemsize == 2:
        return products.matmul(a[None], b[:, None])[0, 0]
    return np.dot(a, b)


def _dot_batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    a, b = fam.batch_to_front(args, batched, size)
    n = a._a.shape[1]
    return reshape(matmul_op(reshape(a, (size, 1, n)), reshape(b, (size, n, 1))), (size,)), True


dot_op = multilinear_op(
    "dot", _dot, (lambda g, b: g * conj(b), lambda g, a: g * conj(a)), _dot_batch, grad_name="DotBackward0"
)


def _cross(a: Any, b: Any, *, dim: Axis) -> Any:
    """Cross products along a dim of three; the two products of each element are rounded, as in PyTorch."""

    def turned(x: Any, by: int) -> Any:
        return np.roll(x, by, dim)

    return turned(a, -1) * turned(b, 1) - turned(a, 1) * turned(b, -1)


cross_op: Any = multilinear_op(
    "linalg_cross",
    _cross,
    (lambda g, b, dim: cross_op(conj(b), g, dim=dim), lambda g, a, dim: cross_op(g, conj(a), dim=dim)),
    lambda size, batched, args, params: (
        bind(cross_op, tuple(fam.batch_to_front(args, batched, size)), {"dim": params["dim"] + 1}),
        True,
    ),
    grad_name="LinalgCrossBackward0",
)
cross_op.info["order"] = (1, 0)


def _linear(x: Any, w: Any, *b: Any) -> Any:
    return products.matmul(x, w.T, None, b[0] if b else None)


def _transposed(x: Tensor) -> Tensor:
    return permute_op(x, dims=(1, 0))  # type: ignore[no-any-return]


def _linear_vjp(g: Tensor, inputs: Any, needs: Any) -> Any:
    x, w = inputs[:2]
    gx = matmul_op(g, conj(w)) if needs[0] else None
    gw = (
        matmul_op(_transposed(g), conj(x)) if needs[1] else None
    )  # in the weight's own layout: no copy into .grad
    if len(needs) == 2:
        return [gx, gw]
    return [gx, gw, sum_op(g, dims=(0,)) if needs[2] else None]


def _linear_jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    parts = []
    if ts[0] is not None:
        parts.append(bind(linear_op, (ts[0], xs[1]), {}))
    if ts[1] is not None:
        parts.append(bind(linear_op, (xs[0], ts[1]), {}))
    if len(ts) > 2 and ts[2] is not None:
        parts.append(fam.expand(ts[2], tuple(y._a.shape)))
    total = parts[0]
    for p in parts[1:]:
        total = total + p
    return total


def _linear_batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
    x, w = args[:2]
    if batched[0] and not any(batched[1:]):  # one large product
        s = x._a.shape
        y = bind(linear_op, (reshape(x, (s[0] * s[1], s[2])), *args[1:]), {})
        return reshape(y, (s[0], s[1], w._a.shape[0])), True
    x, w = fam.batch_to_front(args[:2], batched[:2], size)
    y = bind(matmul_op, (x, permute_op(w, dims=(0, 2, 1))), {})
    if len(args) > 2:
        b = args[2]
        y = y + (reshape(b, (size, 1, b._a.shape[1])) if batched[2] else b)
    return y, True


def _linear_saves(needs: Sequence[bool]) -> tuple[int, ...]:
    """Weights whose layer's input needs no gradient may be written to before the backward pass."""
    return tuple(i for i in (0, 1) if needs[1 - i])


# x (n, in), w (out, in), b (out): the layer of every network, with its gradients in the parameters' layouts.
linear_op = Op(
    "linear",
    "multilinear",
    _linear,
    ("x", "w", "b"),
    vjp=_linear_vjp,
    jvp=_linear_jvp,
    batch=_linear_batch,
    grad_name="AddmmBackward0",
)
linear_op.info["saves"] = _linear_saves
